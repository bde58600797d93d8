"""The collector of metrics: every beat all clusters are read side by side, and what was read is written to the store.

A slice of time is read, stamped, written and confirmed before it counts as done, so that whatever dies in between is read
again, and the store keeps one of what it is sent twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flotilla.dashboards.hindsight import Outbreak
from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.fleet import Cluster, Fleet
from flotilla.metrics import completeness, quarantine
from flotilla.metrics.batches import batches
from flotilla.metrics.beats import Beat, beat, pause
from flotilla.metrics.clocks import Clocks, Reading, compared
from flotilla.metrics.completeness import Outcome, Proof
from flotilla.metrics.own import Own, encoded
from flotilla.metrics.quarantine import Quarantined
from flotilla.metrics.spans import Span, common, union, without
from flotilla.metrics.stamping import Seen, Stamper
from flotilla.metrics.windows import Answer, Pace, Progress, Slice
from flotilla.metrics.words import dated
from flows.hindsight import AT_ONCE, Late, reevaluated
from flows.proving import About, Counter, proofs
from tasks.doors import door_of, now
from tasks.fanout import side_by_side
from tasks.progress import Kept, read_kept, read_quarantine, write_kept, write_quarantine
from tasks.prometheus import Member, TooMuch, short
from tasks.store import Store, Written, store_of

log = logging.getLogger("flotilla.collector")


@dataclass
class Cost:
    """Seconds that a cluster's part of a cycle took, by whom it waited for; ``python`` is CPU of its thread."""

    member: float = 0.0
    store: float = 0.0
    python: float = 0.0
    wall: float = 0.0
    proving: float = 0.0


@dataclass
class Done:
    """What a cycle did for one cluster. ``seen`` is up to when samples are at the store, in ms; ``error`` why it stopped."""

    cluster: str
    series: int = 0
    samples: int = 0
    slices: int = 0
    late: int = 0
    seen: int = 0
    lag: float = 0.0
    missing: float = 0.0
    gaps: float = 0.0
    refused: int = 0
    proofs: list[Proof] = field(default_factory=list)
    error: str = ""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Cycle:
    """One beat: how late it began, what it did by cluster, what is wrong with clocks."""

    beat: Beat
    done: Mapping[str, Done]
    findings: tuple[str, ...]
    seconds: float
    unheard: tuple[Outbreak, ...] = ()

    def __str__(self) -> str:
        told = ", ".join(
            f"{name}: {one.error}" if one.error else f"{name} {one.samples:,} samples, {one.lag:.0f} s behind"
            for name, one in self.done.items()
        )
        return f"{self.beat}: {told}; {self.seconds:.1f} s"


