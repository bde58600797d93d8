"""The move without the old primary: recovery.md 2.5, recovery-lab.md section 8.

Nothing that is lost is waited for longer than it takes to know that it is. What could not be fenced is fenced by the new epoch
and time, or by its need of a standby that does not answer it any more; what cannot be proved stops at a gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals
from flotilla.recovery.facts import World
from flotilla.recovery.layout import Layout
from flotilla.recovery.loss import LossStatement
from flotilla.recovery.parts import beginning, publishing, rejoining, traffic, verified
from flotilla.recovery.steps import Left, OnFailure, Phase, Step
from flotilla.recovery.switchover import opened


def reasons_against(target: str, world: World) -> Iterator[str]:
    """Yield why a failover cannot begin."""
    if isinstance(agent := world.agent(target), Unknown):
        yield f"the agent of {target} does not answer ({agent.reason})"
    if isinstance(seen := world.database(target), Unknown):
        yield f"{target} is not seen ({seen.reason})"


def steps(origin: str, target: str, layout: Layout, *, loss: LossStatement, glass: bool, automatic: bool) -> tuple[Step, ...]:
    """Return the steps of a failover; ``automatic`` where the policy lets nobody be asked."""
    people = 2 if glass else 0 if automatic else max(1, layout.approvals)
    third = layout.others(origin, target)
    return (
        *(_glass(origin, target, layout, people) if glass else _begun(layout, people, automatic=automatic)),
        *_cut(origin, target, third, layout),
        *_chosen(origin, target, layout, loss=loss),
        *_promoted(origin, target, layout, loss=loss, glass=glass),
        *_owed(origin, target, third, layout, glass=glass),
    )


def _begun(layout: Layout, people: int, *, automatic: bool) -> Iterator[Step]:
    """Yield the steps that begin; one that goes by itself and gets no majority stands in nobody's way."""
    on_failure = OnFailure.COMPENSATE if automatic else OnFailure.PAUSE
    leases, begin = beginning(layout)
    yield replace(leases, approvals=people, on_failure=on_failure)
    yield replace(begin, on_failure=on_failure)


def _glass(origin: str, target: str, layout: Layout, people: int) -> Iterator[Step]:
    """Yield the steps that begin without a majority: whoever agrees answers for an origin that nobody can prove dead."""
    yield Step("glass", f"two people break the glass: {target} acts without a majority; if {origin} lives, both acknowledge",
               Phase.PREPARE, (acts.BreakGlass(target),), firm=True, approvals=people, waives=("origin-fenced",))  # fmt: skip
    yield Step("leases", "the run holds the leases that are left", Phase.PREPARE,
               tuple(acts.TakeLease(site) for site in layout.sites), need=1, on_failure=OnFailure.CONTINUE)  # fmt: skip


def _cut(origin: str, target: str, third: tuple[str, ...], layout: Layout) -> Iterator[Step]:
    if target not in layout.authorised(origin):
        yield Step("scale", f"the application is wanted at {target}", Phase.PREPARE, (acts.ScaleUp(target),),
                   undo=(acts.ScaleDown(target),), on_failure=OnFailure.CONTINUE)  # fmt: skip
    yield Step("stop", f"{origin} is stopped, if it can be", Phase.FENCE, (acts.Stop(origin, "fast"),),
               undo=(acts.Start(origin, "primary"),), patience=0.5, retries=1, on_failure=OnFailure.CONTINUE)  # fmt: skip
    yield Step("detach", f"{target} takes nothing from {origin} any more", Phase.FENCE, (acts.Detach(target),),
               undo=(acts.Follow(target, origin),), patience=20)  # fmt: skip
    for site in third:
        yield Step(f"detach-{site}", f"{site} takes nothing from {origin} any more", Phase.FENCE, (acts.Detach(site),),
                   undo=(acts.Follow(site, origin),), patience=0.5, retries=1, on_failure=OnFailure.CONTINUE)  # fmt: skip
    yield Step("fenced", f"{origin} acknowledges nothing any more", Phase.FENCE,
               (goals.Fenced(origin, target, layout.fence_wait),), patience=layout.fence_wait + 10,
               waives=("origin-fenced",))  # fmt: skip


def _chosen(origin: str, target: str, layout: Layout, *, loss: LossStatement) -> Iterator[Step]:
    chosen = goals.MostAdvanced(target, origin, proven=loss.is_nothing, at_most=_at_most(loss))
    yield Step("chosen", f"nobody has more than {target}, and no more is lost than was stated", Phase.CATCH_UP, (chosen,),
               patience=5, waives=("loss-as-stated",))  # fmt: skip
    slots = layout.others(target)
    yield Step("slots", f"{target} has slots for {', '.join(slots)}", Phase.PREPARE, (acts.CreateSlots(target, slots),),
               undo=(acts.DropSlots(target, slots),))  # fmt: skip
    yield opened(target)


def _promoted(origin: str, target: str, layout: Layout, *, loss: LossStatement, glass: bool) -> Iterator[Step]:
    promote = acts.Promote(target, origin, clean=False, wait=layout.fence_wait, at_most=_at_most(loss))
    yield Step("promote", f"{target} is the primary", Phase.PROMOTE, (promote,), undo=Left.NONE_AFTER_THIS,
               point_of_no_return=True, milestone=True, retries=5, patience=90)  # fmt: skip
    yield Step("writable", f"{target} takes writes", Phase.PROMOTE, (goals.Writable(target),), firm=True)
    if target not in layout.authorised(origin):
        yield Step("ready", f"the application is ready at {target}", Phase.TRAFFIC, (goals.Ready(target),),
                   patience=300, on_failure=OnFailure.CONTINUE)  # fmt: skip
    led, said = traffic(layout, target), publishing(layout, target, (), "publish")
    for step in (led, said):
        fewer = 1 if glass else step.need
        yield Step(step.key, step.title, step.phase, step.acts, undo=step.undo, need=fewer, patience=60, retries=10,
                   on_failure=OnFailure.CONTINUE if glass and step is said else OnFailure.PAUSE)  # fmt: skip


def _owed(origin: str, target: str, third: tuple[str, ...], layout: Layout, *, glass: bool) -> Iterator[Step]:
    for site in (*third, origin):
        yield Step(f"quarantine-{site}", f"{site} is no second primary", Phase.VERIFY, (goals.Quarantined(site),),
                   patience=60)  # fmt: skip
    for site in third:
        step = rejoining(site, target, on_failure=OnFailure.CONTINUE)
        yield Step(step.key, step.title, step.phase, step.acts, patience=5 if glass else 60, retries=2,
                   on_failure=OnFailure.CONTINUE)  # fmt: skip
    yield verified(layout, target)


def _at_most(loss: LossStatement) -> int | None:
    """Return the bytes that people agree to lose: 0 stands for what is proved, not for an estimate of it."""
    return loss.bytes if loss.is_nothing or loss.bytes is None else max(1, loss.bytes)
