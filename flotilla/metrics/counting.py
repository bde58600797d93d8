"""How samples are counted at both ends of the way: by PromQL, so that a window holds at either end just the same moments.

``count_over_time`` counts floats and native histograms, the stale markers of both left out, at Prometheus and at
VictoriaMetrics (promql/functions.go, app/vmselect/promql/eval.go dropStaleNaNs). Two things need care:

- It drops the name, and Prometheus refuses an answer with two series that then are the same ("vector cannot contain metrics
  with the same labelset"), so each metric is counted by itself.
- A range of Prometheus 2 is closed at its left end, that of Prometheus 3 and of VictoriaMetrics is open; all are closed at the
  right. Timestamps are whole milliseconds: at hi - 1 ms a range of hi - lo, or of 1 ms less, holds just lo <= t < hi.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from flotilla.metrics.selectors import Selector, quoted
from flotilla.metrics.spans import Span

AT_ONCE = 50  # metrics in one query: bounds what the engine has in memory at a time
EDGE_PROBE = "count_over_time(vector(1)[2s:1s])"  # asked at a whole second: 3 where ranges are closed at the left, 2 where open
_METRIC = "metric"


class Edge(StrEnum):
    """Whether a range holds a sample that is exactly as old as the range is long."""

    CLOSED = "closed"
    OPEN = "open"


def count_queries(picked: Mapping[str, Sequence[Selector]], window: Span, edge: Edge) -> Iterator[str]:
    """Yield the PromQL that counts the samples of some metrics in a window, each with the selectors that pick it.

    To be asked at `asked_at`; a metric without a sample is not answered. At the store the selectors name the cluster too.
    """
    length = window.length - (edge is Edge.CLOSED)
    terms = [_count_of(metric, selectors, length) for metric, selectors in sorted(picked.items())]
    for begin in range(0, len(terms), AT_ONCE):
        yield " or ".join(terms[begin : begin + AT_ONCE])


def asked_at(window: Span) -> str:
    """Return the time, as the API takes it, at which the counts of a window are asked."""
    return f"{(window.hi - 1) // 1000}.{(window.hi - 1) % 1000:03}"


def counts(result: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the counts by metric in the ``data.result`` of answers to `count_queries`."""
    return {one["metric"][_METRIC]: round(float(one["value"][1])) for one in result}


def edge_of(probed: float) -> Edge:
    """Return how an engine's ranges begin, from what it answered to EDGE_PROBE; raises ValueError on anything else."""
    if probed not in (2.0, 3.0):
        raise ValueError(f"{EDGE_PROBE} is {probed:g}; expected 3 (ranges closed at the left) or 2 (open)")
    return Edge.CLOSED if probed == 3.0 else Edge.OPEN


def by_metric(names: Mapping[Selector, Iterable[str]]) -> dict[str, tuple[Selector, ...]]:
    """Return for each metric which selectors pick it, narrowed to it, from the names that each selector has."""
    picked: dict[str, list[Selector]] = {}
    for selector, metrics in names.items():
        for metric in metrics:
            picked.setdefault(metric, []).append(selector.of_metric(metric))
    return {metric: tuple(dict.fromkeys(selectors)) for metric, selectors in picked.items()}


def _count_of(metric: str, selectors: Sequence[Selector], length: int) -> str:
    each = " or ".join(f"count_over_time({selector}[{length}ms])" for selector in selectors)
    return f'label_replace(sum({each}), {quoted(_METRIC)}, {quoted(metric.replace("$", "$$"))}, "", "")'
