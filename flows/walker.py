"""One recovery walked to its end: look, decide, write down, do, look again. By flow, watcher and command line alike.

The decisions are ``flotilla.recovery.walking``'s, all of them; what is kept between two moves is the journal and nothing else.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from flotilla.errors import FlotillaError, Transient
from flotilla.facts import Unknown
from flotilla.recovery import acts, recording
from flotilla.recovery.acts import Act
from flotilla.recovery.facts import World
from flotilla.recovery.journal import Journal
from flotilla.recovery.steps import Plan
from flotilla.recovery.walking import Ask, Do, Ended, Move, Outcome, Replan, Stuck, Undo, Wait, next_move, parting
from flows.doing import Doer, Whose
from flows.eyes import Eyes, Part, fact_of, is_seen
from flows.telling import counted
from tasks.fanout import side_by_side
from tasks.step_journal import StepJournal

RENEW = 10.0  # seconds between two renewals of the leases
LOOK_AGAIN = 0.5  # seconds at which a wait is looked at again though nothing seems to have changed
COPIED = 0.5  # seconds that the point of no return waits for copies of the journal at two sites
_FIGURE = re.compile(r"-?\d+(\.\d+)?")
log = logging.getLogger("flotilla.recovery")


Replanned = Callable[[Plan, Replan], Plan | Stuck]


class People(Protocol):
    """Who is asked at gates, and where a run is stuck."""

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with what people answered meanwhile; the same one where nobody has yet.

        Called again and again until the run goes on; may raise to have the run suspended.
        """


@dataclass(frozen=True)
class Run:
    """A recovery under way: its name, who walks it, and where it is written down."""

    run: str
    who: str
    kept: StepJournal


