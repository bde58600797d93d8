"""Moves written down: what goes into the journal before a move is made, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.recovery import bodies
from flotilla.recovery.acts import Act
from flotilla.recovery.approvals import Approval, to_data
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.memory import Choice, Memory
from flotilla.recovery.steps import Plan, to_dict
from flotilla.recovery.walking import Ask, Decide, Do, Ended, Move, Outcome, Stuck, Wait

BY_PLAN = "plan"  # who decided where nobody was asked


def planned(journal: Journal, plan: Plan, at: float, initiator: str, reason: str) -> Journal:
    """Return the journal with a plan as what is walked from now on; written before anything is done."""
    data = {"plan": to_dict(plan), "hash": plan.hash, "initiator": initiator, "reason": reason}
    return journal.with_entry(Entry(at, Wrote.PLANNED, initiator, plan.epoch, "", data))


def resumed(journal: Journal, plan: Plan, at: float, who: str) -> Journal:
    """Return the journal of a run that another process takes up: patience begins anew, nothing else does; over, it stays so."""
    if Memory(journal, 0).ended:
        return journal
    return journal.with_entry(Entry(at, Wrote.RESUMED, who, plan.epoch))


def recorded(journal: Journal, move: Move, at: float, who: str) -> Journal:
    """Return the journal with a move, to be kept before the move is made; the same journal if it says so already."""
    if isinstance(move, Do):
        data = {"acts": [bodies.to_dict(act) for act in move.acts]}
        return journal.with_entry(Entry(at, Wrote.INTENDED, who, move.epoch, move.step.key, data))
    if isinstance(move, Wait):
        memory = Memory(journal, move.epoch)
        noted = memory.unseen_since if move.unseen else memory.begun(move.step.key)
        if noted is not None:
            return journal
        waited = {"why": move.why, **({"unseen": move.unseen} if move.unseen else {})}
        return journal.with_entry(Entry(at, Wrote.WAITED, who, move.epoch, move.step.key, waited))
    if isinstance(move, Decide):
        return decided(journal, move.step.key, move.choice, Decision(at, move.epoch, "", move.why))
    if isinstance(move, Ask | Stuck):
        return _asked(journal, move, at, who)
    # Whoever was superseded has nothing to say any more: the run may go on in another process, under a higher epoch.
    if isinstance(move, Ended) and move.outcome is not Outcome.SUPERSEDED and Memory(journal, 0).ended is None:
        said = {"outcome": move.outcome, "told": move.told, "owed": list(move.owed)}
        return journal.with_entry(Entry(at, Wrote.ENDED, who, 0, "", said))
    return journal


@dataclass(frozen=True)
class Decision:
    """Who decided when about the plan of which epoch, and why, signed; no name if the plan itself did."""

    at: float
    epoch: int
    name: str
    why: str
    token: str = ""


def decided(journal: Journal, step: str, choice: Choice, decision: Decision) -> Journal:
    """Return the journal with what was decided at a step."""
    data = {"choice": choice, "name": decision.name, "why": decision.why, "token": decision.token}
    return journal.with_entry(Entry(decision.at, Wrote.DECIDED, decision.name or BY_PLAN, decision.epoch, step, data))


def approved(journal: Journal, given: Approval, epoch: int, at: float) -> Journal:
    """Return the journal with an approval, or a rejection, that was checked (``approvals.accepted``)."""
    return journal.with_entry(Entry(at, Wrote.APPROVED, given.name, epoch, given.gate, to_data(given)))


def told(journal: Journal, move: Do, act: Act, answer: str, *, at: float, who: str) -> Journal:
    """Return the journal with what an act's doer answered."""
    data = {"act": str(act), "kind": act.kind, "site": act.site, "told": answer}
    return journal.with_entry(Entry(at, Wrote.TOLD, who, move.epoch, move.step.key, data))


def failed(journal: Journal, move: Do, act: Act, error: str, *, at: float, who: str, for_good: bool) -> Journal:
    """Return the journal with an act that failed; ``for_good`` if trying again cannot help (Permanent, Refused)."""
    data = {"act": str(act), "kind": act.kind, "site": act.site, "told": error, "for_good": for_good}
    return journal.with_entry(Entry(at, Wrote.FAILED, who, move.epoch, move.step.key, data))


def _asked(journal: Journal, move: Ask | Stuck, at: float, who: str) -> Journal:
    """Return the journal with a question, unless that was its last word."""
    if isinstance(move, Ask):
        data: dict[str, object] = {"evidence": move.gate.evidence, "people": move.gate.people, "question": move.gate.question}
    else:
        data = {"why": move.why, "choices": list(move.choices)}
    last = next((entry for entry in reversed(journal.entries) if entry.kind is Wrote.ASKED), None)
    missed = isinstance(move, Ask) and Memory(journal, move.epoch).unseen_since is not None
    if last and not missed and (last.epoch, last.step, last.said) == (move.epoch, move.step.key, data):
        return journal
    return journal.with_entry(Entry(at, Wrote.ASKED, who, move.epoch, move.step.key, data))
