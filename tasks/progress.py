"""What was collected, kept in files: it saves reading again, and losing it costs no samples."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flotilla.errors import Transient
from flotilla.metrics import completeness, quarantine, resending, windows
from flotilla.metrics.completeness import Ledger
from flotilla.metrics.quarantine import Quarantined
from flotilla.metrics.resending import Sample
from flotilla.metrics.spans import Span
from flotilla.metrics.windows import Progress, Unreadable

QUARANTINE = "quarantine.json"
LOCK = "quarantine.lock"
log = logging.getLogger("flotilla.collector")


@dataclass(frozen=True)
class Kept:
    """What is kept of one cluster, always written together.

    ``late`` is what came too late for the rules, and awaits them. ``replica`` is the one of a pair that is read, ``since`` a
    time in ms.
    """

    progress: Progress
    ledger: Ledger = field(default_factory=Ledger)
    late: tuple[Span, ...] = ()
    replica: str = ""
    since: int = 0


def read_kept(folder: Path, cluster: str) -> Kept | None:
    """Return what was kept of a cluster; None where nothing was, or nothing that can be read, which is logged."""
    try:
        plain = _read(folder / f"{cluster}.json")
        if not plain:
            return None
        late = tuple(Span(int(lo), int(hi)) for lo, hi in plain["late"])
        read = windows.from_json(plain["progress"]), completeness.from_json(plain["ledger"])
        return Kept(*read, late, str(plain["replica"]), int(plain["since"]))
    except (Unreadable, KeyError, TypeError, ValueError) as error:
        log.warning("cluster=%s what was collected is not known any more, and is read again: %s", cluster, error)
        return None


def write_kept(folder: Path, cluster: str, kept: Kept) -> None:
    """Keep what was collected of a cluster."""
    plain = {"progress": windows.to_json(kept.progress), "ledger": completeness.to_json(kept.ledger), "late": kept.late}
    _write(folder / f"{cluster}.json", plain | {"replica": kept.replica, "since": kept.since})


class QuarantineFile:
    """What the store refused, in a file that the collector and those who send again change in turns, under a lock.

    Nobody writes what he remembers: a change is read, made and written while the lock is held, so that it neither loses what
    another has added nor brings back what another has taken out. All raise Unreadable where the file is damaged: it is the
    only copy.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / QUARANTINE
        self._seen: tuple[int, ...] | None = None
        self._records: tuple[Quarantined, ...] = ()

    def records(self) -> tuple[Quarantined, ...]:
        """Return what is in quarantine now; the file is read where it is another one than before."""
        seen = self._identity()
        if seen != self._seen or seen is None:
            self._records, self._seen = self._read(), seen
        return self._records

    def add(self, fresh: Iterable[Quarantined]) -> int:
        """Keep what was refused; return how many samples gave way as it is full."""
        with self._alone():
            found, lost = quarantine.kept([*self._read(), *fresh])
            self._write(found)
        return lost

    def settle(self, taken: Set[Sample], again: Iterable[Quarantined]) -> None:
        """Take out what the store has taken, and note what it has refused again."""
        with self._alone():
            self._write(resending.remaining(self._read(), taken, again))

    def _read(self) -> tuple[Quarantined, ...]:
        plain = _read(self._file)
        try:
            return () if plain is None else tuple(quarantine.from_json(one) for one in plain["records"])
        except (KeyError, TypeError) as error:
            raise Unreadable(f"{self._file}: no quarantine: {type(error).__name__}: {error}") from None

    def _write(self, records: Iterable[Quarantined]) -> None:
        _write(self._file, {"records": [quarantine.to_json(one) for one in records]})

    def _identity(self) -> tuple[int, ...] | None:
        """Return what tells a file from the one that takes its place: it is never written in place."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Have a folder for this process alone meanwhile; raises Transient where another collector has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Transient(
                f"another collector keeps what it collected in {folder}: give this one a --state of its own"
            ) from None
        yield


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Unreadable(f"{file}: {error}") from None


def _write(file: Path, plain: Any) -> None:
    """Write a file so that at any moment it is whole, the old one or the new one, also after a power failure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as out:
        json.dump(plain, out)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
