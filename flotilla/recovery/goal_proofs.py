"""The proof of each goal: why it is not so yet in a world, or "" if it is. ``Never`` if waiting will not make it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flotilla.facts import Unknown
from flotilla.recovery import goals
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import CLEANLY_STOPPED, SYNCHRONOUS, AgentSeen, DatabaseSeen, ServingSeen, World
from flotilla.recovery.following import not_following
from flotilla.recovery.layout import MARGIN
from flotilla.recovery.loss import more_than_agreed
from flotilla.recovery.publication import promotable, published
from flotilla.recovery.waiting import not_seen_to_wait, not_waiting


class Never(str):
    """A reason that no waiting and no repeating removes."""

    __slots__ = ()


def rejoined(act: Any, world: World, aim: Aim) -> str:
    """Return why a site is not proved to follow another."""
    return not_following(act.site, act.upstream, world)


def _ready(act: Act, world: World, aim: Aim) -> str:
    seen = world.application(act.site)
    if isinstance(seen, Unknown):
        return str(seen)
    return "" if seen.is_ready else f"{seen.ready} of {seen.wanted} replicas are ready at {act.site}"


def _caught_up(act: goals.CaughtUp, world: World, aim: Aim) -> str:
    site, origin = world.database(act.site), world.database(act.origin)
    if isinstance(site, Unknown) or isinstance(origin, Unknown):
        return str(site if isinstance(site, Unknown) else origin)
    behind = origin.position - site.replayed
    return f"{act.site} is {behind} bytes behind {act.origin}" if behind > 0 else ""


def _stop_proved(act: goals.StopProved, world: World, aim: Aim) -> str:
    agent, receiver = world.agent(act.site), world.database(act.receiver)
    if isinstance(agent, Unknown):
        return str(agent)
    if not agent.is_stopped:
        return f"{act.site} is {agent.process}"
    if isinstance(agent.control, Unknown):
        return str(agent.control)
    if agent.control.state != CLEANLY_STOPPED:
        return Never(f"{act.site} was not stopped in order: pg_controldata says {agent.control.state!r}")
    if isinstance(receiver, Unknown):
        return str(receiver)
    # The checkpoint's location is where its record begins: who has it has more (recovery.md, 2.4).
    has = receiver.position > agent.control.checkpoint
    return "" if has else f"{act.receiver} has not received the shutdown checkpoint of {act.site}"


def not_fenced(act: goals.Fenced, world: World, aim: Aim) -> str:
    """Return why a site may still acknowledge writes; "" if it is proved that it doesn't, in one of three ways.

    Its agent says that it is stopped. Or its commits need one of those that were published as promotable, all of which are
    seen to take nothing from it any more (recovery.md, 2.2); if it was not seen to wait for them, or sessions commit without
    waiting, that is no proof. Or a majority of agents accepted a higher epoch so long ago that its own agent, alone since, has
    stopped it, unless it has a reason not to (``_outlives``).
    """
    agent = world.agent(act.site)
    if isinstance(agent, AgentSeen) and agent.is_stopped:
        return ""
    by_sync = _not_held_by_sync(act, world, aim)
    if not by_sync:
        return ""
    wait = max([act.wait, *(own + MARGIN for own in _isolations(act.site, world))])
    ages = [one.epoch_age for one in world.seen_agents() if one.epoch == aim.epoch and one.run == aim.run]
    waited = sorted(age for age in ages if age is not None and age >= wait)
    if len(waited) >= aim.needed and not isinstance(agent, AgentSeen):
        why = _outlives(act.site, world, aim)
        return f"{why}; {by_sync}" if why else ""
    told = "does not answer" if isinstance(agent, Unknown) else f"runs ({agent.process})"
    return f"{act.site} {told}; {by_sync}; a majority keeps to the new epoch for less than {wait:g} s"


def _outlives(site: str, world: World, aim: Aim) -> str:
    """Return why a site that is silent goes on however long one waits: what it keeps to lets it, or others may support it."""
    for one in world.seen_agents():
        for peer in (peer for peer in one.peers if peer.site == site):
            if peer.glass:
                return f"{site} goes on without a majority, as {one.site} heard: people broke the glass"
            if peer.epoch is not None and peer.epoch >= aim.epoch:
                return f"{site} has accepted epoch {peer.epoch} itself, as {one.site} heard, {_AND_SO}"
    if site in aim.begun:  # one that answers nobody any more may still ask
        return f"{site} was asked to accept epoch {aim.epoch}, {_AND_SO}"
    if aim.glass and "origin-fenced" not in aim.waived:
        return f"{site} may go on with a majority that we do not see: nobody answers for it"
    return ""


_AND_SO = "and goes on with whoever keeps to that: end this run and begin one that it does not hear of, or answer for it"


def _isolations(site: str, world: World) -> Iterator[float]:
    """Yield how long agents say that a primary may be alone: each its own, and what others heard a site's say of itself."""
    for one in world.seen_agents():
        heard = (peer.isolation for peer in one.peers if peer.site == site)
        yield from (own for own in (one.isolation, *heard) if own is not None)


def _not_held_by_sync(act: goals.Fenced, world: World, aim: Aim) -> str:
    holders, target = promotable(world, act.site, aim.sites), world.database(act.target)
    if isinstance(holders, Unknown):
        return str(holders)
    if act.target not in holders:
        return f"{act.site} acknowledges without {act.target}"
    if isinstance(target, DatabaseSeen) and target.weakened:
        return f"some commit at {act.site} without waiting: {', '.join(target.weakened)}"
    if why := not_seen_to_wait(act.target, act.site, holders, world):
        return why
    for site in holders:
        seen = world.database(site)
        if isinstance(seen, Unknown) or seen.is_attached:
            return f"{site} may still acknowledge what {act.site} writes"
    return ""


