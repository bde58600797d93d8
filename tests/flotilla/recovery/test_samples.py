"""Samples of replication that outlive the city they are of."""

from __future__ import annotations

import pytest

from flotilla.recovery.facts import Lag, Sample
from flotilla.recovery.samples import KEPT, from_text, to_text, together

ONE = Sample(10.0, "production", 5000, (Lag("same-city", 4990, 0.1), Lag("remote", 4000, None)), 12, ("same-city",))


def test_what_is_kept_is_what_was_seen():
    assert from_text(to_text([ONE])) == (ONE,)
    assert from_text(to_text([Sample(1.0, "remote", 7)])) == (Sample(1.0, "remote", 7),)


def test_who_committed_without_waiting_is_kept_and_what_an_earlier_flotilla_kept_does_not_say_it():
    weakened = Sample(10.0, "production", 5000, sync=("same-city",), weakened=("production: synchronous_commit",))
    before = to_text([ONE]).replace(',"weakened":[]', "")

    assert from_text(to_text([weakened])) == (weakened,)
    assert "weakened" not in before
    assert from_text(before) == (ONE,)


def test_the_newest_are_kept_in_order():
    many = [Sample(float(at), "production", at) for at in reversed(range(KEPT + 5))]

    found = from_text(to_text(many))

    assert [one.at for one in found] == [float(at) for at in range(5, KEPT + 5)]


def test_copies_are_put_together_each_sample_once():
    later = Sample(11.0, "production", 6000)

    assert together([[later, ONE], [ONE]]) == (ONE, later)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', '[{"at": 1}]', "[3]", "null"])
def test_what_is_no_sample_is_refused(text: str):
    with pytest.raises(ValueError, match="no samples of replication"):
        from_text(text)
