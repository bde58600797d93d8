"""Whose clock is believed, so that a cluster with a wrong one harms nobody but itself.

Samples carry the time of the cluster that scraped them. One that is later than now would make Prometheus 2.42 refuse every
other cluster's until that time has come, so it is never written. All times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from statistics import median_low

from flotilla.metrics.words import spoken

OURS = "this machine"


@dataclass(frozen=True)
class Reading:
    """What another clock said, ``said``, when ours said ``at``; wrong by at most ``error``."""

    said: int
    at: int
    error: int

    @property
    def offset(self) -> int:
        """How far it is ahead of ours."""
        return self.said - self.at


def reading(date: str, sent: int, received: int) -> Reading | None:
    """Return what the Date header of an answer says, whole seconds, cut off; None where it is no date."""
    try:
        said = round(parsedate_to_datetime(date).timestamp() * 1000) + 500
    except (TypeError, ValueError):
        return None
    return Reading(said, (sent + received) // 2, (received - sent) // 2 + 500)


@dataclass(frozen=True)
class Clocks:
    """What time it is, ``correction`` after our own clock, and how far each cluster's is ahead of that, where it is known.

    ``tolerance`` is what clocks may differ by; they are never that exact, and a busy machine answers late.
    """

    correction: int = 0
    ahead: Mapping[str, int] = field(default_factory=dict)
    tolerance: int = 10_000

    def now(self, ours: int) -> int:
        """Return what time it is when our clock says ``ours``."""
        return ours + self.correction

    def of(self, cluster: str, ours: int) -> int:
        """Return up to which time a cluster may have samples: now by its own clock, and never later than now."""
        return self.now(ours) + min(0, self.ahead.get(cluster, 0))

    def is_wrong(self, cluster: str) -> bool:
        """Tell whether a cluster's clock is off by more than clocks may be."""
        return abs(self.ahead.get(cluster, 0)) > self.tolerance

    def findings(self) -> tuple[str, ...]:
        """Return a sentence for each clock that is wrong, ours first."""
        said = []
        if abs(self.correction) > self.tolerance:
            said.append(f"{OURS}: its clock is {_off(-self.correction)}; most others agree and are believed")
        for cluster in sorted(filter(self.is_wrong, self.ahead)):
            ahead = self.ahead[cluster]
            left_out = "samples that it dates later than now are left until then" if ahead > 0 else "so are its samples"
            said.append(f"{cluster}: its clock is {_off(ahead)}; {left_out}")
        return tuple(said)


def compared(readings: Mapping[str, Reading], tolerance: int = 10_000) -> Clocks:
    """Return what time it is after asking clusters and the store: ours, unless more than half of all agree on another.

    An answer that took so long that it says nothing is not counted.
    """
    known = {name: one.offset for name, one in readings.items() if one.error <= tolerance}
    every = [0, *known.values()]
    agreeing = max(([one for one in every if abs(one - around) <= tolerance] for around in every), key=len)
    ours_agrees = any(abs(one) <= tolerance for one in agreeing)
    correction = 0 if ours_agrees or 2 * len(agreeing) <= len(every) else median_low(agreeing)
    return Clocks(correction, {name: offset - correction for name, offset in known.items()}, tolerance)


def _off(ahead: int) -> str:
    return f"{spoken(ahead)} {'ahead' if ahead > 0 else 'behind'}"
