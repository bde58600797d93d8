"""A refused write taken apart until the samples that are to blame are alone, and what becomes of them: kept, not dropped.

Prometheus refuses a whole request for one bad sample (storage/remote/write_handler.go: the first error rolls back).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from flotilla.metrics.answers import Said
from flotilla.metrics.series import Part, data, halves, labels_end, labels_first, named
from flotilla.metrics.spans import Span
from flotilla.metrics.windows import Unreadable
from flotilla.metrics.wire import fields
from flotilla.metrics.words import moment

MOST_ASKED = 400  # questions to the store about one batch, after which what is refused is not divided any more
MOST_KEPT = 64 << 20  # bytes of series in quarantine; the oldest give way
MOST_SHOWN = 200  # characters of what the store said


class Refusal(NamedTuple):
    """A series, or a part of one, that the store does not take, and what it said."""

    series: bytes
    status: int
    why: str


class Bisection:
    """Finds what is to blame in a batch that was refused: send `next`, tell `took` what was said, until nothing is next.

    What is not to blame is written on the way. Where half of what was refused is taken, the other half is divided without being
    asked about; a sample that nothing is left to divide of is only ever blamed when it was refused alone.
    """

    def __init__(self, batch: Sequence[bytes], status: int, why: str) -> None:
        self.refusals: list[Refusal] = []
        self.asked = 0
        self._parts: list[tuple[Sequence[bytes], bool]] = []  # the next one last; whether the other half of it is below
        if divided := _divided(batch):
            self._push(divided)
        else:
            self._blame(batch, status, why)

    def next(self) -> Sequence[bytes] | None:
        """Return the series to send next, in one request; None where everything is written or blamed."""
        return self._parts[-1][0] if self._parts else None

    def took(self, said: Said, status: int = 0, why: str = "") -> None:
        """Take the store's answer to what was next; where time or a person is to mend it, the same remains next."""
        if said in (Said.LATER, Said.NEVER):
            return
        self.asked += 1
        part, is_first = self._parts.pop()
        if said is Said.DONE:
            if is_first and self.asked < MOST_ASKED and (divided := _divided(self._parts[-1][0])):
                self._parts.pop()
                self._push(divided)
        elif self.asked < MOST_ASKED and (divided := _divided(part)):
            self._push(divided)
        else:
            self._blame(part, status, why)

    def _push(self, divided: tuple[Sequence[bytes], Sequence[bytes]]) -> None:
        first, second = divided
        self._parts += [(second, False), (first, True)]

    def _blame(self, part: Sequence[bytes], status: int, why: str) -> None:
        said = why.strip()[:MOST_SHOWN] or f"HTTP {status}"
        self.refusals += [Refusal(one, status, said) for one in part]


def _divided(part: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
    """Return two halves of what was refused: of the series, or of the samples of a single one; None where it is but one."""
    if len(part) > 1:
        middle = len(part) // 2
        return part[:middle], part[middle:]
    both = halves(part[0]) if part else None
    return ([both[0]], [both[1]]) if both else None


@dataclass(frozen=True)
class Quarantined:
    """Samples of one series of a cluster that the store refused for one reason, as encoded; ``noted`` when first, in ms."""

    cluster: str
    labels: bytes
    samples: tuple[bytes, ...]
    status: int
    why: str
    noted: int

    @property
    def series(self) -> bytes:
        """The TimeSeries, to be sent again."""
        return self.labels + b"".join(self.samples)

    def times(self) -> list[int]:
        """Return the times in ms of the samples and histograms, as PromQL counts them: without stale markers."""
        return [one.time for one in data(self.series) if one.part is not Part.EXEMPLAR and not one.stale]

    def __str__(self) -> str:
        found = named(self.labels)
        labels = ",".join(f'{name}="{value}"' for name, value in found.items() if name != "__name__")
        times = [one.time for one in data(self.series)]
        when = f", {moment(min(times))} to {moment(max(times))}" if times else ""
        counted = f"{len(self.samples)} sample{'s' if len(self.samples) > 1 else ''}"
        return f"{self.cluster}: {found.get('__name__', '')}{{{labels}}}: {counted}{when}: refused ({self.status}): {self.why}"


def quarantined(cluster: str, refusals: Iterable[Refusal], now: int) -> list[Quarantined]:
    """Return what was refused as it is kept."""
    found = []
    for refusal in refusals:
        series = labels_first(refusal.series)
        end = labels_end(series)
        samples = tuple(series[one.begin : one.end] for one in fields(series, end))
        found.append(Quarantined(cluster, series[:end], samples, refusal.status, refusal.why, now))
    return found


def kept(records: Iterable[Quarantined], most: int = MOST_KEPT) -> tuple[list[Quarantined], int]:
    """Return what is kept in quarantine, in the order of time, and how many samples gave way as it is full.

    Each sample is kept once however often it was refused; those of one series and reason are one record.
    """
    gathered: dict[tuple[object, ...], Quarantined] = {}
    for one in sorted(records, key=lambda one: one.noted):
        key = (one.cluster, one.labels, one.status, one.why)
        before = gathered.get(key, replace(one, samples=()))
        gathered[key] = replace(before, samples=tuple(dict.fromkeys((*before.samples, *one.samples))))
    found = list(gathered.values())
    size, lost = sum(len(one.series) for one in found), 0
    while found and size > most:
        gone = found.pop(0)
        size, lost = size - len(gone.series), lost + len(gone.samples)
    return found, lost


def set_aside(records: Iterable[Quarantined], cluster: str, window: Span) -> int:
    """Return how many samples of a cluster and a window are in quarantine."""
    return sum(window.lo <= time < window.hi for one in records if one.cluster == cluster for time in one.times())


def to_json(record: Quarantined) -> dict[str, Any]:
    """Return a record as plain values that JSON can hold."""
    texts = {"cluster": record.cluster, "status": record.status, "why": record.why, "noted": record.noted}
    samples = [b64encode(one).decode() for one in record.samples]
    return texts | {"labels": b64encode(record.labels).decode(), "samples": samples}


def from_json(plain: Mapping[str, Any]) -> Quarantined:
    """Return the record that plain values say; raises Unreadable where they say none."""
    try:
        labels, samples = b64decode(plain["labels"]), tuple(b64decode(one) for one in plain["samples"])
        texts = str(plain["cluster"]), int(plain["status"]), str(plain["why"]), int(plain["noted"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise Unreadable(f"no record of a quarantine: {type(error).__name__}: {error}") from None
    cluster, status, why, noted = texts
    return Quarantined(cluster, labels, samples, status, why, noted)
