"""From answers to what is drawn: lines, numbers, tables; and what is told where there is no answer."""

from __future__ import annotations

import json
import math

import pytest

from flotilla.dashboards.answers import Answer, Series, Unanswered, series
from flotilla.dashboards.coverage import cluster_states, coverage
from flotilla.dashboards.drawing import MOST_LINES, name_of, view
from flotilla.dashboards.frames import Frame, questions
from flotilla.dashboards.levels import level_of
from flotilla.dashboards.model import Level, Threshold
from flotilla.dashboards.parsing import parse_dashboard
from flotilla.dashboards.picks import Picks
from flotilla.dashboards.telling import plain, told_coverage, told_dashboard, told_state, told_view
from flotilla.dashboards.views import Bars, Chart, Grid, Numbers
from tests.flotilla import deployed
from tests.flotilla.deployed import page

END = 3600.0
FLEET = ("b", "a", "c")


def frame(panel: str, **picks) -> Frame:
    dashboard = parse_dashboard(page(panel, variables="{name: cluster, metric: up}"), "mine.yaml")
    return Frame(dashboard, dashboard.panels[0], Picks(0, END, picks), FLEET, frozenset({"c"}))


def drawn(seen: Frame, *answers: list[Series] | Unanswered):
    replies = [one if isinstance(one, Unanswered) else Answer(tuple(one)) for one in answers]
    return view(seen, dict(zip(questions(seen), replies, strict=True)))


def at_end(value: float, **labels: str) -> Series:
    return series(labels, [(END, value)])


def test_lines_are_named_by_their_legend_or_their_labels_or_the_panel():
    one = at_end(1, cluster="a", pod="p", site="s", role="r")

    assert "p in a, " == name_of(one, "{{pod}} in {{ cluster }}, {{nothing}}") + " "
    assert "a / p" == name_of(one, "")
    assert "instead" == name_of(at_end(1), "", "instead")


def test_of_too_many_lines_the_largest_are_drawn_and_the_others_counted():
    seen = drawn(
        frame("{kind: timeseries, title: A, queries: [{expr: up, legend: '{{pod}}'}]}"),
        [at_end(float(i), pod=f"p{i:03}") for i in range(80)],
    )

    assert isinstance(seen, Chart)
    assert (MOST_LINES, 80 - MOST_LINES) == (len(seen.lines), seen.more)
    assert ("p020", "p079") == (seen.lines[0].name, seen.lines[-1].name)


def test_a_number_stands_beside_the_whole_that_it_is_part_of():
    seen = drawn(
        frame("{kind: stat, title: A, expr: up, of: down, thresholds: [{level: bad, below: 4}]}"), [at_end(3)], [at_end(5)]
    )

    assert isinstance(seen, Numbers)
    assert [("", 3.0, 5.0, Level.BAD)] == [(one.name, one.value, one.of, one.level) for one in seen.numbers]


def test_numbers_by_cluster_come_in_the_fleets_order():
    seen = drawn(
        frame("{kind: stat, title: A, expr: up, legend: '{{cluster}}'}"),
        [at_end(1, cluster=name) for name in ("a", "z", "c", "b")],
    )

    assert isinstance(seen, Numbers)
    assert ["b", "a", "c", "z"] == [one.name for one in seen.numbers]


def test_without_an_answer_there_is_no_number_and_not_zero():
    seen = drawn(frame("{kind: stat, title: A, expr: up}"), [])

    assert isinstance(seen, Numbers)
    assert [None] == [one.value for one in seen.numbers]


TABLE = """{kind: table, title: A, by: [ns, app], sort: Free, ascending: true, limit: 2, columns: [
  {title: Wanted, expr: wanted}, {title: Free, expr: free, thresholds: [{level: warning, below: 1}]},
  {title: In, expr: there, spread: cluster}, {title: Image, expr: image, show: image}]}""".replace("\n", " ")


