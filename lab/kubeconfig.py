"""The users' kubeconfig: one file, contexts named like the clusters, certificates by path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.binaries import Binaries
from lab.layout import Layout

_TOOLS = ("kubectl", "kwokctl", "etcd")


def write(layout: Layout, programs: Binaries) -> None:
    """Write the kubeconfig, and a folder of the programs that its users may want on their PATH."""
    unfinished = layout.kubeconfig.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(render(layout), indent=2) + "\n")  # JSON is YAML
    unfinished.chmod(0o600)
    unfinished.rename(layout.kubeconfig)
    tools(layout).mkdir(exist_ok=True)
    for name in _TOOLS:
        link = tools(layout) / name
        link.unlink(missing_ok=True)
        link.symlink_to(programs[name])


def tools(layout: Layout) -> Path:
    """Return the folder with kubectl in the clusters' own version."""
    return layout.directory / "bin"


def render(layout: Layout) -> dict[str, Any]:
    """Describe the three clusters to kubectl and every other client."""
    config: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": layout.clusters[0].name}
    config |= {"clusters": [], "users": [], "contexts": []}
    for cluster in layout.clusters:
        pki = cluster.control_plane / "pki"
        server = {"server": cluster.server, "certificate-authority": str(pki / "ca.crt")}
        user = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
        config["clusters"].append({"name": cluster.name, "cluster": server})
        config["users"].append({"name": cluster.name, "user": user})
        config["contexts"].append({"name": cluster.name, "context": {"cluster": cluster.name, "user": cluster.name}})
    return config
