"""Promises against what is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.ledger import Attempt, Outage, judge, outages, parse_ledger


def attempt(order: str, at: float, status: int = 201) -> Attempt:
    return Attempt(order, at, at + 0.01 if status else None, status, "10.0.0.11")


ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        st.text(alphabet="abc", min_size=1, max_size=2),
        st.floats(0, 100),
        st.none() | st.floats(0, 100),
        st.sampled_from([0, 200, 201, 400, 503]),
        st.sampled_from(["", "10.0.0.11"]),
    )
)


def test_a_promise_that_is_kept_once_is_clean() -> None:
    found = judge([attempt("a", 1), attempt("b", 2)], ["b", "a", "of somebody else"])

    assert found.is_clean
    assert (found.attempts, found.acknowledged, found.lost, found.duplicated, found.unacknowledged, found.open) == (
        2,
        2,
        (),
        (),
        (),
        (),
    )


def test_what_was_promised_and_is_not_there_is_lost() -> None:
    found = judge([attempt("a", 1), attempt("b", 2, 200), attempt("c", 3, 503)], ["a"])

    assert found.lost == ("b",)
    assert found.open == ("c",)
    assert not found.is_clean


def test_what_is_there_and_was_not_promised_is_allowed_and_told() -> None:
    found = judge([attempt("a", 1, 0), attempt("b", 2, 503)], ["a"])

    assert found.is_clean
    assert (found.unacknowledged, found.open) == (("a",), ("b",))


def test_an_attempt_in_doubt_that_a_later_one_settles_is_promised() -> None:
    found = judge([attempt("a", 1, 503), attempt("a", 2, 0), attempt("a", 3, 200)], ["a"])

    assert (found.acknowledged, found.unacknowledged, found.attempts) == (1, (), 3)


def test_an_order_that_was_created_twice_was_lost_in_between() -> None:
    assert judge([attempt("a", 1, 201), attempt("a", 2, 201)], ["a"]).duplicated == ("a",)
    assert judge([attempt("a", 1, 201), attempt("a", 2, 200)], ["a"]).duplicated == ()
    assert judge([attempt("a", 1)], ["a", "a"]).duplicated == ("a",)


def test_an_outage_lies_between_two_promises_whatever_was_tried_meanwhile() -> None:
    tried = [attempt("a", 1), attempt("b", 2, 503), attempt("b", 4, 0), attempt("b", 6)]

    assert judge(tried, []).longest_outage == Outage(1.01, 6.01, 5.0)
    assert outages(tried, longer_than=5.5) == []


def test_an_outage_that_is_not_over_lasts_as_long_as_somebody_tries() -> None:
    assert outages([attempt("a", 1), attempt("b", 2, 0), attempt("b", 9, 0)]) == [Outage(1.01, None, pytest.approx(7.99))]


def test_without_a_promise_there_is_no_outage_to_tell() -> None:
    assert judge([attempt("a", 1, 503)], []).longest_outage is None
    assert "1 neither" in str(judge([attempt("a", 1, 503)], []))


def test_latency_is_that_of_what_was_promised() -> None:
    found = judge([Attempt("a", 1, 1.5, 201), Attempt("b", 2, 30, 503)], ["a"])

    assert (found.median_latency, found.p99_latency) == (0.5, 0.5)
    assert "median 500.0 ms" in str(found)


@given(ATTEMPTS)
def test_a_ledger_is_read_as_it_was_written(attempts: list[Attempt]) -> None:
    assert parse_ledger("".join(one.line for one in attempts)) == attempts


@given(ATTEMPTS, st.integers(1, 20))
def test_a_ledger_that_broke_off_loses_its_last_line_at_most(attempts: list[Attempt], cut: int) -> None:
    text = "".join(one.line for one in attempts)

    found = parse_ledger(text[: max(0, len(text) - cut)])

    assert found == attempts[: len(found)]
    assert len(attempts) - len(found) <= 1


def test_a_line_in_the_middle_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="line 2 of the ledger"):
        parse_ledger(attempt("a", 1).line + "what\n" + attempt("b", 2).line)


@given(ATTEMPTS, st.sets(st.text(alphabet="abc", min_size=1, max_size=2)))
def test_every_order_is_in_exactly_one_of_the_counts(attempts: list[Attempt], there: set[str]) -> None:
    found = judge(attempts, there)
    kept = {one.id for one in attempts if one.is_acknowledged and one.id in there}

    parts = [kept, set(found.lost), set(found.unacknowledged), set(found.open)]

    assert sum(map(len, parts)) == len({one.id for one in attempts})
    assert set().union(*parts) == {one.id for one in attempts}
