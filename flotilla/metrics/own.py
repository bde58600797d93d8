"""The collector's own series, encoded: what it knows of each cluster, and how long a cycle took."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from flotilla.metrics.wire import varint

Own = tuple[str, Mapping[str, str], float]
"""A metric's name, its other labels, and its value now."""


def encoded(found: Iterable[Own], time: int) -> list[bytes]:
    """Return each as a TimeSeries of one sample at a time in ms."""
    return [encoded_series({**labels, "__name__": name}, [(time, value)]) for name, labels, value in found]


def encoded_series(labels: Mapping[str, str], points: Iterable[tuple[int, float]]) -> bytes:
    """Return a TimeSeries of labels, ``__name__`` among them, and of points: times in ms, in their order, and values."""
    pairs = (_text(0x0A, name) + _text(0x12, value) for name, value in sorted(labels.items()))
    samples = (b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time) for time, value in points)
    return b"".join(_sized(0x0A, pair) for pair in pairs) + b"".join(_sized(0x12, sample) for sample in samples)


def _text(tag: int, text: str) -> bytes:
    return _sized(tag, text.encode())


def _sized(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + varint(len(data)) + data