def _most_advanced(act: goals.MostAdvanced, world: World, aim: Aim) -> str:
    own, holders = world.database(act.site), promotable(world, act.origin, aim.sites)
    if isinstance(own, Unknown):
        return str(own)
    if act.proven and isinstance(holders, Unknown):
        return str(holders)
    if act.proven and not isinstance(holders, Unknown) and act.site not in holders:
        return f"{act.site} is not among those that hold all that {act.origin} acknowledged"
    if act.proven and not isinstance(holders, Unknown) and (why := not_waiting(act.site, act.origin, holders, world)):
        return why
    if why := more_than_agreed(act.site, act.origin, act.at_most, world):
        return why
    compared = holders if act.proven and not isinstance(holders, Unknown) else tuple(world.databases)
    for site in compared:
        other = world.database(site)
        if isinstance(other, Unknown):
            if act.proven:
                return f"what {site} has is not known: {other.reason}"
        elif other.in_recovery and other.position > own.position:
            return f"{site} has {other.position - own.position} bytes more than {act.site}"
    return ""


def _stable(act: goals.Stable, world: World, aim: Aim) -> str:
    since = world.at - act.seconds
    recent = [sample for sample in world.samples if sample.at >= since]
    if not recent or not any(sample.at <= since for sample in world.samples):
        return f"samples do not reach back {act.seconds:g} s"
    for sample in recent:
        lag = sample.lag(act.site)
        if sample.primary != act.upstream or lag is None or sample.position - lag.flushed > act.lag:
            return f"{act.site} was not close behind {act.upstream} all of the last {act.seconds:g} s"
    return ""


def _in_sync(act: goals.InSync, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    if database.synchronous != act.names:
        return f"commits at {act.site} wait for {', '.join(database.synchronous) or 'nobody'}"
    followers = {name: database.follower(name) for name in act.names}
    absent = [name for name, one in followers.items() if one is None or not one.streams]
    if absent:
        return f"{', '.join(absent)} does not stream from {act.site}"
    held = not act.names or any(one and one.sync_state in SYNCHRONOUS for one in followers.values())
    return "" if held else f"none of {', '.join(act.names)} is synchronous at {act.site} yet"


def _writable(act: Act, world: World, aim: Aim) -> str:
    database, agent = world.database(act.site), world.agent(act.site)
    if isinstance(database, Unknown):
        return str(database)
    if not database.is_writable:
        return f"{act.site} is {'a standby' if database.in_recovery else 'set read-only'}"
    if database.epoch_primary != act.site or database.epoch > aim.epoch:
        return f"{act.site} holds epoch {database.epoch} of {database.epoch_primary or 'nobody'}"
    if isinstance(agent, AgentSeen) and agent.fenced:
        return f"{act.site} lets no clients in"
    absent = [not_following(name, act.site, world) for name in database.synchronous]
    return f"commits at {act.site} wait: {'; '.join(absent)}" if absent and all(absent) else ""


def _quarantined(act: Act, world: World, aim: Aim) -> str:
    agent, database = world.agent(act.site), world.database(act.site)
    if isinstance(database, DatabaseSeen) and not database.in_recovery:
        return f"{act.site} runs as a second primary"
    if isinstance(agent, Unknown) or agent.is_stopped:
        return ""
    return "" if agent.standby_signal else f"{act.site} would start, or runs, as a second primary"


def _verified(act: goals.Verified, world: World, aim: Aim) -> str:
    if why := _writable(act, world, aim):
        return why
    for other in world.seen_databases():
        if other.site != act.site and not other.in_recovery:
            return f"{other.site} runs as a second primary"
    said = published(world, aim.sites)
    if isinstance(said, Unknown):
        return "" if aim.glass else str(said)
    if said.primary != act.site:
        return f"the leases say that {said.primary} is primary"
    servers = [seen for site in world.agents if not isinstance(seen := world.traffic(site), Unknown)]
    lead = [one for one in servers if one.primary == act.site and set(one.authorised) == set(act.authorised)]
    astray = [why for one in lead if (why := one.astray(act.addresses))]
    right, needed = len(lead) - len(astray), 1 if aim.glass else aim.majority
    told = f"{right} DNS servers lead to {', '.join(act.authorised)}, {needed} have to"
    return "" if right >= needed else "; ".join([told, *astray])


def _served(act: goals.Served, world: World, aim: Aim) -> str:
    seen = {site: world.serving(site) for site in act.authorised}
    if any(isinstance(one, ServingSeen) and not one.obstacle for one in seen.values()):
        return ""
    whys = [one.reason if isinstance(one, Unknown) else one.obstacle for one in seen.values()]
    told = "; ".join(f"{site}: {why}" for site, why in zip(seen, whys, strict=True))
    return f"users are served nowhere: {told}"


GOAL_PROOFS: dict[str, Callable[[Any, World, Aim], str]] = {
    "rejoin": rejoined,
    "following": rejoined,
    "ready": _ready,
    "caught_up": _caught_up,
    "stop_proved": _stop_proved,
    "fenced": not_fenced,
    "most_advanced": _most_advanced,
    "stable": _stable,
    "in_sync": _in_sync,
    "writable": _writable,
    "quarantined": _quarantined,
    "verified": _verified,
    "served": _served,
}
