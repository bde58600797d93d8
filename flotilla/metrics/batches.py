"""Series put into write requests of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flotilla.metrics.series import pieces

BATCH = 4 << 20  # bytes before compression; Prometheus 3 and Mimir refuse bodies that declare much more (CHANGELOG #17683)
_BEFORE = 6  # bytes at most that stand before each series: a tag and its length


def batches(series: Iterable[bytes], most: int = BATCH) -> Iterator[list[bytes]]:
    """Yield the series in their order, so many at once that a request has at most so many bytes before compression.

    A series that is larger by itself is split, each part with its labels; a single sample that is larger still goes alone.
    """
    batch: list[bytes] = []
    left = most
    for one in series:
        for part in (one,) if len(one) + _BEFORE <= most else pieces(one, most - _BEFORE):
            size = len(part) + _BEFORE
            if size > left and batch:
                yield batch
                batch, left = [], most
            batch.append(part)
            left -= size
    if batch:
        yield batch
