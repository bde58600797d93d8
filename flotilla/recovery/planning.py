"""From facts and a wish to a plan, or to every reason why not. Nothing is touched here, and nothing remembered."""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.facts import Unknown
from flotilla.recovery import degrade, failback, failover, reprotect, switchover
from flotilla.recovery.facts import World
from flotilla.recovery.layout import Layout
from flotilla.recovery.loss import LossStatement, statement
from flotilla.recovery.refusals import Asked, NotPlanned, next_epoch, primary_of, reasons_against
from flotilla.recovery.steps import Kind, Mode, Plan, Step


@dataclass(frozen=True)
class Terms:
    """What the fleet file and the policy add to a wish: objectives, how long a failback waits, and if nobody is asked."""

    stable: float = 600.0
    automatic: bool = False
    rto: float | None = None
    rpo: float | None = None


def plan_for(asked: Asked, world: World, layout: Layout, terms: Terms | None = None) -> Plan | NotPlanned:
    """Return the plan that does what is asked, or all reasons why there is none."""
    terms = terms or Terms()
    against = list(reasons_against(asked, world, layout))
    primary = primary_of(world, layout)
    if asked.target in layout.sites and not isinstance(primary, Unknown):
        against += _against_kind(asked, primary, world, layout)
    if against or isinstance(primary, Unknown):
        return NotPlanned(asked, tuple(dict.fromkeys(against)))
    loss = _loss(asked, primary, world, layout)
    steps = _steps(asked, primary, world, layout, terms=terms, loss=loss)
    return Plan(
        kind=asked.kind,
        origin=primary,
        target=asked.target,
        mode=_mode(asked),
        epoch=next_epoch(world),
        steps=steps,
        sites=len(layout.places),
        loss=str(loss) if loss else "nothing: the primary stays, or hands over",
        loss_bytes=loss.bytes if loss else 0,
        objectives={name: value for name, value in (("rto", terms.rto), ("rpo", terms.rpo)) if value is not None},
        glass=asked.glass,
        owed=_owed(asked, primary, layout),
        forced=f"{asked.forced.name}: {asked.forced.risk}" if asked.forced else "",
    )


def _mode(asked: Asked) -> Mode:
    return Mode.UNGRACEFUL if asked.kind is Kind.FAILOVER else Mode.GRACEFUL


def _against_kind(asked: Asked, primary: str, world: World, layout: Layout) -> list[str]:
    if asked.kind is Kind.SWITCHOVER:
        return list(switchover.reasons_against(primary, asked.target, world, layout))
    if asked.kind is Kind.FAILOVER:
        return list(failover.reasons_against(asked.target, world))
    if asked.kind in (Kind.REPROTECT, Kind.FAILBACK):
        return list(reprotect.reasons_against(asked.target, primary, world))
    if asked.kind is Kind.DEGRADE:
        return list(degrade.reasons_against(primary, world))
    return ["an abort follows from the plan that it aborts: nobody asks for it anew"]


def _loss(asked: Asked, primary: str, world: World, layout: Layout) -> LossStatement | None:
    return statement(asked.target, primary, world, layout) if asked.kind is Kind.FAILOVER else None


def _steps(
    asked: Asked, primary: str, world: World, layout: Layout, *, terms: Terms, loss: LossStatement | None
) -> tuple[Step, ...]:
    if asked.kind is Kind.SWITCHOVER:
        return switchover.steps(primary, asked.target, layout)
    if asked.kind is Kind.FAILOVER:
        assert loss is not None
        automatic = terms.automatic and loss.is_nothing and not asked.glass
        return failover.steps(primary, asked.target, layout, loss=loss, glass=asked.glass, automatic=automatic)
    if asked.kind is Kind.REPROTECT:
        return reprotect.steps(asked.target, primary, world, layout)
    if asked.kind is Kind.FAILBACK:
        return failback.steps(asked.target, primary, world, layout, terms.stable)
    return degrade.steps(primary, layout, automatic=terms.automatic)


def _owed(asked: Asked, primary: str, layout: Layout) -> tuple[str, ...]:
    if asked.kind is not Kind.FAILOVER:
        return ()
    home = layout.sites[0]
    owed = [f"re-protect by {primary} when it is back: recovery/reprotect to {primary}"]
    if asked.target != home:
        owed.append(f"the way home: recovery/failback to {home}")
    return tuple(owed)
