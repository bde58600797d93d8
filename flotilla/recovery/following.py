"""Does a site follow another: told by positions that move along the other's timeline, never by "streaming"."""

from __future__ import annotations

from flotilla.facts import Unknown
from flotilla.recovery.facts import HELD, DatabaseSeen, World


def not_following(site: str, upstream: str, world: World) -> str:
    """Return why it is not proved that a site follows another; "" if it is.

    A standby ahead of a promoted one loops for ever and is shown as streaming now and then (recovery-lab.md, 0.4); a diverged
    primary that was started as standby answers queries and replicates nothing (recovery.md, finding 4). So: on the upstream's
    timeline, no further than it, past what the upstream had ``HELD`` seconds ago, and moved since.
    """
    now, up = world.database(site), world.database(upstream)
    before, up_before = world.earlier.get(site), world.earlier.get(upstream)
    if isinstance(now, Unknown):
        return str(now)
    if isinstance(up, Unknown):
        return str(up)
    if not now.in_recovery:
        return f"{site} is a primary"
    if now.timeline != up.timeline:
        return f"{site} is on timeline {now.timeline}, {upstream} on {up.timeline}"
    if before is None or up_before is None or now.at - before.at < HELD:
        return f"{site} was not watched for {HELD:g} s yet"
    if before.replayed > up.position:  # of looks at one time either may be the later
        return f"{site} had more {HELD:g} s ago than {upstream} has"
    return _not_moving(now, before, up, up_before)


def _not_moving(now: DatabaseSeen, before: DatabaseSeen, up: DatabaseSeen, up_before: DatabaseSeen) -> str:
    if not now.receives:
        return f"{now.site} receives nothing"
    if now.upstream and now.upstream != up.site:
        return f"{now.site} follows {now.upstream}, not {up.site}"
    if up_before.timeline != up.timeline:
        return f"{up.site} was promoted less than {HELD:g} s ago"
    if now.replayed < up_before.position:
        return f"{now.site} is behind what {up.site} had {HELD:g} s ago"
    if now.replayed <= before.replayed:
        return f"{now.site} has not moved for {HELD:g} s"
    return ""
