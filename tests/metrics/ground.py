"""What tests of the collector with real programs share: a fleet of two clusters, filled as a test likes, and one store.

All samples lie in two windows that ended before the tests began, so that what is collected does not depend on how fast anything
is. Programs are shared by tests; each has its own names of clusters and a label ``case`` on all of its series.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flotilla.fleet import Fleet
from flotilla.metrics.completeness import WINDOW, Outcome, Proof
from flotilla.metrics.config import StoreKind
from flotilla.metrics.counting import asked_at
from flotilla.metrics.spans import Span
from flows.collector import Collector, Cycle
from flows.proving import Counter
from tasks.doors import AtUrl, now
from tasks.prometheus import Engine
from tests.flotilla.prompb import series
from tests.metrics import programs
from tests.metrics.programs import StoreProgram

END = now() // WINDOW * WINDOW  # ms
BEGIN = END - 2 * WINDOW
WINDOWS = (Span(BEGIN, BEGIN + WINDOW), Span(BEGIN + WINDOW, END))
AFTER = END + 10_000  # when it is collected
STEP = 10_000  # ms between samples
EXTERNAL = {"cluster": "own-name", "datacenter": "dc-1", "prometheus_replica": "prometheus-0"}
MOST_CYCLES = 20

Held = dict[frozenset[tuple[str, str]], list[tuple[int, str]]]
"""Samples (ms, value) by the labels of their series."""


@dataclass
class Ground:
    """One test's fleet: clusters east and west, names of their own, each at a Prometheus, perhaps behind a proxy."""

    store: StoreProgram
    members: dict[str, str]
    folder: Path
    case: str = field(default_factory=lambda: secrets.token_hex(4))
    suffix: str = ""  # of its clusters' names
    windows: tuple[Span, ...] = WINDOWS
    store_url: str = ""
    time: int = AFTER
    metrics: dict[str, Any] = field(default_factory=dict)
    of_members: dict[str, dict[str, Any]] = field(default_factory=dict)
    of_store: dict[str, Any] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)  # where a member is reached, if not at its own address

    def name(self, member: str) -> str:
        """Return what the cluster is called whose Prometheus a member is."""
        return f"{member}-{self.case}{self.suffix}"

    @property
    def fleet(self) -> Fleet:
        store = {"kind": self.store.kind, "url": self.store_url or self.store.url, **self.of_store}
        clusters = [
            {
                "name": self.name(member),
                "role": "production" if number == 0 else "remote",
                "site": {"name": f"site-{member}", "city": "hangzhou"},
                "metrics": {"url": self.urls.get(member, url), **self.of_members.get(member, {})},
            }
            for number, (member, url) in enumerate(self.members.items())
        ]
        backfill = (AFTER - BEGIN) / 1000 + 5  # clocks are read to half a second
        metrics = {
            "store": store,
            "settle": 0,
            "overlap": 0,
            "backfill": backfill,
            "staleAfter": 7200,
            "collect": [self.selector],
        }
        return Fleet.model_validate({"clusters": clusters, "metrics": {**metrics, **self.metrics}})

    @property
    def selector(self) -> str:
        return f'{{case="{self.case}"}}'

    def fill(self, member: str, made: Iterable[Any]) -> None:
        """Have a member hold series, of this test's case."""
        programs.write(self.members[member], [self.own(one) for one in made])

    def own(self, one: Any) -> Any:
        """Return a series with the label of this case, its labels sorted as remote_write asks for."""
        labels = sorted([*((label.name, label.value) for label in one.labels), ("case", self.case)])
        del one.labels[:]
        for name, value in labels:
            one.labels.add(name=name, value=value)
        return one

    def collector(self, state: str = "state") -> Collector:
        return Collector(self.fleet, self.folder / state)

    def cycle(self, collector: Collector) -> Cycle:
        """Beat once; before, the store shows what it was given."""
        if self.store.program.process:
            self.store.shown()
        return collector.cycle()

    def collected(self, collector: Collector, *members: str) -> list[Cycle]:
        """Collect until nothing of the windows is missing and all of them are judged, of some members or all."""
        cycles: list[Cycle] = []
        readers = [collector.readers[self.name(member)] for member in members or self.members]
        while not all(
            one.kept and one.kept.progress.complete(END) >= END and not one.kept.ledger.due(one.kept.progress)
            for one in readers
        ):
            assert len(cycles) < MOST_CYCLES, [str(cycle) for cycle in cycles]
            cycles.append(self.cycle(collector))
        return cycles

    def counts(self, member: str, window: Span) -> tuple[dict[str, int], dict[str, int]]:
        """Return what a cluster and the store hold of a window, by metric."""
        selectors = self.fleet.metrics.selectors
        at_store = [one.with_label("cluster", self.name(member)) for one in selectors]
        there = Counter(Engine(member, AtUrl(member, self.members[member])), selectors)
        here = Counter(Engine("store", AtUrl("store", self.store.url)), at_store)
        return there.counted(window), here.counted(window)

    def held(self, url: str, extra: str = "", shift: int = 0) -> Held:
        """Return all samples of this case in the windows, or ms later, as PromQL has them: stale markers and NaN left out."""
        whole = Span(self.windows[0].lo + shift, self.windows[-1].hi + shift)
        found = programs.query(url, f'{{case="{self.case}"{extra}}}[{whole.length}ms]', float(asked_at(whole)))
        return {frozenset(one["metric"].items()): _samples(one, whole) for one in found if _samples(one, whole)}

    def expected(self, member: str) -> Held:
        """Return what the store should hold of a cluster, going by what its Prometheus holds."""
        site = f"site-{member}"
        stamp = {"cluster": self.name(member), "site": site, "role": self.fleet.cluster(self.name(member)).role.value}
        found = {}
        for labels, samples in self.held(self.members[member]).items():
            kept = {f"exported_{name}" if name in stamp else name: value for name, value in labels}
            found[frozenset({**kept, **stamp}.items())] = samples
        return found

    def at_store(self, member: str, shift: int = 0) -> Held:
        return self.held(self.store.url, f',cluster="{self.name(member)}"', shift)

    def is_whole(self, *members: str) -> None:
        """Assert that nothing of a cluster is lost and nothing is there twice: all samples, and the counts that prove it."""
        self.store.shown()
        for member in members or self.members:
            expected = self.expected(member)
            assert expected, f"{member} holds nothing: this proves nothing"
            assert expected == self.at_store(member)
            for window in self.windows:
                there, here = self.counts(member, window)
                assert there == here


def _samples(one: Mapping[str, Any], span: Span) -> list[tuple[int, str]]:
    every = [*one.get("values", []), *((time, str(told)) for time, told in one.get("histograms", []))]
    made = [(round(1000 * float(time)), str(value)) for time, value in every]
    return [(time, value) for time, value in made if span.lo <= time < span.hi and value != "NaN"]


def usual(count: int = 6, begin: int = BEGIN, end: int = END, step: int = STEP) -> list[Any]:
    """Return series of three metrics with a sample each ``step`` of lo <= t < hi."""
    return [
        series(
            {"__name__": f"test_metric_{number % 3}", "pod": f"pod-{number}"},
            *((1000.0 * number + (time - begin) / step, time) for time in range(begin, end, step)),
        )
        for number in range(count)
    ]


def proofs(cycles: Iterable[Cycle], cluster: str) -> list[Proof]:
    """Return what some cycles proved of a cluster."""
    return [proof for cycle in cycles for proof in cycle.done[cluster].proofs]


def outcomes(cycles: Iterable[Cycle], cluster: str) -> list[Outcome]:
    return [proof.outcome for proof in proofs(cycles, cluster)]


KINDS = (StoreKind.VICTORIA_METRICS, StoreKind.PROMETHEUS)
