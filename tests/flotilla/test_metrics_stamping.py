"""What series are called at the store, and what of them does not go there."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.metrics.series import Count
from flotilla.metrics.stamping import Seen, Stamper
from flotilla.metrics.wire import NotRemoteRead
from tests.flotilla.prompb import NOW, STALE, TimeSeries, labels_of, many_series, samples_of, series

STAMP = {"cluster": "production", "site": "centre-1", "role": "production"}
STAMPED = [("cluster", "production"), ("role", "production"), ("site", "centre-1")]


def stamped(*made: Any, latest: int = 1 << 50, **how: Any) -> list[Any]:
    """What some series are at the store; every answer is given twice, since the second time is by heart."""
    stamper = Stamper(STAMP, **how)
    encoded = [one if isinstance(one, bytes) else one.SerializeToString() for one in made]
    first, second = taken(stamper, encoded, latest), taken(stamper, encoded, latest)
    assert first == second
    return [TimeSeries.FromString(one) for one in first[0]]


def taken(stamper: Stamper, encoded: list[bytes], latest: int = 1 << 50) -> tuple[list[bytes], Seen]:
    """The series of one answer, stamped, and what was seen in them."""
    seen = Seen()
    return list(stamper.stamped(encoded, seen, latest)), seen


def expected_labels(made: Any, external: dict[str, str]) -> list[tuple[str, str]]:
    """The rules once more, slowly, on decoded labels."""
    kept = dict(STAMP)
    taken = {name for name, _ in labels_of(made)}
    for name, value in labels_of(made):
        if name in ("prometheus", "prometheus_replica") or external.get(name) == value:
            continue
        if name in STAMP.keys() | external.keys() and value in ("", STAMP.get(name)):
            continue
        if name in STAMP:
            name = next(free for times in range(1, 9) if (free := "exported_" * times + name) not in taken)
            taken.add(name)
        kept[name] = value
    return sorted(kept.items(), key=lambda item: item[0].encode())


def rest_of(made: Any, latest: int) -> list[bytes]:
    """Everything but the labels, encoded, without what is late."""
    return [
        one.SerializeToString()
        for kind in ("samples", "exemplars", "histograms")
        for one in getattr(made, kind)
        if one.timestamp <= latest
    ]


@given(
    st.lists(many_series(), max_size=6),
    st.sampled_from([{}, {"zone": "z"}, {"role": "x", "job": ""}]),
    st.sampled_from([NOW, 1 << 50, 0]),
)
def test_labels_are_as_the_rules_say_and_everything_else_is_byte_for_byte_what_came(made, external, latest):
    told = [one for one in made if any(t.timestamp <= latest for t in (*one.samples, *one.histograms))]

    done = stamped(*made, latest=latest, external=external)

    assert [sorted(expected_labels(one, external)) for one in told] == [sorted(labels_of(one)) for one in done]
    assert [rest_of(one, latest) for one in told] == [rest_of(one, 1 << 50) for one in done]
    for one in done:
        names = [name.encode() for name, _ in labels_of(one)]
        assert names == sorted(names)


@given(st.lists(many_series(), max_size=8), st.randoms(use_true_random=False))
def test_what_is_known_by_heart_does_not_depend_on_the_order_or_on_what_is_new(made, random):
    encoded = [one.SerializeToString() for one in made]
    stamper = Stamper(STAMP)
    alone = {one: taken(Stamper(STAMP), [one])[0] for one in encoded}
    for _ in range(4):
        drawn = random.choices(encoded, k=len(encoded) + 2) if encoded else []

        assert [done for one in drawn for done in alone[one]] == taken(stamper, drawn)[0]


@given(st.lists(many_series(), max_size=6), st.integers(0, 2000))
def test_a_short_memory_changes_nothing(made, remember):
    encoded = [one.SerializeToString() for one in made] * 2
    stamper = Stamper(STAMP, remember=remember)

    for _ in range(5):
        assert taken(Stamper(STAMP), encoded) == taken(stamper, encoded)


def test_a_label_of_the_same_name_gives_way_so_that_series_stay_apart():
    roles = [series({"__name__": "kube_node_role", "node": "n1", "role": role}, (1.0, NOW)) for role in ("worker", "etcd")]

    assert [
        [("__name__", "kube_node_role"), STAMPED[0], ("exported_role", role), ("node", "n1"), *STAMPED[1:]]
        for role in ("worker", "etcd")
    ] == [labels_of(one) for one in stamped(*roles)]


def test_external_labels_of_the_cluster_go_and_its_series_own_ones_of_that_name_do_not():
    external = {"cluster": "prod-1", "env": "live"}
    own = series({"cluster": "kafka-a", "env": "test"}, (1.0, NOW))
    from_outside = series({"cluster": "prod-1", "env": "live", "prometheus_replica": "p-0"}, (1.0, NOW))

    assert [
        [STAMPED[0], ("env", "test"), ("exported_cluster", "kafka-a"), *STAMPED[1:]],
        STAMPED,
    ] == [labels_of(one) for one in stamped(own, from_outside, external=external)]


def test_a_label_named_as_an_external_one_is_not_taken_for_that_of_another_series():
    both = [series({"zone": zone}, (1.0, NOW)) for zone in "ab"]

    assert [[*STAMPED, ("zone", zone)] for zone in "ab"] == [labels_of(one) for one in stamped(*both, external={"zone": "z"})]


def test_cluster_standing_twice_and_exported_already_taken():
    twice = series([("cluster", "100%b"), ("cluster", "b"), ("exported_cluster", "c"), ("x%b%", "100%")], (1.0, NOW))

    assert [
        STAMPED[0],
        ("exported_cluster", "c"),
        ("exported_exported_cluster", "100%b"),
        ("exported_exported_exported_cluster", "b"),
        *STAMPED[1:],
        ("x%b%", "100%"),
    ] == labels_of(stamped(twice)[0])


def test_labels_out_of_order_and_labels_after_samples_end_up_sorted_and_first():
    odd = series({}, (1.0, NOW)).SerializeToString() + series({"z": "1", "a": "2"}).SerializeToString()

    assert [("a", "2"), *STAMPED, ("z", "1")] == labels_of(stamped(odd)[0])


def test_what_a_clock_ahead_has_written_is_left_out_and_counted():
    day = 86_400_000
    ahead = series({"a": "1"}, (1.0, NOW), (2.0, NOW + day))
    ahead.histograms.add(timestamp=NOW + day)
    gone = series({"a": "2"}, (3.0, NOW + 1))
    stamper = Stamper(STAMP)

    done, seen = taken(stamper, [ahead.SerializeToString(), gone.SerializeToString()], NOW)

    assert [[NOW]] == [[time for _, time in samples_of(TimeSeries.FromString(one))] for one in done]
    assert (Count(series=1, samples=1), Count(samples=2, histograms=1)) == (seen.count, seen.late)
    assert NOW == seen.newest


def test_nan_and_histograms_are_told_by_their_times_and_stale_ones_are_not_among_them():
    nan, negative = float("nan"), -float("nan")
    one = series({"a": "1"}, (nan, NOW - 2), (STALE, NOW - 1), (negative, NOW), (float("inf"), NOW + 1))
    one.histograms.add(timestamp=NOW, sum=2.0)
    one.histograms.add(timestamp=NOW + 5, sum=STALE)

    _, seen = taken(Stamper(STAMP), [one.SerializeToString()])

    assert {NOW - 2: 1, NOW: 1} == seen.nans
    assert {NOW: 1} == seen.histograms
    assert Count(series=1, samples=4, histograms=2, stale=2, nan=2) == seen.count
    assert NOW + 5 == seen.newest


@pytest.mark.parametrize("nan", [float("nan"), -float("nan")])
def test_one_nan_is_enough_to_be_told(nan):
    assert {NOW: 1} == taken(Stamper(STAMP), [series({"a": "1"}, (nan, NOW)).SerializeToString()])[1].nans


def test_labels_of_the_same_lengths_in_another_order_are_cut_another_way():
    both = [series({"a": "1", "z": "2"}, (1.0, NOW)), series({"z": "1", "a": "2"}, (1.0, NOW))]

    assert [
        [("a", "1"), *STAMPED, ("z", "2")],
        [("a", "2"), *STAMPED, ("z", "1")],
    ] == [labels_of(one) for one in stamped(*both)]


def test_the_newest_sample_and_the_count_are_told_of_the_usual_series_too():
    made = [series({"n": str(n)}, (0.0, NOW - 15_000), (1.5, NOW + n)).SerializeToString() for n in range(200)]
    stamper = Stamper(STAMP)
    for _ in range(2):
        _, seen = taken(stamper, made)

        assert (Count(series=200, samples=400), NOW + 199) == (seen.count, seen.newest)


def test_a_series_that_has_no_sample_is_left_out():
    assert [] == stamped(series({"a": "b"}), series({}))


@pytest.mark.parametrize(
    "one",
    [
        b"\x00",
        b"\x00\x00\x00",
        b"\x0a",
        b"\x0a\x05ab",
        b"\x12",
        b"\x0a\x00\x12\x09a",
        b"\x12\x85",
        b"\x12\x07\x10" + b"\xff" * 6,
    ],
)
def test_what_is_no_series_is_refused(one):
    with pytest.raises(NotRemoteRead):
        taken(Stamper(STAMP), [one])


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_bytes_of_any_kind_are_stamped_or_refused(made):
    stamper = Stamper(STAMP)
    for _ in range(2):
        with contextlib.suppress(NotRemoteRead):
            taken(stamper, made)
