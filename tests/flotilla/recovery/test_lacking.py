"""What an agent says that its kind of database lacks: the acts that need it are not asked for, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals, guards, reprotect
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import EVIDENCE, REWIND, SLOTS, AgentSeen, World
from flotilla.recovery.parsing import parse_agent
from flotilla.recovery.proofs import unproved
from flotilla.recovery.rejoining import due
from tests.flotilla.recovery.modelled import P, R, S, fleet
from tests.flotilla.recovery.test_files import seen
from tests.flotilla.recovery.test_guards import EPOCH, RUN, begun, promoted
from tests.flotilla.recovery.walked import LAYOUT

AIM = Aim(RUN, EPOCH)


def lacking(world: World, site: str, *what: str, **changes: object) -> World:
    agent = world.agent(site)
    assert isinstance(agent, AgentSeen)
    return replace(world, agents={**world.agents, site: replace(agent, lacks=what, **changes)})  # type: ignore[arg-type]


def test_an_agent_says_what_it_lacks_and_one_that_says_nothing_lacks_nothing():
    told = seen()
    plain = parse_agent(told)
    told["database"]["lacks"] = [SLOTS, REWIND, EVIDENCE]
    lacks = parse_agent(told)

    assert isinstance(plain, AgentSeen)
    assert isinstance(lacks, AgentSeen)
    assert (plain.lacks, lacks.lacks) == ((), (SLOTS, REWIND, EVIDENCE))


def test_no_slot_is_waited_for_where_there_are_none():
    world = begun().world()

    assert unproved(acts.CreateSlots(S, (P, R)), world, AIM)
    assert not unproved(acts.CreateSlots(S, (P, R)), lacking(world, S, SLOTS), AIM)
    assert unproved(acts.CreateSlots(S, (P, R)), lacking(world, S, REWIND), AIM)


def test_who_is_followed_needs_no_slot_where_there_are_none():
    world = begun().world()

    assert "upstream-slot" in dict(guards.objections(acts.Follow(R, S), world, AIM))
    assert "upstream-slot" not in dict(guards.objections(acts.Follow(R, S), lacking(world, S, SLOTS), AIM))
    assert "upstream-slot" in dict(guards.objections(acts.Follow(R, S), lacking(world, R, SLOTS), AIM))


def test_what_cannot_be_rewound_is_copied_anew_at_once():
    made = promoted()
    world = made.world()

    assert due(goals.Rejoin(P, S), world) == acts.Checkpoint(S)
    assert due(goals.Rejoin(P, S), lacking(world, P, REWIND)) == acts.Reseed(P, S)
    made.act(acts.Checkpoint(S), EPOCH, RUN)
    assert due(goals.Rejoin(P, S), made.world()) == acts.Rewind(P, S)
    assert due(goals.Rejoin(P, S), lacking(made.world(), P, REWIND)) == acts.Reseed(P, S)


def test_where_nothing_shows_how_it_ended_it_is_copied_anew_if_it_cannot_be_rewound():
    world, unseen = promoted().world(), Unknown(P, "it is fenced")

    assert "it is fenced" in str(due(goals.Rejoin(P, S), lacking(world, P, control=unseen)))
    assert due(goals.Rejoin(P, S), lacking(world, P, REWIND, control=unseen)) == acts.Reseed(P, S)


def test_whoever_agrees_to_a_site_s_return_is_told_where_no_evidence_is_kept():
    world = promoted().world()
    kept, lost = (
        next(step for step in reprotect.steps(P, S, one, LAYOUT) if step.key == f"rejoin-{P}")
        for one in (world, lacking(world, P, EVIDENCE))
    )

    assert (kept.approvals, lost.approvals) == (LAYOUT.approvals, LAYOUT.approvals)
    assert "evidence" not in kept.title
    assert "what it has alone is lost" in lost.title


@pytest.mark.parametrize("lacks", [(), (REWIND,)])
def test_a_primary_that_was_stopped_in_order_follows_as_it_is(lacks: tuple[str, ...]):
    made = fleet()
    for site in (P, S, R):
        made.act(acts.Begin(site), EPOCH, RUN)
    for act in (acts.Drain(P), acts.Fence(P), acts.Stop(P), acts.Promote(S, P), acts.CreateSlots(S, (P, R))):
        made.act(act, EPOCH, RUN)
    world = made.world()

    assert due(goals.Rejoin(P, S), lacking(world, P, *lacks)) == acts.Follow(P, S)
    assert due(goals.Rejoin(P, S), lacking(world, P, *lacks, standby_signal=True)) == acts.Start(P)
