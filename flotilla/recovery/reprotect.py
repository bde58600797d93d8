"""A lost site made a follower again: what it has that nobody else has is kept as evidence, never merged, never promoted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals
from flotilla.recovery.facts import EVIDENCE, AgentSeen, World
from flotilla.recovery.following import not_following
from flotilla.recovery.layout import Layout
from flotilla.recovery.parts import beginning, kept, protecting, rejoining, tidying, traffic, verified
from flotilla.recovery.rejoining import is_of_history
from flotilla.recovery.steps import OnFailure, Phase, Step


def reasons_against(site: str, primary: str, world: World) -> Iterator[str]:
    """Yield why a site cannot be made a follower."""
    agent, seen = world.agent(site), world.database(primary)
    if isinstance(agent, Unknown):
        yield f"the agent of {site} does not answer ({agent.reason})"
    if isinstance(seen, Unknown):
        yield f"{primary} is not seen ({seen.reason}): there is nobody to follow"
    if isinstance(agent, AgentSeen) and None not in (agent.disk_free, agent.data_bytes):
        assert agent.disk_free is not None
        assert agent.data_bytes is not None
        if agent.disk_free < agent.data_bytes:
            yield f"{site} has {agent.disk_free} bytes free, and its evidence may take {agent.data_bytes}"


def steps(site: str, primary: str, world: World, layout: Layout) -> tuple[Step, ...]:
    """Return the steps that re-protect a primary by a site."""
    names = layout.sync_names(primary)
    needed = names if site in names else ()
    return (
        *beginning(layout),
        *returning(site, primary, world, layout),
        *protecting(layout, primary, needed),
        tidying(layout, primary, (site,)),
        Step("reopen", f"{site} keeps no fence and no read-only setting", Phase.REPROTECT,
             (acts.Unfence(site), acts.Undrain(site)), on_failure=OnFailure.CONTINUE),
        traffic(layout, primary),
        kept(primary),
        verified(layout, primary),
    )  # fmt: skip


def returning(site: str, primary: str, world: World, layout: Layout) -> Iterator[Step]:
    """Yield the steps after which a site follows: people agree where something may be discarded."""
    yield Step(f"quarantine-{site}", f"{site} is no second primary", Phase.FENCE, (goals.Quarantined(site),), patience=60)
    yield Step("slots", f"{primary} has a slot for {site}", Phase.PREPARE, (acts.CreateSlots(primary, (site,)),))
    yield Step("checkpoint", f"{primary} has a checkpoint of its own timeline", Phase.PREPARE, (acts.Checkpoint(primary),))
    has_nothing_else = not not_following(site, primary, world) or is_of_history(site, primary, world)
    step = rejoining(site, primary, approvals=0 if has_nothing_else else layout.approvals)
    agent = world.agent(site)
    if not has_nothing_else and isinstance(agent, AgentSeen) and EVIDENCE in agent.lacks:
        step = replace(step, title=f"{step.title}; what it has alone is lost, as nothing there keeps evidence of it")
    yield step
