"""Import models, plain names, and why a name answers as it does."""

from __future__ import annotations

import pytest

from flotilla.exports import explain, probe_targets
from flotilla.facts import Unknown
from flotilla.services.explain import Blame
from flotilla.services.facts import DnsFact, ImportModel
from flotilla.services.health import Health, Link, Target, observe
from flotilla.services.names import KEEPER, derived_name
from flotilla.services.parse import lacking, served_versions
from flotilla.services.policy import Damping, Policy
from tests.flotilla.clusterset import KEY, PORTS, Clusterset
from tests.flotilla.test_exports_health import probe

DECLARED = Policy(imports=ImportModel.DECLARED)
NATIVE = {"flotilla.dev/native-name": "true"}


def declared(annotations: dict[str, str] | None = None, **service) -> Clusterset:
    """c1 exports, c2 was given a ServiceImport; c2 has a Service of its own where ``service`` says how it is."""
    fleet = Clusterset(policy=DECLARED)
    fleet.c1.service().export()
    fleet.c2.declare(annotations)
    if service:
        fleet.c2.service(**service)
    return fleet.settle()


def plain(fleet: Clusterset) -> list[str]:
    """The addresses that c2's imported slices put behind the plain name."""
    of = [body for body in fleet.c2.slices() if body["metadata"]["labels"].get("kubernetes.io/service-name") == KEY.name]
    return sorted(address for body in of for end in body["endpoints"] for address in end["addresses"])


def test_declared_consumers_import_and_nobody_else():
    fleet = declared()

    assert ["10.1.0.1", "10.1.0.2"] == fleet.c2.addresses()
    assert [*PORTS] == fleet.c2.get("ServiceImport")["spec"]["ports"]
    assert fleet.c2.get("ServiceImport")["spec"]["ips"]
    assert (None, None) == (fleet.c1.get("ServiceImport"), fleet.c3.get("ServiceImport"))


def test_without_a_consumer_an_export_is_ready_and_says_that_nobody_imports_it():
    fleet = Clusterset(policy=DECLARED)
    fleet.c1.service().export()
    fleet.settle()

    assert ("True", "Exported", "no cluster imports it yet") == fleet.condition("c1", "Ready")


def test_a_consumer_that_takes_its_import_back_loses_slices_and_service():
    fleet = declared()
    del fleet.c2.objects["ServiceImport", KEY.name]
    fleet.settle()

    assert {} == fleet.c2.objects


def test_an_export_may_name_its_own_import_model():
    fleet = Clusterset()
    fleet.c1.service().export(annotations={"flotilla.dev/imports": "declared"})
    fleet.settle()

    assert {} == fleet.c2.objects


def test_automatic_imports_go_when_the_service_becomes_declared():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.settle()
    fleet.policy = DECLARED

    assert {} == fleet.settle().c2.objects


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, ["10.1.0.1", "10.1.0.2"]),  # none here: made
        ({"selector": None, "pods": 0}, ["10.1.0.1", "10.1.0.2"]),
        ({"pods": 0}, ["10.1.0.1", "10.1.0.2"]),
        ({"pods": 1}, []),  # local pods win
        ({"type": "ExternalName", "pods": 0}, []),
    ],
)
def test_the_plain_name_reaches_the_exporters_where_no_local_pods_stand_behind_it(service, expected):
    fleet = declared(NATIVE, **service)

    assert expected == plain(fleet)
    assert ["10.1.0.1", "10.1.0.2"] == fleet.c2.addresses()


