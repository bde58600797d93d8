"""The bytes of remote_read and remote_write, against a real protobuf implementation."""

from __future__ import annotations

import contextlib
import gzip
import json

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.errors import Permanent, Transient
from flotilla.metrics.batches import batches
from flotilla.metrics.selectors import Matcher, Op, Selector, parse_selector
from flotilla.metrics.series import Count, count, halves, labels_first, named, pieces, span
from flotilla.metrics.wire import (
    Damaged,
    NotRemoteRead,
    compressed,
    read_request,
    read_varint,
    split,
    uncompressed,
    varint,
    written,
)
from tests.flotilla import prompb
from tests.flotilla.prompb import TEXT, many_series

NOW = 1_790_000_000_000  # ms


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_varint_is_read_as_it_was_written(value):
    assert (value % 2**64, len(varint(value))) == read_varint(varint(value), 0)


def test_a_read_request_asks_for_samples_of_each_selector_in_a_span_that_is_closed_at_both_ends():
    selectors = [parse_selector('up{job=~"a|b"}'), parse_selector('{__name__!~"x","é"!="日本",z="1"}')]

    asked = prompb.ReadRequest.FromString(uncompressed(read_request(NOW, NOW + 30_000, selectors)))

    assert [0] == list(asked.accepted_response_types)
    assert [(NOW, NOW + 29_999)] * 2 == [(one.start_timestamp_ms, one.end_timestamp_ms) for one in asked.queries]
    assert [
        [(0, "__name__", "up"), (2, "job", "a|b")],
        [(3, "__name__", "x"), (1, "é", "日本"), (0, "z", "1")],
    ] == [[(one.type, one.name, one.value) for one in query.matchers] for query in asked.queries]


@given(st.lists(st.lists(many_series(), max_size=4), max_size=3))
def test_an_answer_is_split_into_its_series_as_they_were_encoded(results):
    body = compressed(prompb.response(*results))

    assert [one.SerializeToString() for of in results for one in of] == list(split(uncompressed(body)))


@given(st.lists(many_series(), max_size=4))
def test_what_was_read_can_be_written_as_it_stands(series):
    body = written([one.SerializeToString() for one in series])

    assert prompb.WriteRequest(timeseries=series) == prompb.WriteRequest.FromString(uncompressed(body))


def test_fields_of_a_later_version_are_skipped_beside_series_and_kept_within_them():
    series = prompb.series({"a": "b"}, (1.0, NOW)).SerializeToString() + b"\x2a\x03new" + b"\x30\x07"
    result = b"\x10\x05" + b"\x0a" + varint(len(series)) + series + b"\x1a\x01x"
    answer = b"\x12\x02hi" + b"\x0a" + varint(len(result)) + result + b"\x25abcd" + b"\x29abcdefgh"

    assert [series] == list(split(answer))
    assert Count(series=1, samples=1) == count(series)


@given(many_series())
def test_samples_exemplars_and_histograms_are_counted_and_dated(series):
    one = series.SerializeToString()
    told = [(sample.value, sample.timestamp) for sample in series.samples]
    told += [(histogram.sum, histogram.timestamp) for histogram in series.histograms]
    stale = sum(prompb.samples_of(prompb.series({}, (value, 0)))[0][0] == b"\2\0\0\0\0\0\xf0\x7f" for value, _ in told)
    nan = sum(value != value for value, _ in told) - stale

    expected = Count(1, len(series.samples), len(series.histograms), len(series.exemplars), stale, nan)
    assert expected == count(one)
    assert ((min(t for _, t in told), max(t for _, t in told)) if told else None) == span(one)


def test_a_label_of_10_kb_and_one_without_value_are_read():
    one = prompb.series({"empty": "", "long": "é" * 5000, "n" * 300: "x"}, (1.0, NOW)).SerializeToString()

    assert {"empty": "", "long": "é" * 5000, "n" * 300: "x"} == named(one)


@given(many_series(), st.integers(1, 200))
def test_a_series_is_cut_into_parts_that_each_have_its_labels_and_together_hold_all_of_it(series, most):
    parts = [prompb.TimeSeries.FromString(part) for part in pieces(series.SerializeToString(), most)]

    assert all(prompb.labels_of(series) == prompb.labels_of(part) for part in parts)
    for kind in ("samples", "exemplars", "histograms"):
        whole = [one.SerializeToString() for one in getattr(series, kind)]
        assert whole == [one.SerializeToString() for part in parts for one in getattr(part, kind)]
    if len(parts) > 1:
        assert all(
            part.ByteSize() <= most or len(part.samples) + len(part.exemplars) + len(part.histograms) == 1 for part in parts
        )


@given(many_series())
def test_halves_together_hold_the_whole_and_neither_is_empty(series):
    both = halves(series.SerializeToString())

    size = len(series.samples) + len(series.exemplars) + len(series.histograms)
    assert (both is None) == (size < 2)
    for half in [prompb.TimeSeries.FromString(part) for part in both or ()]:
        assert prompb.labels_of(series) == prompb.labels_of(half)
        assert 1 <= len(half.samples) + len(half.exemplars) + len(half.histograms) < size


