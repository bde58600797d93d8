"""Each real cluster's own monitoring: Prometheus, kube-state-metrics and node-exporter, as pods of the cluster."""

from __future__ import annotations

from pathlib import Path
from string import Template

from lab import addons
from lab.binaries import Binaries
from lab.layout import ClusterLayout

_MANIFEST = Path(__file__).parent / "manifests" / "monitoring.yaml"


def ensure(cluster: ClusterLayout, binaries: Binaries) -> None:
    """Have it applied; it is ready some seconds later, and nothing else waits for it."""
    data = cluster.directory / "prometheus"
    kwok = f"{cluster.node_address}:{cluster.ports.kwok}"
    manifest = Template(_MANIFEST.read_text()).substitute(cluster=cluster.name, data=data, kwok=kwok)
    addons.kubectl(cluster, binaries, "apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=manifest)