class Reader:
    """One cluster's part of the collecting, used by one thread at a time."""

    def __init__(self, cluster: Cluster, fleet: Fleet, folder: Path, store: Store) -> None:
        self.cluster, self._settings, self._folder, self._store = cluster, fleet.metrics, folder, store
        self.member = Member(cluster.name, door_of(cluster), cluster.metrics.path.rstrip("/"))
        self.pace: Pace = fleet.metrics.pace()
        self.kept = read_kept(folder, cluster.name)
        self._stale = round(1000 * fleet.metrics.stale_after)
        self._stamper: Stamper | None = None
        self.refusals: list[quarantine.Quarantined] = []
        selectors = fleet.metrics.selectors
        at_store = [one.with_label("cluster", cluster.name) for one in selectors]
        self._counters = Counter(self.member.engine, selectors), Counter(store.engine, at_store)

    def collect(self, time_there: int, latest: int, set_aside: Sequence[Quarantined]) -> Done:
        """Read what is missing up to a time, oldest and newest first, and have it written. Never raises FlotillaError.

        What is complete since an earlier cycle is counted before: what was written just now, a store may not show yet.
        """
        done = Done(self.cluster.name)
        self._prove(done, set_aside)
        began, cpu = time.monotonic(), time.thread_time()
        try:
            self._collect(done, time_there, latest)
        except FlotillaError as error:
            done.error = short(error, self.cluster.name)
        progress = self.kept.progress if self.kept else Progress(time_there)
        until = time_there - self.pace.settle
        done.seen = progress.seen
        done.lag = max(0, time_there - progress.seen) / 1000 if progress.seen else 0.0
        done.missing = sum(span.length for span in progress.missing(until)) / 1000
        done.gaps = sum(gap.span.length for gap in progress.gaps) / 1000
        done.cost.wall, done.cost.python = time.monotonic() - began, time.thread_time() - cpu
        return done

    def _prove(self, done: Done, set_aside: Sequence[Quarantined]) -> None:
        """Count windows that are complete, and have those read again that differ."""
        if self.kept is None or not self.kept.ledger.due(self.kept.progress):
            return
        began = time.monotonic()
        try:
            about = About(self.cluster.name, self.member.keeps_since(), set_aside)
            done.proofs = proofs(self.kept.progress, self.kept.ledger, self._counters, about)
        except FlotillaError as error:
            log.warning("cluster=%s not counted: %s", self.cluster.name, error)
        for proof in done.proofs:
            log.info("%s", proof)
            progress = self._progress.again(proof.look.window) if proof.outcome is Outcome.AGAIN else self._progress
            self._keep(progress=progress, ledger=self.kept.ledger.noted(proof))
        done.cost.proving = time.monotonic() - began

    def _collect(self, done: Done, time_there: int, latest: int) -> None:
        kept = self._begun(time_there)
        for one in kept.progress.planned(time_there, self.pace):
            try:
                self._slice(one, done, time_there, latest)
            except TooMuch as error:
                self._keep(progress=self._progress.failed(one, short(error, self.cluster.name), time_there, self.pace))
                log.info("cluster=%s a slice is read in shorter ones: %s", self.cluster.name, error)

    def _begun(self, time_there: int) -> Kept:
        """Have something to go on from: what was kept, or as much of the past as is asked for; gaps before what is there."""
        if self._stamper is None:
            labels = self.cluster.metrics.external_labels
            external = labels if labels is not None else self.member.external_labels()
            stamp = {"cluster": self.cluster.name, "site": self.cluster.site.name, "role": str(self.cluster.role)}
            self._stamper = Stamper(stamp, strip=self.cluster.metrics.strip, external=external)
        if self.kept is None:
            origin = time_there - round(1000 * self._settings.backfill)
            oldest = self.member.keeps_since()
            self.kept = Kept(Progress(max(origin, oldest or origin)))
        elif self.kept.progress.missing(time_there - 10 * self.pace.settle - self.pace.longest):
            self._keep(progress=self._progress.kept_since(self.member.keeps_since(), time_there))
        return self.kept

    def _slice(self, one: Slice, done: Done, time_there: int, latest: int) -> None:
        assert self._stamper is not None
        seen, written = Seen(), Written()
        read = self.member.read(one.span.lo, one.span.hi, self._settings.selectors)
        try:
            for batch in batches(self._stamper.stamped(read.series, seen, latest), self._settings.store.batch_bytes):
                self._store.write(batch, written)
        finally:
            done.cost.member += read.seconds
            done.cost.store += written.seconds
        refused = quarantine.quarantined(self.cluster.name, written.refusals, time_there)
        self.refusals += refused
        firm = self._progress.firm(one, time_there, self.pace)
        unkept = completeness.unkept(seen.nans, seen.histograms, self._settings.store.keeps)
        ledger = self.kept.ledger.tallied(unkept, firm) if self.kept else completeness.Ledger()
        answer = Answer(seen.count.samples, read.size)
        late = [one.span] if one.span.hi < time_there - self._stale else []
        self._keep(progress=self._progress.read(one, answer, time_there, self.pace), ledger=ledger, late=late)
        done.series = max(done.series, seen.count.series)
        done.samples += seen.count.samples
        done.late += seen.late.samples
        done.slices += 1
        done.refused += len(refused)

    @property
    def _progress(self) -> Progress:
        assert self.kept is not None
        return self.kept.progress

    def overdue(self, time_there: int) -> Span | None:
        """Return the oldest span that came too late for the rules, once all before it is there too; None where there is none.

        What was written by an earlier cycle only: the store may not show yet what it was given just now.
        """
        if self.kept is None or not self.kept.late or self.kept.progress.missing(time_there - self._stale):
            return None
        first = self.kept.late[0]
        return Span(first.lo, min(first.hi, first.lo + AT_ONCE))

    def seen_by_rules(self, span: Span) -> None:
        """Take a span as known to the rules."""
        if self.kept and common(self.kept.late, [span]):
            self.kept = replace(self.kept, late=without(self.kept.late, [span]))
            write_kept(self._folder, self.cluster.name, self.kept)

    def _keep(self, progress: Progress, ledger: completeness.Ledger | None = None, late: Sequence[Span] = ()) -> None:
        assert self.kept is not None
        waiting = union([*self.kept.late, *late])
        self.kept = replace(self.kept, progress=progress, ledger=ledger or self.kept.ledger, late=waiting)
        write_kept(self._folder, self.cluster.name, self.kept)


