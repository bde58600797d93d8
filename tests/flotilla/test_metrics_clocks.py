"""Whose clock is believed, how late a beat is, who goes on, which replica is read, and how times are said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.metrics.beats import Beat, beat, leader, pause, replica
from flotilla.metrics.clocks import Clocks, Reading, compared, reading
from flotilla.metrics.spans import Span
from flotilla.metrics.words import clocked, dated, moment, spoken

SECOND, DAY = 1000, 86_400_000
NOW = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC


def clocks(**offsets: int) -> Clocks:
    """What is believed when clusters' clocks are ahead of ours by so much."""
    return compared({name: Reading(NOW + offset, NOW, 500) for name, offset in offsets.items()})


def test_a_date_header_is_read_with_its_doubt():
    found = reading("Mon, 21 Sep 2026 14:13:20 GMT", NOW + 100, NOW + 900)

    assert Reading(NOW + 500, NOW + 500, 900) == found
    assert 0 == found.offset


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Sep 2026 14:13:20 GMT"])
def test_what_is_no_date_says_nothing(date):
    assert reading(date, NOW, NOW) is None


def test_small_differences_are_no_finding_and_bound_what_is_asked_for():
    found = clocks(production=-2 * SECOND, remote=3 * SECOND)

    assert () == found.findings()
    assert (NOW - 2 * SECOND, NOW, NOW) == tuple(found.of(name, NOW) for name in ("production", "remote", "same-city"))


def test_a_cluster_a_day_ahead_is_asked_for_nothing_later_than_now():
    found = clocks(production=0, same_city=500, remote=DAY)

    assert (NOW, NOW) == (found.now(NOW), found.of("remote", NOW))
    assert ("remote: its clock is 1 d ahead; samples that it dates later than now are left until then",) == found.findings()


def test_a_cluster_a_day_behind_is_asked_for_what_it_has_by_its_own_clock():
    found = clocks(production=0, same_city=500, remote=-DAY)

    assert (NOW, NOW - DAY) == (found.now(NOW), found.of("remote", NOW))
    assert ("remote: its clock is 1 d behind; so are its samples",) == found.findings()


def test_where_most_others_agree_it_is_our_own_clock_that_is_wrong():
    found = clocks(production=DAY, same_city=DAY + 500, remote=DAY - 500)

    assert NOW + DAY == found.now(NOW)
    assert ("this machine: its clock is 1 d behind; most others agree and are believed",) == found.findings()
    assert not any(map(found.is_wrong, ("production", "same_city", "remote")))


def test_one_against_one_is_decided_for_ours():
    assert NOW == clocks(remote=DAY).now(NOW)


def test_half_of_all_do_not_overrule_us():
    assert NOW == clocks(production=DAY, same_city=DAY, remote=-DAY).now(NOW)


def test_an_answer_that_took_longer_than_clocks_may_differ_is_not_counted():
    late = {name: Reading(NOW + DAY, NOW, 20 * SECOND) for name in ("a", "b", "c")}

    assert Clocks() == compared(late)


@given(st.dictionaries(st.text(min_size=1), st.integers(-2 * DAY, 2 * DAY), max_size=5))
def test_nobody_is_ever_asked_for_what_is_later_than_now(offsets):
    found = clocks(**offsets)

    assert all(found.of(name, NOW) <= found.now(NOW) for name in (*offsets, "unknown"))


def test_beats_stand_on_a_grid_and_say_what_was_left_out():
    every = 30 * SECOND

    assert Beat(10, 300_000, 0) == beat(300_000, every, 9)
    assert Beat(13, 390_000, 4000, missed=2) == beat(394_000, every, 10)
    assert "beat 13 began 4 s late, 2 left out before it" == str(beat(394_000, every, 10))
    assert "beat 10" == str(beat(300_400, every, 9))
    assert (every, 1) == (pause(300_000, every), pause(329_999, every))
    assert 0 == beat(300_000, every, 10).missed  # one that began twice


def test_of_a_pair_that_pushes_the_leader_stays_until_it_has_been_silent_for_long():
    assert "a" == leader(None, 0, "a", 1000)
    assert "a" == leader("a", 1000, "b", 31_000)
    assert "b" == leader("a", 1000, "b", 31_001)


def test_a_replica_is_kept_until_it_lags_behind_the_other_for_longer_than_patience():
    assert "p-0" == replica({"p-0": NOW - 30 * SECOND, "p-1": NOW}, "p-0")
    assert "p-1" == replica({"p-0": NOW - 31 * SECOND, "p-1": NOW}, "p-0")
    assert "p-1" == replica({"p-0": None, "p-1": NOW - DAY}, "p-0")
    assert "p-0" == replica({"p-0": NOW, "p-1": NOW}, None)
    assert replica({"p-0": None}, "p-0") is None
    assert replica({}, None) is None


@pytest.mark.parametrize(
    ("length", "said"),
    [(0, "0 s"), (300, "300 ms"), (1500, "1 s"), (30_000, "30 s"), (90_000, "1 min 30 s"), (DAY, "1 d"), (DAY + 60_000, "1 d"),
     (-3_660_000, "1 h 1 min")],
)  # fmt: skip
def test_lengths_of_time_are_said_in_two_units(length, said):
    assert said == spoken(length)


def test_spans_are_said_by_the_clock():
    ten = NOW - 15_200_000  # 10:00

    assert "10:00-10:05" == clocked(Span(ten, ten + 300_000))
    assert "2026-09-21 10:00:00-10:00:30" == dated(Span(ten, ten + 30_000))
    assert "23:00-00:00" == clocked(Span(ten + 13 * 3_600_000, ten + 14 * 3_600_000))
    assert "10:00-2026-09-22 11:00" == clocked(Span(ten, ten + 25 * 3_600_000))
    assert "2026-09-21 14:13:20" == moment(NOW)
