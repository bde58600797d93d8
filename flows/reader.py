"""One cluster's part of the collecting: what is missing is read slice by slice, stamped, written, confirmed, and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flotilla.errors import FlotillaError, Transient
from flotilla.fleet import Cluster, Fleet
from flotilla.metrics import completeness, quarantine
from flotilla.metrics.batches import batches
from flotilla.metrics.beats import replica
from flotilla.metrics.completeness import Outcome, Proof
from flotilla.metrics.quarantine import Quarantined
from flotilla.metrics.spans import Span, common, union, without
from flotilla.metrics.stamping import Seen, Stamper
from flotilla.metrics.windows import Answer, Pace, Progress, Slice
from flows.hindsight import AT_ONCE, GRID
from flows.proving import About, Counter, proofs
from tasks.answers import TooMuch
from tasks.doors import door_of
from tasks.progress import Kept, read_kept, write_kept
from tasks.prometheus import Member, short
from tasks.store import Store, Written

log = logging.getLogger("flotilla.collector")


class Unread(Transient):
    """The cluster did not answer for a slice, or not with what it holds."""


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
    """What a cycle did for one cluster.

    ``past`` are those of its samples that are not of the newest slice; ``seen`` is up to when samples are at the store, in ms;
    ``error`` is why it stopped; ``under_way`` that it has not stopped: it is read still.
    """

    cluster: str
    series: int = 0
    samples: int = 0
    past: int = 0
    slices: int = 0
    late: int = 0
    seen: int = 0
    lag: float = 0.0
    missing: float = 0.0
    gaps: float = 0.0
    refused: int = 0
    proofs: list[Proof] = field(default_factory=list)
    error: str = ""
    under_way: bool = False
    cost: Cost = field(default_factory=Cost)


class Reader:
    """One cluster's part of the collecting, used by one thread at a time."""

    def __init__(self, cluster: Cluster, fleet: Fleet, folder: Path, store: Store) -> None:
        self.cluster, self._settings, self._folder, self._store = cluster, fleet.metrics, folder, store
        prefix, pods = cluster.metrics.path.rstrip("/"), cluster.metrics.replicas or ("",)
        self._members = {pod: Member(cluster.name, door_of(cluster, pod), prefix) for pod in pods}
        self.pace: Pace = fleet.metrics.pace()
        self.kept = read_kept(folder, cluster.name)
        self._replica = self.kept.replica if self.kept and self.kept.replica in self._members else pods[0]
        self._stale = round(1000 * fleet.metrics.stale_after)
        self._stamper: Stamper | None = None
        self.refusals: list[quarantine.Quarantined] = []
        self._at_store = Counter(store.engine, [one.with_label("cluster", cluster.name) for one in fleet.metrics.selectors])

    @property
    def member(self) -> Member:
        """The Prometheus that is read; of a pair the one of this cycle."""
        return self._members[self._replica]

    def collect(
        self, time_there: int, latest: int, set_aside: Sequence[Quarantined], away: FlotillaError | None = None
    ) -> Done:
        """Read what is missing up to a time, oldest and newest first, and have it written. Never raises FlotillaError.

        What is complete since an earlier cycle is counted before: what was written just now, a store may not show yet. One that
        is ``away``, for the reason given, is not asked any more: all others wait for each.
        """
        done = Done(self.cluster.name)
        began, cpu = time.monotonic(), time.thread_time()
        try:
            if away:
                raise away
            self._choose(time_there)
            self._prove(done, set_aside)
            began, cpu = time.monotonic(), time.thread_time()
            self._collect(done, time_there, latest)
        except FlotillaError as error:
            done.error = short(error, self.cluster.name)
        done.cost.wall, done.cost.python = time.monotonic() - began, time.thread_time() - cpu
        return self._standing(done, time_there)

    def unfinished(self, why: str, time_there: int) -> Done:
        """Return where the cluster stands while it is still being read."""
        return self._standing(Done(self.cluster.name, error=why, under_way=True), time_there)

    def _standing(self, done: Done, time_there: int) -> Done:
        progress = self.kept.progress if self.kept else Progress(time_there)
        until = time_there - self.pace.settle
        done.seen = progress.seen
        done.lag = max(0, time_there - progress.seen) / 1000 if progress.seen else 0.0
        done.missing = sum(span.length for span in without(progress.missing(until), [progress.tail])) / 1000
        done.gaps = sum(gap.span.length for gap in progress.gaps) / 1000
        return done

    def _choose(self, time_there: int) -> None:
        """Read the same one of a pair as before, unless that lags behind: their samples have different times."""
        if len(self._members) < 2:
            return
        newest = {pod: member.newest() for pod, member in self._members.items()}
        chosen = replica(newest, self._replica)
        if chosen is None or chosen == (self.kept.replica if self.kept else ""):
            return
        if self.kept:
            log.warning("cluster=%s %s is read from now on, not %s", self.cluster.name, chosen, self._replica)
            self.kept = replace(self.kept, progress=self.kept.progress.sealed(), replica=chosen, since=time_there)
            write_kept(self._folder, self.cluster.name, self.kept)
        self._replica = chosen

    def _prove(self, done: Done, set_aside: Sequence[Quarantined]) -> None:
        """Count windows that are complete, and have those read again that differ."""
        if self.kept is None or not self.kept.ledger.due(self.kept.progress):
            return
        began = time.monotonic()
        try:
            about = About(self.cluster.name, self._keeps_since(), set_aside)
            counters = Counter(self.member.engine, self._settings.selectors), self._at_store
            done.proofs = proofs(self.kept.progress, self.kept.ledger, counters, about)
        except FlotillaError as error:
            log.warning("cluster=%s not counted: %s", self.cluster.name, error)
        for proof in done.proofs:
            log.info("%s", proof)
            progress = self._progress.again(proof.look.window) if proof.outcome is Outcome.AGAIN else self._progress
            self._keep(progress=progress, ledger=self.kept.ledger.noted(proof))
        done.cost.proving = time.monotonic() - began

    def _keeps_since(self) -> int | None:
        """Return since when the one that is read holds what was collected: of a pair, since it is read."""
        oldest, since = self.member.keeps_since(), self.kept.since if self.kept else 0
        return oldest if oldest is None else max(oldest, since)

    def _collect(self, done: Done, time_there: int, latest: int) -> None:
        """Read and write what is planned; what is left unread makes slices shorter, and one of the past stops no other."""
        refused = ""
        for one in self._begun(time_there).progress.planned(time_there, self.pace):
            try:
                self._slice(one, done, time_there, latest)
            except TooMuch as error:
                refused = short(error, self.cluster.name)
                self._keep(progress=self._progress.failed(one, refused, time_there, self.pace))
                log.info("cluster=%s a slice is read in shorter ones: %s", self.cluster.name, error)
            except Unread as error:
                self._keep(progress=self._progress.shortened(one, self.pace))
                if done.error or not done.slices:
                    raise
                done.error = short(error, self.cluster.name)
        done.error = done.error or ("" if done.slices else refused)

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
            chosen = self._replica if len(self._members) > 1 else ""
            self.kept = Kept(Progress(max(origin, oldest or origin)), replica=chosen)
        elif self.kept.progress.missing(time_there - 10 * self.pace.settle - self.pace.longest):
            self._keep(progress=self._progress.kept_since(self.member.keeps_since(), time_there))
        return self.kept

    def _slice(self, one: Slice, done: Done, time_there: int, latest: int) -> None:
        assert self._stamper is not None
        seen, written = Seen(), Written()
        answers: list[tuple[int, int]] = []
        series = self._read(one, done, seen, answers)
        try:
            for batch in batches(self._stamper.stamped(series, seen, latest), self._settings.store.batch_bytes):
                self._store.write(batch, written)
        finally:
            done.cost.store += written.seconds
        refused = quarantine.quarantined(self.cluster.name, written.refusals, time_there)
        self.refusals += refused
        firm = self._progress.firm(one, time_there, self.pace)
        unkept = completeness.unkept(seen.nans, seen.histograms, self._settings.store.keeps)
        ledger = self.kept.ledger.tallied(unkept, firm) if self.kept else completeness.Ledger()
        answer = Answer(seen.count.samples, *max(answers))
        old = Span(one.span.lo, min(one.span.hi, time_there - self._stale))
        late = without([old], [*self._progress.done, self._progress.tail])  # the tail was seen in time
        self._keep(progress=self._progress.read(one, answer, time_there, self.pace), ledger=ledger, late=late)
        done.series = max(done.series, seen.count.series)
        done.samples += seen.count.samples
        done.past += 0 if one.newest else seen.count.samples
        done.late += seen.late.samples
        done.slices += 1
        done.refused += len(refused)

    def _read(self, one: Slice, done: Done, seen: Seen, answers: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the series of a slice, of one selector after the other, and note size and samples of each answer."""
        for selector in self._settings.selectors:
            before = seen.count.samples
            try:
                read = self.member.read(one.span.lo, one.span.hi, [selector])
            except TooMuch:
                raise
            except Transient as error:
                raise Unread(str(error)) from error
            done.cost.member += read.seconds
            yield from read.series
            answers.append((read.size, seen.count.samples - before))

    @property
    def _progress(self) -> Progress:
        assert self.kept is not None
        return self.kept.progress

    def overdue(self) -> Span | None:
        """Return the oldest span that came too late for the rules, once all before it is there too; None where there is none.

        What was written by an earlier cycle only: the store may not show yet what it was given just now.
        """
        if self.kept is None or not self.kept.late:
            return None
        first = self.kept.late[0]
        begin = first.lo // GRID * GRID
        span = Span(begin, min(-(-first.hi // GRID) * GRID, begin + AT_ONCE))
        return None if self.lacks(Span(self.kept.progress.origin, first.hi)) else span

    def lacks(self, span: Span) -> bool:
        """Tell whether something of a span is not at the store yet."""
        if self.kept is None:
            return True
        progress = self.kept.progress
        return bool(without(common(progress.missing(span.hi), [span]), [progress.tail]))

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
