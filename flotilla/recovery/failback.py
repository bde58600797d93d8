"""The way home: the lost site follows, stays in step for a while, and is then moved to in order. Never automatic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flotilla.recovery import goals
from flotilla.recovery.facts import World
from flotilla.recovery.layout import Layout
from flotilla.recovery.parts import beginning, protecting
from flotilla.recovery.reprotect import returning
from flotilla.recovery.steps import Phase, Step
from flotilla.recovery.switchover import moving


def steps(site: str, primary: str, world: World, layout: Layout, stable: float) -> tuple[Step, ...]:
    """Return the steps of a failback; ``stable`` is how many seconds the site has to be in step before it is moved to."""
    return (*beginning(layout), *_home(site, primary, world, layout, stable))


def _home(site: str, primary: str, world: World, layout: Layout, stable: float) -> Iterator[Step]:
    names = layout.sync_names(primary)
    back = (*returning(site, primary, world, layout), *protecting(layout, primary, names if site in names else ()))
    for step in back:
        yield replace(step, key=f"back-{step.key}", milestone=False, firm=False)
    yield Step("stable", f"{site} was in step for {stable:g} s", Phase.REPROTECT,
               (goals.Stable(site, primary, stable, layout.lag),), patience=stable + 600, milestone=True)  # fmt: skip
    yield from moving(primary, site, layout)
