"""Every number says which clusters it covers, and since when it lacks others."""

from __future__ import annotations

import pytest

from flotilla.dashboards.answers import Answer, Unanswered, series
from flotilla.dashboards.coverage import (
    STALE_AFTER,
    Freshness,
    cluster_states,
    complete_until,
    coverage,
    in_words,
    presence_texts,
    together,
    watermarks_of,
)

NOW = 10_000.0
FLEET = ("a", "b", "c")
FRESH = dict.fromkeys(FLEET, NOW - 30)


def present(**selectors: str) -> dict:
    """Return answers to which clusters have a metric: its name, and their names."""
    return {
        f"count by (cluster) ({name}{{}})": Answer(tuple(series({"cluster": one}, [(NOW, 3.0)]) for one in names.split()))
        for name, names in selectors.items()
    }


@pytest.mark.parametrize(
    ("watermark", "freshness", "sentence"),
    [
        (NOW - 30, Freshness.FRESH, "30 s behind"),
        (NOW - STALE_AFTER, Freshness.FRESH, "2 min behind"),
        (NOW - STALE_AFTER - 1, Freshness.SILENT, "silent, 2 min behind"),
        (NOW - 14_400, Freshness.SILENT, "silent, 4 h behind"),
        (NOW + 50, Freshness.FRESH, "0 s behind"),
        (None, Freshness.NEVER, "nothing of it was ever collected"),
    ],
)
def test_a_cluster_is_silent_once_its_samples_are_too_old(watermark, freshness, sentence):
    marks = {"b": NOW} | ({"a": watermark} if watermark is not None else {})
    (state, _) = cluster_states(("a", "b"), marks, NOW)

    assert (freshness, watermark, sentence) == (state.freshness, state.since, state.sentence())


def test_without_a_collector_nothing_is_known_of_freshness_and_nothing_is_called_silent():
    (state,) = cluster_states(("a",), {}, NOW)

    assert Freshness.UNKNOWN == state.freshness
    assert "flotilla_watermark_timestamp_seconds" in state.sentence()


def test_clusters_that_the_store_knows_besides_the_fleets_are_told_too():
    assert ["a", "b", "c", "z"] == [one.cluster for one in cluster_states(FLEET, {"z": NOW, **FRESH}, NOW)]


def test_a_range_that_ended_before_a_cluster_fell_silent_lacks_nothing():
    states = cluster_states(FLEET, {**FRESH, "c": NOW - 5000}, NOW - 6000)

    assert coverage(states, "sum(up)", present(up="a b c")).whole


def test_a_picture_has_no_ragged_edge():
    states = cluster_states(FLEET, {"a": NOW - 20, "b": NOW - 50, "c": NOW - 900}, NOW)

    assert NOW - 50 == complete_until(states, NOW)
    assert NOW == complete_until(cluster_states(FLEET, {}, NOW), NOW)


@pytest.mark.parametrize(
    ("text", "having", "covers"),
    [
        ("sum(up)", {"up": "a b"}, "a b"),
        ("sum(up) / sum(down)", {"up": "a b c", "down": "a b"}, "a b"),
        ("up or down", {"up": "a", "down": "b"}, "a b"),
        ("up unless down", {"up": "a b c", "down": "b"}, "a b c"),
        ("count(up > 1) or vector(0)", {"up": "a b c"}, "a b c"),
        ("topk(3, rate(up[5m]))", {"up": "c"}, "c"),
        ("time()", {}, "a b c"),
        ("up", {"up": ""}, ""),
    ],
)
def test_a_picture_covers_the_clusters_that_have_what_it_needs(text, having, covers):
    found = coverage(cluster_states(FLEET, FRESH, NOW), text, present(**having))

    assert tuple(covers.split()) == found.covers
    assert set(FLEET) - set(covers.split()) == set(found.without)
    assert found.whole


def test_a_silent_cluster_is_lacking_even_while_its_last_samples_still_answer():
    states = cluster_states(FLEET, {**FRESH, "c": NOW - 180}, NOW)
    found = coverage(states, "sum(up)", present(up="a b c"))

    assert ("a", "b") == found.covers
    assert [("c", NOW - 180)] == [(one.cluster, one.since) for one in found.lacks]


def test_what_the_collector_itself_tells_of_a_silent_cluster_is_not_lacking():
    states = cluster_states(FLEET, {**FRESH, "c": NOW - 180}, NOW)

    assert FLEET == coverage(states, "flotilla_lag_seconds", present(flotilla_lag_seconds="a b c")).covers
    assert not coverage(states, "flotilla_lag_seconds + up", present(flotilla_lag_seconds="a b c", up="a b")).whole


def test_where_nobody_could_say_who_has_a_metric_freshness_alone_speaks():
    states = cluster_states(FLEET, {**FRESH, "c": NOW - 180}, NOW)

    found = coverage(states, "up", {"count by (cluster) (up{})": Unanswered("the store is down")})

    assert (("a", "b"), ()) == (found.covers, found.without)


def test_several_expressions_lack_what_any_of_them_lacks_and_cover_what_any_covers():
    states = cluster_states(FLEET, {**FRESH, "c": NOW - 180}, NOW)
    found = together([coverage(states, "up", present(up="a")), coverage(states, "down", present(down="b"))])

    assert ("a", "b") == found.covers
    assert ["c"] == [one.cluster for one in found.lacks]


def test_presence_is_asked_once_a_selector_with_its_own_conditions():
    asked = presence_texts('rate(up{a="b", c=~"d\\\\.e"}[5m]) / rate(up{a="b", c=~"d\\\\.e"}[5m]) + {__name__=~"x|y"}')

    assert ('count by (cluster) (up{a="b", c=~"d\\\\.e"})', 'count by (cluster) ({__name__=~"x|y"})') == asked


def test_watermarks_are_read_from_the_answer_and_none_from_a_failure():
    reply = Answer((series({"cluster": "a"}, [(NOW, 5.0)]), series({"cluster": "b"}, []), series({}, [(NOW, 7.0)])))

    assert {"a": 5.0} == watermarks_of(reply)
    assert {} == watermarks_of(Unanswered("down"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (45, "45 s"), (89, "89 s"), (90, "2 min"), (5400, "90 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_spans_are_told_as_people_say_them(seconds, words):
    assert words == in_words(seconds)
