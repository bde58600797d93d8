"""The ground for services: pod ranges, and what is told about each cluster."""

from __future__ import annotations

from typing import Any

import pytest

from flotilla.errors import Permanent
from flotilla.facts import Unknown
from flotilla.services import findings
from flotilla.services.definitions import EXPORTS, IMPORTS, NAMES, Decision, Definition
from flotilla.services.findings import State, Topic
from flotilla.services.ground import NEEDED, Delegate, ServicesGround, in_use, judge, plan
from flotilla.services.ranges import PodRanges, Source, overlaps, pod_ranges
from flotilla.services.reach import Reach, every_pair
from tests.flotilla.groundwork import OURS, dns


@pytest.mark.parametrize(
    ("sources", "addresses", "expected"),
    [
        ([("nodes", ["10.0.0.0/24", "10.0.1.0/24"])], ["10.0.1.9"], ("10.0.0.0/23",)),
        ([("nodes", ["10.0.0.0/24", "fd00::/64"])], ["fd00::9"], ("10.0.0.0/24", "fd00::/64")),
        ([("nodes", []), ("kubeadm", ["10.244.0.0/16"])], [], ("10.244.0.0/16",)),
        ([("nodes", ["10.244.0.0/16"]), ("Cilium", ["10.0.0.0/8"])], ["10.0.3.4"], ("10.0.0.0/8",)),
        (
            [("nodes", ["10.244.0.0/16"])],
            ["10.9.0.1"],
            "a pod has 10.9.0.1, outside of every range that is told: nodes has 10.244.0.0/16",
        ),
        ([("nodes", [])], ["10.9.0.1"], "pod ranges stand nowhere"),
    ],
)
def test_pod_ranges_are_those_that_hold_the_pods(sources: Any, addresses: list[str], expected: Any) -> None:
    found = pod_ranges("c1", [Source(where, tuple(ranges)) for where, ranges in sources], addresses)

    if isinstance(expected, str):
        assert isinstance(found, Unknown)
        assert expected in found.reason
    else:
        assert isinstance(found, PodRanges)
        assert expected == found.ranges


def test_ranges_that_share_addresses_are_named_by_both_clusters() -> None:
    clusters = [
        PodRanges("c1", ("10.0.0.0/16",), "nodes"),
        Unknown("c2", "403"),
        PodRanges("c3", ("10.0.8.0/21", "fd00::/64"), "kubeadm"),
        PodRanges("c4", ("10.1.0.0/16",), "nodes"),
    ]

    assert [
        (
            "c1",
            "c3",
            "pods have 10.0.0.0/16 (nodes), pods of c3 have 10.0.8.0/21 (kubeadm): give one of the clusters another range",
        )
    ] == list(overlaps(clusters))


def ground(cluster: str, **changes: Any) -> ServicesGround:
    number = cluster[-1]
    fields: dict[str, Any] = {
        "definitions": OURS,
        "properties": {"cluster.clusterset.k8s.io": cluster, "clusterset.k8s.io": "fleet"},
        "pods": PodRanges(cluster, (f"10.{number}.0.0/16",), "nodes"),
        "dns": dns(),
        "delegates": (),
        "missing": (),
    }
    return ServicesGround(cluster, **{**fields, **changes})


def told(*grounds: ServicesGround, reaches: tuple[Reach, ...] = ()) -> list[tuple[str, Topic, State, str]]:
    items = judge(grounds, OURS, reaches)
    return [(item.cluster, item.topic, item.state, item.text) for item in items if item.state is not State.FINE]


def test_sound_ground_has_nothing_to_say() -> None:
    items = judge([ground("c1"), ground("c2")], OURS)

    assert [] == told(ground("c1"), ground("c2"))
    assert findings.is_sound(items)
    total = str(len(NEEDED))
    expected = {
        "API": "v1alpha1+v1beta1",
        "cluster id": "c1",
        "pod range": "10.1.0.0/16",
        "DNS": "CoreDNS v1.12.2",
        "rights": f"{total} of {total}",
    }
    assert {"cluster": "c1", **expected, "API": "v1alpha1+v1beta1, v0.5.2"} == findings.rows(items)[0]


