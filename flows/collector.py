"""The collector of metrics: every beat all clusters are read side by side, and what was read is written to the store.

A slice of time is read, stamped, written and confirmed before it counts as done, so that whatever dies in between is read
again, and the store keeps one of what it is sent twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from flotilla.dashboards.hindsight import Outbreak
from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.fleet import Fleet
from flotilla.metrics.beats import Beat, beat, pause
from flotilla.metrics.clocks import Clocks, Reading, compared
from flotilla.metrics.completeness import Proof
from flotilla.metrics.own import Own, encoded
from flotilla.metrics.spans import common
from flotilla.metrics.words import dated, moment
from flows.gateway import Gateway
from flows.hindsight import Late, reevaluated
from flows.reader import Done, Reader
from tasks.doors import now
from tasks.fanout import side_by_side
from tasks.progress import QuarantineFile
from tasks.store import Written, store_of

log = logging.getLogger("flotilla.collector")


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


class _Busy(NamedTuple):
    """A reader at work: since when, in ms, and what will come of it."""

    since: int
    future: Future[Done]


class Collector:
    """Collects from every cluster of a fleet that can be read, beat after beat."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.store = store_of(fleet.metrics.store)
        read = [cluster for cluster in fleet.clusters if not cluster.metrics.pushes]
        self.readers = {one.name: Reader(one, fleet, folder, self.store) for one in read}
        self._pool = ThreadPoolExecutor(max(1, len(read)), thread_name_prefix="reader")
        self.gateway = Gateway(fleet, self.store)
        self._refused = QuarantineFile(folder)
        self.quarantine = self._refused.records()
        self._stopping = threading.Event()
        self._last: int | None = None
        self._busy: dict[str, _Busy] = {}

    def run(self, tell: Callable[[Cycle], None]) -> None:
        """Beat until `stop`; ``tell`` is called with each cycle."""
        every = round(1000 * self.fleet.metrics.beat)
        with self.gateway.open():
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
        clocks, away = self._clocks()
        latest = clocks.now(here) + round(1000 * self.fleet.metrics.ahead)
        unheard = self._look_back(clocks, here)
        self.quarantine = self._refused.records()  # others send from there again

        def collect(name: str) -> Done:
            return self.readers[name].collect(clocks.of(name, here), latest, self.quarantine, away.get(name))

        done = self._collected(collect, here)
        done |= {name: self._pushed(name, here) for name in self.gateway.clusters}
        self._set_aside()
        cycle = Cycle(the_beat, done, clocks.findings(), time.monotonic() - began, tuple(unheard))
        self._tell_store(cycle, clocks, here)
        return cycle

    @property
    def _idle(self) -> dict[str, Reader]:
        """The readers that no earlier cycle still waits for."""
        return {name: one for name, one in self.readers.items() if name not in self._busy}

    def _collected(self, collect: Callable[[str], Done], here: int) -> dict[str, Done]:
        """Return what the readers have done within a beat; one that takes longer goes on, and holds no other up."""
        for name in self._idle:
            self._busy[name] = _Busy(here, self._pool.submit(copy_context().run, collect, name))
        wait((one.future for one in self._busy.values()), timeout=self.fleet.metrics.beat)
        found = {}
        for name, one in list(self._busy.items()):
            if one.future.done():
                found[name] = one.future.result()
                del self._busy[name]
            else:
                found[name] = self.readers[name].unfinished(
                    f"is read since {moment(one.since)}, and has not answered yet", here
                )
        return {name: found[name] for name in self.readers}

    def _look_back(self, clocks: Clocks, here: int) -> list[Outbreak]:
        """Have the rules see what came too late for them, and return the alerts that would have fired."""
        overdue = {name: span for name, one in self._idle.items() if (span := one.overdue())}
        if not overdue:
            return []
        span = min(overdue.values())
        clusters = [name for name, one in overdue.items() if common([one], [span])]
        present = [name for name, one in self._idle.items() if not one.lacks(span)]
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

    def _clocks(self) -> tuple[Clocks, dict[str, FlotillaError]]:
        """Return what time it is, and why those who do not even say that are away; of a pair the other one is looked for."""
        found = side_by_side(self._idle, lambda name: self.readers[name].member.clock())
        readings = {name: one for name, one in found.items() if isinstance(one, Reading)}
        silent = {name: one for name, one in found.items() if isinstance(one, FlotillaError)}
        away = {name: one for name, one in silent.items() if not self.fleet.cluster(name).metrics.replicas}
        return compared(readings, round(1000 * self.fleet.metrics.clock_tolerance)), away

    def _pushed(self, name: str, here: int) -> Done:
        one, stale = self.gateway.clusters[name], round(1000 * self.fleet.metrics.stale_after)
        lag = max(0, here - one.newest) / 1000 if one.newest else 0.0
        return Done(name, one.series, one.taken(), seen=one.newest, lag=lag, error=one.silence(here, stale))

    def _set_aside(self) -> None:
        """Keep what the store refused."""
        pushed = {name: one.refused() for name, one in self.gateway.clusters.items()}
        fresh = [one for reader in self._idle.values() for one in reader.refusals]
        fresh += [one for refused in pushed.values() for one in refused]
        if not fresh:
            return
        lost = self._refused.add(fresh)
        self.quarantine = self._refused.records()
        for reader in self._idle.values():
            reader.refusals = []
        for name, refused in pushed.items():
            self.gateway.clusters[name].set_aside(len(refused))
        log.warning("quarantine: %d series were refused, e.g. %s", len(fresh), fresh[0])
        if lost:
            log.error("quarantine is full: %d samples gave way", lost)

    def _tell_store(self, cycle: Cycle, clocks: Clocks, here: int) -> None:
        found = [own for name, one in cycle.done.items() for own in _own(one, clocks.ahead.get(name))]
        held = {name: sum(record.cluster == name for record in self.quarantine) for name in cycle.done}
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
        "flotilla_backfilled_samples": float(one.past),
    }
    values |= {"flotilla_completeness_ratio": _ratio(one.proofs)} if one.proofs else {}
    values |= {"flotilla_clock_skew_seconds": ahead / 1000} if ahead is not None else {}
    stages = {"member": one.cost.member, "python": one.cost.python, "store": one.cost.store}
    found: list[Own] = [(name, cluster, value) for name, value in values.items()]
    return found + [("flotilla_cycle_seconds", {**cluster, "stage": stage}, value) for stage, value in stages.items()]
