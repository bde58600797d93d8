"""Definitions of the Multi-Cluster Services API: installed, upgraded, or left as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from flotilla.services.definitions import IMPORTS, Decision, decide, parse_definition, upgraded
from tests.flotilla.groundwork import BODIES, OURS


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
