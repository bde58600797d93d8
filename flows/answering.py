"""What a person who answers a run is shown and signs: the question that it asks, put together anew from what is so now."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from flotilla.errors import FlotillaError, Permanent, Refused
from flotilla.recovery.approvals import APPROVE, REJECT, claims
from flotilla.recovery.choosing import claims_of
from flotilla.recovery.drilling import BACK, THERE
from flotilla.recovery.facts import HELD
from flotilla.recovery.journal import Journal
from flotilla.recovery.memory import Choice
from flotilla.recovery.steps import from_dict
from flotilla.recovery.walking import Ask, Move, Replan, Stuck, asked_last, next_move
from flows.recovering import Ground, read_run, without_origin
from tasks import answer_box, prefect_api
from tasks.fanout import side_by_side
from tasks.signing import signed

SETTLED = HELD + 4.0  # seconds in which somebody who has just opened their eyes sees what a run has seen
LOOK_AGAIN = 0.5  # seconds


LOOK_THERE = "the answer lies in the clusters"
_IN_PREFECT = re.compile(rf"([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})(?:-(?:{THERE}|{BACK}))?")


@dataclass(frozen=True)
class Person:
    """Who answers, with the file of their key, and why."""

    name: str
    key: Path
    reason: str


def question_of(ground: Ground, run: str) -> Ask | Stuck:
    """Return what a run waits for people for; raises Permanent where it waits for nobody, or nobody has begun it.

    Whoever has only begun to look cannot know yet whether a follower moves, which the run itself has seen: that is waited for.
    """
    deadline = time.monotonic() + SETTLED
    while not isinstance(move := _move(ground, read_run(ground, run)), Ask | Stuck):
        if time.monotonic() > deadline:
            raise Permanent(f"run {run} waits for nobody: its next move is {type(move).__name__.lower()}")
        ground.eyes.changed(ground.eyes.changed(-1, 0), LOOK_AGAIN)
    return move


def _move(ground: Ground, journal: Journal) -> Move:
    """Return what a run does next, or the gate that it stands at, whatever has become due again before it meanwhile."""
    assert journal.plan is not None
    plan, world = from_dict(journal.plan["plan"]), ground.eyes.world()
    move: Move = next_move(plan, world, journal)
    if isinstance(move, Replan) and isinstance(found := without_origin(ground, plan, move, journal), Stuck):
        move = found
    return move if isinstance(move, Ask | Stuck) else asked_last(plan, world, journal) or move


def decided(ground: Ground, run: str, move: Ask | Stuck, decision: str, person: Person) -> tuple[str, ...]:
    """Sign a decision and lay it where the run looks; return the clusters that took it.

    Raises what ``token_of`` and ``given`` raise.
    """
    return given(ground, run, token_of(run, move, decision, person))


def woken(run: str) -> str:
    """Have a run of Prefect's that is suspended look at the answers; return what came of it, "" for a run that is none of its.

    It reads them from where they lie: what is given here only wakes it.
    """
    if not (named := _IN_PREFECT.fullmatch(run)):
        return ""
    try:
        state = str(prefect_api.run_of(named[1])["state"]["type"])
        if state in ("RUNNING", "PENDING", "SCHEDULED"):
            return "the run in Prefect is not suspended: it looks by itself"
        if state != "PAUSED":
            return f"the run in Prefect is {state.lower()} and looks at nothing: go on here: flotilla recover resume {run}"
        why = prefect_api.resume(named[1], {"code": LOOK_THERE})
    except FlotillaError as error:
        return (
            f"the run in Prefect was not woken: {error}; start it again in its UI, or go on here: flotilla recover resume {run}"
        )
    return f"the run in Prefect was not woken: {why}" if why else "the run in Prefect goes on"


def counts(move: Ask, name: str) -> bool:
    """Tell whether somebody's approval counts at a gate: of the one who started the run only where one is enough."""
    return move.gate.people < 2 or move.gate.initiator != name


def token_of(run: str, move: Ask | Stuck, decision: str, person: Person) -> str:
    """Return a decision, signed; raises InvalidInput for a key that is none, Refused for what is no answer here."""
    now = time.time()
    choices = (APPROVE, REJECT) if isinstance(move, Ask) else move.choices
    if decision not in choices:
        raise Refused(f"{decision!r} is no answer to {move.step.title}: {', '.join(choices)}")
    if isinstance(move, Ask) and decision == APPROVE and not counts(move, person.name):
        raise Refused(f"{person.name} started this run: where {move.gate.people} agree they are others; reject, or ask them")
    if isinstance(move, Ask):
        said = claims(move.gate, decision, person.name, person.reason, now)
    else:
        said = claims_of(run, move, Choice(decision), person.name, person.reason, now)
    return signed(said, person.key)


def given(ground: Ground, run: str, token: str) -> tuple[str, ...]:
    """Lay a signed answer where the run looks; return the clusters that took it. Raises Permanent where none did."""
    ways = ground.connections
    found = side_by_side(ways, lambda name: answer_box.put(ways[name], run, token))
    taken = tuple(name for name, answer in found.items() if not isinstance(answer, FlotillaError))
    if not taken:
        raise Permanent("no cluster took the answer: " + "; ".join(map(str, found.values())))
    return taken