@given(st.lists(many_series(), max_size=12), st.integers(40, 400))
def test_batches_are_bounded_keep_the_order_and_lose_nothing(series, most):
    encoded = [one.SerializeToString() for one in series]
    found = list(batches(encoded, most))

    bodies = [uncompressed(written(batch)) for batch in found]
    assert all(len(body) <= most or len(batch) == 1 for body, batch in zip(bodies, found, strict=True))
    assert all(found)
    assert sum(map(count, encoded), Count()).samples == sum((count(one) for batch in found for one in batch), Count()).samples


def test_a_small_series_is_not_touched_by_batches():
    series = [prompb.series({"n": str(number)}, (1.0, NOW)).SerializeToString() for number in range(1000)]

    assert [series] == list(batches(series))


@pytest.mark.parametrize(
    ("body", "content_type", "error", "says"),
    [
        (b"", "", Damaged, "0 bytes"),
        (b"<html><head><title>Sign in</title>", "text/html", NotRemoteRead, "a page titled 'Sign in'"),
        (b"  <!DOCTYPE html>", "", NotRemoteRead, "a page of HTML"),
        (json.dumps({"status": "error"}).encode(), "application/json", NotRemoteRead, "status"),
        (b"404 page not found\n", "text/plain; charset=utf-8", NotRemoteRead, "404 page not found"),
        (gzip.compress(b"hello", mtime=0), "", NotRemoteRead, "gzip"),
        (bytes(cramjam.snappy.compress(b"hello")), "", NotRemoteRead, "framed snappy"),
        (b"x", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse", NotRemoteRead, "streamed"),
        (b"\xff\xff\xff\xff\x0f", "", Damaged, "more than it can hold"),
        (b"\x80", "", Damaged, "no whole snappy block"),
    ],
)
def test_what_is_no_answer_is_told_by_what_it_is(body, content_type, error, says):
    with pytest.raises(error, match=says):
        uncompressed(body, content_type)


def test_time_mends_what_is_cut_off_and_a_person_what_is_something_else():
    assert issubclass(Damaged, Transient)
    assert issubclass(NotRemoteRead, Permanent)


@given(st.lists(many_series(), min_size=1, max_size=3), st.data())
def test_an_answer_that_was_cut_off_is_never_taken_for_a_whole_one(series, data):
    body = compressed(prompb.response(series))
    cut = body[: data.draw(st.integers(0, len(body) - 1))]

    with pytest.raises((Damaged, NotRemoteRead)):
        uncompressed(cut)


@pytest.mark.parametrize("size", [60, 91, 123])  # their first byte reads '<', '[' and '{'
def test_a_small_answer_is_not_taken_for_a_page_by_its_first_byte(size):
    one = prompb.series({"a": "x" * (size - 11)})

    assert size == len(prompb.response([one]))
    assert [one.SerializeToString()] == list(split(uncompressed(compressed(prompb.response([one])), "text/html")))


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_split_or_refused_by_name(data):
    with contextlib.suppress(NotRemoteRead):
        for one in split(data):
            with contextlib.suppress(NotRemoteRead):
                count(one), named(one), span(one), halves(one), list(pieces(one, 10))
    with contextlib.suppress(NotRemoteRead, Damaged):
        uncompressed(data)


def test_text_that_was_compressed_is_no_answer():
    with pytest.raises(NotRemoteRead, match="byte 0"):
        list(split(uncompressed(compressed(b'{"status": "success", "data": []}'))))


def test_labels_that_come_after_samples_are_put_before_them():
    label, sample = prompb.series({"a": "b"}).SerializeToString(), prompb.series({}, (1.0, NOW)).SerializeToString()

    assert label + label + sample + sample == labels_first(sample + label + sample + label)


@pytest.mark.parametrize(
    ("text", "written_as"),
    [
        ("up", '{__name__="up"}'),
        ('{__name__=~"a|b",job!="x\\"y\\\\"}', '{__name__=~"a|b",job!="x\\"y\\\\"}'),
        ('{"odd name"="1", n!~"\\n"}', '{"odd name"="1",n!~"\\n"}'),
    ],
)
def test_a_selector_is_read_and_written_as_promql(text, written_as):
    assert written_as == str(parse_selector(text))
    assert parse_selector(text) == parse_selector(written_as)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), TEXT.filter(bool), min_size=1, max_size=3))
def test_any_value_survives_being_written_as_promql(labels):
    selector = Selector(tuple(Matcher(name, Op.EQ, value) for name, value in labels.items()))

    assert set(selector.matchers) == set(parse_selector(str(selector)).matchers)


@pytest.mark.parametrize(
    "text", ["up[5m]", "up offset 5m", "up @ 3", "sum(up)", '{a="b" or c="d"}', "{}", '{a=~"("}', "", "a +"]
)
def test_what_is_no_selector_of_series_is_refused(text):
    with pytest.raises(ValueError, match="."):
        parse_selector(text)


def test_a_selector_is_narrowed_to_a_metric_and_to_a_cluster():
    selector = parse_selector('{__name__=~"kube_.+",job="ksm"}')

    assert '{__name__="kube_pod_info",job="ksm"}' == str(selector.of_metric("kube_pod_info"))
    assert '{__name__=~"kube_.+",job="ksm",cluster="remote"}' == str(selector.with_label("cluster", "remote"))
    assert ("up", None) == (parse_selector("up").metric, selector.metric)
