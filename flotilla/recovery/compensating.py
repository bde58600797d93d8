"""The way back before the point of no return: each step's undo in reverse order, under an epoch of its own.

The new epoch refuses whatever the run, or a process of it that everybody forgot, asked for before.
"""

from __future__ import annotations

from dataclasses import replace

from flotilla.recovery import acts, goals
from flotilla.recovery.parts import kept
from flotilla.recovery.steps import Kind, Left, Mode, OnFailure, Phase, Plan, Step

_FORWARD = 120.0  # seconds of patience of a way back: nothing else is there to be tried


def compensation(plan: Plan) -> Plan:
    """Return the plan that undoes another, as far as it was to be before its point of no return."""
    before = plan.steps[: plan.no_return]
    begun = [replace(step, approvals=0) for step in before if step.key in ("leases", "begin", "glass")]
    undone = [_undone(step) for step in reversed(before) if not isinstance(step.undo, Left)]
    seen = Step(
        "as-before",
        f"{plan.origin} is the primary and takes writes",
        Phase.VERIFY,
        (goals.Writable(plan.origin),),
        patience=_FORWARD,
    )
    steps = (*begun, *undone, kept(plan.origin), seen)
    return replace(plan, kind=Kind.ABORT, target=plan.origin, mode=Mode.GRACEFUL, epoch=plan.epoch + 1, steps=steps, owed=())


def _undone(step: Step) -> Step:
    assert not isinstance(step.undo, Left)
    return Step(
        f"undo-{step.key}",
        f"undone: {step.title}",
        step.phase,
        step.undo,
        patience=_FORWARD,
        retries=10,
        on_failure=OnFailure.CONTINUE if _is_small(step.undo) else OnFailure.PAUSE,
    )


def _is_small(undo: tuple[acts.Act, ...]) -> bool:
    """Return whether what is left undone harms nobody for a while: slots, a cascade, replicas too many."""
    return all(isinstance(act, acts.DropSlots | acts.Follow | acts.ScaleDown) for act in undo)