@pytest.mark.parametrize(
    ("changes", "topic", "state", "text"),
    [
        ({"definitions": Unknown("c1", "HTTP 403")}, Topic.API, State.UNKNOWN, "definitions: HTTP 403"),
        (
            {"definitions": {**OURS, EXPORTS: None}},
            Topic.API,
            State.PROBLEM,
            f"{EXPORTS} is not installed: flotilla check --install-crds",
        ),
        (
            {"definitions": {**OURS, IMPORTS: Definition(IMPORTS, ("v1beta1",), "v1beta1")}},
            Topic.API,
            State.PROBLEM,
            "does not serve v1alpha1, by which CoreDNS",
        ),
        (
            {"definitions": {**OURS, EXPORTS: Definition(EXPORTS, ("v2",), "v2")}},
            Topic.API,
            State.PROBLEM,
            "serves v2, expected v1beta1 or v1alpha1",
        ),
        (
            {"definitions": {**OURS, EXPORTS: Definition(EXPORTS, ("v1alpha1",), "v1alpha1")}},
            Topic.API,
            State.NOTE,
            "is older than ours",
        ),
        (
            {"delegates": (Delegate("Submariner Lighthouse", "Deployment x"),)},
            Topic.API,
            State.PROBLEM,
            "say services.wiredBy: others in the fleet file",
        ),
        (
            {"delegates": Unknown("c1", "HTTP 403")},
            Topic.API,
            State.UNKNOWN,
            "whether somebody else wires services here: HTTP 403",
        ),
        ({"properties": {}}, Topic.CLUSTER_ID, State.NOTE, "the name 'c1' of the fleet file is its id"),
        ({"properties": {"cluster.clusterset.k8s.io": "a.b"}}, Topic.CLUSTER_ID, State.PROBLEM, "'a.b', expected a DNS label"),
        (
            {"properties": {"cluster.clusterset.k8s.io": "c2"}},
            Topic.CLUSTER_ID,
            State.PROBLEM,
            "the cluster id 'c2' is that of c2 too",
        ),
        (
            {"properties": {"cluster.clusterset.k8s.io": "c1", "clusterset.k8s.io": "x"}},
            Topic.CLUSTER_ID,
            State.PROBLEM,
            "different sets (c1 'x', c2 'fleet')",
        ),
        ({"properties": Unknown("c1", "HTTP 403")}, Topic.CLUSTER_ID, State.UNKNOWN, "cluster id: HTTP 403"),
        ({"pods": PodRanges("c1", ("10.2.128.0/17",), "kubeadm")}, Topic.PODS, State.PROBLEM, "pods of c2 have 10.2.0.0/16"),
        ({"pods": Unknown("c1", "pod ranges stand nowhere")}, Topic.PODS, State.UNKNOWN, "pod ranges stand nowhere"),
        ({"missing": NEEDED[-1:]}, Topic.RIGHTS, State.PROBLEM, "the account may not: create pods/exec"),
        ({"missing": Unknown("c1", "HTTP 500")}, Topic.RIGHTS, State.UNKNOWN, "rights: HTTP 500"),
    ],
)
def test_each_defect_of_the_ground_is_told(changes: dict[str, Any], topic: Topic, state: State, text: str) -> None:
    found = told(ground("c1", **changes), ground("c2"))

    assert ("c1", topic, state) == found[0][:3]
    assert text in found[0][3]


def test_a_cluster_that_is_away_is_one_finding() -> None:
    away = Unknown("c1", "does not answer")
    parts = dict.fromkeys(("definitions", "properties", "pods", "dns", "delegates", "missing"), away)

    assert [("c1", Topic.API, State.UNKNOWN, "cannot be looked at: does not answer")] == told(
        ground("c1", **parts), ground("c2")
    )


def test_what_could_not_be_installed_is_told_with_its_error() -> None:
    items = judge([ground("c1", definitions=dict.fromkeys(NAMES))], OURS, failed={("c1", EXPORTS): Permanent("c1: HTTP 403")})

    assert [f"{EXPORTS}: c1: HTTP 403"] == [item.text for item in items if EXPORTS in item.text]


def test_a_plan_names_every_definition_of_each_cluster_that_can_be_seen() -> None:
    grounds = [ground("c1", definitions=dict.fromkeys(NAMES)), ground("c2", definitions=Unknown("c2", "403")), ground("c3")]

    assert [("c1", Decision.INSTALL)] * 3 + [("c3", Decision.FINE)] * 3 == [
        (one.cluster, one.choice.decision) for one in plan(grounds, OURS)
    ]


@pytest.mark.parametrize(
    ("definitions", "expected"), [(OURS, True), (dict.fromkeys(NAMES), False), (Unknown("c1", "HTTP 403"), False)]
)
def test_services_are_in_use_where_a_cluster_is_seen_to_have_exports(definitions: Any, expected: bool) -> None:
    assert expected == in_use([ground("c1", definitions=definitions)])


def test_every_pair_of_clusters_is_told_those_included_that_nobody_could_try() -> None:
    tried = {"c1": (Reach("c1", "c2", reached=False, address="10.2.0.9:8080", detail="TIMEOUT"),), "c2": Permanent("no image")}
    reaches = every_pair(["c1", "c2", "c3"], {"c1": "10.1.0.9", "c2": "10.2.0.9", "c3": Permanent("c3 is away")}, tried)
    found = told(ground("c1"), ground("c2"), ground("c3"), reaches=reaches)

    assert [
        ("c1", State.PROBLEM, "its pods do not reach those of c2: 10.2.0.9:8080 answers TIMEOUT; expected a route"),
        ("c1", State.UNKNOWN, "whether its pods reach those of c3 is not known: c3 is away"),
        ("c2", State.UNKNOWN, "whether its pods reach those of c1 is not known: no image"),
        ("c2", State.UNKNOWN, "whether its pods reach those of c3 is not known: c3 is away"),
        ("c3", State.UNKNOWN, "whether its pods reach those of c1 is not known: c3 is away"),
        ("c3", State.UNKNOWN, "whether its pods reach those of c2 is not known: c3 is away"),
    ] == [(cluster, state, text.partition(" between")[0]) for cluster, _, state, text in found]
