"""A plan as a runbook for people: the commands that do what its acts do, and what to expect, for the day Flotilla is gone.

What differs between installations stands in its head (``preamble``), which is pasted first. Every command may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flotilla.recovery.commands import told
from flotilla.recovery.steps import Left, OnFailure, Plan, Step

RULES = (
    "Do one step after the other. Go on only when you see what is expected; if you do not, do what the step says of failing.",
    "Never start a database that was primary without `standby.signal` in its PGDATA.",
    "Never cancel a session that waits for `SyncRep`: cancelling acknowledges what only one site has.",
    "Each agent is ended together with its guard, as the first steps do it: else the guard stops a primary once it is alone.",
    "PostgreSQL outlives its agent; where keepRunning, or its unit's KillMode, says otherwise, start it again first.",
    "When Flotilla is back: `systemctl enable --now flotilla-agent` at every site, then `flotilla recover check`.",
)


def runbook(plan: Plan, head: Sequence[str]) -> str:
    """Return a plan as a markdown document; ``head`` is what ``preamble`` says of the sites."""
    return "\n".join(_lines(plan, head)) + "\n"


def _lines(plan: Plan, head: Sequence[str]) -> Iterator[str]:
    yield f"# {plan.title}, {plan.mode}, by hand"
    yield ""
    yield f"Plan `{plan.hash[:12]}`. What may be lost: {plan.loss}."
    yield ""
    yield from (f"- {rule}" for rule in RULES)
    yield ""
    yield "Paste this into bash first, and fill in what is `?`:"
    yield "```"
    yield from head
    yield "```"
    for number, step in enumerate(plan.steps, 1):
        yield from _step(number, step, plan)
    if plan.owed:
        yield ""
        yield "## Still owed"
        yield from (f"- {owed}" for owed in plan.owed)


def _step(number: int, step: Step, plan: Plan) -> Iterator[str]:
    yield ""
    yield f"## {number}. {step.title}"
    yield ""
    if step.point_of_no_return:
        yield "**Point of no return.** Before it every step can be taken back; after it there is only forward."
        yield ""
    if step.approvals:
        yield f"{step.approvals} different people agree first. Write down who, when and why."
        yield ""
    if step.need and step.need < len(step.acts):
        yield f"{step.need} of {len(step.acts)} are enough; do the others when they are back."
        yield ""
    for act in step.acts:
        commands, expected = told(act, plan)
        yield f"{act.site}:"
        yield "```"
        yield from commands
        yield "```"
        yield f"Expect: {expected}"
        yield ""
    yield f"If it fails for {step.patience:g} s: {_failing(step, plan)}"
    if isinstance(step.undo, tuple):
        yield ""
        yield f"Taken back by: {'; '.join(map(str, step.undo))}."
        yield "```"
        for act in step.undo:
            yield from told(act, plan)[0]
        yield "```"


def _failing(step: Step, plan: Plan) -> str:
    if step.on_failure is OnFailure.CONTINUE:
        return "go on, and write down what was left out."
    before = plan.no_return is None or step in plan.steps[: plan.no_return]
    if step.on_failure is OnFailure.COMPENSATE and before:
        return "take back every step so far, last one first."
    if step.undo is Left.NONE_AFTER_THIS or not before:
        return "find out why and do it again; there is no way back."
    return "find out why and do it again, or take back every step so far, last one first."