class Collector:
    """Collects from every cluster of a fleet that can be read, beat after beat."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self._folder = fleet, folder
        self.store = store_of(fleet.metrics.store)
        read = [cluster for cluster in fleet.clusters if not cluster.metrics.pushes]
        self.readers = {one.name: Reader(one, fleet, folder, self.store) for one in read}
        self.quarantine = read_quarantine(folder)
        self._stopping = threading.Event()
        self._last: int | None = None

    def run(self, tell: Callable[[Cycle], None]) -> None:
        """Beat until `stop`; ``tell`` is called with each cycle."""
        every = round(1000 * self.fleet.metrics.beat)
        while not self._stopping.wait(pause(now(), every) / 1000):
            cycle = self.cycle()
            log.info("%s", cycle)
            tell(cycle)

    def stop(self) -> None:
        """End after the cycle that is under way."""
        self._stopping.set()

    def cycle(self) -> Cycle:
        """Read all clusters side by side, and tell the store what came of it."""
        began, here = time.monotonic(), now()
        the_beat = beat(here, round(1000 * self.fleet.metrics.beat), self._last)
        self._last = the_beat.number
        clocks = self._clocks()
        latest = clocks.now(here) + round(1000 * self.fleet.metrics.ahead)
        unheard = self._look_back(clocks, here)

        def collect(name: str) -> Done:
            return self.readers[name].collect(clocks.of(name, here), latest, self.quarantine)

        found = side_by_side(self.readers, collect)
        done = {name: one for name, one in found.items() if isinstance(one, Done)}
        self._set_aside()
        cycle = Cycle(the_beat, done, clocks.findings(), time.monotonic() - began, tuple(unheard))
        self._tell_store(cycle, clocks, here)
        return cycle

    def _look_back(self, clocks: Clocks, here: int) -> list[Outbreak]:
        """Have the rules see what came too late for them, and return the alerts that would have fired."""
        overdue = {name: span for name, one in self.readers.items() if (span := one.overdue(clocks.of(name, here)))}
        if not overdue:
            return []
        span = min(overdue.values())
        clusters = [name for name, one in overdue.items() if common([one], [span])]
        present = [
            name for name, one in self.readers.items() if one.kept and not common(one.kept.progress.missing(here), [span])
        ]
        try:
            found = reevaluated(self.fleet, self.store, Late(span, clusters, present), clocks.now(here))
        except FlotillaError as error:
            log.warning("rules are not evaluated again over %s: %s", dated(span), error)
            return []
        for name in clusters:
            self.readers[name].seen_by_rules(span)
        log.info("rules evaluated again over %s for %s: %d alerts", dated(span), ", ".join(clusters), len(found))
        for one in found:
            log.warning("%s", one)
        return found

    def _clocks(self) -> Clocks:
        found = side_by_side(self.readers, lambda name: self.readers[name].member.clock())
        readings = {name: one for name, one in found.items() if isinstance(one, Reading)}
        return compared(readings, round(1000 * self.fleet.metrics.clock_tolerance))

    def _set_aside(self) -> None:
        """Keep what the store refused."""
        fresh = [one for reader in self.readers.values() for one in reader.refusals]
        if not fresh:
            return
        self.quarantine, lost = quarantine.kept([*self.quarantine, *fresh])
        write_quarantine(self._folder, self.quarantine)
        for reader in self.readers.values():
            reader.refusals = []
        log.warning("quarantine: %d series were refused, e.g. %s", len(fresh), fresh[0])
        if lost:
            log.error("quarantine is full: %d samples gave way", lost)

    def _tell_store(self, cycle: Cycle, clocks: Clocks, here: int) -> None:
        found = [own for name, one in cycle.done.items() for own in _own(one, clocks.ahead.get(name))]
        held = {name: sum(record.cluster == name for record in self.quarantine) for name in self.readers}
        found += [("flotilla_quarantined_series", {"cluster": name}, count) for name, count in held.items()]
        try:
            self.store.write(encoded(found, clocks.now(here)), Written())
        except (Transient, Permanent) as error:
            log.warning("the collector's own series are not written: %s", error)


def _ratio(found: Sequence[Proof]) -> float:
    """Return how much of what clusters hold is at the store, of the windows that were counted; 1 where nothing is missing."""
    held, missing = sum(proof.member for proof in found), sum(proof.missing for proof in found)
    return 1 - missing / held if held else 1.0


def _own(one: Done, ahead: int | None) -> list[Own]:
    cluster = {"cluster": one.cluster}
    values = {
        "flotilla_cluster_up": float(not one.error),
        "flotilla_watermark_timestamp_seconds": one.seen / 1000,
        "flotilla_lag_seconds": one.lag,
        "flotilla_missing_seconds": one.missing,
        "flotilla_gap_seconds": one.gaps,
        "flotilla_collected_samples": float(one.samples),
    }
    values |= {"flotilla_completeness_ratio": _ratio(one.proofs)} if one.proofs else {}
    values |= {"flotilla_clock_skew_seconds": ahead / 1000} if ahead is not None else {}
    stages = {"member": one.cost.member, "python": one.cost.python, "store": one.cost.store}
    found: list[Own] = [(name, cluster, value) for name, value in values.items()]
    return found + [("flotilla_cycle_seconds", {**cluster, "stage": stage}, value) for stage, value in stages.items()]
