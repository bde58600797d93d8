"""The planned move of the primary, nothing lost: recovery-lab.md section 8, recovery.md 2.4.

What takes time comes before the fence: slots, cascading the third site, a checkpoint. Stopping comes before promoting, as a
primary that is merely read-only still writes WAL and would diverge.
"""

from __future__ import annotations

from collections.abc import Iterator

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals
from flotilla.recovery.facts import DatabaseSeen, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.parts import beginning, protecting, publishing, rejoining, tidying, traffic, verified
from flotilla.recovery.steps import Left, OnFailure, Phase, Step


def reasons_against(origin: str, target: str, world: World, layout: Layout) -> Iterator[str]:
    """Yield why a planned move cannot begin: what would make it lose something, or stop half-way."""
    for site in layout.sites:
        if isinstance(agent := world.agent(site), Unknown):
            yield f"the agent of {site} does not answer ({agent.reason}): a planned move needs all"
    old, new = world.database(origin), world.database(target)
    if isinstance(old, Unknown):
        yield f"{origin} is not seen ({old.reason}): a failover is what remains"
    if isinstance(new, Unknown):
        yield f"{target} is not seen ({new.reason})"
    if isinstance(old, DatabaseSeen) and isinstance(new, DatabaseSeen):
        yield from _replication_against(old, new, layout)


def _replication_against(old: DatabaseSeen, new: DatabaseSeen, layout: Layout) -> Iterator[str]:
    seen = old.follower(new.site)
    if seen is None or not seen.streams:
        yield f"{new.site} does not stream from {old.site}, or two claim its name"
    if (behind := old.position - new.replayed) > layout.lag:
        yield f"{new.site} is not caught up: {behind} bytes behind {old.site}, {layout.lag} at most"
    if new.paused:
        yield f"replay is paused at {new.site}"
    if new.timeline != old.timeline:
        yield f"{new.site} is on timeline {new.timeline}, {old.site} on {old.timeline}"
    if not old.is_writable:
        yield f"{old.site} does not take writes: undo what made it read-only first"
    if old.prepared:
        yield f"{old.prepared} prepared transactions are open at {old.site}: commit or roll them back"


def steps(origin: str, target: str, layout: Layout) -> tuple[Step, ...]:
    """Return the steps of a planned move."""
    return (*beginning(layout), *moving(origin, target, layout))


def moving(origin: str, target: str, layout: Layout) -> tuple[Step, ...]:
    """Return the steps of a planned move after its beginning: also the second half of a failback."""
    third = layout.others(origin, target)
    before = [site for site in third if site not in layout.sync_names(origin)]
    return (
        *_prepared(origin, target, before, layout),
        *_fenced(origin, target, layout),
        *_promoted(origin, target, layout),
        *_protected(origin, target, third, layout),
    )


def _prepared(origin: str, target: str, cascaded: list[str], layout: Layout) -> Iterator[Step]:
    if target not in layout.authorised(origin):
        yield Step("scale", f"the application is wanted at {target}", Phase.PREPARE, (acts.ScaleUp(target),),
                   undo=(acts.ScaleDown(target),))  # fmt: skip
        yield Step("ready", f"the application is ready at {target}", Phase.PREPARE, (goals.Ready(target),), patience=300)
    slots = layout.others(target)
    yield Step("slots", f"{target} has slots for {', '.join(slots)}", Phase.PREPARE, (acts.CreateSlots(target, slots),),
               undo=(acts.DropSlots(target, slots),), firm=True)  # fmt: skip
    yield opened(target)
    for site in cascaded:
        yield Step(f"cascade-{site}", f"{site} follows {target}", Phase.PREPARE, (acts.Follow(site, target),),
                   undo=(acts.Follow(site, origin),))  # fmt: skip
        yield Step(f"cascaded-{site}", f"{site} moves along with {target}", Phase.PREPARE, (goals.Following(site, target),),
                   on_failure=OnFailure.COMPENSATE, patience=60)  # fmt: skip
    yield Step("checkpoint", f"{origin} has little left to write", Phase.PREPARE, (acts.Checkpoint(origin, within=60.0),),
               on_failure=OnFailure.CONTINUE)  # fmt: skip


def opened(target: str) -> Step:
    """Return the step after which nothing set at a standby in the past hampers it as a primary (recovery.md, findings 1, 2).

    Nobody to wait for until it is protected again: a choice of a short outage against a bounded time without a second copy,
    which the leases tell, as they call nobody promotable meanwhile.
    """
    made = (acts.SetSync(target, ()), acts.Undrain(target), acts.Unfence(target), acts.ResumeReplay(target))
    return Step("open", f"{target} will wait for nobody and let clients in", Phase.PREPARE, made, firm=True)


def _fenced(origin: str, target: str, layout: Layout) -> Iterator[Step]:
    back = OnFailure.COMPENSATE
    yield Step("drain", f"{origin} takes no new writes", Phase.DRAIN,
               (acts.Drain(origin, layout.drain, target, layout.lag),), undo=(acts.Undrain(origin),),
               approvals=layout.approvals, milestone=True, on_failure=back, patience=layout.drain + 10)  # fmt: skip
    yield Step("fence", f"no client is in at {origin}", Phase.FENCE, (acts.Fence(origin),), undo=(acts.Unfence(origin),),
               milestone=True, on_failure=back)  # fmt: skip
    yield Step("caught-up", f"{target} has all of {origin}", Phase.CATCH_UP, (goals.CaughtUp(target, origin),),
               on_failure=back, patience=5)  # fmt: skip
    yield Step("stop", f"{origin} is stopped in order", Phase.FENCE, (acts.Stop(origin, caught_up=target),),
               undo=(acts.Start(origin, "primary"),), milestone=True, on_failure=back)  # fmt: skip
    yield Step("stop-proved", f"{target} has the shutdown checkpoint of {origin}", Phase.CATCH_UP,
               (goals.StopProved(origin, target),), on_failure=back, patience=5)  # fmt: skip


def _promoted(origin: str, target: str, layout: Layout) -> Iterator[Step]:
    yield Step("promote", f"{target} is the primary", Phase.PROMOTE, (acts.Promote(target, origin, clean=True),),
               undo=Left.NONE_AFTER_THIS, point_of_no_return=True, milestone=True, retries=5, patience=90)  # fmt: skip
    yield Step("writable", f"{target} takes writes", Phase.PROMOTE, (goals.Writable(target),), firm=True)
    yield traffic(layout, target)
    yield publishing(layout, target, (), "publish")


def _protected(origin: str, target: str, third: tuple[str, ...], layout: Layout) -> Iterator[Step]:
    yield rejoining(origin, target)
    for site in third:
        waited_for = site in layout.sync_names(target)
        yield rejoining(site, target, on_failure=OnFailure.PAUSE if waited_for else OnFailure.CONTINUE)
    reopened = (acts.Unfence(origin), acts.Undrain(origin), acts.SetSync(origin, ()))
    yield Step("reopen", f"{origin} keeps no fence and no read-only setting", Phase.REPROTECT,
               reopened, on_failure=OnFailure.CONTINUE)  # fmt: skip
    yield from protecting(layout, target, layout.sync_names(target))
    yield tidying(layout, target, (origin, *third))
    if origin not in layout.authorised(target):
        for site in layout.authorised(origin):
            if site not in layout.in_city_of(layout.sites[0]):
                yield Step(f"scale-down-{site}", f"the application is not wanted at {site}", Phase.REPROTECT,
                           (acts.ScaleDown(site),), on_failure=OnFailure.CONTINUE)  # fmt: skip
    yield verified(layout, target)
