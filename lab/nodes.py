"""Real nodes: containerd, kubelet and kube-proxy, one of each a site, inside the site's namespace and control group."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

from lab import api, images, mounts, mountspace, processes
from lab.binaries import Binaries
from lab.commands import complaint_of, run, wait_until
from lab.layout import NODE, ClusterLayout, Layout
from lab.processes import Life

_CONTAINERD_PATIENCE = 30  # seconds; below 1 is usual
_NODE_PATIENCE = 90  # seconds; 5 to 10 are usual
_CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_MANIFESTS = Path(__file__).parent / "manifests"


def ensure_runtime(cluster: ClusterLayout, layout: Layout, archives: Sequence[Path]) -> None:
    """Have a running containerd that holds the images."""
    _write_configuration(cluster, layout)
    fresh = processes.life(cluster, "containerd") is Life.DEAD
    _start(cluster, "containerd", ["containerd", "--config", str(cluster.directory / "containerd.toml")])
    version = ("ctr", "--address", cluster.socket, "version")
    wait_until(
        f"{cluster.name}: an answer of containerd", lambda: complaint_of(lambda: run(*version)), within=_CONTAINERD_PATIENCE
    )
    if fresh:
        _import_missing(cluster, archives)


def ensure_agents(cluster: ClusterLayout, binaries: Binaries) -> datetime | None:
    """Have a running kubelet and kube-proxy; tell when the kubelet was started, if it was."""
    started = datetime.now(UTC) if processes.life(cluster, "kubelet") is Life.DEAD else None
    for part, command in _agents(cluster, binaries).items():
        _start(cluster, part, command)
    return started


def wait_ready(cluster: ClusterLayout, since: datetime | None) -> None:
    """Wait until the node is Ready by a word of its kubelet that is later than `since`, or lately given."""
    wait_until(f"{cluster.name}: a Ready node", lambda: api.node_not_ready(cluster, since), within=_NODE_PATIENCE)


def start(cluster: ClusterLayout, part: str, binaries: Binaries) -> None:
    """Start one part of an existing node, unless it runs."""
    runtime = {"containerd": ["containerd", "--config", str(cluster.directory / "containerd.toml")]}
    _start(cluster, part, (runtime | _agents(cluster, binaries))[part])


def is_node_part(part: str) -> bool:
    """Tell whether a part belongs to the node rather than to the control plane."""
    return part in NODE


def _start(cluster: ClusterLayout, part: str, command: Sequence[str]) -> None:
    if processes.life(cluster, part) is Life.DEAD:
        processes.start(cluster, part, command)


def _agents(cluster: ClusterLayout, binaries: Binaries) -> dict[str, list[str]]:
    here = cluster.directory
    kubelet = {
        "config": here / "kubelet.yaml",
        "kubeconfig": here / "kubeconfig",
        "root-dir": here / "kubelet",
        "cert-dir": here / "kubelet" / "pki",
        "hostname-override": cluster.node,
        "node-ip": cluster.node_address,
        "node-labels": f"topology.kubernetes.io/zone={cluster.name}",
    }
    return {
        "kubelet": [str(binaries["kubelet"]), *(f"--{key}={value}" for key, value in kubelet.items())],
        "kube-proxy": [str(binaries["kube-proxy"]), f"--config={here / 'kube-proxy.yaml'}"],
    }


def _import_missing(cluster: ClusterLayout, archives: Sequence[Path]) -> None:
    for archive in archives:
        images.import_into(cluster, archive)


def _write_configuration(cluster: ClusterLayout, layout: Layout) -> None:
    here = cluster.directory
    # Where the kubelet's cadvisor looks, whatever the kubelet is told; without it no container has a name in /metrics/cadvisor.
    fixed = mountspace.folder(cluster, mountspace.RUNTIME) / "containerd.sock"
    if not fixed.is_symlink():
        fixed.parent.mkdir(parents=True, exist_ok=True)
        fixed.symlink_to(cluster.socket)
    for folder in (here / "cni", here / "kubelet", here / "containerd"):
        folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str | dict[str, Any]] = {
        "containerd.toml": containerd(cluster, _snapshotter(here), _cni_folder()),
        "cni/10-flat.conflist": pod_network(cluster),
        "kubelet.yaml": kubelet(cluster),
        "kube-proxy.yaml": kube_proxy(cluster, layout),
        "kubeconfig": kubeconfig(cluster),
    }
    for name, content in files.items():
        _write_if_new(here / name, content if isinstance(content, str) else json.dumps(content, indent=2))


def _write_if_new(file: Path, text: str) -> None:
    """Leave a file alone that says the same already: kube-proxy ends itself when its configuration is written."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def _snapshotter(folder: Path) -> str:
    """Choose plain copies where the lab lies on an overlay itself (inside a container): overlays do not stack there."""
    return "native" if mounts.kind_at(folder) == "overlay" else "overlayfs"


def _cni_folder() -> str:
    return next((folder for folder in _CNI_FOLDERS if os.path.exists(f"{folder}/bridge")), _CNI_FOLDERS[0])


def containerd(cluster: ClusterLayout, snapshotter: str, cni: str) -> str:
    """Render containerd's configuration: everything that it keeps lies in the lab's folder."""
    template = Template((_MANIFESTS / "containerd.toml").read_text())
    return template.substitute(here=cluster.directory, snapshotter=snapshotter, cni=cni)


def pod_network(cluster: ClusterLayout) -> dict[str, Any]:
    """Describe the pods' network to CNI: a bridge inside the site, addresses not hidden behind the node's."""
    return {
        "cniVersion": "1.0.0",
        "name": network_name(cluster),
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(cluster.pod_range)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(cluster.directory / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def network_name(cluster: ClusterLayout) -> str:
    """Name the pods' network as CNI knows it; its results in /var/lib/cni begin with this."""
    return f"flotilla-{cluster.slot}-{cluster.name}"


def kubelet(cluster: ClusterLayout) -> dict[str, Any]:
    """Describe the kubelet: its pods in the lab's control group, its files in the lab's folder, its callers known."""
    here = cluster.directory
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(cluster.control_plane / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cluster.cgroup,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{cluster.socket}",
        "clusterDNS": [cluster.dns_address],
        "clusterDomain": "cluster.local",
        "resolvConf": "",  # the machine's own name servers are out of reach of the pods, by intent
        "podLogsDir": str(here / "pod-logs"),
        "volumePluginDir": str(here / "kubelet" / "volume-plugins"),
        "maxPods": 250,
        "imageGCHighThresholdPercent": 100,  # no registry to fetch an image from again
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
    }


def kube_proxy(cluster: ClusterLayout, layout: Layout) -> dict[str, Any]:
    """Describe kube-proxy: iptables, pods of the whole fleet are local addresses, no conntrack limits of its own."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(cluster.directory / "kubeconfig")},
        "hostnameOverride": cluster.node,
        "clusterCIDR": str(layout.network),
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def kubeconfig(cluster: ClusterLayout) -> dict[str, Any]:
    """Describe the API server to the node's own agents, who share its namespace."""
    pki = cluster.control_plane / "pki"
    server = {"server": f"https://127.0.0.1:{cluster.ports.api}", "certificate-authority": str(pki / "ca.crt")}
    user = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": server}],
        "users": [{"name": cluster.name, "user": user}],
        "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": cluster.name}}],
        "current-context": cluster.name,
    }
