"""What is in quarantine and sent again: nothing is lost, nothing comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.errors import InvalidInput
from flotilla.metrics.quarantine import Quarantined, Refusal, quarantined
from flotilla.metrics.resending import Pick, Resent, parse_match, remaining, rows, samples_of, to_send, told_sums
from tests.flotilla.prompb import NOW, TimeSeries, labels_of, series
from tests.flotilla.prompb import samples_of as decoded


def record(number: int, *times: int, why: str = "too old", cluster: str = "remote", noted: int = NOW) -> Quarantined:
    labels = {"__name__": f"m{number}", "cluster": cluster, "job": "a|b"}
    one = series(labels, *((float(time), NOW + time) for time in times)).SerializeToString()
    return quarantined(cluster, [Refusal(one, 400, why)], noted)[0]


def content(records: list[Quarantined]) -> list[tuple[str, int, str]]:
    """Names, times and reasons of all samples, sorted."""
    parsed = [(one, TimeSeries.FromString(one.series)) for one in records]
    return sorted((dict(labels_of(m))["__name__"], s.timestamp - NOW, one.why) for one, m in parsed for s in m.samples)


def test_a_series_is_sent_once_with_its_samples_in_the_order_of_time():
    sent = [TimeSeries.FromString(one) for one in to_send([record(1, 5, 2), record(2, 1), record(1, 3, 2, why="other")])]

    assert [("m1", [2, 3, 5]), ("m2", [1])] == [
        (dict(labels_of(one))["__name__"], [time - NOW for _, time in decoded(one)]) for one in sent
    ]


KEYS = st.tuples(st.integers(1, 3), st.integers(0, 4))
SOME = st.dictionaries(KEYS, st.sampled_from(["a", "b"]))


def records_of(reasons: dict[tuple[int, int], str]) -> list[Quarantined]:
    return [record(number, time, why=why) for (number, time), why in reasons.items()]


@given(SOME, SOME, st.sets(KEYS), SOME)
def test_what_remains_is_what_is_held_less_what_was_taken_under_its_newest_reason(before, added, taken, again):
    held = added | before  # the collector has added some meanwhile
    again = {key: why for key, why in again.items() if key not in taken}
    gone = samples_of("remote", (record(*key).series for key in taken))

    found = remaining(records_of(held), gone, records_of(again))

    wanted = {key: again.get(key, why) for key, why in held.items() if key not in taken}
    assert sorted((f"m{number}", time, why) for (number, time), why in wanted.items()) == content(found)


def test_what_is_refused_again_for_the_same_reason_keeps_the_time_when_it_was_first():
    (found,) = remaining([record(1, 0, noted=NOW - 9)], frozenset(), [record(1, 0, noted=NOW)])

    assert NOW - 9 == found.noted


def test_a_cluster_and_a_selector_pick():
    every = [record(1, 0), record(2, 0), record(1, 0, cluster="production")]

    assert every == Pick().of(every)
    assert every[:2] == Pick("remote").of(every)
    assert [every[1]] == Pick("remote", parse_match('{__name__=~"m[2-9]"}', "x")).of(every)


@pytest.mark.parametrize("text", ["rate(up[5m])", "{", 'up{job=~"("}'])
def test_what_is_no_selector_is_told(text):
    with pytest.raises(InvalidInput, match="quarantine: match: "):
        parse_match(text, "quarantine")


def test_records_and_what_became_of_them_as_rows():
    assert {
        "cluster": "remote",
        "series": 'm1{job="a|b"}',
        "samples": "2",
        "from": "2026-09-21 14:13:20",
        "to": "2026-09-21 14:13:21",
        "status": "400",
        "why": "too old",
    } == rows([record(1, 0, 1000)])[0]
    done = Resent("remote", 2, 5, 3, 1, "too old")
    assert ("1", "too old") == (done.row()["not sent"], done.row()["why"])
    assert "5 samples of 2 series: 3 taken, 1 refused again" == told_sums([done])
    assert "5 samples of 2 series" == told_sums([Resent("remote", 2, 5)])
