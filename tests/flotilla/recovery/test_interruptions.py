"""Every plan, interrupted at every point and met by every fault there, ends verified or at a named gate, and breaks nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest

from flotilla.recovery.memory import Choice
from flotilla.recovery.refusals import Asked
from flotilla.recovery.steps import Kind
from flotilla.recovery.walking import Ask, Do, Ended, Outcome, Stuck
from tests.flotilla.recovery.modelled import Fleet, P, R, S, fleet
from tests.flotilla.recovery.walked import Violated, Walk, ended, failover, switchover


def lost(*sites: str) -> Fleet:
    made = fleet()
    for site in sites:
        made.die(site)
    made.tick()
    made.clients()
    return made


def moved_to(site: str) -> Fleet:
    made = fleet()
    Walk.begin(made, switchover(site)).to_the_end()
    return made


def returned() -> Fleet:
    made = lost(P)
    Walk.begin(made, failover(S)).to_the_end()
    made.boot(P)
    made.clients()
    return made


def degraded() -> Fleet:
    made = lost(S)
    Walk.begin(made, Asked(Kind.DEGRADE, P, run="run-0")).to_the_end()
    made.boot(S)
    made.clients()
    return made


def city_returned() -> Fleet:
    made = lost(P, S)
    Walk.begin(made, failover(R, glass=True)).to_the_end()
    made.boot(S)
    made.boot(P)
    made.clients()
    return made


RUNBOOKS: dict[str, tuple[Callable[[], Fleet], Asked]] = {
    "switchover to same-city": (fleet, switchover(S)),
    "switchover to remote": (fleet, switchover(R)),
    "switchover home from same-city": (lambda: moved_to(S), Asked(Kind.SWITCHOVER, P, run="run-2")),
    "switchover home from remote": (lambda: moved_to(R), Asked(Kind.SWITCHOVER, P, run="run-2")),
    "failover to same-city": (lambda: lost(P), failover(S)),
    "failover to same-city of one that lives": (fleet, failover(S)),
    "failover to remote of one that lives": (fleet, failover(R)),
    "failover to remote, glass broken": (lambda: lost(P, S), failover(R, glass=True)),
    "reprotect": (returned, Asked(Kind.REPROTECT, P, run="run-2")),
    "failback": (returned, Asked(Kind.FAILBACK, P, run="run-2")),
    "failback from remote": (city_returned, Asked(Kind.FAILBACK, P, run="run-2")),
    "degrade": (lambda: lost(S), Asked(Kind.DEGRADE, P, run="run-1")),
    "reprotect after degrade": (degraded, Asked(Kind.REPROTECT, S, run="run-2")),
}
WHEN = ("before", "during", "after")


@dataclass(frozen=True)
class Fault:
    """Something that befalls the fleet, and how it is mended."""

    name: str
    strike: Callable[[Fleet], None]
    mend: Callable[[Fleet], None]


def _die(site: str) -> Fault:
    return Fault(f"{site} dies", lambda fleet: fleet.die(site), lambda fleet: fleet.boot(site))


def _reboot(site: str) -> Fault:
    def strike(fleet: Fleet) -> None:
        fleet.die(site)
        fleet.boot(site)

    return Fault(f"{site} reboots", strike, lambda fleet: None)


def _set(name: str, attribute: str, site: str) -> Fault:
    def strike(fleet: Fleet) -> None:
        setattr(fleet, attribute, getattr(fleet, attribute) | {site})
        fleet.tick()

    def mend(fleet: Fleet) -> None:
        setattr(fleet, attribute, getattr(fleet, attribute) - {site})
        fleet.tick()

    return Fault(f"{site} {name}", strike, mend)


def _by_hand() -> Fault:
    """Somebody has production wait for nobody, past the leases, as its standby does not keep up."""

    def strike(fleet: Fleet) -> None:
        if fleet.nodes[P].primary:
            fleet.nodes[P].sync = ()
            fleet.lagging |= {S}
            fleet.write(P)
            fleet.pump()
            fleet.tick()

    def mend(fleet: Fleet) -> None:
        fleet.lagging -= {S}
        if fleet.nodes[P].primary and fleet.streams(S):
            fleet.nodes[P].sync = (S,)
        fleet.tick()

    return Fault("commits at production wait for nobody, by hand", strike, mend)


NOTHING = Fault("the process dies", lambda fleet: None, lambda fleet: None)
FAULTS = [
    NOTHING,
    *(_die(site) for site in (P, S, R)),
    *(_reboot(site) for site in (P, S, R)),
    *(_set("is cut off", "cut", site) for site in (P, S, R)),
    *(_set("is not seen", "dark", site) for site in (P, S, R)),
    *(_set("has no API server", "apis_away", site) for site in (P, S, R)),
    *(_set("lags", "lagging", site) for site in (S, R)),
    _by_hand(),
]


@dataclass(frozen=True)
class Point:
    """A run just before it does something: its walk, and the move that it has written down and not made."""

    walk: Walk
    move: Do


@cache
def points(name: str) -> tuple[Point, ...]:
    """Return the points at which an undisturbed run does something."""
    made, asked = RUNBOOKS[name]
    walk, found = Walk.begin(made(), asked), []
    for _ in range(400):
        move = walk.think()
        if isinstance(move, Ended):
            if move.outcome is not Outcome.VERIFIED:
                raise Violated(walk.told(f"{name} ends {move.outcome}"))
            return tuple(found)
        if isinstance(move, Stuck):
            raise Violated(walk.told(f"{name} is stuck at {move.step.key}: {move.why}"))
        if isinstance(move, Do):
            found.append(Point(walk.copy(), move))
        walk.make(move)
    raise Violated(walk.told(f"{name} never ends"))


def interrupted(point: Point, when: str, fault: Fault) -> Walk:
    """Return the run, walked to its end after its process died, and something else with it, around a move."""
    walk, move = point.walk.copy(), point.move
    if when != "before":
        acts = len(move.acts)
        walk.make(move, slice(0, max(1, acts // 2) if when == "during" else acts), tell=False)
    walk.note(f"--- {fault.name}, and the process, {when} {move.step.key}")
    fault.strike(walk.fleet)
    walk.check()
    again = walk.restarted()
    # A person at a gate tries again, and then waits until somebody has mended what is wrong.
    again.choose = lambda stuck: (Choice.RETRY, None)[again.stuck_for > 1]
    again.to_the_end()
    return again


def mended(walk: Walk, fault: Fault) -> Walk:
    """Return the run after what went wrong is right again and people say: go on; if that is not enough, after all is."""
    walk.choose = lambda stuck: Choice.RETRY
    fault.mend(walk.fleet)
    walk.note(f"--- {fault.name}: mended")
    walk.stuck_for = 0
    walk.check()
    if not ended(walk.to_the_end()):
        for site in (P, S, R):
            if not walk.fleet.nodes[site].alive:
                walk.fleet.boot(site)
        walk.note("--- every site is back")
        walk.stuck_for = 0
        walk.check()
        walk.to_the_end()
    return walk


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_run_that_nothing_disturbs_ends_verified(name: str):
    assert points(name)


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_run_whose_process_dies_around_any_step_goes_on_to_its_end(name: str):
    for point in points(name):
        for when in WHEN:
            walk = interrupted(point, when, NOTHING)

            assert ended(walk.last) in (Outcome.VERIFIED, Outcome.ABORTED), walk.told(
                f"{name}: died {when} {point.move.step.key}"
            )


def befallen(name: str, fault: Fault, *, every: int) -> None:
    """Have a fault befall a runbook at every so many-th point of it, each time another of before, during and after."""
    for number, point in enumerate(points(name)):
        for at, when in enumerate(WHEN):
            if (number * len(WHEN) + at) % every:
                continue
            walk = interrupted(point, when, fault)
            at_gate = isinstance(walk.last, Stuck | Ask)

            assert at_gate or ended(walk.last), walk.told(f"{name}: {fault.name} {when} {point.move.step.key}")


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_fault_around_a_step_breaks_nothing_and_ends_verified_or_at_a_gate(name: str):
    for number, fault in enumerate(FAULTS[1:]):
        befallen(name, fault, every=7 + number % 2 * 4)


@pytest.mark.parametrize("name", RUNBOOKS)
def test_once_a_fault_is_mended_the_run_goes_on_to_its_end(name: str):
    for number, fault in enumerate(FAULTS[1:]):
        for point in points(name)[number % 5 :: 5]:
            walk = mended(interrupted(point, WHEN[number % 3], fault), fault)

            # What somebody has to answer for by name, such as a loss above the statement, stays theirs to decide.
            for_people = isinstance(walk.last, Stuck) and bool(walk.last.step.waives)
            assert ended(walk.last) or for_people, walk.told(f"{name}: {fault.name} {point.move.step.key}, mended")


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS[1:], ids=lambda fault: fault.name)
@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_fault_around_any_step_breaks_nothing_and_ends_verified_or_at_a_gate(name: str, fault: Fault):
    befallen(name, fault, every=1)
