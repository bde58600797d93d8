"""How good the view itself was: how far behind, what is missing, what is lost, what was refused, by cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flotilla.daily.asked import Ask, Period, Replies
from flotilla.daily.seeing import UNKNOWN, by_cluster
from flotilla.dashboards.coverage import ClusterState
from flotilla.metrics.words import moment, spoken


@dataclass(frozen=True)
class Quality:
    """What the collector says of one cluster; None where it says nothing. Lengths in seconds, ratios 0 to 1.

    ``reached`` is how many of its looks within the period succeeded, of those that there should have been.
    """

    state: ClusterState
    reached: float | None = None
    lag: float | None = None
    missing: float | None = None
    gap: float | None = None
    complete: float | None = None
    least: float | None = None
    quarantined: float | None = None
    skew: float | None = None

    def row(self) -> dict[str, str]:
        """Return it as a row of a table."""
        return {
            "cluster": self.state.cluster,
            "samples up to": UNKNOWN if self.state.since is None else moment(round(1000 * self.state.since)),
            "looks that succeeded": _ratio(self.reached),
            "behind at most": _length(self.lag),
            "missing, still to be read": _length(self.missing),
            "lost for good": _length(self.gap),
            "complete, newest window": _ratio(self.complete),
            "least complete window": _ratio(self.least),
            "series in quarantine": UNKNOWN if self.quarantined is None else f"{self.quarantined:,.0f}",
            "clock off by at most": UNKNOWN if self.skew is None else f"{self.skew:.1f} s",
        }

    def findings(self, tolerance: float) -> tuple[str, ...]:
        """Return what a person should know; ``tolerance`` in seconds is how far a clock may be off."""
        told = {
            f"{_ratio(self.complete)} of its samples are at the store, in the newest window compared": self.complete is not None
            and self.complete < 1,
            f"{_length(self.missing)} of its samples are still to be read": bool(self.missing),
            f"{_length(self.gap)} of its samples are lost for good": bool(self.gap),
            f"the store refused samples of {self.quarantined or 0:,.0f} series: `flotilla quarantine list`": bool(
                self.quarantined
            ),
            f"its clock was off by {self.skew or 0:.1f} s": (self.skew or 0) > tolerance,
        }
        return tuple(f"{self.state.cluster}: {text}" for text, holds in told.items() if holds)


def qualities(states: Iterable[ClusterState], replies: Replies, period: Period, beat: float) -> tuple[Quality, ...]:
    """Return the quality of the view of each cluster; ``beat`` are the seconds between two looks."""
    asks = (Ask.LAG, Ask.MISSING, Ask.GAP, Ask.COMPLETE, Ask.LEAST_COMPLETE, Ask.QUARANTINED, Ask.SKEW)
    told = [by_cluster(replies[ask]) for ask in asks]
    looks, wanted = by_cluster(replies[Ask.REACHED]), max(1.0, period.length / beat)
    return tuple(
        Quality(
            one,
            min(1.0, looks[one.cluster] / wanted) if one.cluster in looks else None,
            *(numbers.get(one.cluster) for numbers in told),
        )
        for one in states
    )


def _length(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else spoken(1000 * seconds)


def _ratio(value: float | None) -> str:
    """Return a part of a whole as a percentage that says 100 only of all of it."""
    if value is None:
        return UNKNOWN
    return "100 %" if value >= 1 else f"{min(99.99, 100 * value):.2f} %"
