"""What broken glass changes for everybody else: epochs that only a silent site knows, and a fence that time does not make."""

from __future__ import annotations

from dataclasses import replace

from flotilla.recovery import acts, goals
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import AgentSeen, Peer, World
from flotilla.recovery.planning import plan_for
from flotilla.recovery.proofs import unproved
from flotilla.recovery.steps import Plan
from tests.flotilla.recovery.modelled import P, R, S, fleet
from tests.flotilla.recovery.test_interruptions import lost
from tests.flotilla.recovery.walked import LAYOUT, failover


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
