"""A dashboard's file is read strictly: what is wrong with it is told by file, field, value and what is allowed."""

from __future__ import annotations

import pytest

from flotilla.dashboards.model import Others, Rank, TopN
from flotilla.dashboards.parsing import parse_dashboard, parse_dashboards
from flotilla.errors import InvalidInput
from tests.flotilla import deployed
from tests.flotilla.deployed import page

GOOD = "{kind: stat, title: One, expr: up}"


def told(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_dashboard(text, "mine.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("panel", "expected"),
    [
        ("{kind: topM, title: A, expr: up}", "rows[0].panels[0].kind: 'topM'; allowed: one of timeseries, stat, table, topN"),
        ("{title: A, expr: up}", "rows[0].panels[0].kind: is missing; allowed: one of timeseries, stat, table, topN"),
        ("[]", "rows[0].panels[0].kind: is not a mapping; allowed: one of timeseries, stat, table, topN"),
        ("{kind: stat, title: A, expr: up, unit: kg}", "rows[0].panels[0].unit: 'kg'; allowed: 'count', 'cores'"),
        ("{kind: stat, title: A, expr: up, colour: red}", "rows[0].panels[0].colour: 'red'; allowed: one of the fields"),
        ("{kind: stat, title: A}", "rows[0].panels[0].expr: is missing; allowed: Field required"),
        (
            "{kind: stat, title: A, expr: up, width: 13}",
            "rows[0].panels[0].width: 13; allowed: Input should be less than or equal to 12",
        ),
        ("{kind: timeseries, title: A, queries: []}", "rows[0].panels[0].queries: []; allowed: at least one"),
        ("{kind: topN, title: A, expr: up, by: [pod]}", "allowed: by: labels that include cluster"),
        (
            "{kind: topN, title: A, expr: up, by: [cluster], rank: window}",
            "rows[0].panels[0].rank: 'window'; allowed: mean, max or last",
        ),
        (
            "{kind: topN, title: A, expr: up, by: [cluster], rank: best}",
            "rows[0].panels[0].rank: 'best'; allowed: 'mean', 'max', 'last' or 'window'",
        ),
        ("{kind: table, title: A, by: [a], columns: [{title: B, expr: up}], sort: C}", "allowed: sort: one of B"),
        (
            "{kind: table, title: A, by: [a], columns: [{title: B, expr: up, spred: c}]}",
            "columns[0].spred: 'c'; allowed: one of the fields",
        ),
        ("{kind: stat, title: A, expr: up, links: [{title: B}]}", "links[0]: {'title': 'B'}; allowed: dashboard or url"),
        (
            "{kind: stat, title: A, expr: up, thresholds: [{level: bad}]}",
            "thresholds[0]: {'level': 'bad'}; allowed: above or below",
        ),
        (
            "{kind: stat, title: A, expr: up, thresholds: [{level: awful, above: 1}]}",
            "thresholds[0].level: 'awful'; allowed: 'good'",
        ),
    ],
)
def test_what_is_wrong_with_a_panel_is_told_with_its_place(panel, expected):
    text = told(page(panel))

    assert expected in text
    assert 1 == len(text.splitlines())
    assert text.startswith("mine.yaml: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            page(GOOD).replace("title: Mine", "title: Mine\nrange: 5x"),
            "range: '5x'; allowed: a duration such as 30s, 5m, 1h30m or 7d",
        ),
        (page(GOOD).replace("title: Mine\n", ""), "title: is missing; allowed: Field required"),
        (page(GOOD).replace("name: mine", "name: My Page"), "name: 'My Page'; allowed: a DNS label"),
        (page(f"{GOOD}\n{GOOD}"), "rows[0].panels[1].title: 'One'; allowed: a title that no other panel of the row has"),
        (
            page(GOOD, variables="{name: a, metric: up}, {name: a, metric: up}"),
            "variables[1].name: 'a'; allowed: a name that no other",
        ),
        ("name: mine\ntitle: Mine\nrows: []\n", "rows: []; allowed: at least one"),
        ("name: mine\ntitle: Mine\nrows: 3\n", "rows: 3; allowed: Input should be a valid tuple"),
        ("- 1\n", "mine.yaml: is not a mapping; allowed: one YAML document with name, title, rows"),
        ("a: 1\n---\nb: 2\n", "mine.yaml: holds 2 documents; allowed: one YAML document"),
        ("name: [\n", "allowed: well-formed YAML"),
    ],
)
def test_what_is_wrong_with_a_dashboard_is_told_with_its_place(text, expected):
    assert expected in told(text)


def test_everything_wrong_in_all_files_is_told_at_once():
    broken = page("{kind: stat, title: A}\n{kind: nope}")
    with pytest.raises(InvalidInput) as caught:
        parse_dashboards({"a.yaml": broken, "b.yaml": page(GOOD), "c.yaml": page(GOOD)})

    assert [("a.yaml", "rows[0].panels[0].expr"), ("a.yaml", "rows[0].panels[1].kind"), ("c.yaml", "name")] == [
        (one.file, one.field) for one in caught.value.problems
    ]


def test_dashboards_come_in_their_own_order():
    first = page(GOOD).replace("name: mine", "name: first\norder: 1")

    assert ["first", "mine"] == [one.name for one in parse_dashboards({"a": page(GOOD), "b": first}).values()]


def test_parts_are_put_in_also_into_parts_and_a_circle_ends():
    parsed = parse_dashboard(page(GOOD, parts='a: "up + ${b}", b: "${c}", c: "down", d: "${d}"'), "mine.yaml")

    assert "sum((up + ((down))))" == parsed.expanded("sum(${a})")
    assert "${e}" == parsed.expanded("${e}")
    assert parsed.expanded("${d}").count("(") == 5


def test_a_top_n_ranks_by_its_mean_and_tells_of_the_sum_of_the_others_unless_told_otherwise():
    (panel,) = parse_dashboard(page("{kind: topN, title: A, expr: up, by: [cluster]}"), "mine.yaml").panels

    assert isinstance(panel, TopN)
    assert (Rank.MEAN, Others.SUM, 10, True) == (panel.rank, panel.others, panel.k, panel.lines)


def test_the_deployed_dashboards_are_there():
    assert ["applications", "nodes", "pods", "fleet", "example"] == [one.name for one in deployed.dashboards().values()]


def test_links_lead_to_dashboards_and_variables_that_there_are():
    pages = {one.name: one for one in deployed.dashboards().values()}
    for one in pages.values():
        for panel in one.panels:
            for link in panel.links:
                assert {variable.name for variable in pages[link.dashboard].variables} >= set(link.carry)
