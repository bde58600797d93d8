"""The writers of one cluster: a cluster that hangs delays no other, and no service is written by two of them at once."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flotilla.errors import FlotillaError, Permanent
from flotilla.keeping import Repeats
from flotilla.services.names import ServiceKey
from flotilla.services.writes import Write
from tasks.carrying import carry_out
from tasks.multicluster import Mirror

WRITERS = 4  # per cluster: an API server answers a write in some 5 ms, so these make several hundred a second
log = logging.getLogger("flotilla.keeper")


@dataclass(frozen=True)
class Job:
    """What is to be written of one service in one cluster, in order. ``since`` is when the event was seen that led to it."""

    key: ServiceKey
    writes: tuple[Write, ...]
    since: float
    urgent: bool


@dataclass(frozen=True)
class Done:
    """What came of a job: how many writes were made, and what ended it early: an outdated view, or an error."""

    cluster: str
    job: Job
    made: int
    outdated: str = ""
    error: FlotillaError | None = None


class Lane:
    """A queue of jobs and the threads that do them. ``may_write`` is asked before each write."""

    def __init__(self, mirror: Mirror, may_write: Callable[[], bool], on_done: Callable[[Done], None]) -> None:
        self.mirror, self._may_write, self._on_done = mirror, may_write, on_done
        self._jobs: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._busy: set[ServiceKey] = set()
        self._lock = threading.Lock()
        self._repeats = Repeats()

    def start(self) -> None:
        """Begin."""
        for number in range(WRITERS):
            threading.Thread(target=self._run, name=f"write-{self.mirror.name}-{number}", daemon=True).start()

    def stop(self) -> None:
        """End after the writes under way; what waits is left undone."""
        for _ in range(WRITERS):
            self._jobs.put((-1, next(self._numbers), None))

    def is_busy(self, key: ServiceKey) -> bool:
        """Tell whether a service's writes wait or are under way here."""
        with self._lock:
            return key in self._busy

    def give(self, job: Job) -> None:
        """Have a job done; its service must not be busy."""
        with self._lock:
            self._busy.add(job.key)
        self._jobs.put((0 if job.urgent else 1, next(self._numbers), job))

    def __len__(self) -> int:
        return len(self._busy)

    def _run(self) -> None:
        while (job := self._jobs.get()[2]) is not None:
            done = self._do(job)
            with self._lock:
                self._busy.discard(job.key)
            self._on_done(done)

    def _do(self, job: Job) -> Done:
        made: list[Write] = []
        began = time.monotonic()
        try:
            for write in job.writes:
                if not self._may_write():
                    return Done(self.mirror.name, job, len(made), outdated="this keeper does not lead any more")
                if outdated := carry_out(self.mirror, write):
                    return Done(self.mirror.name, job, len(made), outdated=outdated)
                made.append(write)
                self._watch_repeats(write)
            return Done(self.mirror.name, job, len(made))
        except FlotillaError as error:
            return Done(self.mirror.name, job, len(made), error=error)
        except Exception as error:  # one service that cannot be written must not stop the others
            log.exception("write cluster=%s service=%s failed", self.mirror.name, job.key)
            return Done(self.mirror.name, job, len(made), error=Permanent(f"{self.mirror.name}: a defect: {error!r}"))
        finally:
            if made:
                _tell(self.mirror.name, job, made, began)

    def _watch_repeats(self, write: Write) -> None:
        with self._lock:
            repeated = self._repeats.wrote((write.action, write.key), f"{write.uid} {write.manifest}")
            if repeated:
                self._repeats.forget((write.action, write.key))
        if repeated:
            raise Permanent(
                f"{self.mirror.name}: {write.key} was written {self._repeats.most + 1} times alike and is not as written: "
                "find out who changes it, by its managedFields"
            )


def _tell(cluster: str, job: Job, made: Sequence[Write], began: float) -> None:
    now = time.monotonic()
    took, lag = 1000 * (now - began), 1000 * (now - job.since)
    what = "; ".join(map(str, made))
    log.info(
        'wrote cluster=%s service=%s count=%d took_ms=%.1f lag_ms=%.1f what="%s"', cluster, job.key, len(made), took, lag, what
    )
