"""Top N over a range: ranked on the whole range, with a remainder, so that what is shown adds up to the total.

A plain ``topk`` in a picture picks anew at each step: series come and go, and none of them need be the largest of the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flotilla.dashboards.answers import Series
from flotilla.dashboards.model import Others, Rank, TopN
from flotilla.dashboards.promql import INTERVAL, RANGE, RATE_INTERVAL, pinned_to_end, with_durations

Key = tuple[str, ...]
"""The values of the labels ``by``."""


@dataclass(frozen=True)
class Ranking:
    """The first series with their values, the largest first; the remainder and how many series it stands for."""

    top: tuple[tuple[Key, float], ...]
    others: float | None
    others_count: int
    total: float | None


def ranking_text(panel: TopN, expr: str) -> str:
    """Return what a panel is ranked by, asked at the end of the range; ``expr`` and the panel's ranking are open texts."""
    match panel.ranked_by:
        case Rank.RATE:
            return with_durations(expr, {RATE_INTERVAL: RANGE})
        case Rank.MEAN:
            return f"avg_over_time(({expr})[{RANGE}:{INTERVAL}])"
        case Rank.MAX:
            return f"max_over_time(({expr})[{RANGE}:{INTERVAL}])"
        case Rank.LAST:
            return expr


def top_text(panel: TopN, ranking: str) -> str:
    """Return the query of the first k, asked at the end of the range."""
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


def rank(panel: TopN, top: Iterable[Series], total: float | None, count: int) -> Ranking:
    """Return the ranking of some series and what is left of the total, or of the average, for the others.

    ``total`` is the sum (of an average, the average) over all ``count`` series; None where it is not known.
    """
    values = {one.key(panel.by): one.last for one in top}
    known = sorted(((key, value) for key, value in values.items() if value is not None), key=lambda one: (-one[1], one[0]))
    first = tuple(known[: panel.k])
    others_count = max(0, count - len(first))
    if panel.others is Others.NONE or total is None:
        return Ranking(first, None, others_count, None)
    shown = sum(value for _, value in first)
    whole = total if panel.others is Others.SUM else total * count
    rest = _without_noise(whole - shown, whole)
    if not others_count:
        return Ranking(first, None, 0, shown if panel.others is Others.SUM else total)
    return Ranking(first, rest if panel.others is Others.SUM else rest / others_count, others_count, total)


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
