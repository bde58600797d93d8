"""The ground for services broken in a lab of its own with real nodes: DNS without the zone, cut networks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lab
from flotilla.fleet import Fleet
from flotilla.services.definitions import NAMES
from flotilla.services.findings import State, Topic
from flows.ground import try_reach
from tests.lab.ground import as_fleet, report, wrong
from tests.lab.test_lab import kubectl, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

IMAGE = "localhost/agnhost:2"
WITHOUT_ZONE = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
}
"""
COREDNS = ["-n", "kube-system"]


@pytest.fixture(scope="module")
def fleet(own_lab: Path) -> Iterator[Fleet]:
    """Three clusters with real nodes, whose DNS and networks nobody else needs."""
    with as_fleet(own_lab, real_nodes=True) as fleet:
        yield fleet


def test_every_cluster_has_the_ground_from_the_start(fleet: Fleet) -> None:
    found = report(fleet)

    assert found.ok, str(found)
    assert "" == str(found)


def test_the_printed_change_is_what_makes_a_name_of_the_clusterset_resolve(fleet: Fleet) -> None:
    """An import made by hand of a pod in remote, asked for by name in production: before the change, and after it."""
    break_dns("production")
    (named,) = [item for item in wrong(report(fleet), "production", Topic.DNS) if item.change]
    assert "+    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {" in named.change
    with pods_of_a_service() as target:
        import_by_hand("production", target)
        assert "DNS: " in dialled("production")
        seen = lab.look()
        env = dict(os.environ) | {"PATH": f"{seen.binaries}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-ec", named.change], env=env, capture_output=True, text=True, timeout=60)
        assert 0 == done.returncode, done.stderr
        kubectl("production", *COREDNS, "rollout", "status", "deploy/coredns", "--timeout=60s")
        until("the name resolves to the pod in remote", lambda: "" == dialled("production"))
        assert [] == wrong(report(fleet), "production", Topic.DNS)


def break_dns(cluster: str) -> None:
    """Take the zone and the right to read ServiceImports away from a CoreDNS, as most clusters have it."""
    body = {"data": {"Corefile": WITHOUT_ZONE}}
    kubectl(cluster, *COREDNS, "patch", "configmap", "coredns", "--type", "merge", "-p", json.dumps(body))
    rules = json.loads(kubectl(cluster, "get", "clusterrole", "system:coredns", "-o", "json"))["rules"]
    kept = {"rules": [rule for rule in rules if rule["resources"] != ["serviceimports"]]}
    kubectl(cluster, "patch", "clusterrole", "system:coredns", "--type", "merge", "-p", json.dumps(kept))
    kubectl(cluster, *COREDNS, "rollout", "restart", "deploy/coredns")
    kubectl(cluster, *COREDNS, "rollout", "status", "deploy/coredns", "--timeout=60s")


@contextmanager
def pods_of_a_service() -> Iterator[str]:
    """Give the address of a pod in remote that answers on 8080; one that asks runs in production."""
    for cluster in ("remote", "production"):
        kubectl(cluster, "run", "agnhost", f"--image={IMAGE}", "--", "netexec", "--http-port=8080")
        kubectl(cluster, "wait", "--for=condition=Ready", "pod/agnhost", "--timeout=60s")
    yield kubectl("remote", "get", "pod", "agnhost", "-o", "jsonpath={.status.podIP}")
    for cluster in ("remote", "production"):
        kubectl(cluster, "delete", "pod", "agnhost", "--grace-period=1")


def import_by_hand(cluster: str, address: str) -> None:
    """Have a headless import with one endpoint, with the labels that the standard asks for."""
    labels = {
        "multicluster.kubernetes.io/service-name": "far",
        "multicluster.kubernetes.io/source-cluster": "remote",
        "endpointslice.kubernetes.io/managed-by": "hand",
    }
    port = {"name": "http", "protocol": "TCP", "port": 8080}
    imported = {"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport", "metadata": {"name": "far"}}
    slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "far", "labels": labels}}
    endpoint = {"addresses": [address], "conditions": {"ready": True}}
    for body in (
        imported | {"spec": {"type": "Headless", "ports": [port]}},
        slice_ | {"addressType": "IPv4", "ports": [port], "endpoints": [endpoint]},
    ):
        kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(body))


def dialled(cluster: str) -> str:
    """Dial the import's name from a pod, and return what was wrong, or nothing."""
    name = "far.default.svc.clusterset.local:8080"
    return kubectl(cluster, "exec", "agnhost", "--", "/agnhost", "connect", "--timeout=2s", name, ok=False).strip()


def test_up_brings_a_lab_along_that_has_no_zone_yet_and_keeps_its_configuration(fleet: Fleet) -> None:
    own = WITHOUT_ZONE.replace("ttl 5", "ttl 7")
    body = {"data": {"Corefile": own}}
    kubectl("same-city", *COREDNS, "patch", "configmap", "coredns", "--type", "merge", "-p", json.dumps(body))
    kubectl("same-city", "delete", "crd", *NAMES)
    seen = lab.up()
    assert seen.is_up, [one.reason for one in seen.clusters]

    text = kubectl("same-city", *COREDNS, "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}")
    assert "ttl 7" in text
    assert "multicluster clusterset.local" in text
    assert report(fleet).ok, str(report(fleet))


def test_a_cut_site_is_named_and_its_pods_count_as_unknown(fleet: Fleet) -> None:
    lab.cut("remote")
    try:
        found = report(fleet, image=IMAGE)
    finally:
        lab.heal("remote")
    until("remote is up", lambda: lab.look().cluster("remote").state == "up")

    assert not found.ok
    assert [True] == ["cannot be looked at" in item.text for item in wrong(found, "remote", Topic.API)]
    for cluster in ("production", "same-city"):
        (named,) = wrong(found, cluster, Topic.REACH)
        assert State.UNKNOWN == named.state
        assert named.text.startswith("whether its pods reach those of remote is not known: remote: https://127.0.0.1:")


def test_pods_that_do_not_reach_each_other_are_named_by_address(fleet: Fleet) -> None:
    """Same-city drops what comes from production, as a firewall between two sites would."""
    seen = lab.look()
    rule = [
        "FORWARD",
        "-s",
        str(seen.cluster("production").pod_range),
        "-d",
        str(seen.cluster("same-city").pod_range),
        "-j",
        "DROP",
    ]
    inside = ["nsenter", f"--net=/run/netns/{seen.cluster('same-city').namespace}", "iptables", "-w"]
    subprocess.run([*inside, "-I", *rule], check=True)
    try:
        reaches, left = try_reach(fleet, IMAGE)
    finally:
        subprocess.run([*inside, "-D", *rule], check=True)

    assert {} == left
    broken = {(one.source, one.target): one for one in reaches if not one.reached}
    assert ("production", "same-city") in broken
    assert set(broken) <= {("production", "same-city"), ("same-city", "production")}  # answers come from there too
    assert "TIMEOUT" == broken["production", "same-city"].detail
    assert broken["production", "same-city"].address.endswith(":8080")
