"""A drill ordered: there, verified and protected again, and back; then reported. By flow and command line alike.

Each way is a run of its own with a journal of its own, named after the drill: a drill whose process died begins here again,
finds the ways that are over, and goes on with the one that is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from flotilla.errors import FlotillaError, Permanent
from flotilla.recovery.drilling import BACK, THERE, Drill, Noted, drill_of, way_back
from flotilla.recovery.journal import Journal, Wrote
from flotilla.recovery.refusals import Asked, Trigger
from flotilla.recovery.steps import Kind, Plan, from_dict
from flotilla.recovery.walking import Outcome
from flows.recovering import Ground, begun, journal_of, planned, taken_up, walked
from flows.rehearsing import keep
from flows.walker import People
from tasks.client_ledger import attempts_in, ids_at

SOON = 120.0  # seconds until the way back has to be possible: what was seen last may be of a moment before
log = logging.getLogger("flotilla.recovery")


@dataclass(frozen=True)
class Wish:
    """A drill as somebody wants it: its name, to which site, who wants it and why, and where an outside client's ledger is."""

    name: str
    to: str
    initiator: str
    reason: str = ""
    ledger: str = ""
    trigger: Trigger = Trigger.PERSON

    def asked(self, way: str, target: str) -> Asked:
        """Return one of its ways as planning takes it."""
        run, reason = f"{self.name}-{way}", f"drill: {self.reason}" if self.reason else "drill"
        return Asked(Kind.SWITCHOVER, target, run=run, trigger=self.trigger, initiator=self.initiator, reason=reason)


def has_begun(ground: Ground, wish: Wish) -> bool:
    """Tell whether a drill's first way was begun already: then what is so is not as it was planned."""
    return journal_of(ground, wish.asked(THERE, wish.to).run).plan is not None


def plans(ground: Ground, wish: Wish) -> tuple[Plan, Plan]:
    """Return the plans of both ways, before anything is done; raises Permanent with every reason where there is no way there.

    Raises InvalidInput where there is no such ledger.
    """
    if wish.ledger:
        attempts_in(wish.ledger)
    there = planned(ground, wish.asked(THERE, wish.to))
    return there, way_back(there, ground.layout)


def drilled(ground: Ground, wish: Wish, people: People, show: Callable[[Plan], None]) -> Drill:
    """Do a drill, or what is left of it, and return its report, which is kept; ``show`` is called with each plan that begins.

    Raises Permanent where a way cannot begin; what is owed then is what the error says.
    """
    there = _gone(ground, wish.asked(THERE, wish.to), people, show)
    way = [there]
    if _outcome(there) == Outcome.VERIFIED:
        way.append(_gone(ground, wish.asked(BACK, _plan(there).origin), people, show))
    drill = drill_of(wish.name, way, _noted(ground, wish, way))
    keep(ground.connections, drill)
    return drill


def _gone(ground: Ground, asked: Asked, people: People, show: Callable[[Plan], None]) -> Journal:
    """Walk one way to its end, unless it is over; return its journal."""
    found = journal_of(ground, asked.run)
    if _outcome(found):
        return found
    if found.plan is None:
        plan = _planned_soon(ground, asked)
        show(plan)
        run = begun(ground, asked, plan)
    else:
        run = taken_up(ground, asked.run, asked.initiator)
    log.info("run %s: %s", asked.run, walked(ground, run, people).told)
    return run.kept.journal


def _planned_soon(ground: Ground, asked: Asked) -> Plan:
    """Return the plan as soon as nothing speaks against it any more."""
    if asked.run.endswith(THERE):
        return planned(ground, asked)
    deadline = time.monotonic() + SOON
    while True:
        try:
            return planned(ground, asked)
        except Permanent as error:
            if time.monotonic() > deadline:
                raise Permanent(f"the drill is not home, recovery/switchover to {asked.target} is owed: {error}") from None
        ground.eyes.changed(ground.eyes.changed(-1, 0), 0.5)


def _noted(ground: Ground, wish: Wish, way: list[Journal]) -> Noted | None:
    """Return what an outside client noted, None where nobody did or it cannot be read any more: the report says so."""
    if not wish.ledger:
        return None
    last = _plan(way[-1])
    primary = last.target if _outcome(way[-1]) == Outcome.VERIFIED else last.origin
    names = ground.recovery.traffic
    places = [f"http://{names.addresses[site]}:{names.port}" for site in ground.layout.authorised(primary)]
    try:
        attempts = attempts_in(wish.ledger)  # before the ids: what was promised until now has to be there then
        return Noted(attempts, ids_at(places))
    except FlotillaError as error:
        log.warning("what the client noted is not compared: %s", error)
        return None


def _outcome(journal: Journal) -> str:
    return next((str(entry.said.get("outcome", "")) for entry in journal.entries if entry.kind is Wrote.ENDED), "")


def _plan(journal: Journal) -> Plan:
    assert journal.plan is not None
    return from_dict(journal.plan["plan"])
