"""When the way from one cluster to another counts as cut, and when as whole again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flotilla.services.facts import ProbeFact
from flotilla.services.policy import Damping
from flotilla.services.ways import Way, walked
from tests.flotilla.clusterset import T0

DAMPING = Damping()


def after(*probes: tuple[float, int, bool], known: int = 20, way: Way | None = None) -> Way:
    """Return the way after probes of (seconds, endpoint, answered)."""
    for at, endpoint, answered in probes:
        probe = ProbeFact("c2", "c1", f"10.1.0.{endpoint}", T0 + timedelta(seconds=at), answered)
        way = walked(way or Way(), probe, known, DAMPING)
    return way or Way()


def test_three_endpoints_that_fail_for_a_second_mean_that_the_way_is_cut():
    assert T0 == after((0, 1, False), (0.3, 2, False), (0.4, 3, False), (1.1, 1, False)).cut


@pytest.mark.parametrize(
    ("probes", "known"),
    [
        (((0, 1, False), (0.1, 2, False), (0.2, 3, False)), 20),  # not for a second
        (((0, 1, False), (0.5, 2, False), (1.5, 1, False)), 20),  # two endpoints of twenty
        (((0, 1, False), (0.5, 2, False), (0.9, 3, True), (1.1, 1, False), (1.3, 2, False)), 20),  # one answers
        (((0, 1, False),), 1),  # once
    ],
)
def test_less_does_not_mean_that_it_is_cut(probes, known):
    assert after(*probes, known=known).cut is None


def test_the_only_endpoint_there_is_enough_if_it_fails_again():
    assert T0 == after((0, 1, False), (1.1, 1, False), known=1).cut


def test_it_is_whole_again_after_answers_for_two_seconds_with_no_failure_between():
    cut = after((0, 1, False), (1.1, 1, False), known=1)

    assert after((10, 1, True), (11, 1, True), way=cut).cut
    assert after((10, 1, True), (11, 2, False), (12.5, 1, True), way=cut).cut
    assert after((10, 1, True), (12.1, 2, True), way=cut).cut is None


def test_one_that_is_cut_again_soon_has_to_answer_for_longer():
    way = after((0, 1, False), (1.1, 1, False), (10, 1, True), (12.1, 1, True), known=1)
    way = after((20, 1, False), (21.1, 1, False), (30, 1, True), (32.1, 1, True), known=1, way=way)

    assert (T0 + timedelta(seconds=20), 1) == (way.cut, way.flaps)
    assert after((34.1, 1, True), known=1, way=way).cut is None
