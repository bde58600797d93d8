"""Planned switchovers under load, as Flotilla walks them and as bare acts: what each phase took, and how long nobody wrote."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flotilla.errors import FlotillaError
from flotilla.ledger import Attempt, outages, parse_ledger
from flotilla.recovery import acts
from flotilla.recovery.drilling import OUTAGE
from flotilla.recovery.refusals import Asked, next_epoch
from flotilla.recovery.reporting import report_of
from flotilla.recovery.steps import Kind, Phase, Plan, Step
from flotilla.recovery.walking import Ended, Outcome
from flows.agreeing import Agreeing
from flows.answering import Person
from flows.consent import SignedAnswers
from flows.doing import Whose
from flows.recovering import begun, new_run, planned, walked
from tasks.fanout import side_by_side
from tests.recovery.field import CITY, Field
from tests.recovery.users import Users

SETTLED = 40  # orders acknowledged after a move before what it cost is read


@dataclass(frozen=True)
class Moved:
    """A move: seconds by phase while nobody could write, and seconds without an acknowledged write as the client has them."""

    phases: Mapping[str, float]
    outage: float


def moves(field: Field, load: Users, count: int, floors: int) -> Iterator[tuple[str, Moved]]:
    """Yield planned moves there and back ("ours"), and in turns with them bare ones ("floor")."""
    left = floors
    for number in range(count):
        yield "ours", _measured(field, load, _ours)
        if left and (number + 1) * floors >= (floors - left + 1) * count:
            left -= 1
            yield "floor", _measured(field, load, _bare)
            field.settle()


def _measured(field: Field, load: Users, move: object) -> Moved:
    target = next(site for site in CITY if site != field.primary)
    load.wait(SETTLED)
    begin = time.time()
    phases = move(field, target)  # type: ignore[operator]
    ended = time.time()
    load.wait(SETTLED)
    return Moved(phases, gap(parse_ledger(load.file.read_text()), begin, ended))


def gap(attempts: list[Attempt], begin: float, ended: float) -> float:
    """Return the longest time without an acknowledged write that touches a span; seconds."""
    return max(one.seconds for one in outages(attempts) if one.began <= ended and (one.ended or ended) >= begin)


def _ours(field: Field, target: str) -> Mapping[str, float]:
    asked = Asked(Kind.SWITCHOVER, target, run=new_run(Kind.SWITCHOVER), initiator="alice", reason="benchmark")
    ground = field.ground.look()
    plan = planned(ground, asked)
    alice = Person("alice", field.keys / "alice.pem", "benchmark")
    people = Agreeing(SignedAnswers(ground.recovery, ground.connections), ground, alice)
    people.was_shown(plan)
    run = begun(ground, asked, plan)
    ended: Ended = walked(ground, run, people)
    assert ended.outcome is Outcome.VERIFIED, ended
    phases = report_of(run.kept.journal).phases
    return {phase: phases.get(phase, 0.0) for phase in OUTAGE}


def _bare(field: Field, target: str) -> Mapping[str, float]:
    """Do what a switchover does to databases and DNS, and nothing else: no look, plan, journal or lease between two acts."""
    ground = field.ground.look()
    plan = planned(ground, Asked(Kind.SWITCHOVER, target, run="bare"))
    whose = Whose(f"bare-{secrets.token_hex(3)}", plan.hash, next_epoch(ground.eyes.world()))
    phases: dict[str, float] = {}
    for step in plan.steps:
        if step.phase in (Phase.REPROTECT, Phase.VERIFY):
            break
        began = time.monotonic()
        _do(field, step, plan, whose)
        phases[step.phase] = phases.get(step.phase, 0.0) + time.monotonic() - began
    return {phase: phases.get(phase, 0.0) for phase in OUTAGE}


def _do(field: Field, step: Step, plan: Plan, whose: Whose) -> None:
    """Do a step's acts at its agents, sites side by side; the third site is to follow before the drain, as it is waited for."""
    by_site: dict[str, list[acts.Act]] = {}
    for act in step.acts:
        if isinstance(act, acts.AgentAct):
            by_site.setdefault(act.site, []).append(act)

    def at_site(site: str) -> None:
        for act in by_site[site]:
            field.ground.doer.do(act, whose)

    for answer in side_by_side(by_site, at_site).values():
        if isinstance(answer, FlotillaError):
            raise answer
