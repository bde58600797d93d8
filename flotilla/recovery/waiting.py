"""Whom a primary's commits wait for, as it was seen itself: what leases promise, a hand at its settings takes back unsaid.

Once it is gone nothing but the samples taken of it tells that, and they only if the last was taken when it was last alive.
"""

from __future__ import annotations

from collections.abc import Sequence

from flotilla.recovery.facts import AgentSeen, DatabaseSeen, Sample, World

LATE = 5.0  # seconds by which the last sample may be older than the primary was last heard of: one is taken every second


def last_heard(site: str, world: World) -> float:
    """Return when anybody last heard of a site's agent, seconds since 1970; now, if it answers, or nobody says."""
    if isinstance(world.agent(site), AgentSeen):
        return world.at
    ages = [peer.ago for agent in world.seen_agents() for peer in agent.peers if peer.site == site and peer.ago is not None]
    return world.at - min(ages, default=0.0)


def newest_sample(primary: str, world: World) -> Sample | None:
    """Return the last sample of a primary, None if there is none."""
    return next((sample for sample in reversed(world.samples) if sample.primary == primary), None)


def not_waiting(site: str, primary: str, holders: Sequence[str], world: World) -> str:
    """Return why commits at a primary were last seen to be kept by others than ``holders``, or not by ``site``; "" if not.

    Of a primary that is not seen the newest sample tells, however old it is; without one there is nothing to object.
    """
    now, sample = world.database(primary), newest_sample(primary, world)
    seen: DatabaseSeen | Sample | None = now if isinstance(now, DatabaseSeen) and not now.in_recovery else sample
    if seen is None:
        return ""
    waits = seen.synchronous if isinstance(seen, DatabaseSeen) else seen.sync
    ago = "" if isinstance(seen, DatabaseSeen) else f", as it was seen {world.at - seen.at:.1f} s ago"
    if seen.weakened:
        return f"some commit without waiting: {', '.join(seen.weakened)}{ago}"
    if site not in waits or set(waits) - set(holders):
        return f"commits at {primary} wait for {', '.join(waits) or 'nobody'}, whatever the leases say{ago}"
    return ""


def not_seen_to_wait(site: str, primary: str, holders: Sequence[str], world: World) -> str:
    """Return why it is not proved that ``holders``, ``site`` among them, have every commit that a primary acknowledged."""
    if why := not_waiting(site, primary, holders, world):
        return why
    now, sample = world.database(primary), newest_sample(primary, world)
    if isinstance(now, DatabaseSeen) and not now.in_recovery:
        return ""
    if sample is None:
        return f"{primary} is not seen, and no sample tells what its commits waited for"
    late = last_heard(primary, world) - sample.at
    return f"{primary} was heard of {late:.0f} s after it was last seen what its commits wait for" if late > LATE else ""
