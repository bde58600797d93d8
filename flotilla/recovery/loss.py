"""What would be lost if a site were promoted now: nothing, proved; so much at most, estimated; or nobody can say.

Of acknowledged transactions only: those in doubt may or may not be there afterwards (recovery.md, finding 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from flotilla.facts import Unknown
from flotilla.recovery.facts import DatabaseSeen, Sample, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.publication import promotable

APART = 2.0  # seconds between the looks at two databases that are taken for one moment's, at most


class Certainty(StrEnum):
    """How much is known of a loss."""

    PROVEN = "proven"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LossStatement:
    """What promoting ``site`` loses of what ``primary`` acknowledged: ``bytes`` of WAL, ``seconds``, about ``transactions``.

    ``at`` is the time that the figures are of: of an estimate, when the sample was taken.
    """

    site: str
    primary: str
    certainty: Certainty
    at: float
    bytes: int | None = None
    seconds: float | None = None
    transactions: int | None = None
    why: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether nothing acknowledged is lost, proved."""
        return self.certainty is Certainty.PROVEN

    def __str__(self) -> str:
        if self.is_nothing:
            return f"to {self.site}: 0 acknowledged transactions ({self.why})"
        if self.certainty is Certainty.UNKNOWN:
            return f"to {self.site}: not known ({self.why})"
        seconds = "" if self.seconds is None else f", {self.seconds:.1f} s"
        about = "" if self.transactions is None else f", about {self.transactions:,} transactions"
        return f"to {self.site}: {shown_bytes(self.bytes or 0)}{seconds}{about} ({self.why})"


def statements(primary: str, world: World, layout: Layout) -> tuple[LossStatement, ...]:
    """Return what is lost by promoting each of the other sites."""
    return tuple(statement(site, primary, world, layout) for site in layout.others(primary))


def statement(site: str, primary: str, world: World, layout: Layout) -> LossStatement:
    """Return what is lost by promoting a site in place of a primary.

    Nothing where every acknowledged commit had to be there: the leases call it promotable of this very primary, nobody
    commits without waiting, and it has no less than the others that are called so. Else by the last sample.
    """
    against = _not_proven(site, primary, world, layout)
    if not against:
        return LossStatement(site, primary, Certainty.PROVEN, world.at, 0, 0.0, 0, "synchronous, as published and seen")
    return _estimated(site, primary, world, against)


def _not_proven(site: str, primary: str, world: World, layout: Layout) -> str:
    holders, own, was = promotable(world, primary, len(layout.places)), world.database(site), world.database(primary)
    if isinstance(holders, Unknown):
        return str(holders)
    if site not in holders:
        return "asynchronous" if site not in layout.sync_names(primary) else "commits did not wait for it"
    for seen in (own, was):
        if isinstance(seen, DatabaseSeen) and seen.weakened:
            return f"some commit without waiting: {', '.join(seen.weakened)}"
    if isinstance(own, Unknown):
        return str(own)
    for other in holders:
        seen = world.database(other)
        if isinstance(seen, Unknown):
            return f"what {other} has, which commits may have waited for instead, is not known"
        if seen.position > own.position:
            return f"{other} has {seen.position - own.position} bytes more"
    return ""


def _estimated(site: str, primary: str, world: World, why: str) -> LossStatement:
    """Return an estimate from what is seen now or, of what is gone, from the last sample and the rates before it."""
    samples = [sample for sample in world.samples if sample.primary == primary]
    now, own = world.database(primary), world.database(site)
    unknown = LossStatement(site, primary, Certainty.UNKNOWN, world.at, why=why)
    has = own.position if isinstance(own, DatabaseSeen) else _last_flushed(site, samples)
    if has is None:
        return replace(unknown, why=f"{why}; what {site} has was not seen")
    if isinstance(now, DatabaseSeen):
        return _bounded(replace(unknown, certainty=Certainty.ESTIMATED, at=world.at), now.position - has, samples, APART)
    if not samples:
        return replace(unknown, why=f"{why}; no sample was kept")
    since = samples[-1].at
    # What it has now is compared with what was written until the primary was last heard of; of a sample both are old alike.
    unsampled = max(0.0, _last_alive(primary, world) - since) if isinstance(own, DatabaseSeen) else 0.0
    behind = samples[-1].position + round(_rates(samples)[1] * unsampled) - has
    return _bounded(replace(unknown, certainty=Certainty.ESTIMATED, at=since), behind, samples)


def _bounded(stated: LossStatement, behind: int, samples: Sequence[Sample], apart: float = math.inf) -> LossStatement:
    """Return an estimate with seconds and transactions, and on top what could be written between two samples, or two looks.

    ``apart``: the seconds between the looks at primary and standby, at most.
    """
    commits, size = _rates(samples)
    between = min(apart, samples[-1].at - samples[-2].at) if len(samples) > 1 else 0.0
    at_most = max(0, behind) + round(size * between)
    lag = samples[-1].lag(stated.site) if samples else None
    seconds = at_most / size if size else lag.seconds if lag else None
    transactions = None if commits is None or seconds is None else round(commits * seconds)
    return replace(stated, bytes=at_most, seconds=seconds, transactions=transactions)


def _last_flushed(site: str, samples: Sequence[Sample]) -> int | None:
    lag = samples[-1].lag(site) if samples else None
    return lag.flushed if lag else None


def _last_alive(site: str, world: World) -> float:
    """Return when anybody last heard of a site's agent; now, if nobody says."""
    ages = [peer.ago for agent in world.seen_agents() for peer in agent.peers if peer.site == site and peer.ago is not None]
    return world.at - min(ages, default=0.0)


def _rates(samples: Sequence[Sample]) -> tuple[float | None, float]:
    """Return transactions and bytes a second between the first and the last of some samples; None, 0 where nobody knows."""
    if len(samples) < 2 or samples[-1].at <= samples[0].at:
        return None, 0.0
    first, last = samples[0], samples[-1]
    seconds = last.at - first.at
    commits = None if first.commits is None or last.commits is None else max(0, last.commits - first.commits) / seconds
    return commits, max(0, last.position - first.position) / seconds


def shown_bytes(amount: float) -> str:
    """Return an amount of WAL as people read it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return ""