def test_a_plain_service_that_the_keeper_made_goes_with_the_export_and_one_of_others_stays():
    made, found = declared(NATIVE), declared(NATIVE, pods=0)
    assert KEEPER == made.c2.get("Service")["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    for fleet in (made, found):
        fleet.c1.unexport()
        fleet.settle()

    assert None is made.c2.get("Service")
    assert found.c2.get("Service")
    assert [] == plain(made) == plain(found)


def test_slices_of_the_plain_name_go_by_that_services_port_names():
    fleet = declared(NATIVE, pods=0, ports=({"name": "web", "port": 42, "protocol": "TCP"},))

    (body,) = [body for body in fleet.c2.slices() if body["metadata"]["name"].startswith("native")]
    assert [("web", 8042)] == [(port["name"], port["port"]) for port in body["ports"]]


def test_slices_of_the_plain_name_are_never_exported_again():
    fleet = declared(NATIVE)
    fleet.c2.export(9)
    fleet.settle()

    assert [] == plain(fleet)
    assert ["10.1.0.1", "10.1.0.2"] == fleet.c2.addresses()


def test_a_policy_that_drops_remote_endpoints_is_told():
    fleet = Clusterset()
    fleet.c1.service(internalTrafficPolicy="Local").export()
    fleet.settle()

    assert "client's own node" in fleet.condition("c2", "Ready", "ServiceImport")[2]


def test_families_that_do_not_meet_are_told():
    fleet = Clusterset()
    fleet.c2.model_ip_families = ("IPv6",)
    fleet.c1.service().export()
    fleet.settle()

    assert ("False", "IPFamilyNotSupported") == fleet.condition("c2", "Ready", "ServiceImport")[:2]


def crd(*fields: str) -> dict:
    spec = {"properties": {"spec": {"properties": {name: {} for name in ("type", "ports", "ips", *fields)}}}}
    versions = [{"name": "v1alpha1", "served": True, "schema": {"openAPIV3Schema": spec}}, {"name": "v0", "served": False}]
    return {"spec": {"versions": versions}}


def test_fields_that_a_cluster_does_not_know_are_neither_written_nor_missed():
    fleet = Clusterset()
    fleet.c2.lacks = lacking(crd("ipFamilies"), "v1alpha1", (1, 28))
    fleet.c1.service(internalTrafficPolicy="Local", trafficDistribution="PreferClose").export()
    fleet.settle()

    assert {"type", "ports", "ips", "ipFamilies", "sessionAffinity"} == set(fleet.c2.get("ServiceImport")["spec"])
    assert "PreferClose" == fleet.c3.get("ServiceImport")["spec"]["trafficDistribution"]
    assert "Local" == fleet.c2.get("Service", derived_name(KEY))["spec"]["internalTrafficPolicy"]


def test_served_versions_and_complete_schemas_are_read():
    complete = crd("ipFamilies", "internalTrafficPolicy", "trafficDistribution")

    assert (("v1alpha1",), frozenset()) == (served_versions(complete), lacking(complete, "v1alpha1", (1, 37)))


def test_what_is_probed_is_what_the_source_calls_ready_at_its_tcp_port():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.settle()

    targets = probe_targets(fleet.world(), fleet.decide())
    assert (Target("10.1.0.1", 8042, "TCP"), Target("10.1.0.2", 8042, "TCP")) == targets[Link("c2", "c1")]
    fleet.lose("c1")
    assert targets[Link("c2", "c1")] == probe_targets(fleet.world(), fleet.decide())[Link("c2", "c1")]


def broken_link(fleet: Clusterset, dns: DnsFact | Unknown | None = None) -> tuple[str, str, Blame | None] | None:
    step = explain(fleet.world(), fleet.decide(), consumer="c2", dns=dns).broken
    return (step.link, step.cluster, step.blame) if step else None


def wired() -> Clusterset:
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.c3.service().export(1)
    return fleet.settle()


def test_a_service_that_answers_has_no_broken_link():
    answer = DnsFact(("10.96.2.0",))

    assert None is broken_link(wired(), answer)
    links = [step.link for step in explain(wired().world(), wired().decide(), consumer="c2", dns=answer).steps]
    per_source = ["endpoints", "lease and probes", "slices"]
    assert ["export", "export", "conflict", "import", *per_source, *per_source, "derived service", "dns"] == links


def without(fleet: Clusterset, kind: str, name: str = KEY.name) -> Clusterset:
    del fleet.c2.objects[kind, name]
    return fleet


def unexported() -> Clusterset:
    fleet = Clusterset()
    fleet.c1.service()
    return fleet


def external() -> Clusterset:
    fleet = Clusterset()
    fleet.c1.service(type="ExternalName").export()
    return fleet.settle()


def podless() -> Clusterset:
    fleet = Clusterset()
    fleet.c1.service(pods=0).export()
    return fleet.settle()


def cut() -> Clusterset:
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.c3.service().export(1)
    fleet.settle()
    ends = (("c1", "10.1.0.1"), ("c1", "10.1.0.2"))
    probes = [probe(address, at, False, Link("c2", source)) for at in range(9) for source, address in ends]
    fleet.health, fleet.now = observe(Health(), probes, Damping()), 9.0
    fleet.c3.pods(0)
    fleet.c3.unexport()
    return fleet


def nameless() -> Clusterset:
    fleet = wired()
    fleet.c2.namespace = ""
    return fleet


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        (unexported(), ("export", "", Blame.USER)),
        (external(), ("export", "c1", Blame.USER)),
        (podless(), ("endpoints", "c1", Blame.SOURCE)),
        (nameless(), ("import", "c2", Blame.USER)),
        (without(wired(), "ServiceImport"), ("import", "c2", Blame.CONTROLLER)),
        (without(wired(), "Service", derived_name(KEY)), ("derived service", "c2", Blame.CONTROLLER)),
    ],
)
def test_the_first_broken_link_is_named_with_whom_to_ask(fleet, expected):
    assert expected == broken_link(fleet)


def test_a_broken_network_is_told_from_a_broken_controller():
    assert ("lease and probes", "c1", Blame.NETWORK) == broken_link(cut())


@pytest.mark.parametrize(
    ("answer", "blame"),
    [
        (DnsFact(("10.96.2.0",)), None),
        (DnsFact((), "NXDOMAIN"), Blame.DNS),
        (DnsFact(("10.0.0.99",)), Blame.DNS),
        (Unknown("c2", "no pod to ask from"), Blame.DNS),
    ],
)
def test_dns_that_answers_otherwise_is_the_broken_link(answer, blame):
    found = broken_link(wired(), answer)

    assert (("dns", "c2", blame) if blame else None) == found


def test_a_cluster_that_cannot_be_seen_is_explained_as_such():
    fleet = wired()
    fleet.lose("c2")

    assert ("import", "c2", Blame.CONTROLLER) == broken_link(fleet)
