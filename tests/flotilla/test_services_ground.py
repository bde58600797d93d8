"""The ground for services: definitions that may be replaced and those that may not, Corefiles, pod ranges, findings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from flotilla.errors import Permanent
from flotilla.facts import Unknown
from flotilla.services import corefile, findings
from flotilla.services.definitions import EXPORTS, IMPORTS, NAMES, Decision, Definition, decide, parse_definition, upgraded
from flotilla.services.dnsground import DnsGround, judge_dns, version_of
from flotilla.services.findings import State, Topic
from flotilla.services.ground import NEEDED, Delegate, ServicesGround, in_use, judge, plan
from flotilla.services.ranges import PodRanges, Source, overlaps, pod_ranges
from flotilla.services.reach import Reach, every_pair

ROOT = Path(__file__).parent.parent.parent
BODIES = {
    body["metadata"]["name"]: body
    for body in map(yaml.safe_load, (f.read_text() for f in (ROOT / "deployments/crds").glob("*.yaml")))
}
OURS = {name: parse_definition(BODIES[name]) for name in NAMES}

COREFILE = """\
.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure # as ever
        fallthrough in-addr.arpa ip6.arpa
    }
    reload
}
"""
SERVING = """\
.:53 {
    errors
    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {
        multicluster clusterset.local
        pods insecure # as ever
        fallthrough in-addr.arpa ip6.arpa
    }
    reload
}
"""


def body(name: str = IMPORTS, **changes: Any) -> dict[str, Any]:
    """Return our definition as a cluster might have it: other versions, labels, stored versions, conversion."""
    found = copy.deepcopy(BODIES[name])
    versions = found["spec"]["versions"]
    if "served" in changes:
        kept = [entry for entry in versions if entry["name"] in changes["served"]]
        new = [
            copy.deepcopy(versions[-1]) | {"name": one, "storage": False}
            for one in changes["served"]
            if one not in {v["name"] for v in versions}
        ]
        found["spec"]["versions"] = kept + new
        if not any(entry["storage"] for entry in found["spec"]["versions"]):
            found["spec"]["versions"][-1]["storage"] = True
    if "labels" in changes:
        found["metadata"]["labels"] = changes["labels"]
    if "field" in changes:
        found["spec"]["versions"][-1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][changes["field"]] = {
            "type": "string"
        }
    if "without" in changes:
        for entry in found["spec"]["versions"]:
            entry["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].pop(changes["without"])
    if "conversion" in changes:
        found["spec"]["conversion"] = changes["conversion"]
    found["status"] = {"storedVersions": changes.get("stored", ["v1beta1"])}
    return found


def labels(release: str, revision: str = "0") -> dict[str, str]:
    return {"multicluster.x-k8s.io/release-version": release, "multicluster.x-k8s.io/crd-schema-revision": revision}


@pytest.mark.parametrize(
    ("seen", "decision", "reason"),
    [
        (None, Decision.INSTALL, ""),
        (body(), Decision.FINE, ""),
        (body(labels={}), Decision.FINE, ""),
        (body(served=["v1alpha1"], labels={}, stored=["v1alpha1"]), Decision.UPGRADE, "v1alpha1 -> v1alpha1+v1beta1, v0.5.2"),
        (body(labels=labels("v0.5.0"), without="ipFamilies"), Decision.UPGRADE, "v0.5.0 -> "),
        (body(labels=labels("v0.5.1", "3"), without="ipFamilies"), Decision.UPGRADE, "v0.5.1 revision 3 -> "),
        (body(labels=labels("v0.5.2", "1"), field="more"), Decision.NEWER, "v0.5.2 revision 1; ours is v0.5.2"),
        (body(labels=labels("v1.0.0"), field="more"), Decision.NEWER, "v1.0.0; ours is v0.5.2"),
        (body(field="more"), Decision.OTHER, "says that it is v0.5.2, as ours is, and has other contents"),
        (body(served=["v1alpha1", "v1beta1", "v1"], labels={}), Decision.NEWER, "serves v1, which ours does not"),
        (body(served=["v1alpha1", "v1beta1", "v1"], labels=labels("v0.4.0")), Decision.OTHER, "serves v1, which ours does not"),
        (body(labels={}, field="more"), Decision.OTHER, "has the field v1beta1 spec.more, which ours does not"),
        (body(labels={}, without="ips", stored=["v1beta1", "v0"]), Decision.OTHER, "has objects stored as v0"),
        (body(labels={}, without="ips", conversion={"strategy": "Webhook"}), Decision.OTHER, "somebody's webhook"),
        (body(labels={}, without="ips", conversion={"strategy": "None"}), Decision.UPGRADE, ""),
    ],
)
def test_a_definition_is_installed_upgraded_or_left(seen: dict[str, Any] | None, decision: Decision, reason: str) -> None:
    found = decide(OURS[IMPORTS], parse_definition(seen) if seen else None, asked=True)

    assert decision == found.decision
    assert reason in found.reason


@pytest.mark.parametrize(
    ("seen", "decision"),
    [(None, Decision.MISSING), (body(labels={}, without="ips"), Decision.OLDER), (body(), Decision.FINE)],
)
def test_nothing_is_written_without_being_asked(seen: dict[str, Any] | None, decision: Decision) -> None:
    found = decide(OURS[IMPORTS], parse_definition(seen) if seen else None, asked=False)

    assert decision == found.decision
    assert not found.decision.writes


def test_prose_of_a_schema_is_no_difference() -> None:
    seen = body(labels={})
    seen["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "other words"

    assert Decision.FINE == decide(OURS[IMPORTS], parse_definition(seen), asked=True).decision


def test_an_upgrade_keeps_what_others_wrote_and_names_the_version_that_was_seen() -> None:
    seen = body(labels={"team": "net"}, without="ips")
    seen["metadata"] |= {"resourceVersion": "7", "uid": "u"}

    found = upgraded(BODIES[IMPORTS], seen)

    assert BODIES[IMPORTS]["spec"] == found["spec"]
    assert {"team": "net", **BODIES[IMPORTS]["metadata"]["labels"]} == found["metadata"]["labels"]
    assert ("7", "u", seen["status"]) == (found["metadata"]["resourceVersion"], found["metadata"]["uid"], found["status"])


def test_our_definitions_serve_both_versions_and_store_the_newer() -> None:
    assert [("v1alpha1", "v1beta1")] * 3 == [ours.served for ours in OURS.values()]
    assert ["v1beta1"] * 3 == [ours.storage for ours in OURS.values()]


def test_the_least_is_changed_of_a_corefile() -> None:
    found = corefile.read_corefile(COREFILE)

    assert SERVING == found.wanted
    assert ("", True) == (found.served_by, found.reloads)
    assert (
        "the kubernetes plugin has no zone clusterset.local, and it has no option `multicluster clusterset.local`"
        == found.reason
    )
    assert corefile.Answer("kubernetes", reloads=True) == corefile.read_corefile(SERVING)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            ".:53 {\n  kubernetes cluster.local\n}\n",
            ".:53 {\n  kubernetes cluster.local clusterset.local {\n      multicluster clusterset.local\n  }\n}\n",
        ),
        (
            "cluster.local:5300 {\n\tkubernetes cluster.local {\n\t\tttl 5\n\t}\n}\n.:53 {\n\tforward . 192.0.2.1\n}\n",
            (
                "cluster.local:5300 clusterset.local:5300 {\n\tkubernetes cluster.local clusterset.local {\n"
                "\t\tmulticluster clusterset.local\n\t\tttl 5\n\t}\n}\n.:53 {\n\tforward . 192.0.2.1\n}\n"
            ),
        ),
        (
            ". {\n kubernetes corp.example clusterset.local {\n }\n}\n",
            ". {\n kubernetes corp.example clusterset.local {\n     multicluster clusterset.local\n }\n}\n",
        ),
        (
            ". {\n kubernetes cluster.local { # ours\n  multicluster other.local\n }\n}\n",
            ". {\n kubernetes cluster.local clusterset.local { # ours\n  multicluster other.local clusterset.local\n }\n}\n",
        ),
        (
            ". {\n kubernetes cluster.local { # ours\n  ttl 5\n }\n}\n",
            ". {\n kubernetes cluster.local clusterset.local { # ours\n  multicluster clusterset.local\n  ttl 5\n }\n}\n",
        ),
    ],
)
def test_a_corefile_in_another_shape_serves_the_zone_after_its_change(text: str, wanted: str) -> None:
    assert wanted == corefile.read_corefile(text).wanted
    assert "kubernetes" == corefile.read_corefile(wanted).served_by


@pytest.mark.parametrize(
    ("text", "served_by", "reason"),
    [
        ("clusterset.local:53 {\n forward . 192.0.2.9\n}\n" + COREFILE, "forward", ""),
        (".:53 {\n lighthouse clusterset.local\n kubernetes cluster.local\n}\n", "lighthouse", ""),
        (".:53 {\n multicluster clusterset.local\n kubernetes cluster.local\n}\n", "multicluster", ""),
        (".:53 {\n kubernetes {$DOMAIN}\n}\n", "", "its kubernetes plugin names no zone of the cluster"),
        (".:53 {\n import ../shared\n}\n", "", "it has no kubernetes plugin"),
        (".:53 {\n kubernetes cluster.local {\n}\n", "", "the block opened in line 1 is not closed"),
        ("}\n", "", "line 1 closes a block that was not opened"),
        ("# nothing\nstray\n", "", "line 2: 'stray' is followed by no block"),
    ],
)
def test_what_another_answers_or_only_a_person_can_tell_is_left(text: str, served_by: str, reason: str) -> None:
    found = corefile.read_corefile(text)

    assert (served_by, None) == (found.served_by, found.wanted)
    assert reason in found.reason


def dns(**changes: Any) -> DnsGround:
    fields = {"corefile": SERVING, "version": "v1.12.2", "account": "kube-system/coredns", "reads_imports": True}
    return DnsGround(
        **{"context": "c1", "namespace": "kube-system", "deployment": "coredns", "config_map": "coredns", **fields, **changes}
    )


@pytest.mark.parametrize(
    ("found", "state", "text", "commands"),
    [
        (dns(), "fine", "", []),
        (dns(corefile=COREFILE), "problem", "CoreDNS v1.12.2 does not serve clusterset.local", ["patch configmap coredns"]),
        (
            dns(corefile=COREFILE.replace("    reload\n", "")),
            "problem",
            "does not serve",
            ["patch configmap", "rollout restart"],
        ),
        (dns(corefile=COREFILE, kept_by="the EKS add-on"), "problem", "the EKS add-on keeps ConfigMap", ["patch configmap"]),
        (dns(corefile=COREFILE, version="v1.11.4-eksbuild.2"), "problem", "upgrade to 1.12.2 or newer first", []),
        (dns(version="latest"), "unknown", "the image's tag 'latest' is no version", []),
        (dns(reads_imports=False), "problem", "may not list and watch serviceimports", ["apply -f -"]),
        (dns(reads_imports=Unknown("c1", "HTTP 403")), "unknown", "HTTP 403", []),
        (Unknown("c1", "no CoreDNS"), "unknown", "no CoreDNS", []),
    ],
)
def test_dns_is_judged_with_the_commands_that_mend_it(
    found: DnsGround | Unknown, state: str, text: str, commands: list[str]
) -> None:
    told = list(judge_dns(found, defined=True))
    changes = [line for _, _, _, change in told for line in change.splitlines() if line.startswith("kubectl --context c1")]

    assert state == told[0][0]
    assert text in " ".join(entry[2] for entry in told)
    assert len(commands) == len(changes)
    assert all(part in command for part, command in zip(commands, changes, strict=True))


def test_the_right_to_read_imports_comes_before_the_zone_and_the_definition_before_both() -> None:
    changes = [change for *_, change in judge_dns(dns(corefile=COREFILE, reads_imports=False), defined=False) if change]

    assert 1 == len(changes)
    assert changes[0].startswith("# after flotilla check --install-crds")
    assert changes[0].index("ClusterRoleBinding") < changes[0].index("patch configmap")
    assert '{"kind": "ServiceAccount", "namespace": "kube-system", "name": "coredns"}' in changes[0]


@pytest.mark.parametrize(
    ("tag", "version"),
    [("v1.11.4-eksbuild.2", (1, 11, 4)), ("1.15.0", (1, 15, 0)), ("v1.9.3.10-7dfca203-aliyun", (1, 9, 3)), ("latest", None)],
)
def test_an_image_tag_is_a_version_or_none(tag: str, version: tuple[int, int, int] | None) -> None:
    assert version == version_of(tag)


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
            State.NOTE,
            "writes none of the imports",
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
