"""Who wins, what everybody is told, and what is remembered of exporters that nobody can see."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flotilla.services.cap import Cause, Withdrawal, ration
from flotilla.services.facts import Port
from flotilla.services.health import Health, Link
from flotilla.services.merge import union
from flotilla.services.names import ServiceKey
from flotilla.services.parse import cluster_id, parse_import, parse_lease, parse_slice, parse_time, shared_ids
from flotilla.services.policy import Policy
from tests.flotilla.clusterset import KEY, PORTS, T0, Clusterset

AFFINE = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}}}
LONGER = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 20}}}


def two(old: dict, young: dict, **exports: dict) -> Clusterset:
    """c2 has the oldest export, c1 the younger one."""
    fleet = Clusterset()
    fleet.c2.service(**old).export(0, **exports.get("old", {}))
    fleet.c1.service(**young).export(5, **exports.get("young", {}))
    return fleet.settle()


@pytest.mark.parametrize(
    ("old", "young", "reasons", "shown"),
    [
        ({}, {"clusterIP": "None"}, "TypeConflict", 'Using "ClusterSetIP"'),
        ({}, AFFINE, "SessionAffinityConflict,SessionAffinityConfigConflict", 'Using "None"'),
        (AFFINE, LONGER, "SessionAffinityConfigConflict", 'Using "10 s"'),
        ({}, {"internalTrafficPolicy": "Local"}, "InternalTrafficPolicyConflict", 'c1 ("Local")'),
        ({"trafficDistribution": "PreferClose"}, {}, "TrafficDistributionConflict", 'c1 ("none")'),
        ({}, {"ipFamilies": ["IPv4", "IPv6"]}, "IPFamilyConflict", 'c1 ("IPv4,IPv6")'),
        ({}, {"ports": PORTS[:1]}, "PortConflict", "1/2 clusters disagree: c1"),
    ],
)
def test_each_conflict_is_told_to_both_with_who_won_and_who_disagrees(old, young, reasons, shown):
    fleet = two(old, young)

    for name in ("c1", "c2"):
        status, reason, message = fleet.condition(name, "Conflict")
        assert ("True", reasons) == (status, reason)
        assert shown in message
        assert 'from oldest service export in "c2"' in message


def test_ip_families_in_another_order_are_no_conflict():
    fleet = two({"ipFamilies": ["IPv4", "IPv6"]}, {"ipFamilies": ["IPv6", "IPv4"]})

    assert "False" == fleet.condition("c1", "Conflict")[0]


def test_exports_of_one_second_are_ordered_by_cluster():
    fleet = Clusterset()
    fleet.c3.service(internalTrafficPolicy="Local").export()
    fleet.c1.service().export()
    fleet.settle()

    assert "Cluster" == fleet.c2.get("ServiceImport")["spec"]["internalTrafficPolicy"]
    assert 'in "c1"' in fleet.condition("c3", "Conflict")[2]


def test_a_younger_conflicting_export_changes_nothing_of_the_import():
    fleet = Clusterset()
    fleet.c2.service(**AFFINE).export()
    before = fleet.settle().c3.get("ServiceImport")["spec"]
    fleet.c1.service(**LONGER).export(5)

    assert before == fleet.settle().c3.get("ServiceImport")["spec"]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[Port("a", "TCP", 1)], [Port("a", "TCP", 2)]], ["a 1/TCP"]),
        ([[Port("a", "TCP", 1)], [Port("b", "TCP", 1)]], ["a 1/TCP"]),
        ([[Port("a", "TCP", 1)], [Port("b", "UDP", 1)]], ["a 1/TCP", "b 1/UDP"]),
        ([[Port("", "TCP", 1)], [Port("", "TCP", 2)]], ["1/TCP"]),
        ([[Port("", "TCP", 1)], [Port("tcp-1", "TCP", 2)]], ["tcp-1-x 1/TCP", "tcp-1 2/TCP"]),
        ([[], []], []),
    ],
)
def test_ports_are_merged_by_name_then_by_number(lists, expected):
    assert expected == [str(port) for port in union(lists)]


def test_a_namespace_that_means_something_else_everywhere_is_not_exported_from():
    fleet = Clusterset(policy=Policy(refused_namespaces=frozenset({KEY.namespace})))
    fleet.c1.service().export()
    fleet.settle()

    assert ("False", "NamespaceNotAllowed") == fleet.condition("c1", "Valid")[:2]


def test_an_unknown_cluster_keeps_what_it_contributed_as_last_seen():
    fleet = two({}, {})
    held = fleet.remember().c3.addresses()
    fleet.lose("c1")

    assert [] == fleet.step()
    assert ["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2"] == held == fleet.c3.addresses()


def test_an_unknown_cluster_that_this_keeper_never_saw_keeps_what_the_others_hold():
    fleet = two({}, AFFINE)
    fleet.lose("c2")
    before = fleet.c3.get("ServiceImport")["spec"]
    fleet.settle()

    assert "10.2.0.1" in fleet.c3.addresses()
    assert before == fleet.c3.get("ServiceImport")["spec"]
    assert "c2 cannot be seen" in fleet.condition("c3", "Ready", "ServiceImport")[2]
    assert "True" == fleet.condition("c1", "Conflict")[0]
    assert [{"cluster": "c1"}, {"cluster": "c2"}] == fleet.c3.get("ServiceImport")["status"]["clusters"]


def test_the_last_exporter_lost_before_the_keeper_started_stays_imported():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.settle()
    fleet.lose("c1")
    fleet.settle()

    assert ["10.1.0.1", "10.1.0.2"] == fleet.c3.addresses()
    assert "ClusterSetIP" == fleet.c3.get("ServiceImport")["spec"]["type"]


def test_an_export_deleted_while_its_cluster_was_away_goes_when_the_cluster_is_back():
    fleet = two({}, {})
    fleet.remember().lose("c2")
    fleet.settle()
    fleet.c2.unexport()
    fleet.c2.away = ""
    fleet.settle()

    assert ["10.1.0.1", "10.1.0.2"] == fleet.c3.addresses()


def test_a_cluster_that_left_the_fleet_is_withdrawn_once_every_cluster_can_be_seen():
    fleet = two({}, {})
    fleet.c2.name = "c9"  # its id is no longer any cluster's
    fleet.c2.unexport()

    assert {Cause.LEFT} == {withdrawal.cause for withdrawal in fleet.decide().withdrawals}


def test_an_import_deleted_by_hand_comes_back_and_slices_never_leave_in_between():
    fleet = two({}, {})
    del fleet.c3.objects["ServiceImport", KEY.name]
    fleet.step()
    assert 4 == len(fleet.c3.addresses())
    fleet.settle()

    assert 4 == len(fleet.c3.addresses())
    uid = fleet.c3.get("ServiceImport")["metadata"]["uid"]
    assert {uid} == {body["metadata"]["ownerReferences"][0]["uid"] for body in fleet.c3.slices()}


def test_a_namespace_created_later_gets_the_import():
    fleet = Clusterset()
    fleet.c2.namespace = ""
    fleet.c1.service().export()
    fleet.settle()
    assert {} == fleet.c2.objects

    fleet.c2.namespace = "Active"
    assert ["10.1.0.1", "10.1.0.2"] == fleet.settle().c2.addresses()


def test_a_namespace_that_is_being_deleted_is_not_written_to():
    fleet = two({}, {})
    fleet.c3.namespace = "Terminating"
    fleet.c1.unexport()
    fleet.log.clear()
    fleet.settle()

    assert [] == [line for line in fleet.log if line.startswith("c3")]


def test_an_import_made_by_hand_is_never_deleted():
    fleet = Clusterset()
    fleet.c2.declare()
    fleet.settle()
    assert ("False", "Pending", "no cluster exports this service") == fleet.condition("c2", "Ready", "ServiceImport")

    fleet.c1.service().export()
    assert ["10.1.0.1", "10.1.0.2"] == fleet.settle().c2.addresses()
    fleet.c1.unexport()
    assert [] == fleet.settle().c2.addresses()
    assert "ips" not in fleet.c2.get("ServiceImport")["spec"]


def test_a_withdrawal_that_waits_for_a_person_changes_nothing_and_goes_on_after_the_word():
    fleet = two({}, {})
    fleet.c2.unexport()
    asked = fleet.decide().withdrawals
    fleet.health = Health(held=ration(asked, cap=0).held_links(KEY))

    assert 4 == len(fleet.settle().c3.addresses())
    fleet.health = Health(held=ration(asked, cap=0, approved=frozenset({(KEY, "c2")})).held_links(KEY))
    assert ["10.1.0.1", "10.1.0.2"] == fleet.settle().c3.addresses()


def test_the_only_exporters_withdrawal_can_wait_too():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.settle().c1.unexport()
    fleet.health = Health(held=frozenset(withdrawal.link for withdrawal in fleet.decide().withdrawals))

    assert ["10.1.0.1", "10.1.0.2"] == fleet.settle().c3.addresses()


def withdrawals(count: int, cause: Cause = Cause.UNEXPORTED) -> list[Withdrawal]:
    return [
        Withdrawal(ServiceKey("shop", f"s{number}"), Link(consumer, "c1"), cause, "gone")
        for number in range(count)
        for consumer in ("c2", "c3")
    ]


@pytest.mark.parametrize(
    ("asked", "already", "allowed", "held"),
    [
        (withdrawals(3), 0, 6, 0),
        (withdrawals(4), 0, 0, 8),
        (withdrawals(1), 3, 0, 2),
        (withdrawals(4, Cause.NOT_IMPORTED), 0, 8, 0),
    ],
)
def test_a_mass_withdrawal_waits_for_a_person(asked, already, allowed, held):
    result = ration(asked, cap=3, already=already)

    assert (allowed, held) == (len(result.allowed), len(result.held))


def test_two_clusters_of_one_id_are_named():
    assert {"a": ("c1", "c2")} == shared_ids({"c1": "a", "c2": "a", "c3": "c3"})


@pytest.mark.parametrize(
    ("declared", "expected"), [("west", "west"), (None, "c1"), ("a.b", "c1"), ("", "c1"), ("x" * 64, "c1")]
)
def test_a_cluster_goes_by_its_property_where_that_is_a_label(declared, expected):
    assert expected == cluster_id(declared, "c1")


def test_times_are_read_to_the_microsecond_and_never_without_a_zone():
    lease = parse_lease(
        {"spec": {"renewTime": "2026-11-22T12:00:00.500000Z", "leaseDurationSeconds": 4, "holderIdentity": "a"}}
    )

    assert T0 + timedelta(seconds=0.5) == lease.renewed
    with pytest.raises(ValueError, match="time zone"):
        parse_time("2026-11-22T12:00:00")


def test_null_lists_of_a_slice_are_none():
    fact = parse_slice({"metadata": {"name": "a"}, "addressType": "IPv4", "ports": None, "endpoints": None})

    assert ((), ()) == (fact.ports, fact.endpoints)


def test_labels_that_others_put_on_an_import_are_theirs():
    managed = [
        {"manager": manager, "fieldsV1": {"f:metadata": {"f:labels": {f"f:{label}": {}}}}}
        for manager, label in (("flotilla-keeper", "ours"), ("kubectl", "theirs"))
    ]
    metadata = {"name": "a", "labels": {"ours": "1", "theirs": "2"}, "managedFields": managed}

    assert {"ours": "1"} == parse_import({"metadata": metadata, "spec": {"type": "Headless"}}).properties.labels
