"""What would be lost if a site were promoted now: nothing, proved; so much at most, estimated; or nobody can say.

Of acknowledged transactions only: those in doubt may or may not be there afterwards (recovery.md, finding 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from flotilla.facts import Unknown
from flotilla.recovery.facts import CLEANLY_STOPPED, AgentSeen, Control, DatabaseSeen, Process, Sample, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.publication import promotable
from flotilla.recovery.waiting import last_heard, not_seen_to_wait

APART = 2.0  # seconds between the looks at two databases that are taken for one moment's, at most
SPACED = 0.9  # seconds between two samples that are neighbours, at least: one is taken every second
MINUTE = 60.0  # seconds before the last sample in which rates are looked for
PASSED_BY = "commits did not wait for it"


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

    Nothing where every acknowledged commit had to be there: the leases call it promotable of this very primary, which was seen
    to wait for it for as long as anybody heard of it, nobody commits without waiting, and it has no less than the others that
    are called so. Else by the last samples.
    """
    against = _not_proven(site, primary, world, len(layout.places))
    if not against:
        return LossStatement(site, primary, Certainty.PROVEN, world.at, 0, 0.0, 0, "synchronous, as published and seen")
    if against == PASSED_BY and site not in layout.sync_names(primary):
        against = "asynchronous"
    return _estimated(site, primary, world, against)


def more_than_agreed(site: str, primary: str, at_most: int | None, world: World) -> str:
    """Return that promoting a site now loses more than the ``at_most`` bytes that people agreed to; "" if not.

    None: nobody knew, and they agreed to that. 0 is not for this to prove. What was stated has what may be written between two
    looks on top; that is left out here, so that a look a moment older or newer changes nothing. Nor does a database that is
    seen to be stopped lose more by the minute, though nobody knows since when it is.
    """
    if not at_most:
        return ""
    own, agent, samples = world.database(site), world.agent(primary), _samples(primary, world)
    if isinstance(own, Unknown):
        return str(own)
    stopped = isinstance(agent, AgentSeen) and agent.process in (Process.STOPPED, Process.ABSENT)
    end = _end(primary, world, samples, still=stopped)
    if end is None:
        return f"{at_most} bytes of {primary} were agreed to, and nothing tells any more how much it had written"
    missing = end.position - own.position
    return f"{missing} bytes of {primary} are missing at {site}, {at_most} were agreed to" if missing > at_most else ""


def _not_proven(site: str, primary: str, world: World, sites: int) -> str:
    holders, own = promotable(world, primary, sites), world.database(site)
    if isinstance(holders, Unknown):
        return str(holders)
    if site not in holders:
        return PASSED_BY
    if isinstance(own, DatabaseSeen) and own.weakened:
        return f"some commit without waiting: {', '.join(own.weakened)}"
    if why := not_seen_to_wait(site, primary, holders, world):
        return why
    if isinstance(own, Unknown):
        return str(own)
    for other in holders:
        seen = world.database(other)
        if isinstance(seen, Unknown):
            return f"what {other} has, which commits may have waited for instead, is not known"
        if seen.position > own.position:
            return f"{other} has {seen.position - own.position} bytes more"
    return ""


@dataclass(frozen=True)
class _End:
    """How far a primary's WAL went, as far as is known: to ``position`` at ``at``, or ``margin`` seconds later."""

    position: int
    at: float
    margin: float


def _estimated(site: str, primary: str, world: World, why: str) -> LossStatement:
    """Return an estimate from what is seen now or, of what is gone, from the last sample and the rates before it."""
    samples, own = _samples(primary, world), world.database(site)
    unknown = LossStatement(site, primary, Certainty.UNKNOWN, world.at, why=why)
    has = own.position if isinstance(own, DatabaseSeen) else _last_flushed(site, samples)
    if has is None:
        return replace(unknown, why=f"{why}; what {site} has was not seen")
    end = _end(primary, world, samples, still=isinstance(own, Unknown))
    if end is None:
        return replace(unknown, why=f"{why}; no sample was kept")
    at = world.at if isinstance(world.database(primary), DatabaseSeen) or not samples else samples[-1].at
    return _bounded(replace(unknown, certainty=Certainty.ESTIMATED, at=at), end, has, samples)


