"""A planned move that goes on as a failover in the same run: what is asked for, and what people are asked if it is refused."""

from __future__ import annotations

from dataclasses import replace

from flotilla.recovery.journal import Journal
from flotilla.recovery.memory import Choice, Memory
from flotilla.recovery.refusals import Asked, Forced, NotPlanned
from flotilla.recovery.steps import Kind, Mode, Plan
from flotilla.recovery.walking import Replan, Stuck


def asked_anew(plan: Plan, move: Replan, journal: Journal) -> Asked:
    """Return what a run asks for when it goes on without the origin: what people took upon them before stays so."""
    name, _, risk = plan.forced.partition(": ")
    return Asked(
        Kind.FAILOVER,
        move.target,
        mode=Mode.UNGRACEFUL,
        run=journal.run,
        initiator=Memory(journal, plan.epoch).initiator,
        reason=move.why,
        forced=Forced(name, risk) if plan.forced else None,
        glass=plan.glass,
    )


def made_anew(found: Plan | NotPlanned, move: Replan, journal: Journal) -> Plan | Stuck:
    """Return the plan that is walked from now on, or what people are asked where there is none.

    Its epoch is above all that the journal tells of: what was written under one of those is of another plan.
    """
    if isinstance(found, Plan):
        return replace(found, epoch=max(found.epoch, 1 + max(entry.epoch for entry in journal.entries)))
    anew = f"flotilla recover failover --to {move.target}"
    how = f"mend that and retry; or end this run, and then: {anew} --break-glass, or {anew} --accept-risk RISK"
    why = f"no failover to {move.target} can be planned: {'; '.join(found.reasons)}: {how}"
    return Stuck(move.step, why, (Choice.RETRY, Choice.ABORT, Choice.END), move.epoch)
