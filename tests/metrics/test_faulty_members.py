"""A member that is away, slow, cut off or something else: the others go on, and once it is back nothing is missing."""

from __future__ import annotations

import pytest

from flotilla.metrics.completeness import Outcome
from tests.metrics import faulty
from tests.metrics.faulty import at
from tests.metrics.ground import KINDS, Ground, outcomes, usual
from tests.metrics.programs import free_port

pytestmark = pytest.mark.programs

ANSWERS = {
    "400": (faulty.says(400), "HTTP 400"),
    "401": (faulty.says(401), "check the credentials"),
    "403": (faulty.says(403), "allow what"),
    "404": (faulty.page(404), "check the service and the path"),
    "413": (faulty.says(413), "HTTP 413"),
    "429": (faulty.says(429), "HTTP 429"),
    "500": (faulty.says(500), "HTTP 500"),
    "503": (faulty.page(503), "HTTP 503"),
    "closes": (faulty.closes, "does not answer"),
    "a page": (faulty.page(), "Sign in"),
    "JSON": (faulty.says(200, b'{"status":"success","data":{}}', Content_Type="application/json"), ""),
    "a list": (faulty.says(200, b"[]", Content_Type="application/json"), ""),
    "no list": (faulty.says(200, b'{"data":{"yaml":"[]","result":1}}', Content_Type="application/json"), ""),
    "nothing": (faulty.says(200, b""), ""),
    "half": (faulty.half(), "does not answer"),
    "half, unannounced": (faulty.half(framed=False), ""),
}


@pytest.fixture(autouse=True)
def filled(ground: Ground) -> None:
    for member in ground.members:
        ground.fill(member, usual())


def test_all_that_members_hold_is_at_the_store_under_the_names_of_the_fleet(ground):
    cycles = ground.collected(ground.collector())

    ground.is_whole()
    assert not [done.error for cycle in cycles for done in cycle.done.values() if done.error]
    assert {Outcome.EQUAL} == set(outcomes(cycles, ground.name("east")))


def test_a_member_that_is_away_is_named_and_caught_up_with_later(ground):
    away = f"http://127.0.0.1:{free_port()}"
    ground.urls["east"] = away
    without = ground.collected(ground.collector(), "west")
    del ground.urls["east"]
    ground.collected(ground.collector())

    assert {f"{away} does not answer: [Errno 111] Connection refused"} == {
        cycle.done[ground.name("east")].error for cycle in without
    }
    ground.is_whole()


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_whatever_a_member_answers_the_others_go_on_and_nothing_is_missing_afterwards(ground, east, what):
    fault, told = ANSWERS[what]
    errors = {}
    collector = ground.collector()
    for where in ("", "/read", "/query", "/values", "/config", "/ready"):
        east.fault = at(where, fault)
        collector = ground.collector()  # what it asks only once it asks anew
        broken = ground.cycle(collector)
        errors[where] = broken.done[ground.name("east")].error
        assert not broken.done[ground.name("west")].error
    east.fault = faulty.none
    cycles = ground.collected(collector)

    assert errors[""]
    assert errors["/read"]
    assert told in errors["/read"]
    ground.is_whole()
    assert set(outcomes(cycles, ground.name("east"))) <= {Outcome.EQUAL}
