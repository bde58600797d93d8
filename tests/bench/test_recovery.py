"""What the benchmark of recoveries makes of what it saw."""

from __future__ import annotations

import pytest

from flotilla.ledger import Attempt, judge
from tests.bench.dying import Died
from tests.bench.moving import Moved, gap
from tests.bench.recovery import figures, p95


def written(*times: float) -> list[Attempt]:
    return [Attempt(f"o{number}", at, at, 201) for number, at in enumerate(times)]


def test_of_twenty_the_second_largest_is_the_95th_percentile():
    assert (19.0, 4.0, 1.0) == (p95([float(one) for one in range(1, 21)]), p95([4.0, 1.0, 2.0]), p95([1.0]))


def test_a_moves_outage_is_the_longest_that_touches_it_and_no_other():
    attempts = written(0, 1, 6, 7, 9, 10, 20)

    assert (2, 5, 10) == (gap(attempts, 7.5, 8.5), gap(attempts, 3, 8), gap(attempts, 11, 12))


def test_own_share_is_of_medians_and_loss_to_remote_is_apart():
    attempts = written(1, 2)
    kept, lost = judge(attempts, ["o0", "o1"]), judge(attempts, ["o0"])
    moved = {"ours": [Moved({}, one) for one in (1.0, 1.2, 5.0)], "floor": [Moved({}, one) for one in (0.8, 1.0)]}
    found = figures(moved, kept, [Died(7.0, kept), Died(9.0, kept), Died(5.0, kept)], [Died(20.0, lost)])

    assert (5.0, 0.3, 7.0, 20.0) == tuple(
        found[one] for one in ("switchover_p95_s", "own_share_s", "failover_s", "remote_after_approval_s")
    )
    assert (0, 0, 1, 10) == tuple(found[one] for one in ("acknowledged_lost", "duplicated", "lost_to_remote", "acknowledged"))
    assert found["floor_p50_s"] == pytest.approx(0.9)


def test_what_was_not_measured_is_no_figure():
    found = figures({"ours": [], "floor": []}, judge([], []), [], [])

    assert {None} == {found[one] for one in ("switchover_p95_s", "own_share_s", "failover_s", "remote_after_approval_s")}