def _end(primary: str, world: World, samples: Sequence[Sample], *, still: bool) -> _End | None:
    """Return how far a primary's WAL went; None if nothing tells. ``still``: as of the last sample, not of when it ended.

    What a standby has now is compared with what was written until the primary was last heard of; of a sample both are old
    alike. One that was stopped in order ends with its shutdown checkpoint, exactly.
    """
    now, agent, apart = world.database(primary), world.agent(primary), _apart(samples)
    if isinstance(now, DatabaseSeen) and not now.in_recovery:
        return _End(now.position, world.at, min(APART, apart))
    control = agent.control if isinstance(agent, AgentSeen) and agent.is_stopped else None
    if isinstance(control, Control) and control.state == CLEANLY_STOPPED:
        return _End(control.checkpoint, samples[-1].at if samples else world.at, 0.0)
    if not samples:
        return None
    since = samples[-1].at
    until = since if still else max(since, last_heard(primary, world))
    return _End(samples[-1].position + round(_highest(samples, _position) * (until - since)), until, apart)


def _bounded(stated: LossStatement, end: _End, has: int, samples: Sequence[Sample]) -> LossStatement:
    """Return an estimate in bytes, in seconds since all had been written that the site has, and in transactions meanwhile."""
    at_most = max(0, end.position - has) + round(_highest(samples, _position) * end.margin)
    passed = _passed_at(has, samples)
    seconds = None if passed is None else max(0.0, end.at + end.margin - passed) if at_most else 0.0
    known = len(samples) > 1 and all(one.commits is not None for one in samples)
    transactions = round(_highest(samples, _commits) * seconds) if known and seconds is not None else None
    return replace(stated, bytes=at_most, seconds=seconds, transactions=transactions)


def _samples(primary: str, world: World) -> list[Sample]:
    return [sample for sample in world.samples if sample.primary == primary]


def _last_flushed(site: str, samples: Sequence[Sample]) -> int | None:
    lag = samples[-1].lag(site) if samples else None
    return lag.flushed if lag else None


def _passed_at(position: int, samples: Sequence[Sample]) -> float | None:
    """Return when a primary had written just so much, between the samples around it evenly, before them at their usual rate."""
    for earlier, later in reversed(list(pairwise(samples))):
        if earlier.position <= position < later.position:
            share = (position - earlier.position) / (later.position - earlier.position)
            return earlier.at + share * (later.at - earlier.at)
    if not samples or samples[-1].position <= position:
        return samples[-1].at if samples else None
    first, last = samples[0], samples[-1]
    usual = (last.position - first.position) / (last.at - first.at) if last.position > first.position else 0.0
    return first.at - (first.position - position) / usual if usual else None


def _pairs(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Yield neighbours of the last ``MINUTE`` seconds, at least the last two, newest first. What two clocks took is no pair."""
    later = samples[-1] if samples else None
    for earlier in reversed(samples[:-1]):
        if later and later.at - earlier.at >= SPACED:
            yield earlier, later
            later = earlier
            if samples[-1].at - earlier.at >= MINUTE:
                return


def _apart(samples: Sequence[Sample]) -> float:
    """Return the seconds between the last two samples; 0 if there are no two."""
    return next((later.at - earlier.at for earlier, later in _pairs(samples)), 0.0)


def _highest(samples: Sequence[Sample], of: Callable[[Sample], int]) -> float:
    """Return how much something grew in a second, at most, between any two neighbours of the last minute; 0 where none are.

    A mean would charge the time that no sample is of with what was usual, just when it is not: a bulk load, then the end.
    """
    return max((max(0, of(later) - of(earlier)) / (later.at - earlier.at) for earlier, later in _pairs(samples)), default=0.0)


def _position(sample: Sample) -> int:
    return sample.position


def _commits(sample: Sample) -> int:
    return sample.commits or 0


def shown_bytes(amount: float) -> str:
    """Return an amount of WAL as people read it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return ""
