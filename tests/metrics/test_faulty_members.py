"""A member that is away, slow, cut off or something else: the others go on, and once it is back nothing is missing."""

from __future__ import annotations

import threading

import pytest

from flotilla.errors import Transient
from flotilla.metrics.completeness import Outcome
from tasks.doors import AtUrl
from tests.metrics import faulty
from tests.metrics.faulty import at
from tests.metrics.ground import BEGIN, END, KINDS, Ground, outcomes, usual
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

    assert {f"{away} does not answer: Connection refused"} == {cycle.done[ground.name("east")].error for cycle in without}
    ground.is_whole()


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_whatever_a_member_answers_the_others_go_on_and_nothing_is_missing_afterwards(ground, east, what):
    fault, told = ANSWERS[what]
    errors = {}
    collector = ground.collector()
    for where in ("", "/read", "/query", "/values", "/config", "/metrics", "/ready"):
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


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_slices_get_shorter_until_a_member_answers_for_them_in_time(ground, east):
    most = 20_000

    def too_slow(request, forward):
        longest = max(hi + 1 - lo for lo, hi in request.spans())
        return forward() if longest <= most else faulty.Answer(504, b"context deadline exceeded")

    east.fault = at("/read", too_slow)
    ground.metrics["slice"] = 60
    cycles = ground.collected(ground.collector())

    assert "context deadline exceeded" in cycles[0].done[ground.name("east")].error
    ground.is_whole()


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_a_slice_of_the_past_that_cannot_be_read_keeps_nothing_else_back(ground, east):
    damaged = BEGIN + 60_000

    def corrupted(request, forward):
        meets = any(lo <= damaged <= hi for lo, hi in request.spans())
        return faulty.Answer(500, b"corruption in segment 000001") if meets else forward()

    east.fault = at("/read", corrupted)
    collector = ground.collector()
    reader = collector.readers[ground.name("east")]
    cycles = []
    for _ in range(14):
        cycles.append(ground.cycle(collector))
        ground.time += 1000
    left = reader.kept.progress.missing(END)
    east.fault = faulty.none
    ground.collected(collector)

    assert "corruption in segment" in cycles[-1].done[ground.name("east")].error
    assert sum(span.length for span in left) <= 2 * reader.pace.shortest
    ground.is_whole()


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_a_member_that_is_silent_is_asked_once_and_holds_the_others_up_no_more(ground, east):
    east.fault = faulty.closes
    collector = ground.collector()
    silent = ground.cycle(collector)

    assert ["/-/ready"] == [one.path for one in east.asked]
    assert "does not answer" in silent.done[ground.name("east")].error
    assert not silent.done[ground.name("west")].error


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_a_member_that_hangs_holds_no_other_up_and_is_not_asked_twice_at_once(ground, east):
    hangs = threading.Event()

    def waits(request, forward):
        hangs.wait(30)
        return forward()

    east.fault = at("/read", waits)
    ground.metrics["beat"] = 5
    collector = ground.collector()
    cycles = [ground.cycle(collector), ground.cycle(collector)]
    reads = [one.path for one in east.asked].count("/api/v1/read")
    hangs.set()
    ground.collected(collector)

    assert 1 == reads
    errors = [cycle.done[ground.name("east")].error for cycle in cycles]
    assert all(one.startswith("is read since") for one in errors), errors
    assert not any(cycle.done[ground.name("west")].error for cycle in cycles)
    ground.is_whole()


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_an_answer_that_comes_byte_by_byte_is_not_waited_for_longer_than_one_that_does_not_come(east):
    east.fault = faulty.drips(seconds=0.05)
    door = AtUrl("east", east.url)

    with pytest.raises(Transient, match="east: .* not whole after 0.2 s"):
        door.exchange("GET", "/-/ready", headers={}, timeout=0.2)
