"""The collector's own series, encoded: what it knows of each cluster, and how long a cycle took."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from flotilla.metrics.wire import varint

Own = tuple[str, Mapping[str, str], float]
"""A metric's name, its other labels, and its value now."""


def encoded(found: Iterable[Own], time: int) -> list[bytes]:
    """Return each as a TimeSeries of one sample at a time in ms."""
    sample = b"\x09%b\x10" + varint(time)
    return [_series({**labels, "__name__": name}, sample % struct.pack("<d", value)) for name, labels, value in found]


def _series(labels: Mapping[str, str], sample: bytes) -> bytes:
    pairs = (_text(0x0A, name) + _text(0x12, value) for name, value in sorted(labels.items()))
    return b"".join(_sized(0x0A, pair) for pair in pairs) + _sized(0x12, sample)


def _text(tag: int, text: str) -> bytes:
    return _sized(tag, text.encode())


def _sized(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + varint(len(data)) + data
