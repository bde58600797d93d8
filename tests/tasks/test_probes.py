"""Probes from a pod in the lab's same-city cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from flotilla.errors import Transient
from flotilla.facts import Unknown
from flotilla.services.facts import ProbeFact
from flotilla.services.health import Target
from flotilla.services.names import ServiceKey
from flotilla.services.probing import Pace, Spot
from tasks import probes
from tasks.clusters import Connection, connect
from tasks.probes import NAMESPACE, Prober, dial, ensure_prober, find_prober
from tests.tasks.fleetset import IMAGE, until
from tests.tasks.test_watches import Relay, relayed

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def same_city(fleet_lab) -> Connection:
    return connect(fleet_lab.fleet.cluster("same-city"))


@pytest.fixture(scope="module")
def pod(same_city) -> str:
    ensure_prober(same_city, IMAGE)
    until(lambda: isinstance(find_prober(same_city), str), 60, lambda: find_prober(same_city))
    return str(find_prober(same_city))


@pytest.fixture(scope="module")
def dns(same_city) -> str:
    """Return the address of a pod that listens at TCP port 53."""
    query = {"labelSelector": "k8s-app=kube-dns"}
    pods = same_city.request("GET", "/api/v1/namespaces/kube-system/pods", query=query).body["items"]
    return str(pods[0]["status"]["podIP"])


@pytest.fixture
def results() -> list[tuple[Spot, ProbeFact]]:
    return []


@pytest.fixture
def prober(same_city, pod, results) -> Iterator[Prober]:
    prober = Prober(same_city, IMAGE, Pace(), lambda spot, fact: results.append((spot, fact)))
    prober.start()
    yield prober
    prober.stop()


def test_an_endpoint_that_takes_connections_answers(same_city, pod, dns):
    assert (True, "") == dial(same_city, pod, dns, 53)


def test_one_that_refuses_and_one_that_is_silent_are_told_apart(same_city, pod, dns):
    silent = dns.rpartition(".")[0] + ".250"

    assert (False, "connection refused") == dial(same_city, pod, dns, 9)
    assert (False, "no answer within 1 s") == dial(same_city, pod, silent, 80)


def test_a_probe_that_cannot_be_made_says_nothing_about_the_endpoint(same_city, dns):
    with pytest.raises(Transient, match="no probe could be made: .*not found"):
        dial(same_city, "no-such-pod", dns, 53)


def test_a_probe_through_an_api_server_that_hangs_ends(same_city, pod, dns, monkeypatch):
    monkeypatch.setattr(probes, "PATIENCE", 1.0)
    relay = Relay(same_city.api.configuration.host)
    relay.silent = True
    began = time.monotonic()

    with pytest.raises(Transient, match="no probe could be made"):
        dial(relayed(same_city, relay), pod, dns, 53)

    assert time.monotonic() - began < 5


def test_wanted_endpoints_are_probed_and_told(prober, results, dns):
    prober.want(ServiceKey("a", "b"), {"elsewhere": [Target(dns, 53, "TCP"), Target(dns, 9, "TCP")]})

    until(lambda: {fact.answered for _, fact in results} == {True, False})

    assert prober.reason == ""
    assert {spot.source for spot, _ in results} == {"elsewhere"}
    prober.want(ServiceKey("a", "b"), {})
    time.sleep(1.5)
    count = len(results)
    time.sleep(1.5)
    assert len(results) == count


def test_a_pod_that_is_gone_is_replaced_by_the_next(prober, results, same_city, dns):
    prober.want(ServiceKey("a", "b"), {"elsewhere": [Target(dns, 53, "TCP")]})
    until(lambda: results)
    same_city.request(
        "DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods", query={"labelSelector": f"app.kubernetes.io/name={probes.NAME}"}
    )
    time.sleep(0.5)
    results.clear()

    until(lambda: results, 40, lambda: prober.reason)

    assert all(fact.answered for _, fact in results)


def test_without_a_pod_there_is_a_reason(same_city, monkeypatch):
    monkeypatch.setattr(probes, "NAME", "no-such-prober")

    found = find_prober(same_city)

    assert isinstance(found, Unknown)
    assert "no pod of Deployment flotilla-system/no-such-prober runs: there is none yet" in str(found)
