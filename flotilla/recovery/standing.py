"""How an act stands in a world: done, to be done now, not yet, or never. Level-triggered: nothing is remembered here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flotilla.recovery import acts, goals
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import AgentSeen, ApplicationSeen, World
from flotilla.recovery.goal_proofs import Never
from flotilla.recovery.guards import objections
from flotilla.recovery.proofs import unproved
from flotilla.recovery.rejoining import due


class State(StrEnum):
    """How an act stands."""

    DONE = "done"
    READY = "ready"
    NOT_YET = "not yet"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Standing:
    """How an act stands and why. ``act`` is what is to be done if it is ready: of a goal, the act that is due."""

    state: State
    told: str
    act: Act


def standing(act: Act, world: World, aim: Aim) -> Standing:
    """Return how an act stands: look, then proof, then what must hold before."""
    why = unproved(act, world, aim)
    if not why:
        return Standing(State.DONE, "", act)
    if isinstance(why, Never):
        return Standing(State.IMPOSSIBLE, why, act)
    if isinstance(act, goals.Rejoin | goals.Quarantined):
        next_act = due(act, world)
        if isinstance(next_act, str):
            return Standing(State.NOT_YET, next_act, act)
        return _guarded(next_act, why, world, aim)
    if isinstance(act, goals.Served) and _is_scaled_down(act.site, world):
        return _guarded(acts.ScaleUp(act.site), why, world, aim)
    if isinstance(act, acts.Goal):
        return Standing(State.NOT_YET, why, act)
    return _guarded(act, why, world, aim)


def _is_scaled_down(site: str, world: World) -> bool:
    seen = world.application(site)
    return isinstance(seen, ApplicationSeen) and not seen.wanted


def _guarded(act: Act, why: str, world: World, aim: Aim) -> Standing:
    if isinstance(act, acts.AgentAct) and _came_late(act, world, aim):
        return Standing(State.READY, f"{act.site} has not accepted epoch {aim.epoch} yet", acts.Begin(act.site))
    against = "; ".join(reason for _, reason in objections(act, world, aim))
    return Standing(State.NOT_YET, against, act) if against else Standing(State.READY, why, act)


def _came_late(act: acts.AgentAct, world: World, aim: Aim) -> bool:
    """Return whether a site answers only since a majority accepted the epoch: it has to accept it first."""
    agent = world.agent(act.site)
    accepted = sum((one.epoch, one.run) == (aim.epoch, aim.run) for one in world.seen_agents())
    begins = isinstance(act, acts.Begin | acts.BreakGlass)
    return not begins and isinstance(agent, AgentSeen) and agent.epoch < aim.epoch and accepted >= aim.needed
