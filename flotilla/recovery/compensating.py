"""The way back before the point of no return: each step's undo in reverse order, under an epoch of its own.

The new epoch refuses whatever the run, or a process of it that everybody forgot, asked for before.
"""

from __future__ import annotations

from dataclasses import replace

from flotilla.recovery import acts, goals
from flotilla.recovery.parts import kept
from flotilla.recovery.steps import Kind, Left, Mode, OnFailure, Phase, Plan, Step

_FORWARD = 120.0  # seconds of patience of a way back: nothing else is there to be tried
HALTED = "begin-target"


def compensation(plan: Plan, *, promoting: bool = False) -> Plan:
    """Return the plan that undoes another, as far as it was to be before its point of no return.

    ``promoting``: the promotion was asked for, and may be under way: nothing is undone before the target has let go of it.
    """
    before = plan.steps[: plan.no_return]
    begun = [_begun(step, plan) for step in before if step.key in ("leases", "begin", "glass")]
    if promoting:
        begun.append(_halted(plan.target))
    undone = [_undone(step) for step in reversed(before) if not isinstance(step.undo, Left)]
    if plan.kind is Kind.FAILOVER:
        undone.append(_reopened(plan.origin))
    seen = Step(
        "as-before",
        f"{plan.origin} is the primary and takes writes",
        Phase.VERIFY,
        (goals.Writable(plan.origin),),
        patience=_FORWARD,
    )
    steps = (*begun, *undone, kept(plan.origin), seen)
    return replace(plan, kind=Kind.ABORT, target=plan.origin, mode=Mode.GRACEFUL, epoch=plan.epoch + 1, steps=steps, owed=())


def _begun(step: Step, plan: Plan) -> Step:
    """Return the step that begins a way back. Broken glass was of the epoch before: where nobody is promoted none is broken."""
    if step.key != "glass":
        return replace(step, approvals=0)
    sites = dict.fromkeys(act.site for one in plan.steps for act in one.acts if isinstance(act, acts.TakeLease))
    begin = tuple(acts.Begin(site) for site in sites)
    return Step("begin", "the agents that answer keep to the new epoch", Phase.PREPARE, begin, need=1, patience=20)


def _halted(target: str) -> Step:
    """Return the step that a promotion under way keeps waiting: an agent accepts an epoch once its short acts are over."""
    title = f"{target} is at no promotion any more"
    return Step(HALTED, title, Phase.PREPARE, (acts.Begin(target),), patience=_FORWARD, retries=10)


def _reopened(origin: str) -> Step:
    """Return the step that takes back what a planned move had done to an origin before the same run went on without it."""
    made = (acts.Unfence(origin), acts.Undrain(origin))
    return Step("reopened", f"{origin} lets clients in and takes writes", Phase.FENCE, made, patience=_FORWARD, retries=10)


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
