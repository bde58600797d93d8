"""What an audit finds, and what it does not take for a difference."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flotilla.facts import Unknown
from flotilla.services.audit import Difference, keeper_problem, lasting, wiring_of
from flotilla.services.facts import LeaseFact
from tests.flotilla.clusterset import T0, Clusterset


def wiring(clusters: Clusterset):
    return wiring_of(clusters.world(), clusters.policy, T0 + timedelta(seconds=clusters.now))


@pytest.fixture
def wired() -> Clusterset:
    clusters = Clusterset()
    clusters.c1.service().export()
    clusters.c3.service().export(at=1)
    clusters.settle()
    return clusters


def test_what_is_wired_differs_in_nothing(wired):
    found = wiring(wired)

    assert ((), ("c1", "c3"), ("c1", "c2", "c3")) == (found.differences, found.exported_by, found.imported_by)
    assert {"c1": 4, "c2": 4, "c3": 4} == found.endpoints


def test_a_slice_that_somebody_deleted_is_a_difference(wired):
    name = wired.c2.slices()[0]["metadata"]["name"]
    del wired.c2.objects["EndpointSlice", name]

    (one,) = wiring(wired).differences

    assert ("shop/hello", "c2", "") == (one.service, one.cluster, one.held_back)
    assert name in one.text


def test_endpoints_that_the_keeper_says_it_holds_back_are_no_difference(wired):
    said = "exported by c1, c3; no answer from 2 of 2 endpoints of c1"
    for body in wired.c2.slices():
        if "-c1-" in body["metadata"]["name"]:
            for end in body["endpoints"]:
                end["conditions"]["ready"] = False
    wired.c2.get("ServiceImport")["status"]["conditions"][0]["message"] = said

    assert {said} == {one.held_back for one in wiring(wired).differences}


def test_endpoints_that_are_not_ready_without_a_word_are_a_difference(wired):
    wired.c2.slices()[0]["endpoints"][0]["conditions"]["ready"] = False

    assert [""] == [one.held_back for one in wiring(wired).differences]


def test_only_what_differs_in_both_looks_lasts():
    first, second, third = (Difference("s", "c", text) for text in "abc")

    assert (second,) == lasting([first, second], [second, third])


HELD = LeaseFact("keeper", T0, 8)


@pytest.mark.parametrize(
    ("leases", "fine"),
    [
        ([HELD, HELD, HELD], True),
        ([HELD, HELD, Unknown("c3", "away")], True),
        ([HELD, Unknown("c2", "away"), Unknown("c3", "away")], False),
        ([HELD, LeaseFact("", T0, 8), LeaseFact("keeper", T0 - timedelta(minutes=1), 8)], False),
    ],
)
def test_a_keeper_is_at_work_where_it_holds_most_leases(leases, fine):
    problem = keeper_problem({f"c{number}": lease for number, lease in enumerate(leases)}, T0)

    assert fine is (problem == "")
