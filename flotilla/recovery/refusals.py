"""Why a recovery is not begun: every reason at once, from facts alone, before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flotilla.facts import Unknown
from flotilla.recovery.facts import SYNCHRONOUS, DatabaseSeen, TrafficSeen, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.publication import published
from flotilla.recovery.steps import Kind, Mode
from flotilla.recovery.waiting import newest_sample


class Trigger(StrEnum):
    """What starts a recovery."""

    PERSON = "person"
    SCHEDULE = "schedule"
    ALERT = "alert"
    WATCHER = "watcher"


@dataclass(frozen=True)
class Forced:
    """A person takes a risk upon them that would else refuse the recovery."""

    name: str
    risk: str


@dataclass(frozen=True)
class Asked:
    """What somebody wants: from which primary to which site. ``origin`` may be empty: whoever is primary."""

    kind: Kind
    target: str
    origin: str = ""
    mode: Mode = Mode.GRACEFUL
    run: str = ""
    trigger: Trigger = Trigger.PERSON
    initiator: str = ""
    reason: str = ""
    forced: Forced | None = None
    glass: bool = False


@dataclass(frozen=True)
class NotPlanned:
    """A recovery that is not begun, and why."""

    asked: Asked
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        what = f"{self.asked.kind} to {self.asked.target} is refused, nothing was touched"
        return f"{what}: " + "; ".join(self.reasons)


def primary_of(world: World, layout: Layout) -> str | Unknown:
    """Return the primary: the one that is seen, of several the one of the newest epoch, or else the one published last."""
    seen = [one for one in world.seen_databases() if not one.in_recovery]
    if seen:
        newest = max(seen, key=lambda one: (one.epoch, one.epoch_primary == one.site))
        return newest.site
    said = published(world, len(layout.places))
    if not isinstance(said, Unknown):
        return said.primary
    told = {(one.epoch, one.epoch_primary) for one in world.seen_databases() if one.epoch_primary}
    return max(told)[1] if told else Unknown("fleet", f"no primary is seen, and {said.reason}")


def next_epoch(world: World) -> int:
    """Return an epoch above every one that is seen anywhere, or that an agent has heard of from one that is silent now.

    DNS servers count: one that holds a higher epoch takes no records of a lower one.
    """
    agents = [agent.epoch for agent in world.seen_agents()]
    agents += [peer.epoch for agent in world.seen_agents() for peer in agent.peers if peer.epoch is not None]
    leases = [max(lease.epoch, lease.published) for lease in world.seen_leases()]
    served = [*world.answers.values(), *(agent.traffic for agent in world.seen_agents())]
    names = [seen.epoch for seen in served if isinstance(seen, TrafficSeen)]
    return max([*agents, *leases, *names, *(one.epoch for one in world.seen_databases())], default=0) + 1


def reasons_against(asked: Asked, world: World, layout: Layout) -> tuple[str, ...]:
    """Return all that speaks against a recovery of any kind; what of it a named person may force is left out if one did."""
    if unknown := [site for site in (asked.target, asked.origin) if site and site not in layout.sites]:
        return tuple(f"there is no site {site!r}; there are {', '.join(layout.sites)}" for site in unknown)
    primary = primary_of(world, layout)
    if isinstance(primary, Unknown):
        return (str(primary),)
    against = [*_wrong_direction(asked, primary), *_busy(asked, world), *_other_system(asked, world)]
    against += _no_majority(asked, world, layout)
    if asked.forced is None:
        against += _not_reprotected(asked, primary, world, layout)
    elif not asked.forced.name.strip() or not asked.forced.risk.strip():
        against.append("whoever forces a recovery is named, and so is the risk")
    return tuple(against)


def _wrong_direction(asked: Asked, primary: str) -> list[str]:
    against = []
    if asked.origin and asked.origin != primary and asked.kind is not Kind.REPROTECT:
        against.append(f"{asked.origin} is not primary, {primary} is")
    moves = asked.kind in (Kind.SWITCHOVER, Kind.FAILOVER, Kind.FAILBACK)
    if moves and asked.target == primary:
        against.append(f"{primary} is primary already")
    if asked.kind is Kind.REPROTECT and asked.target == primary:
        against.append(f"{primary} is primary: what is re-protected is another site")
    if asked.kind is Kind.DEGRADE and asked.target != primary:
        against.append(f"{asked.target} is not primary, {primary} is: only a primary can do without its synchronous standby")
    return against


def under_way(world: World) -> tuple[str, ...]:
    """Return the runs that hold a lease somewhere."""
    return tuple(sorted({lease.holder for lease in world.seen_leases() if lease.holder}))


def _busy(asked: Asked, world: World) -> list[str]:
    held = [run for run in under_way(world) if run != asked.run]
    if not held:
        return []
    by_hand = f"wait for its end, or end it: flotilla recover choose {held[0]} end"
    until = "a schedule does not wait" if asked.trigger is Trigger.SCHEDULE else by_hand
    return [f"run {', '.join(held)} is under way: {until}"]


def _other_system(asked: Asked, world: World) -> list[str]:
    target = world.database(asked.target)
    if not isinstance(target, DatabaseSeen):
        return []
    others = {
        one.system: one.site for one in world.seen_databases() if one.site != asked.target and one.system != target.system
    }
    return [
        f"{asked.target} holds another database (system identifier {target.system}, {site} has {system})"
        for system, site in others.items()
    ]


def _no_majority(asked: Asked, world: World, layout: Layout) -> list[str]:
    if asked.glass:
        return []
    against = []
    if (agents := len(world.seen_agents())) < layout.majority:
        against.append(
            f"{agents} of {len(layout.places)} agents answer, {layout.majority} have to: break the glass, or mend that"
        )
    if (leases := len(world.seen_leases())) < layout.majority:
        against.append(
            f"{leases} of {len(layout.places)} leases can be read, {layout.majority} have to: break the glass, or mend that"
        )
    return against


def _not_reprotected(asked: Asked, primary: str, world: World, layout: Layout) -> list[str]:
    """Return whether redundancy is not back since the last recovery: rapid successions end in timelines that don't fit."""
    wanted = layout.sync_names(primary)
    if asked.kind not in (Kind.SWITCHOVER, Kind.FAILOVER) or not wanted:
        return []
    now = world.database(primary)
    if isinstance(now, DatabaseSeen):
        missing = [name for name in wanted if not _is_synchronous(now, name)]
    else:
        missing = _not_waited_for(wanted, primary, world, len(layout.places))
    told = f"{', '.join(missing)} is not synchronous at {primary} again"
    return [f"not re-protected since the last recovery: {told}; re-protect, or name a person and the risk"] if missing else []


def _not_waited_for(wanted: tuple[str, ...], primary: str, world: World, sites: int) -> list[str]:
    """Return whom a primary that is gone did not wait for, by the leases or, where a hand had changed it, its last sample."""
    said, sample = published(world, sites), newest_sample(primary, world)
    if isinstance(said, Unknown):
        return []
    return [name for name in wanted if name not in said.promotable or (sample and name not in sample.sync)]


def _is_synchronous(primary: DatabaseSeen, name: str) -> bool:
    seen = primary.follower(name)
    return name in primary.synchronous and seen is not None and (seen.sync_state in SYNCHRONOUS or seen.streams)
