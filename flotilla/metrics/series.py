"""One TimeSeries as encoded: its labels and samples told apart and counted, cut into parts; no value is decoded.

A TimeSeries is a message of labels (field 1), samples (2), exemplars (3) and native histograms (4); what is not known here is
kept as it is. Encoders write the labels first, and samples in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import fields as fields_of
from enum import IntEnum
from typing import NamedTuple

from flotilla.metrics.wire import Field, NotRemoteRead, fields, read_varint

LABEL = 0x0A  # the first byte of a label: field 1, length-delimited
STALE = b"\x02\x00\x00\x00\x00\x00\xf0\x7f"  # value.StaleNaN of Prometheus, 0x7ff0000000000002: the series ended here


class Part(IntEnum):
    """What a field of a TimeSeries is; the numbers are the protocol's."""

    LABEL = 1
    SAMPLE = 2
    EXEMPLAR = 3
    HISTOGRAM = 4


_VALUE = {Part.SAMPLE: 1, Part.EXEMPLAR: 2, Part.HISTOGRAM: 3}  # which field is its value; a histogram's is its sum
_TIME = {Part.SAMPLE: 2, Part.EXEMPLAR: 3, Part.HISTOGRAM: 15}


@dataclass(frozen=True)
class Count:
    """How much there is. Among samples and histograms are ``stale`` markers, and ``nan``, which are all other NaN.

    PromQL's ``count_over_time`` counts samples and histograms less stale ones; some stores keep neither ``nan`` nor histograms.
    """

    series: int = 0
    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    stale: int = 0
    nan: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, one.name) + getattr(other, one.name) for one in fields_of(Count)))


NOTHING = Count()


class Label(NamedTuple):
    """A label of a series, one[begin:end], its name and value in UTF-8."""

    name: bytes
    value: bytes
    begin: int
    end: int


class Datum(NamedTuple):
    """A sample, an exemplar or a histogram: one[begin:end], its time in ms, and whether its value is stale or another NaN."""

    part: Part
    begin: int
    end: int
    time: int
    stale: bool = False
    nan: bool = False


def labels_end(one: bytes) -> int:
    """Return where the labels of a series end that begins with them; raises NotRemoteRead where they are cut off."""
    at, size = 0, len(one)
    try:
        while at < size and one[at] == LABEL:
            length, at = one[at + 1], at + 2
            if length > 0x7F:
                length, at = read_varint(one, at - 1)
            at += length
    except (IndexError, ValueError):
        at = size + 1
    if at > size:
        raise NotRemoteRead("no TimeSeries: a label is longer than what holds it")
    return at


def labels_first(one: bytes) -> bytes:
    """Return a series with its labels before everything else, as encoders write it; a protobuf may hold them in any order."""
    found = list(fields(one))
    ordered = sorted(found, key=lambda field: field.number != Part.LABEL)
    return one if found == ordered else b"".join(one[field.begin : field.end] for field in ordered)


def labels(block: bytes) -> Iterator[Label]:
    """Yield the labels of a series that begins with them, or of its block of labels; what is not written is empty."""
    begin, end = 0, labels_end(block)
    while begin < end:
        size, at = block[begin + 1], begin + 2
        if size > 0x7F:
            size, at = read_varint(block, begin + 1)
        yield _label(block, begin, at, at + size)
        begin = at + size


def _label(block: bytes, begin: int, at: int, end: int) -> Label:
    """Return the label that is encoded in block[at:end]: nearly always a short name, then a value that ends it."""
    if end - at > 2 and block[at] == 0x0A and block[at + 1] < 0x80:
        middle = at + 2 + block[at + 1]
        if middle + 1 < end and block[middle] == 0x12:
            size, value_at = block[middle + 1], middle + 2
            if size > 0x7F and middle + 3 < end and block[middle + 2] < 0x80:
                size, value_at = size & 0x7F | block[middle + 2] << 7, middle + 3
            if value_at + size == end:
                return Label(block[at + 2 : middle], block[value_at:end], begin, end)
    inside = {part.number: block[at + part.at : at + part.end] for part in fields(block[at:end])}
    return Label(inside.get(1, b""), inside.get(2, b""), begin, end)


def named(one: bytes) -> dict[str, str]:
    """Return the labels of a series, for people: of a name that stands twice the last."""
    return {label.name.decode(errors="replace"): label.value.decode(errors="replace") for label in labels(labels_first(one))}


def data(one: bytes, at: int = 0) -> Iterator[Datum]:
    """Yield the samples, exemplars and histograms of a series, from a position on, in the order of the bytes."""
    for field in fields(one, at):
        if field.kind == 2 and field.number in _TIME:
            part, value, time = Part(field.number), b"", 0
            for inside in _inside(one, field):
                if inside.number == _TIME[part] and inside.kind == 0:
                    time = _signed(read_varint(one, field.at + inside.at)[0])
                elif inside.number == _VALUE[part] and inside.kind == 1:
                    value = one[field.at + inside.at : field.at + inside.end]
            is_stale = value == STALE
            yield Datum(part, field.begin, field.end, time, is_stale, not is_stale and _is_nan(value))


def count(one: bytes) -> Count:
    """Return how much a series holds."""
    return Count(series=1) + counted(data(one))


def counted(found: Iterable[Datum]) -> Count:
    """Return how much some data are."""
    every = list(found)
    parts = [datum.part for datum in every]
    told = [datum for datum in every if datum.part is not Part.EXEMPLAR]
    return Count(
        samples=parts.count(Part.SAMPLE),
        histograms=parts.count(Part.HISTOGRAM),
        exemplars=parts.count(Part.EXEMPLAR),
        stale=sum(datum.stale for datum in told),
        nan=sum(datum.nan for datum in told),
    )


def span(one: bytes) -> tuple[int, int] | None:
    """Return the times in ms of the first and the last sample or histogram of a series; None where there is none."""
    times = [datum.time for datum in data(one) if datum.part is not Part.EXEMPLAR]
    return (min(times), max(times)) if times else None


def pieces(one: bytes, most: int) -> Iterator[bytes]:
    """Yield a series as several, each with all of its labels and of at most so many bytes as far as one sample allows."""
    whole = labels_first(one)
    head = whole[: labels_end(whole)]
    begin = end = len(head)
    for field in fields(whole, len(head)):
        if end > begin and len(head) + field.end - begin > most:
            yield head + whole[begin:end]
            begin = end
        end = field.end
    yield head + whole[begin:end]


def halves(one: bytes) -> tuple[bytes, bytes] | None:
    """Return a series as two, each with its labels and half of the rest; None where there is but one thing to say."""
    whole = labels_first(one)
    head = labels_end(whole)
    rest = [field.begin for field in fields(whole, head)]
    if len(rest) < 2:
        return None
    middle = rest[len(rest) // 2]
    return whole[:middle], whole[:head] + whole[middle:]


def _inside(one: bytes, field: Field) -> Iterator[Field]:
    return fields(one[field.at : field.end])


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _is_nan(value: bytes) -> bool:
    """Tell whether eight bytes are an IEEE 754 NaN, little-endian: all ones in the exponent, and a mantissa."""
    return len(value) == 8 and value[7] & 0x7F == 0x7F and value[6] & 0xF0 == 0xF0 and (value[6] & 0x0F, *value[:6]) != (0,) * 7
