"""Refused writes: what an answer means, and how what is to blame is found, kept and sent again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.metrics import quarantine
from flotilla.metrics.answers import Said, advice, read_said, wait_of, write_said
from flotilla.metrics.quarantine import Bisection, Quarantined, from_json, kept, quarantined, set_aside, to_json
from flotilla.metrics.spans import Span
from flotilla.metrics.windows import Unreadable
from tests.flotilla.prompb import NOW, STALE, TimeSeries, labels_of, series

Bad = Callable[[str, int], bool]


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (204, "", Said.DONE),
        (200, "", Said.DONE),
        (400, "out of order sample", Said.REFUSED),
        (400, "out of bounds", Said.REFUSED),
        (400, "duplicate sample for timestamp", Said.REFUSED),
        (409, "", Said.REFUSED),
        (500, "too old sample", Said.REFUSED),  # Prometheus 2.42
        (500, "", Said.LATER),
        (500, "no space left on device", Said.LATER),
        (429, "", Said.LATER),
        (503, "the storage is in read-only mode", Said.LATER),
        (413, "", Said.TOO_LARGE),
        (400, "too big unpacked request; mustn't exceed 33554432 bytes", Said.TOO_LARGE),
        (401, "", Said.NEVER),
        (403, "", Said.NEVER),
        (404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver", Said.NEVER),
        (415, "", Said.NEVER),
        (302, "", Said.NEVER),
        (501, "", Said.NEVER),
    ],
)
def test_what_a_store_says(status, text, said):
    assert said is write_said(status, text)


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (200, "", Said.DONE),
        (204, "", Said.NEVER),
        (400, "exceeded sample limit (50000000)", Said.TOO_LARGE),
        (400, "unsupported path requested: /api/v1/read", Said.NEVER),  # VictoriaMetrics
        (500, "unsupported operation with WAL-only storage", Said.NEVER),
        (422, "unavailable with Prometheus Agent", Said.NEVER),
        (503, 'no endpoints available for service "prometheus"', Said.LATER),
        (500, "context canceled", Said.LATER),
        (401, "", Said.NEVER),
        (404, "", Said.NEVER),
    ],
)
def test_what_a_cluster_says(status, text, said):
    assert said is read_said(status, text)


def test_what_time_does_not_mend_comes_with_advice():
    assert "pushes: true" in advice(500, "unsupported operation with WAL-only storage")
    assert "credentials" in advice(401)
    assert advice(418)


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), (" 5 ", 5.0), ("", None), (None, None), ("Mon, 21 Sep", None)])
def test_how_long_to_wait_is_read_where_it_is_said_in_seconds(said, seconds):
    assert seconds == wait_of(said)


def encoded(number: int, *times: int) -> bytes:
    return series({"__name__": f"m{number}"}, *((1.0, NOW + time) for time in times)).SerializeToString()


def content(batch: Sequence[bytes]) -> list[tuple[str, int]]:
    """Names and times of all samples, sorted."""
    parsed = [TimeSeries.FromString(one) for one in batch]
    return sorted((labels_of(one)[0][1], sample.timestamp - NOW) for one in parsed for sample in one.samples)


def bisected(batch: list[bytes], bad: Bad) -> tuple[list[tuple[str, int]], Bisection]:
    """Send a batch to a store that refuses any request with a bad sample; returns what it then holds."""
    held: list[tuple[str, int]] = []
    found = Bisection(batch, 400, "out of order sample")
    while part := found.next():
        assert found.asked < 5 * quarantine.MOST_ASKED
        if any(bad(*one) for one in content(part)):
            found.took(Said.REFUSED, 400, "out of order sample")
        else:
            held += content(part)
            found.took(Said.DONE)
    return sorted(held), found


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), min_size=1, max_size=12), st.data())
def test_just_the_bad_samples_are_blamed_and_all_others_written_once(times, data):
    batch = [encoded(number, *sorted(of)) for number, of in enumerate(times)]
    every = content(batch)
    bad = set(data.draw(st.lists(st.sampled_from(every), min_size=1)))

    held, found = bisected(batch, lambda *one: one in bad)

    assert sorted(set(every) - bad) == held
    assert sorted(bad) == content([refusal.series for refusal in found.refusals])
    assert all((400, "out of order sample") == refusal[1:] for refusal in found.refusals)


def test_one_bad_sample_among_many_is_found_with_few_questions():
    batch = [encoded(number, *range(8)) for number in range(4096)]

    held, found = bisected(batch, lambda name, time: (name, time) == ("m2718", 3))

    assert [("m2718", 3)] == content([refusal.series for refusal in found.refusals])
    assert 4096 * 8 - 1 == len(held)
    assert found.asked <= 2 * log2(4096 * 8) + 1


def test_where_everything_is_bad_it_ends_and_all_is_kept(monkeypatch):
    monkeypatch.setattr(quarantine, "MOST_ASKED", 20)
    batch = [encoded(number, 0, 1) for number in range(1000)]

    held, found = bisected(batch, lambda *_: True)

    assert [] == held
    assert content(batch) == content([refusal.series for refusal in found.refusals])
    assert found.asked <= 20 + log2(1000) + 2


def test_a_sample_is_blamed_only_where_it_was_refused_alone():
    found = Bisection([encoded(1, 0), encoded(2, 0)], 400, "a whim")
    while found.next():
        found.took(Said.DONE)

    assert ([], 2) == (found.refusals, found.asked)


def test_a_batch_of_a_single_sample_was_refused_alone():
    found = Bisection([encoded(1, 0)], 400, "  ")

    assert found.next() is None
    assert [(encoded(1, 0), 400, "HTTP 400")] == found.refusals


def test_a_store_that_is_away_changes_nothing_and_what_is_too_large_is_divided():
    found = Bisection([encoded(1, 0), encoded(2, 0, 1)], 413, "")
    first = found.next()
    found.took(Said.LATER)
    found.took(Said.NEVER)
    assert first is found.next()
    found.took(Said.TOO_LARGE, 413, "too large")

    assert [(encoded(1, 0), 413, "too large")] == found.refusals
    assert [encoded(2, 0, 1)] == found.next()


def record(number: int = 1, *times: int, cluster: str = "remote", noted: int = NOW) -> Quarantined:
    return quarantined(cluster, [quarantine.Refusal(encoded(number, *times), 400, "out of order sample")], noted)[0]


def test_what_is_in_quarantine_says_what_why_and_when():
    assert ("remote: m1{}: 2 samples, 2026-09-21 14:13:20 to 2026-09-21 14:13:21: refused (400): out of order sample") == str(
        record(1, 0, 1000)
    )
    assert encoded(1, 0, 1000) == record(1, 0, 1000).series


def test_a_sample_is_kept_once_however_often_it_is_refused():
    found, lost = kept([record(1, 0, 1, noted=NOW + 1), record(1, 0, noted=NOW), record(2, 5, noted=NOW + 2)])

    assert ([NOW, NOW + 2], 0) == ([one.noted for one in found], lost)
    assert [[("m1", 0), ("m1", 1)], [("m2", 5)]] == [content([one.series]) for one in found]


def test_a_full_quarantine_gives_up_the_oldest_and_says_how_many():
    records = [record(number, 0, noted=NOW + number) for number in range(10)]

    found, lost = kept(records, most=3 * len(records[0].series))

    assert ([7, 8, 9], 7) == ([one.noted - NOW for one in found], lost)


def test_what_is_set_aside_is_counted_by_cluster_and_window_without_stale_markers():
    stale = series({"__name__": "m1"}, (STALE, NOW), (1.0, NOW + 1), (1.0, NOW + 9)).SerializeToString()
    records = quarantined("remote", [quarantine.Refusal(stale, 400, "why")], NOW)

    assert (1, 2, 0) == (
        set_aside(records, "remote", Span(NOW, NOW + 9)),
        set_aside(records, "remote", Span(NOW, NOW + 10)),
        set_aside(records, "production", Span(NOW, NOW + 10)),
    )


@given(st.binary(), st.lists(st.binary()), st.text())
def test_a_record_survives_being_kept_as_json(labels, samples, why):
    one = Quarantined("remote", labels, tuple(samples), 400, why, NOW)

    assert one == from_json(json.loads(json.dumps(to_json(one))))
    with pytest.raises(Unreadable):
        from_json({"labels": "a"})
