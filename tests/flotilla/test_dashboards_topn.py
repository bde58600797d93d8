"""Top N over a range: ranked on the range, and what is shown adds up to the total."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.dashboards import topn
from flotilla.dashboards.answers import Answer, Question, Series, series
from flotilla.dashboards.colours import colour_of
from flotilla.dashboards.drawing import view
from flotilla.dashboards.frames import Frame, questions
from flotilla.dashboards.model import Others, Rank, TopN
from flotilla.dashboards.parsing import parse_dashboard
from flotilla.dashboards.picks import Picks
from flotilla.dashboards.promql import parse
from flotilla.dashboards.views import Bars
from tests.flotilla.deployed import page

CPU = "sum by (cluster, pod) (rate(cpu_total[$__rate_interval]))"
VALUES = st.floats(min_value=0, max_value=1e12, allow_nan=False)


def panel(**changes) -> TopN:
    return TopN(kind="topN", title="CPU", by=("cluster", "pod"), expr=CPU, **changes)


def pods(values: list[float]) -> list[Series]:
    return [series({"cluster": "c", "pod": f"p{index}"}, [(60.0, value)]) for index, value in enumerate(values)]


@given(st.lists(VALUES, max_size=40), st.integers(1, 12))
def test_the_first_and_the_others_add_up_to_the_total(values, k):
    found = topn.rank(panel(k=k), pods(values))

    shown = [value for _, value in found.top]
    assert math.isclose(math.fsum([*shown, found.others or 0.0]), found.total or 0.0, rel_tol=1e-12, abs_tol=1e-9)
    assert math.isclose(math.fsum(values), found.total or 0.0, rel_tol=1e-12, abs_tol=1e-9)
    assert sum(value > 0 for value in values) == len(shown) + found.others_count


@given(st.lists(VALUES, max_size=40), st.integers(1, 12))
def test_none_of_the_others_is_larger_than_one_of_the_first(values, k):
    found = topn.rank(panel(k=k), pods(values))

    assert sorted((value for value in values if value), reverse=True)[:k] == [value for _, value in found.top]


@given(st.lists(VALUES, min_size=1, max_size=40), st.integers(1, 12))
def test_ratios_have_no_sum_and_their_others_are_averaged(values, k):
    found = topn.rank(panel(k=k, others=Others.AVERAGE), pods(values))
    rest = sorted(values, reverse=True)[k:]

    assert found.total is None
    assert found.others is None if not rest else math.isclose(math.fsum(rest) / len(rest), found.others or 0.0, abs_tol=1e-9)


def test_equal_values_stand_in_the_order_of_their_names_and_what_is_no_number_nowhere():
    found = topn.rank(panel(k=2), [*pods([1.0, 1.0, 1.0]), series({"cluster": "c", "pod": "x"}, [(60.0, math.nan)])])

    assert ["p0", "p1"] == [one.get("pod") for one, _ in found.top]
    assert (1.0, 1, 3.0) == (found.others, found.others_count, found.total)


def test_without_others_only_their_number_is_told():
    found = topn.rank(panel(k=1, others=Others.NONE), pods([3.0, 2.0, 1.0]))

    assert (None, 2, None) == (found.others, found.others_count, found.total)


@given(st.dictionaries(st.integers(0, 20).map(float), VALUES), st.data())
def test_at_each_time_the_lines_and_the_remainder_add_up_to_the_total(total, data):
    shown = []
    for name in "abc":
        at = data.draw(st.lists(st.sampled_from(sorted(total)), unique=True)) if total else []
        shown.append(series({"pod": name}, [(one, total[one] / 4) for one in at]))
    rest = topn.remainder(total, shown)

    for at, value in total.items():
        there = [v for one in shown for when, v in one.points if when == at]
        assert math.isclose(math.fsum(there) + rest[at], value, rel_tol=1e-9, abs_tol=1e-9)


def test_a_remainder_of_rounding_errors_is_nothing():
    assert {1.0: 0.0} == topn.remainder({1.0: 0.3}, [series({}, [(1.0, 0.1)]), series({}, [(1.0, 0.2)])])


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        (Rank.MEAN, f"avg_over_time(({CPU})[$__range:$__interval])"),
        (Rank.MAX, f"max_over_time(({CPU})[$__range:$__interval])"),
        (Rank.LAST, CPU),
        (Rank.WINDOW, "sum by (cluster, pod) (rate(cpu_total[$__range]))"),
    ],
)
def test_the_rank_is_taken_on_the_range(rank, expected):
    text = topn.ranking_text(panel(rank=rank), CPU)

    assert expected == text
    for query in (topn.top_text(panel(), text), topn.rest_text(panel(), text), topn.lines_text(panel(), CPU, text)):
        parse(query)


def test_the_lines_are_those_of_the_first_of_the_range_at_every_step():
    assert "(up) and on (cluster, pod) topk(3, avg_over_time((up)[$__range:$__interval] @ end()))" == topn.lines_text(
        panel(k=3), "up", topn.ranking_text(panel(), "up")
    )


def test_a_picture_shows_the_first_with_their_share_the_others_and_the_total():
    dashboard = parse_dashboard(page("{kind: topN, title: CPU, by: [cluster, pod], k: 2, unit: cores, expr: up}"), "mine.yaml")
    frame = Frame(dashboard, dashboard.panels[0], Picks(0, 3600), ("a", "b"))
    ranking, lines, total = questions(frame)
    steps = (3540.0, 3600.0)
    ranked = [
        series({"cluster": "ab"[i % 2], "pod": f"p{i}"}, [(3600.0, value)]) for i, value in enumerate([1.0, 6.0, 2.0, 0.0, 3.0])
    ]
    drawn = [
        series({"cluster": "b", "pod": "p1"}, [(at, 5.0) for at in steps]),
        series({"cluster": "a", "pod": "p4"}, [(3600.0, 3.0)]),
    ]
    whole = series({}, [(at, 10.0) for at in steps])

    seen = view(frame, {ranking: Answer(tuple(ranked)), lines: Answer(tuple(drawn)), total: Answer((whole,))})

    assert isinstance(seen, Bars)
    assert [("b / p1", 6.0, 0.5), ("a / p4", 3.0, 0.25)] == [(bar.name, bar.value, bar.share) for bar in seen.bars]
    assert (3.0, 2, 12.0, False) == (seen.others, seen.others_count, seen.total, seen.averaged)
    assert seen.chart
    assert ["a / p4", "b / p1", "others"] == [line.name for line in seen.chart.lines]
    assert ((3540.0, 5.0), (3600.0, 2.0)) == seen.chart.lines[-1].points
    assert seen.chart.lines[-1].remainder
    assert {q.end for q in (ranking, lines, total)} == {3600}
    assert Question(ranking.expr, 3600) == ranking


def test_a_series_keeps_its_colour_whoever_else_is_in_the_picture():
    one = series({"cluster": "a", "pod": "p"}, [])
    again = series({"pod": "p", "cluster": "a", "__name__": "other"}, [(1.0, 2.0)])

    assert colour_of(one, ("a", "b")) == colour_of(again, ("a", "b"))
    assert colour_of(one, ("a", "b")).dash != colour_of(series({"cluster": "b", "pod": "p"}, []), ("a", "b")).dash
    assert colour_of(one, ("a", "b")).hue != colour_of(series({"cluster": "b", "pod": "p"}, []), ("a", "b")).hue
