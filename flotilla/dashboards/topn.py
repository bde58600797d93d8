"""Top N over a range: ranked on the whole range, with a remainder, so that what is shown adds up to the total.

A plain ``topk`` in a picture picks anew at each step: series come and go, and none of them need be the largest of the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flotilla.dashboards.answers import Series
from flotilla.dashboards.model import Others, Rank, TopN
from flotilla.dashboards.promql import INTERVAL, RANGE, RATE_INTERVAL, pinned_to_end, with_durations


@dataclass(frozen=True)
class Ranking:
    """The first series with their values, the largest first; what is told of the ``others_count`` others; the total."""

    top: tuple[tuple[Series, float], ...]
    others: float | None
    others_count: int
    total: float | None


def ranking_text(panel: TopN, expr: str) -> str:
    """Return what a panel is ranked by, to be asked at the end of the range; ``expr`` is an open text."""
    match panel.rank:
        case Rank.MEAN:
            return f"avg_over_time(({expr})[{RANGE}:{INTERVAL}])"
        case Rank.MAX:
            return f"max_over_time(({expr})[{RANGE}:{INTERVAL}])"
        case Rank.LAST:
            return expr
        case Rank.WINDOW:
            return with_durations(expr, {RATE_INTERVAL: RANGE})


def top_text(panel: TopN, ranking: str) -> str:
    """Return the query of the first k, for a view that asks for no more than it shows."""
    return f"topk({panel.k}, {ranking})"


def rest_text(panel: TopN, ranking: str) -> str:
    """Return the query of the remainder; empty where the panel tells of none."""
    if panel.others is Others.NONE:
        return ""
    rest = f"({ranking}) unless topk({panel.k}, {ranking})"
    return f"{'sum' if panel.others is Others.SUM else 'avg'}({rest})"


def lines_text(panel: TopN, expr: str, ranking: str) -> str:
    """Return the query of the lines of the first k of the range; raises NotPromql."""
    return f"({expr}) and on ({', '.join(panel.by)}) topk({panel.k}, {pinned_to_end(ranking)})"


def rank(panel: TopN, found: Iterable[Series]) -> Ranking:
    """Return the ranking of all the series that answered; those without a number are left out, and zeros of a sum."""
    summed = panel.others is Others.SUM
    known = [(one, value) for one in found if (value := one.last) is not None and (value or not summed)]
    known.sort(key=lambda one: (-one[1], one[0].labels))
    top, rest = tuple(known[: panel.k]), [value for _, value in known[panel.k :]]
    match panel.others:
        case Others.SUM:
            others, total = math.fsum(rest), math.fsum(value for _, value in known)
            return Ranking(top, others if rest else None, len(rest), total if known else None)
        case Others.AVERAGE:
            return Ranking(top, math.fsum(rest) / len(rest) if rest else None, len(rest), None)
        case Others.NONE:
            return Ranking(top, None, len(rest), None)


def remainder(total: Mapping[float, float], shown: Iterable[Series]) -> dict[float, float]:
    """Return what the shown lines leave of a total at each of its times."""
    left = dict(total)
    for one in shown:
        for at, value in one.points:
            if at in left:
                left[at] -= value
    return {at: _without_noise(value, total[at]) for at, value in left.items()}


def _without_noise(value: float, of: float) -> float:
    """Return a difference of floating-point sums, zero where it is smaller than their rounding errors."""
    return 0.0 if abs(value) <= 1e-9 * max(1.0, abs(of)) else value
