"""What may be done without asking anybody: to the same city, losing nothing, with witnesses agreed and not too often."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flotilla.recovery.facts import DatabaseSeen, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.loss import LossStatement
from flotilla.recovery.refusals import Trigger, under_way
from flotilla.recovery.witnesses import State, Verdict

PATIENCE = 10.0  # seconds that commits may wait in vain before that is more than a standby which was started again


class WhenSyncIsLost(StrEnum):
    """What is done when commits wait for a synchronous standby that is gone."""

    WAIT = "wait"
    ASK = "ask"
    DEGRADE = "degrade"


class Automatic(StrEnum):
    """How far a failover goes by itself."""

    SAME_CITY = "same-city"
    NEVER = "never"


@dataclass(frozen=True)
class Policy:
    """Whether a failover may be automatic, how many seconds are between two, and what is done about commits that hang."""

    automatic: Automatic = Automatic.SAME_CITY
    between: float = 3600.0
    when_sync_is_lost: WhenSyncIsLost = WhenSyncIsLost.WAIT


@dataclass(frozen=True)
class Occasion:
    """A failover that might go by itself: from whom to whom, what is lost, what witnesses say, and when the last one was."""

    origin: str
    target: str
    loss: LossStatement
    verdict: Verdict
    trigger: Trigger
    last_automatic: float | None = None


def reasons_to_ask(occasion: Occasion, policy: Policy, world: World, layout: Layout) -> tuple[str, ...]:
    """Return every reason why a failover stops at a gate; none if it may go by itself."""
    why = []
    if policy.automatic is Automatic.NEVER:
        why.append("the fleet file lets no failover go by itself")
    if occasion.trigger not in (Trigger.WATCHER, Trigger.ALERT):
        why.append(f"started by a {occasion.trigger}: people who start it approve it")
    if occasion.target not in layout.in_city_of(occasion.origin):
        why.append(f"{occasion.target} is in another city than {occasion.origin}")
    if not occasion.loss.is_nothing:
        why.append(f"something may be lost: {occasion.loss}")
    if occasion.verdict.state is not State.DOWN:
        why.append(f"witnesses say that {occasion.origin} is {occasion.verdict.state}: {'; '.join(occasion.verdict.reasons)}")
    if occasion.last_automatic is not None and (ago := world.at - occasion.last_automatic) < policy.between:
        why.append(f"the last automatic failover was {ago:.0f} s ago: {policy.between:g} s have to be between two")
    return tuple(why)


def waited_for_in_vain(primary: str, world: World) -> tuple[str, ...]:
    """Return the standbys that commits at a primary wait for while none streams; none where that is not seen, or mended."""
    seen = world.database(primary)
    if not isinstance(seen, DatabaseSeen) or seen.in_recovery or under_way(world):
        return ()
    there = [name for name in seen.synchronous if (one := seen.follower(name)) is not None and one.streams]
    return () if there else seen.synchronous


def about_lost_sync(policy: Policy, seconds: float) -> WhenSyncIsLost:
    """Return what to do about commits that have been waiting in vain for so many seconds."""
    return policy.when_sync_is_lost if seconds >= PATIENCE else WhenSyncIsLost.WAIT
