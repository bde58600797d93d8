"""What runs in every cluster from the start: cluster DNS on the real node, and simulated nodes beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

from flotilla.services.corefile import ZONE
from lab import dns, services
from lab.api import Api
from lab.binaries import Binaries
from lab.commands import run, wait_until
from lab.layout import ClusterLayout

_MANIFESTS = Path(__file__).parent / "manifests"
_DNS_PATIENCE = 60  # seconds; 3 are usual
_DNS_DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments?fieldSelector=metadata.name%3Dcoredns"
_DNS_SLICES = (
    "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkube-dns"
)
_FAKE = "kwok.x-k8s.io/node"


def ensure_dns(cluster: ClusterLayout, binaries: Binaries) -> None:
    """Have CoreDNS deployed; one that is there stays as its users have configured it, and serves clusterset.local too."""
    if Api(cluster).items(_DNS_DEPLOYMENT):
        if services.bring_zone_along(cluster, datetime.now(UTC).isoformat()):
            wait_until(f"{cluster.name}: a CoreDNS with {ZONE}", lambda: _dns_not_renewed(cluster), within=_DNS_PATIENCE)
        return
    manifest = Template((_MANIFESTS / "coredns.yaml").read_text()).substitute(dns_address=cluster.dns_address)
    kubectl(cluster, binaries, "apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=manifest)


def wait_dns(cluster: ClusterLayout) -> None:
    """Wait until CoreDNS answers."""
    wait_until(f"{cluster.name}: a ready CoreDNS", lambda: dns_not_ready(cluster), within=_DNS_PATIENCE)


def dns_not_ready(cluster: ClusterLayout, *, zone: bool = False) -> str:
    """Say why CoreDNS does not serve the cluster's names, or the `zone` clusterset.local; or nothing."""
    try:
        slices = Api(cluster).items(_DNS_SLICES)
    except OSError as error:
        return str(error)
    endpoints = [endpoint for slice_ in slices for endpoint in slice_.get("endpoints") or []]
    ready = [endpoint["addresses"][0] for endpoint in endpoints if endpoint["conditions"].get("ready")]
    # Ready by the word of a kubelet that may be dead: asked itself.
    asked = (services.zone_name(), dns.TXT) if zone else ()
    return "" if any(dns.answers(address, *asked) for address in ready) else f"no CoreDNS answers at {ready or 'any address'}"


def _dns_not_renewed(cluster: ClusterLayout) -> str:
    """Say why a CoreDNS that was started anew does not serve the zone, or nothing: the old one may, until it is ended."""
    try:
        (deployment,) = Api(cluster).items(_DNS_DEPLOYMENT)
    except OSError as error:
        return str(error)
    wanted, seen = deployment["spec"]["replicas"], deployment["status"]
    is_seen = seen.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    if not is_seen or not seen.get("updatedReplicas", 0) == seen.get("readyReplicas", 0) == seen.get("replicas", 0) == wanted:
        return "the old one is not replaced yet"
    return dns_not_ready(cluster, zone=True)


def simulated(cluster: ClusterLayout) -> list[str]:
    """List the simulated nodes. Raises OSError where the API server does not answer."""
    nodes = Api(cluster).items("/api/v1/nodes?labelSelector=type%3Dkwok")
    return [node["metadata"]["name"] for node in nodes]


def scale_simulated(cluster: ClusterLayout, binaries: Binaries, count: int) -> None:
    """Have exactly that many simulated nodes."""
    present = set(simulated(cluster))
    wanted = {f"{cluster.name}-simulated-{number}" for number in range(count)}
    if missing := sorted(wanted - present):
        nodes = [simulated_node(name, tainted=cluster.real_node) for name in missing]
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
        kubectl(cluster, binaries, "create", "--filename", "-", stdin=body)
    if surplus := sorted(present - wanted):
        kubectl(cluster, binaries, "delete", "node", "--wait=false", *surplus)


def simulated_node(name: str, *, tainted: bool) -> dict[str, Any]:
    """Describe a node that only kwok's controller plays; the taint keeps real pods away where there are real nodes."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {_FAKE: "fake"}},
        "spec": {"taints": [{"key": _FAKE, "value": "fake", "effect": "NoSchedule"}]} if tainted else {},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    }


def kubectl(cluster: ClusterLayout, binaries: Binaries, *words: str, stdin: str | None = None) -> str:
    """Run kubectl against one cluster, as this machine's users do."""
    pki = cluster.control_plane / "pki"
    access: list[str | Path] = ["--server", cluster.server, "--certificate-authority", pki / "ca.crt"]
    access += ["--client-certificate", pki / "admin.crt", "--client-key", pki / "admin.key"]
    # An empty file, so that no kubeconfig of the user's has a say.
    return run(binaries["kubectl"], "--kubeconfig", "/dev/null", *access, *words, stdin=stdin)
