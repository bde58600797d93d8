"""A drill's report: its ways and what a client noted, kept and read again, and what it says of the plans of today."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flotilla.errors import Permanent
from flotilla.ledger import Attempt
from flotilla.recovery.drilling import (
    OUTAGE,
    Drill,
    Noted,
    drill_of,
    drill_sentence,
    drill_text,
    expected_outage,
    from_json,
    rehearsals,
    rehearsed,
    to_json,
    way_back,
)
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.planning import plan_for
from flotilla.recovery.refusals import Asked, under_way
from flotilla.recovery.reporting import took_last
from flotilla.recovery.steps import Kind, Plan
from flows.telling import journal_rows, plan_text
from tests.flotilla.recovery.modelled import P, R, S, fleet
from tests.flotilla.recovery.walked import LAYOUT, Walk, switchover


def both_ways(target: str = S) -> list[Walk]:
    """Return a drill as it was walked over the modelled fleet."""
    world = fleet()
    there = Walk.begin(world, replace(switchover(target), run="drill-there"))
    there.to_the_end()
    back = Walk.begin(world, Asked(Kind.SWITCHOVER, P, run="drill-back"))
    back.to_the_end()
    return [there, back]


def noted(walks: list[Walk], lost: tuple[str, ...] = (), gap: float = 0.4) -> Noted:
    """Return what a client notes that writes every 0.1 s but for a gap in the middle of each way."""
    begun, ended = walks[0].journal.entries[0].at, walks[-1].journal.entries[-1].at
    middles = [(walk.journal.entries[0].at + walk.journal.entries[-1].at) / 2 for walk in walks]
    times = [begun - 1 + 0.1 * number for number in range(int(10 * (ended - begun + 2)))]
    kept = [at for at in times if not any(middle < at < middle + gap for middle in middles)]
    attempts = [Attempt(f"o{number}", at, at + 0.01, 201) for number, at in enumerate(kept)]
    return Noted(attempts, [one.id for one in attempts if one.id not in lost])


def drill(walks: list[Walk], client: Noted | None = None, name: str = "drill") -> Drill:
    return drill_of(name, [walk.journal for walk in walks], client)


def test_a_drill_that_came_home_with_nothing_lost_is_as_promised():
    walks = both_ways()
    found = drill(walks, noted(walks))

    assert found.verdict == ()
    assert (found.is_home, found.is_well) == (True, True)
    assert [(leg.origin, leg.target, leg.outcome) for leg in found.legs] == [(P, S, "verified"), (S, P, "verified")]
    assert all(leg.ledger and leg.ledger.outage and 0.3 < leg.ledger.outage < 0.7 for leg in found.legs)
    assert found.ledger
    assert found.ledger.acknowledged >= sum(leg.ledger.acknowledged for leg in found.legs if leg.ledger)


def test_what_is_lost_or_not_home_is_said():
    walks = both_ways()
    client = noted(walks)
    inside = next(one.id for one in client.attempts if one.sent > walks[0].journal.entries[0].at)
    lossy = drill(walks, noted(walks, lost=(inside,)))
    stranded = drill(walks[:1], noted(walks))

    assert not lossy.is_well
    assert "of all that was acknowledged 1 are lost" in lossy.verdict
    assert (stranded.is_home, stranded.owed) == (
        False,
        (f"the way home: recovery/switchover to {P}, unless it is primary again",),
    )
    assert "owed: the way home" in drill_sentence(stranded)
    with pytest.raises(Permanent, match="no way of it has begun"):
        drill_of("drill", [], None)


def test_without_a_ledger_a_drill_that_is_home_is_well_and_says_that_nobody_kept_one():
    found = drill(both_ways())

    assert found.is_well
    assert f"{P} -> {S}: no ledger was kept: what was lost is not known" in found.verdict
    assert sum(found.legs[0].phases.get(phase, 0) for phase in OUTAGE) == pytest.approx(expected_outage(found.legs[0]))


def test_a_drill_that_is_kept_is_read_as_it_was():
    walks = both_ways()

    for client in (None, noted(walks)):
        found = drill(walks, client)
        assert found == from_json(to_json(found))
    for broken in ("", "{}", "[]", '{"legs": 1}'):
        with pytest.raises(Permanent, match="no report of a drill"):
            from_json(broken)


def todays(walk: Walk) -> Plan:
    """Return the plan of what was walked, as another epoch has it."""
    return replace(walk.plan, epoch=walk.plan.epoch + 7)


def test_a_plan_says_whether_it_was_drilled_as_it_is_and_what_to_expect():
    walks = both_ways()
    past = rehearsals([drill(walks, noted(walks))])
    plan = replace(todays(walks[0]), objectives={"rto": 60.0})
    other = replace(plan, steps=plan.steps[:-1])
    to_remote = both_ways(R)[0].plan

    assert "never drilled" == rehearsed([], plan)
    assert "never drilled" == rehearsed(past, to_remote)
    assert rehearsed(past, plan).startswith("drilled as it is on ")
    assert f"expect {expected_outage(past[0]):.2f} s without writes, 60 s is the objective" in rehearsed(past, plan)
    assert rehearsed(past, other).startswith("not what was drilled: on ")
    assert plan.hash[:12] in rehearsed(past, other)
    assert {} == took_last(past, other)
    text = plan_text(plan, past)
    assert rehearsed(past, plan) in text
    assert f"| {took_last(past, plan)['promote']:.2f} s |" in text
    assert "never drilled" in plan_text(plan)


def test_what_a_rewind_discarded_is_told_to_its_end_where_programs_read_it():
    told = f"production is rewound to same-city; discarded: {'12 INSERT in public.orders, ' * 20}kept in /evidence"
    journal = Journal("run-1").with_entry(Entry(1.0, Wrote.TOLD, "walker", 7, "rewind", {"told": told}))

    assert [row["said"] for row in journal_rows(journal, None)] == [told]
    assert [row["said"] for row in journal_rows(journal)] == [f"{told[:159]}…"]


def test_the_plan_of_the_way_back_is_known_before_there_is_one():
    for target in (S, R):
        there, back = both_ways(target)

        assert way_back(there.plan, LAYOUT).hash == back.plan.hash


def test_a_drill_is_told_beside_the_last_one_of_the_same_way():
    walks = both_ways()
    first = drill(walks, noted(walks), "first")
    shifted = [replace(leg, begun=leg.begun + 1000, ended=leg.ended + 1000) for leg in first.legs]
    second = replace(first, name="second", legs=tuple(shifted))
    text = drill_text(second, rehearsals([first, second]))

    assert 2 == text.count("(as rehearsed last)")
    assert "never rehearsed" not in text
    assert 2 == drill_text(first, rehearsals([first, second])).count("(never rehearsed before)")


def test_who_holds_a_lease_is_under_way():
    world = fleet()
    assert () == under_way(world.world())
    walk = Walk.begin(world, replace(switchover(), run="run-1"))
    for _ in range(6):
        walk.make(walk.think())

    assert ("run-1",) == under_way(world.world())
    assert "run run-1 is under way" in str(plan_for(Asked(Kind.SWITCHOVER, S, run="other"), world.world(), LAYOUT))
