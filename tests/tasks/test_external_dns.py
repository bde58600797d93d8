"""The second provider of traffic: an object of a real cluster, of which a write is refused when it comes too late."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import yaml

from flotilla.errors import Permanent, Transient
from flotilla.node.config import AgentConfig
from flotilla.traffic.config import ExternalDnsTraffic
from flotilla.traffic.records import Held, holding, parse_record, records
from flotilla.traffic.service import Desired
from flotilla.validation import checked
from flows.agent_parts import traffic_of
from tasks import objects
from tasks.clusters import Connection
from tasks.external_dns import ExternalDns
from tasks.powerdns import StaleEpoch
from tests.conftest import ROOT
from tests.flotilla.trafficset import REMOTE, SHOP, desired
from tests.metrics.programs import until
from tests.tasks.stage import CLUSTER

pytestmark = pytest.mark.lab
DEFINITION = yaml.safe_load((ROOT / "deployments" / "crds" / "external-dns" / "dnsendpoints.yaml").read_text())
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def defined(connection: Connection) -> Iterator[None]:
    """Have the definition served while these tests run."""
    connection.request("POST", PATH, body=DEFINITION)
    until(lambda: objects.kind_of(connection, "externaldns.k8s.io/v1alpha1", "DNSEndpoint"), "served")
    yield
    connection.request("DELETE", f"{PATH}/{DEFINITION['metadata']['name']}")
    connection.forget(("version", "externaldns.k8s.io/v1alpha1"))
    connection.forget(("externaldns.k8s.io/v1alpha1", "DNSEndpoint"))


@pytest.fixture
def provider(connection: Connection, stage, defined: None) -> ExternalDns:
    return ExternalDns(connection, SHOP.zone, stage.namespace, "shop")


def wanted(one: Desired, *, checked: bool = False) -> list[dict[str, object]]:
    return [record.as_dict() for record in records(SHOP, one, checked=checked)]


def held(provider: ExternalDns) -> object:
    return holding(SHOP, [parse_record(one) for one in provider.seen()["records"]])


def test_a_cluster_without_the_definition_is_told_what_it_lacks(connection, stage) -> None:
    lacking = ExternalDns(connection, SHOP.zone, stage.namespace, "shop")

    with pytest.raises(Permanent, match="has no DNSEndpoint"):
        lacking.set(SHOP.zone, wanted(desired(1)))
    assert "install external-dns" in lacking.seen()["unseen"]


def test_an_agents_file_names_the_object(connection, stage, defined: None) -> None:
    said = {
        "kubeconfig": os.environ["KUBECONFIG"],
        "context": CLUSTER,
        "namespace": stage.namespace,
        "name": "shop",
        "zone": SHOP.zone,
    }
    config = AgentConfig.model_construct(site="remote", external_dns=checked(ExternalDnsTraffic, said, "agent.yaml"))

    made = traffic_of(config)

    assert made is not None
    assert made.set(SHOP.zone, wanted(desired(3))) is True
    assert held(ExternalDns(connection, SHOP.zone, stage.namespace, "shop")) == Held(desired(3))


def test_what_is_published_is_held_and_publishing_again_changes_nothing(provider) -> None:
    assert provider.seen() == {"serving": False, "zone": "example.", "epoch": None, "records": []}

    assert provider.set(SHOP.zone, wanted(desired(1))) is True
    assert provider.set(SHOP.zone, wanted(desired(1))) is False
    assert provider.set(SHOP.zone, wanted(desired(2, "remote", REMOTE))) is True

    assert held(provider) == Held(desired(2, "remote", REMOTE))
    assert provider.seen()["epoch"] == 2
    assert provider.seen()["serving"] is False  # no external-dns has said that it took it


def test_an_actor_of_an_earlier_epoch_changes_nothing(provider) -> None:
    provider.set(SHOP.zone, wanted(desired(7)))

    with pytest.raises(StaleEpoch, match="stale epoch 6"):
        provider.set(SHOP.zone, wanted(desired(6)))

    assert held(provider) == Held(desired(7))


@pytest.mark.parametrize("there", [False, True])
def test_whoever_wrote_between_look_and_write_makes_the_write_fail(provider, monkeypatch, there: bool) -> None:
    """The check of the epoch would be worth nothing otherwise: the other one's may be higher."""
    if there:
        provider.set(SHOP.zone, wanted(desired(1)))
    read = objects.read

    def slow_read(*words: object) -> object:
        seen = read(*words)
        monkeypatch.undo()
        provider.set(SHOP.zone, wanted(desired(9)))
        return seen

    monkeypatch.setattr("tasks.external_dns.read", slow_read)

    with pytest.raises(Transient, match="was changed meanwhile"):
        provider.set(SHOP.zone, wanted(desired(8)))
    assert held(provider) == Held(desired(9))


def test_a_check_of_health_is_refused_by_name(provider) -> None:
    with pytest.raises(Permanent, match="checks no health"):
        provider.set(SHOP.zone, wanted(desired(1), checked=True))
