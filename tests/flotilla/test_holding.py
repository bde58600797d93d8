"""Withdrawals that wait for a person, and a person's word on them."""

from __future__ import annotations

import pytest

from flotilla.services.cap import Cause, Withdrawal
from flotilla.services.health import Link
from flotilla.services.holding import Held, agreed, held_since, read_held, read_word, word_on, write_held, write_word
from flotilla.services.names import ServiceKey

A = ServiceKey("shop", "a")
EARLY, LATE = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"


def withdrawal(consumer: str, source: str = "c1") -> Withdrawal:
    return Withdrawal(A, Link(consumer, source), Cause.UNEXPORTED, "c1 no longer exports shop/a")


def test_an_exporter_is_told_once_with_all_that_lose_it():
    held = held_since([withdrawal("c2"), withdrawal("c3")], (), EARLY)

    assert held == (Held("shop/a", "c1", EARLY, ("c2", "c3"), "unexported", "c1 no longer exports shop/a"),)
    assert held[0].key == A


def test_what_waited_before_keeps_since_when():
    before = held_since([withdrawal("c2")], (), EARLY)

    after = held_since([withdrawal("c2"), withdrawal("c2", "c3")], before, LATE)

    assert [(one.source, one.since) for one in after] == [("c1", EARLY), ("c3", LATE)]


def test_a_word_holds_for_what_waited_when_it_was_said():
    before = held_since([withdrawal("c2")], (), EARLY)
    word = word_on(before, "eve", "meant", EARLY)

    assert agreed([word], before) == before
    assert agreed([word], held_since([withdrawal("c2", "c3")], (), EARLY)) == ()


def test_a_word_does_not_hold_for_the_same_exporter_another_time():
    word = word_on(held_since([withdrawal("c2")], (), EARLY), "eve", "meant", EARLY)

    assert agreed([word], held_since([withdrawal("c2")], (), LATE)) == ()


def test_what_is_told_comes_back_as_it_was():
    held = held_since([withdrawal("c2")], (), EARLY)
    word = word_on(held, "eve", "meant", LATE)

    assert read_held(write_held(held)) == held
    assert read_word(write_word(word)) == word


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"service": "a"}]', "7", '{"by": "eve"}', '{"about": [["a"]]}'])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        read_held(text)
    with pytest.raises(ValueError, match=r".*"):
        read_word(text)