class Walker:
    """Walks one run. ``replanned`` makes the plan of a run that goes on without its origin, or says what keeps it from that."""

    def __init__(self, run: Run, eyes: Eyes, doer: Doer, people: People, replanned: Replanned) -> None:
        self._run, self._eyes, self._doer, self._people, self._replanned = run, eyes, doer, people, replanned
        self._since, self._fresh = time.monotonic(), set[Part]()
        self._told = ""

    def walk(self, plan: Plan) -> Ended:
        """Walk a plan, or what is left of it, to its end; returns how it ended. Gives the leases back."""
        self._eyes.hurry(True)
        try:
            with self._renewing(plan):
                while not isinstance(move := self._move(plan), Ended):
                    plan = self._made(move, plan)
            if move.outcome is not Outcome.SUPERSEDED:  # who was superseded has nothing to touch any more
                self._part(plan)
            return move
        finally:
            self._eyes.hurry(False)

    def _move(self, plan: Plan) -> Move:
        """Return the next move, written down; of what it rests on nothing is older than what was done last."""
        self._version = self._eyes.changed(-1, 0)
        world = self._eyes.world(self._fresh, self._since)
        move = next_move(plan, world, self._journal)
        if isinstance(move, Do) and (more := self._resting_on(move, plan, world) - self._fresh):
            world = self._eyes.world(self._fresh | more, self._since)
            move = next_move(plan, world, self._journal)
        self._world = world
        self._keep(recording.recorded(self._journal, move, world.at, self._run.who))
        return move

    def _made(self, move: Move, plan: Plan) -> Plan:
        """Make a move and return the plan that is walked from then on."""
        if isinstance(move, Do):
            self._do(move, plan)
        elif isinstance(move, Wait):
            self._say(f"{move.step.title}: waits: {move.why}")
            self._eyes.changed(self._version, min(LOOK_AGAIN, max(0.0, move.until - self._world.at)))
            self._fresh = set()
        elif isinstance(move, Ask | Stuck):
            self._say(_question(move))
            self._keep(self._people.answer(move, self._journal))
            self._fresh = set()
        elif isinstance(move, Replan):
            return self._replan(plan, move)
        return plan

    def _do(self, move: Do, plan: Plan) -> None:
        whose = Whose(self._run.run, plan.hash, move.epoch)
        if move.step.point_of_no_return and not self._run.kept.settled(min(2, self._run.kept.answering), COPIED):
            log.warning("the journal is not at two sites: copies in %s; %s", self._run.kept.up_to_date, self._run.kept.errors)
        began = time.monotonic()
        found = self._done(move.acts, whose)
        for act, answer in found.items():
            self._keep(self._judged(move, act, answer))
        told = "; ".join(
            f"{act.kind} {answer}" if isinstance(answer, FlotillaError) else answer for act, answer in found.items()
        )
        way = "takes back: " if isinstance(move, Undo) else ""
        log.info("%s%s: %s (%.0f ms)", way, move.step.title, told, 1000 * (time.monotonic() - began))
        self._since, self._fresh = time.monotonic(), self._resting_on(move, plan, self._world)
        self._told = ""

    def _done(self, due: Iterable[Act], whose: Whose) -> dict[Act, str | FlotillaError]:
        """Do acts, sites side by side, those of one site one after another: its agent does one thing at a time."""
        by_site: dict[str, list[Act]] = {}
        for act in due:
            by_site.setdefault(act.site, []).append(act)

        def at_site(site: str) -> dict[Act, str | FlotillaError]:
            return {act: answer for act in by_site[site] for answer in side_by_side([act], self._do_one(whose)).values()}

        found: dict[Act, str | FlotillaError] = {}
        for answers in side_by_side(by_site, at_site).values():
            assert not isinstance(answers, FlotillaError)
            found |= answers
        return found

    def _do_one(self, whose: Whose) -> Callable[[Act], str]:
        return lambda act: self._doer.do(act, whose)

    def _judged(self, move: Do, act: Act, answer: str | FlotillaError) -> Journal:
        at, who = time.time(), self._run.who
        if isinstance(answer, FlotillaError):
            for_good = not isinstance(answer, Transient)
            return recording.failed(self._journal, move, act, str(answer), at=at, who=who, for_good=for_good)
        return recording.told(self._journal, move, act, answer, at=at, who=who)

    def _replan(self, plan: Plan, move: Replan) -> Plan:
        anew = self._replanned(plan, move)
        if isinstance(anew, Stuck):
            self._keep(recording.recorded(self._journal, anew, self._world.at, self._run.who))
            return self._made(anew, plan)
        self._say(f"goes on without {plan.origin}: {move.why}")
        self._keep(recording.planned(self._journal, anew, time.time(), self._run.who, move.why))
        self._since, self._fresh = time.monotonic(), set()
        return anew

    def _resting_on(self, move: Do, plan: Plan, world: World) -> set[Part]:
        """Return what a move rests on and changes; what cannot be seen anyway is not waited for."""
        sites = {plan.origin, plan.target, *(act.site for act in move.acts)}
        parts = {(site, kind) for site in sites for kind in (acts.AGENT, acts.DATABASE)}
        parts |= {(act.site, kind) for act in (*move.step.acts, *move.acts) for kind in act.looks}
        return {part for part in parts if is_seen(fact_of(world, part))}

    @property
    def _journal(self) -> Journal:
        return self._run.kept.journal

    def _keep(self, journal: Journal) -> None:
        if journal is not self._journal:
            self._run.kept.keep(journal)

    def _say(self, told: str) -> None:
        """Tell something once; what differs by a figure only is the same."""
        same = _FIGURE.sub("", told)
        if same != self._told:
            log.info("%s", told)
            self._told = same

    @contextmanager
    def _renewing(self, plan: Plan) -> Iterator[None]:
        """Have the leases that the run holds stay its own."""
        stop = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(plan, stop), name="leases", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            stop.set()
            renewing.join()

    def _renew(self, plan: Plan, stop: threading.Event) -> None:
        taken = list(_leases(plan))
        while not stop.wait(RENEW * random.uniform(0.9, 1.1)):  # noqa: S311 - jitter, not a secret
            world = self._eyes.world()
            for act in taken:
                lease = world.lease(act.site)
                if isinstance(lease, Unknown) or lease.holder != self._run.run:
                    continue
                try:
                    self._doer.do(act, Whose(self._run.run, plan.hash, lease.epoch))
                except FlotillaError as error:
                    log.warning("%s", error)

    def _part(self, plan: Plan) -> None:
        whose = Whose(self._run.run, plan.hash, plan.epoch)
        for act, answer in side_by_side(parting(plan), lambda act: self._doer.do(act, whose)).items():
            if isinstance(answer, FlotillaError):
                log.warning("%s: %s: it runs out by itself", act, answer)


def _leases(plan: Plan) -> Iterable[Act]:
    return (act for step in plan.steps for act in step.acts if isinstance(act, acts.TakeLease))


def _question(move: Ask | Stuck) -> str:
    if isinstance(move, Ask):
        given = f", {', '.join(move.given)} agreed" if move.given else ""
        return f"{move.gate.question} {counted(move.gate.people)} to agree{given}"
    return f"{move.step.title}: stuck: {move.why}; choose: {', '.join(move.choices)}"


__all__ = ["Outcome", "People", "Run", "Walker"]