def test_a_table_has_the_rows_of_its_first_column_sorted_and_the_others_counted():
    seen = drawn(
        frame(TABLE),
        [at_end(4, ns="n", app="x"), at_end(2, ns="n", app="y"), at_end(9, ns="n", app="z")],
        [at_end(0, ns="n", app="y"), at_end(1, ns="n", app="x"), at_end(-7, ns="n", app="other")],
        [at_end(3, ns="n", app="x", cluster="a"), at_end(1, ns="n", app="x", cluster="b")],
        [at_end(1, ns="n", app="x", image="i:2"), at_end(1, ns="n", app="x", image="i:1")],
    )

    assert isinstance(seen, Grid)
    assert [{"ns": "n", "app": "y"}, {"ns": "n", "app": "x"}] == [one.labels for one in seen.records]
    assert 1 == seen.more
    assert ["Wanted", "Free", "b", "a", "c", "Image"] == [one.title for one in seen.headings]
    assert ["", "", "In", "In", "In", ""] == [one.group for one in seen.headings]
    y, x = seen.records
    assert [4.0, 1.0, 1.0, 3.0, None, None] == [cell.value for cell in x.cells]
    assert "i:1, i:2" == x.cells[-1].text
    assert [Level.WARNING, None] == [y.cells[1].level, x.cells[1].level]


def test_what_a_silent_cluster_holds_is_unknown_and_not_nothing():
    seen = drawn(frame(TABLE), [at_end(4, ns="n", app="x")], [], [at_end(3, ns="n", app="x", cluster="a")], [])

    assert isinstance(seen, Grid)
    assert [False, False, True] == [cell.unknown for cell in seen.records[0].cells[2:5]]


def test_a_table_shows_only_the_clusters_that_were_picked():
    seen = drawn(frame(TABLE, cluster=("a",)), [at_end(4, ns="n", app="x")], [], [at_end(3, ns="n", app="x", cluster="a")], [])

    assert isinstance(seen, Grid)
    assert ["a"] == [one.cluster for one in seen.headings if one.cluster]


def test_a_table_spread_over_another_label_has_a_column_of_each_value():
    panel = "{kind: table, title: A, by: [app], columns: [{title: In, expr: up, spread: zone}]}"
    seen = drawn(frame(panel), [at_end(1, app="x", zone="z2"), at_end(2, app="x", zone="z1")])

    assert isinstance(seen, Grid)
    assert ["z1", "z2"] == [one.title for one in seen.headings]


def test_where_a_question_was_not_answered_the_reason_is_shown():
    reason = Unanswered("the store did not answer within 30 s")

    assert reason == drawn(frame("{kind: stat, title: A, expr: up, of: down}"), [at_end(1)], reason)
    assert Unanswered("the store was not asked") == view(frame("{kind: stat, title: A, expr: up}"), {})


@pytest.mark.parametrize(
    ("value", "level"), [(None, None), (0.5, None), (1.0, Level.GOOD), (0.85, Level.WARNING), (2.0, Level.BAD)]
)
def test_the_worst_level_that_holds_counts(value, level):
    thresholds = [
        Threshold(level=Level.BAD, above=1.5),
        Threshold(level=Level.WARNING, above=0.8),
        Threshold(level=Level.GOOD, above=0.9),
    ]
    if value == 1.0:
        thresholds = thresholds[2:]

    assert level == level_of(value, thresholds)


def test_of_every_deployed_panel_an_empty_store_draws_something():
    shapes = set()
    for dashboard in deployed.dashboards().values():
        for panel in dashboard.panels:
            seen = Frame(dashboard, panel, Picks(0, END), FLEET)
            found = view(seen, dict.fromkeys(questions(seen), Answer()))
            shapes.add(type(found))
            json.dumps(told_view(found), allow_nan=False)

    assert {Chart, Bars, Numbers, Grid} == shapes


def test_what_is_told_to_a_browser_is_json_without_numbers_that_json_lacks():
    states = cluster_states(FLEET, {"a": END - 20}, END)
    covered = coverage(states, "sum(up)", {"count by (cluster) (up{})": Answer((at_end(2, cluster="a"),))})

    assert {"a": [None, 1.5, "bad"]} == plain({"a": (math.nan, 1.5, Level.BAD)})
    assert ["a"] == told_coverage(covered)["covers"]
    assert ["nothing of it was ever collected"] * 2 == [one["sentence"] for one in told_coverage(covered)["lacks"]]
    assert {"cluster": "a", "freshness": "fresh", "since": 3580.0, "lag": 20.0, "sentence": "20 s behind"} == told_state(
        states[1]
    )
    for dashboard in deployed.dashboards().values():
        json.dumps(told_dashboard(dashboard), allow_nan=False)
