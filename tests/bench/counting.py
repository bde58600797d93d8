"""What was collected counted at both ends: the clusters hold what the store holds, or something is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from flotilla.metrics.spans import Span
from flows.proving import Counter
from tasks.doors import door_of
from tasks.progress import read_kept
from tasks.prometheus import Member as Prometheus
from tasks.store import store_of
from tests.bench.members import Members
from tests.bench.programs import Program

VISIBLE = 3.0  # seconds after which VictoriaMetrics surely shows what it was given


@dataclass(frozen=True)
class Counted:
    """Samples at the clusters, those by which the counts of a metric differ, and what counting ``seconds`` of samples took."""

    samples: int = 0
    wrong: int = 0
    seconds: float = 1.0
    wall: float = 0.0
    cpu: float = 0.0


def counted(members: Members, store: Program, state: Path) -> Counted:
    """Count, at the clusters and at a store, all that a collector says is done: the longest span of each cluster."""
    time.sleep(VISIBLE)
    fleet = members.fleet(store)
    selectors, at_store = fleet.metrics.selectors, store_of(fleet.metrics.store).engine
    samples = wrong = 0
    spans = list[Span]()
    began, before = time.monotonic(), _cpu(members, store)
    for one, cluster in zip(members.each, fleet.clusters, strict=True):
        span = done(state, one.name)
        there = Counter(Prometheus(one.name, door_of(cluster)).engine, selectors).counted(span)
        here = Counter(at_store, [each.with_label("cluster", one.name) for each in selectors]).counted(span)
        samples += sum(there.values())
        wrong += differing(there, here)
        spans.append(span)
    seconds = max(span.length for span in spans) / 1000
    return Counted(samples, wrong, seconds, time.monotonic() - began, _cpu(members, store) - before)


def _cpu(members: Members, store: Program) -> float:
    return members.cpu() + store.cpu() + time.process_time()


def differing(there: dict[str, int], here: dict[str, int]) -> int:
    """Return by how many samples two counts by metric differ, either way."""
    return sum(abs(there.get(name, 0) - here.get(name, 0)) for name in there.keys() | here.keys())


def done(state: Path, cluster: str) -> Span:
    """Return the longest span of a cluster that is done."""
    kept = read_kept(state, cluster)
    if kept is None or not kept.progress.done:
        raise SystemExit(f"{cluster}: the collector has done nothing yet: measure more beats")
    return max(kept.progress.done, key=lambda span: span.length)
