"""Rules evaluated again over the time of which samples came late: what they did not record is recorded, alerts are noted."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from flotilla.dashboards import hindsight
from flotilla.dashboards.answers import Series, series
from flotilla.dashboards.hindsight import Outbreak, Past
from flotilla.dashboards.rules import Group, parse_rules
from flotilla.fleet import Fleet
from flotilla.metrics.batches import batches
from flotilla.metrics.own import encoded_series
from flotilla.metrics.spans import Span
from flotilla.metrics.webhook import historical
from tasks.manifests import read_texts
from tasks.store import Store, Written

AT_ONCE = 1_800_000  # ms that are evaluated in one cycle
GRID = 15_000  # ms: spans that are evaluated begin and end with an evaluation
NOTED = "flotilla_alert_would_have_fired"
log = logging.getLogger("flotilla.collector")


@dataclass(frozen=True)
class Late:
    """A span of which samples of some clusters came late, and the clusters whose samples are all there now."""

    span: Span
    clusters: Collection[str]
    present: Collection[str]


def reevaluated(fleet: Fleet, store: Store, late: Late, now: int) -> list[Outbreak]:
    """Return the alerts that would have fired and did not; what rules did not record is recorded.

    Raises InvalidInput where the rules cannot be read, Transient or Permanent where the store cannot be asked or written to.
    """
    asked = hindsight.asked(groups_of(fleet), late.present)
    for reason in asked.left_out:
        log.warning("not evaluated again: %s", reason)
    found: list[Outbreak] = []
    for past in asked.past:
        look = _Look(store, past, late, now, fleet.metrics.store.batch_bytes)
        if past.rule.record:
            look.record()
        else:
            found += look.unheard()
    return found


def groups_of(fleet: Fleet) -> list[Group]:
    """Return the groups of the fleet's rule files, read anew; raises InvalidInput."""
    return [group for file, text in read_texts(fleet.metrics.rules).items() for group in parse_rules(text, file).groups]


def _in_ms(points: Iterable[tuple[float, float]]) -> list[tuple[int, float]]:
    return [(round(1000 * time), value) for time, value in points]


class _Look:
    """One rule, asked about a span and as long after it as it sees samples of that."""

    def __init__(self, store: Store, past: Past, late: Late, now: int, batch: int) -> None:
        self._store, self._past, self._late, self._batch = store, past, late, batch
        step = past.step
        self._begin = (late.span.lo // 1000 - round(past.rule.held)) // step * step
        self._end = min(late.span.hi // 1000 + past.reach, now // 1000) // step * step

    def record(self) -> None:
        there = self._asked(f"{self._past.rule.name}")
        missing = hindsight.absent(self._past, self._asked(self._past.expr), there, self._late.clusters)
        self._write(encoded_series(dict(one.labels), _in_ms(one.points)) for one in missing)

    def unheard(self) -> list[Outbreak]:
        would = hindsight.outbreaks(self._past, self._asked(self._past.expr))
        fired = self._asked(f'ALERTS{{alertstate="firing",alertname="{self._past.rule.name}"}}') if would else []
        found = hindsight.unheard(would, fired, self._past.step)
        self._write(encoded_series(historical(one.labels) | {"__name__": NOTED}, self._points(one)) for one in found)
        return found

    def _points(self, one: Outbreak) -> list[tuple[int, float]]:
        return [(1000 * time, 1.0) for time in range(round(one.begin), round(one.end) + 1, self._past.step)]

    def _asked(self, expr: str) -> list[Series]:
        found = self._store.engine.query_range(expr, self._begin, self._end, self._past.step)
        return [series(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in found]

    def _write(self, found: Iterable[bytes]) -> None:
        done = Written()
        for batch in batches(found, self._batch):
            self._store.write(batch, done)
        for refusal in done.refusals[:1]:
            log.warning("%s: %d series of the past are refused: %s", self._past.rule.name, len(done.refusals), refusal.why)
