"""Going on without the synchronous standby: first nobody is called promotable, then commits stop waiting. Never reversed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals
from flotilla.recovery.facts import DatabaseSeen, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.parts import beginning, kept, publishing, verified
from flotilla.recovery.steps import Phase, Step


def reasons_against(primary: str, world: World) -> Iterator[str]:
    """Yield why a primary cannot, or need not, go on alone."""
    seen = world.database(primary)
    if isinstance(seen, Unknown):
        yield f"{primary} is not seen ({seen.reason})"
    elif not seen.synchronous:
        yield f"commits at {primary} wait for nobody already"
    if isinstance(agent := world.agent(primary), Unknown):
        yield f"the agent of {primary} does not answer ({agent.reason})"
    if isinstance(seen, DatabaseSeen) and (there := [name for name in seen.synchronous if _streams(seen, name)]):
        yield f"{', '.join(there)} streams from {primary}: commits do not hang"


def steps(primary: str, layout: Layout, *, automatic: bool) -> tuple[Step, ...]:
    """Return the steps after which commits wait for nobody; one person agrees unless the fleet file says ``degrade``."""
    return tuple(_all(primary, layout, automatic))


def _all(primary: str, layout: Layout, automatic: bool) -> Iterator[Step]:
    leases, begin = beginning(layout)
    yield replace(leases, approvals=0 if automatic else max(1, layout.approvals))
    yield begin
    yield replace(publishing(layout, primary, (), "publish"), phase=Phase.PREPARE)
    yield Step("sync", f"commits at {primary} wait for nobody", Phase.PROMOTE, (acts.SetSync(primary, ()),))
    yield Step("writable", f"{primary} takes writes", Phase.VERIFY, (goals.Writable(primary),))
    yield kept(primary)
    yield verified(layout, primary)


def _streams(primary: DatabaseSeen, name: str) -> bool:
    seen = primary.follower(name)
    return seen is not None and seen.streams
