"""What broken glass changes for everybody else: epochs that only a silent site knows, and a fence that time does not make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flotilla.recovery import acts, goals
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import AgentSeen, Peer, World
from flotilla.recovery.journal import Wrote
from flotilla.recovery.memory import Memory
from flotilla.recovery.planning import plan_for
from flotilla.recovery.proofs import unproved
from flotilla.recovery.reporting import report_of, to_markdown
from flotilla.recovery.steps import Plan
from flotilla.recovery.walking import Ask, Do, Outcome, aim_of
from tests.flotilla.recovery.modelled import P, R, S, fleet
from tests.flotilla.recovery.test_interruptions import lost
from tests.flotilla.recovery.walked import LAYOUT, Walk, ended, failover


def heard_of(world: World, by: str, peer: Peer) -> World:
    """Return the world with what an agent heard of another one while that answered."""
    agent = world.agent(by)
    assert isinstance(agent, AgentSeen)
    return replace(world, agents={**world.agents, by: replace(agent, peers=(peer,))})


def test_an_epoch_that_somebody_heard_of_from_a_site_that_is_silent_now_is_not_used_again():
    world = lost(P).world()
    found = [plan_for(failover(), one, LAYOUT) for one in (world, heard_of(world, S, Peer(P, False, 90.0, 8)))]

    assert [2, 9] == [one.epoch for one in found if isinstance(one, Plan)]


def test_time_fences_no_primary_for_which_people_broke_the_glass():
    made = fleet()
    made.nodes[P].sync = ()
    for site in (S, R):
        made.act(acts.Begin(site), 2, "run-1")
    made.die(P)
    made.now += 100
    fenced, aim = goals.Fenced(P, R, 13.0), Aim("run-1", 2)
    assert unproved(fenced, made.world(), aim) == ""

    told = unproved(fenced, heard_of(made.world(), S, Peer(P, False, 90.0, 1, "", True)), aim)

    assert told.startswith("production goes on without a majority, as same-city heard: people broke the glass")


def test_time_fences_no_primary_that_has_accepted_the_epoch_itself():
    """Production and its peers keep to one epoch, so they support each other, whoever does not reach it any more."""
    made = fleet()
    made.nodes[P].sync = ()
    for site in (P, S, R):
        made.act(acts.Begin(site), 2, "run-1")
    made.tick()
    made.dark = frozenset({P})
    made.now += 100
    made.tick()
    fenced = goals.Fenced(P, R, 13.0)

    assert made.nodes[P].primary
    told = unproved(fenced, made.world(), Aim("run-1", 2))
    assert told.startswith("production has accepted epoch 2 itself, as same-city heard, and goes on with whoever keeps to that")

    deaf = heard_of(heard_of(made.world(), S, Peer(P, False, 100.0, 1)), R, Peer(P, False, 100.0, 1))  # it asks them still
    assert unproved(fenced, deaf, Aim("run-1", 2)) == ""
    told = unproved(fenced, deaf, Aim("run-1", 2, begun=frozenset({P, S, R})))
    assert told.startswith("production was asked to accept epoch 2, and goes on with whoever keeps to that")

    for site in (S, R):
        made.act(acts.Begin(site), 3, "run-2")
    made.now += 13
    made.tick()

    assert not made.nodes[P].primary
    assert unproved(fenced, made.world(), Aim("run-2", 3)) == ""


def test_a_run_knows_whom_it_asked_to_accept_its_epoch_though_nobody_answered():
    walk = Walk.begin(lost(R), failover(S))
    while not (isinstance(move := walk.think(), Do) and move.step.key == "begin"):
        walk.make(move)
    walk.make(move, tell=False)
    again = walk.restarted()

    assert aim_of(again.plan, Memory(again.journal, again.plan.epoch)).begun == {P, S}


def test_the_longest_time_that_any_agent_says_it_lets_a_primary_be_alone_is_waited_for():
    made = fleet()
    made.nodes[P].sync = ()
    for site in (S, R):
        made.act(acts.Begin(site), 2, "run-1")
    made.die(P)
    made.now += 20
    world, fenced, aim = made.world(), goals.Fenced(P, R, 13.0), Aim("run-1", 2)
    slow = heard_of(world, S, Peer(P, False, 20.0, 1, isolation=30.0))
    agent = world.agent(R)
    assert isinstance(agent, AgentSeen)
    other = replace(world, agents={**world.agents, R: replace(agent, isolation=60.0)})

    assert unproved(fenced, world, aim) == ""
    assert unproved(fenced, slow, aim).endswith("a majority keeps to the new epoch for less than 33 s")
    assert unproved(fenced, other, aim).endswith("a majority keeps to the new epoch for less than 63 s")


def test_broken_glass_fences_nobody_by_time_unless_people_answer_for_it():
    """Only the line between the cities is cut: production and same-city have a majority, and go on."""
    made = fleet()
    made.dark = frozenset({P, S})
    made.act(acts.BreakGlass(R, ("ann's", "bob's")), 2, "run-1")
    made.now += 100
    fenced, aim = goals.Fenced(P, R, 13.0), Aim("run-1", 2, glass=True)

    told = unproved(fenced, made.world(), aim)

    assert told.startswith("production may go on with a majority that we do not see: nobody answers for it")
    assert unproved(fenced, made.world(), replace(aim, waived=frozenset({"origin-fenced"}))) == ""


def test_who_breaks_the_glass_is_told_that_the_city_may_live_and_answers_for_it_once():
    walk = Walk.begin(lost(P, S), failover(R, glass=True))
    asked = walk.think()
    assert isinstance(asked, Ask)
    both = "production is not proved dead: if it lives, it and remote will both acknowledge writes; whoever agrees answers for"
    assert any(one.startswith(both) for one in asked.gate.shown)
    assert "remote acts without a majority; if production lives, both acknowledge" in asked.gate.question
    assert Memory(walk.journal, walk.plan.epoch).waived(walk.plan) == frozenset()

    walk.choose = lambda stuck: pytest.fail(f"asked again at {stuck.step.key}: {stuck.why}")
    assert ended(walk.to_the_end()) is Outcome.VERIFIED

    asked_at = [entry.step for entry in walk.journal.entries if entry.kind is Wrote.ASKED]
    assert asked_at == ["glass"]
    report = report_of(walk.journal)
    assert (report.people, report.answered_for) == (("ann", "bob"), ("origin-fenced",))
    assert "Not proved, and answered for by people: origin-fenced." in to_markdown(report)


def test_broken_glass_waits_as_long_as_the_isolation_rule_takes():
    walk = Walk.begin(lost(P, S), failover(R, glass=True))
    while not (isinstance(move := walk.think(), Do) and move.step.key == "glass"):
        walk.make(move)
    began = walk.fleet.now
    while not (isinstance(move := walk.think(), Do) and move.step.key == "promote"):
        walk.make(move)

    assert walk.fleet.now - began >= LAYOUT.fence_wait
