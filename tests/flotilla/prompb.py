"""Prometheus' messages by the real protobuf implementation: prompb/remote.proto and types.proto, as far as they travel here."""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import strategies as st

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]

NOW = 1_790_000_000_000  # ms
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAMES = st.sampled_from(["__name__", "cluster", "exported_role", "job", "prometheus", "role", "site", "zone"]) | TEXT
TIMES = st.integers(0, 2**45) | st.integers(NOW - 10_000, NOW + 10_000)
VALUES = st.floats() | st.sampled_from([0.0, -0.0, float("inf"), STALE, float("nan")])

_F = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "double": _F.TYPE_DOUBLE,
    "int64": _F.TYPE_INT64,
    "uint64": _F.TYPE_UINT64,
    "sint32": _F.TYPE_SINT32,
    "sint64": _F.TYPE_SINT64,
    "uint32": _F.TYPE_UINT32,
    "int32": _F.TYPE_INT32,
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
}
_MESSAGES = {
    "Label": ["1 name string", "2 value string"],
    "RawLabel": ["1 name bytes", "2 value bytes"],
    "Sample": ["1 value double", "2 timestamp int64"],
    "Exemplar": ["1 labels *Label", "2 value double", "3 timestamp int64"],
    "BucketSpan": ["1 offset sint32", "2 length uint32"],
    "Histogram": [
        "1 count_int uint64",
        "3 sum double",
        "4 schema sint32",
        "5 zero_threshold double",
        "6 zero_count_int uint64",
        "8 negative_spans *BucketSpan",
        "9 negative_deltas *sint64",
        "11 positive_spans *BucketSpan",
        "12 positive_deltas *sint64",
        "13 positive_counts *double",
        "14 reset_hint int32",
        "15 timestamp int64",
        "16 custom_values *double",
    ],
    "TimeSeries": ["1 labels *Label", "2 samples *Sample", "3 exemplars *Exemplar", "4 histograms *Histogram"],
    "QueryResult": ["1 timeseries *TimeSeries"],
    "ReadResponse": ["1 results *QueryResult"],
    "WriteRequest": ["1 timeseries *TimeSeries"],
    "LabelMatcher": ["1 type int32", "2 name string", "3 value string"],
    "Query": ["1 start_timestamp_ms int64", "2 end_timestamp_ms int64", "3 matchers *LabelMatcher"],
    "ReadRequest": ["1 queries *Query", "2 accepted_response_types *int32"],
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="prompb.proto", package="prometheus", syntax="proto3")
    for name, lines in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in lines:
            number, field, kind = line.split()
            label = _F.LABEL_REPEATED if kind.startswith("*") else _F.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            added = message.field.add(name=field, number=int(number), label=label, type=_KINDS.get(kind, _F.TYPE_MESSAGE))
            if kind not in _KINDS:
                added.type_name = f".prometheus.{kind}"
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"prometheus.{name}"))


TimeSeries, ReadResponse, WriteRequest, ReadRequest, QueryResult, Histogram = (
    _message(name) for name in ("TimeSeries", "ReadResponse", "WriteRequest", "ReadRequest", "QueryResult", "Histogram")
)


def series(labels: dict[str, str] | list[tuple[str, str]], *samples: tuple[float, int]) -> Any:
    """Return a TimeSeries of labels in the order given and of samples (value, ms)."""
    made = TimeSeries()
    for name, value in labels.items() if isinstance(labels, dict) else labels:
        made.labels.add(name=name, value=value)
    for value, time in samples:
        made.samples.add(value=value, timestamp=time)
    return made


def response(*results: list[Any]) -> bytes:
    """Return a ReadResponse, encoded, of results of TimeSeries."""
    return ReadResponse(results=[QueryResult(timeseries=of) for of in results]).SerializeToString()


def labels_of(made: Any) -> list[tuple[str, str]]:
    """Return names and values in the order of the message."""
    return [(label.name, label.value) for label in made.labels]


def samples_of(made: Any) -> list[tuple[bytes, int]]:
    """Return the samples, values as their eight bytes, so that NaN are told apart."""
    return [(struct.pack("<d", one.value), one.timestamp) for one in made.samples]


@st.composite
def many_series(draw: st.DrawFn) -> Any:
    """Draw a TimeSeries with labels sorted as Prometheus sorts them, samples, exemplars and native histograms."""
    labels = draw(st.dictionaries(NAMES, TEXT, max_size=6))
    made = series(dict(sorted(labels.items(), key=lambda item: item[0].encode())))
    for time in sorted(draw(st.lists(TIMES, max_size=4, unique=True))):
        made.samples.add(value=draw(VALUES), timestamp=time)
    for time in draw(st.lists(TIMES, max_size=2)):
        exemplar = made.exemplars.add(value=draw(VALUES), timestamp=time)
        exemplar.labels.add(name="trace_id", value=draw(TEXT))
    for time in sorted(draw(st.lists(TIMES, max_size=2, unique=True))):
        histogram = made.histograms.add(count_int=draw(st.integers(0, 2**40)), sum=draw(VALUES), timestamp=time)
        histogram.positive_spans.add(offset=draw(st.integers(-5, 5)), length=2)
        histogram.positive_deltas.extend([3, -1])
    return made
