"""What the page is told, from a store that answers as a test wants: pictures, coverage, and why there is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flotilla.dashboards.answers import Answer, Question, Reply, Unanswered, series
from flotilla.dashboards.checks import Ground
from flotilla.dashboards.coverage import WATERMARKS
from flotilla.dashboards.parsing import parse_dashboards
from flotilla.errors import InvalidInput
from flotilla.fleet import parse_fleet
from flows.dashboard_checks import ask_all, ground_of, lint_sheets, read_sheets
from flows.dashboards import Desk, export_dashboards, read_dashboards
from tasks.asking import Asker
from tasks.promql import engine_at
from tests.flotilla.deployed import page
from tests.tasks.stub_store import one, store, success

ROOT = Path(__file__).parent.parent.parent
FLEET = parse_fleet((ROOT / "deployments" / "fleet.yaml").read_text(), "fleet.yaml")
NOW = 10_000.0
PANELS = """{kind: stat, title: Up, expr: sum(up)}
{kind: table, title: Apps, by: [app], columns: [{title: In, expr: up, spread: cluster}]}
{kind: topN, title: Top, by: [cluster, pod], expr: up, lines: false}
{kind: timeseries, title: Broken, queries: [{expr: "topk_avg(3, up)"}]}"""


def desk(answer: Callable[[Question], Reply]) -> Desk:
    pages = parse_dashboards({"mine.yaml": page(PANELS, variables="{name: cluster, metric: up}")})
    return Desk({one.name: one for one in pages.values()}, FLEET, engine_at("http://store.invalid"), Asker(answer), lambda: NOW)


def asked(panel: int = 0, **more: str) -> dict[str, tuple[str, ...]]:
    given = {"dashboard": "mine", "panel": str(panel), "start": str(NOW - 3600), "end": str(NOW)} | more
    return {name: (value,) for name, value in given.items()}


def remote_is_silent(question: Question) -> Reply:
    if question.expr == WATERMARKS:
        marks = {"production": NOW - 20, "same-city": NOW - 40, "remote": NOW - 900}
        return Answer(tuple(series({"cluster": name}, [(NOW, mark)]) for name, mark in marks.items()))
    return Answer(
        tuple(series({"cluster": name, "app": "x", "pod": "p"}, [(NOW, 2.0)]) for name in ("production", "same-city"))
    )


def test_a_number_is_told_with_the_clusters_that_it_covers_and_lacks():
    told = desk(remote_is_silent).told_panel(asked())

    assert (["production", "same-city"], []) == (told["coverage"]["covers"], told["coverage"]["without"])
    assert [("remote", NOW - 900)] == [(lack["cluster"], lack["since"]) for lack in told["coverage"]["lacks"]]
    assert ['sum(up{cluster=~".*"})'] == told["queries"]
    json.dumps(told, allow_nan=False)


def test_a_table_marks_what_a_silent_cluster_holds_as_unknown():
    told = desk(remote_is_silent).told_panel(asked(1))["view"]

    assert [("production", False), ("same-city", False), ("remote", True)] == [
        (heading["title"], cell["unknown"]) for heading, cell in zip(told["headings"], told["records"][0]["cells"], strict=True)
    ]


def test_clusters_that_were_not_picked_are_neither_covered_nor_lacking():
    told = desk(remote_is_silent).told_panel(asked(**{"var-cluster": "production"}))

    assert (["production"], []) == (told["coverage"]["covers"], told["coverage"]["lacks"])
    assert ['sum(up{cluster=~"production"})'] == told["queries"]


def test_of_silent_clusters_alone_no_number_is_told():
    told = desk(remote_is_silent).told_panel(asked(**{"var-cluster": "remote"}))["view"]

    assert ("unanswered", "of the clusters that were picked none can be seen (remote)") == (told["shape"], told["reason"])


def test_the_strip_tells_of_each_cluster_and_up_to_when_a_picture_is_whole():
    told = desk(remote_is_silent).told_clusters(asked())

    assert [("production", "fresh"), ("same-city", "fresh"), ("remote", "silent")] == [
        (one["cluster"], one["freshness"]) for one in told["clusters"]
    ]
    assert (NOW - 40, "") == (told["complete"], told["error"])


def test_a_store_that_does_not_answer_is_told_where_its_numbers_would_be():
    down = desk(lambda question: Unanswered("the store is down"))

    assert {"shape": "unanswered", "reason": "the store is down"} == down.told_panel(asked())["view"]
    assert "the store is down" == down.told_clusters(asked())["error"]


def test_the_layout_tells_of_panels_and_clusters():
    told = desk(remote_is_silent).told_dashboards({})

    assert ["Up", "Apps", "Top", "Broken"] == [panel["title"] for panel in told["dashboards"][0]["rows"][0]["panels"]]
    assert {"name": "remote", "role": "remote", "site": "centre-3"} == told["clusters"][2]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dashboard": "other"}, "request: dashboard: 'other'; allowed: one of mine"),
        ({"panel": "9"}, "request: panel: '9'; allowed: a number below 4"),
        ({"panel": "-1"}, "request: panel: '-1'; allowed: a number below 4"),
        ({"start": "soon"}, "request: start: 'soon'; allowed: Unix seconds"),
        ({"start": "nan"}, "request: start: nan; allowed: a time from 1 s to 400 days before end"),
        ({"start": str(NOW)}, "allowed: a time from 1 s to 400 days before end"),
        ({"panel": "3"}, "unknown function with name 'topk_avg'"),
    ],
)
def test_what_cannot_be_asked_is_told_in_words(given, told):
    with pytest.raises(InvalidInput) as caught:
        desk(remote_is_silent).told_panel(asked(**given))

    assert told in str(caught.value)


def test_dashboards_are_written_for_others(tmp_path):
    pages = read_dashboards([str(ROOT / "deployments" / "dashboards")])
    grafana = export_dashboards(pages, "grafana", str(tmp_path / "g"), FLEET)
    vmui = export_dashboards(pages, "vmui", str(tmp_path / "v"), FLEET)

    assert 5 == len(grafana) == len(vmui)
    assert "flotilla-nodes" == json.loads((tmp_path / "g" / "nodes.json").read_text())["uid"]
    assert "rows" in json.loads((tmp_path / "v" / "nodes.json").read_text())


def test_dashboards_and_rules_are_told_apart_and_all_that_is_wrong_with_them_is_told(tmp_path):
    (tmp_path / "page.yaml").write_text(page("{kind: stat, title: A}"))
    (tmp_path / "rules.yaml").write_text("groups: [{name: g, rules: [{expr: up}]}]")

    with pytest.raises(InvalidInput) as caught:
        read_sheets([str(tmp_path)])

    assert {"page.yaml", "rules.yaml"} == {Path(one.file).name for one in caught.value.problems}


def test_a_store_is_asked_every_question_and_tells_what_it_does_not_take(tmp_path):
    (tmp_path / "page.yaml").write_text(
        page("{kind: stat, title: A, expr: sum(mine)}\n{kind: stat, title: B, expr: sum(yours)}")
    )
    (tmp_path / "rules.yaml").write_text("groups: [{name: g, rules: [{record: 'a:b', expr: sum(mine)}]}]")

    def answer(path, form):
        if path.endswith("/labels"):
            return 200, "application/json", b'{"status":"success","data":["__name__","cluster"]}'
        if "label_replace" in form["query"]:
            return success([one("7", metric="mine")])
        return success([]) if "mine" in form["query"] else (422, "application/json", b'{"status":"error","error":"too much"}')

    with store(answer) as url:
        sheets = read_sheets([str(tmp_path)])
        refused, costs = ask_all(engine_at(url), sheets)
        ground = ground_of(engine_at(url), sheets, Ground())

    assert [("B", "fails-on-store", True)] == [(f.place.panel, f.rule, "too much" in f.says) for f in refused]
    assert {"A": 7, "B": 0, "a:b": 0} == {cost.place.panel: cost.series for cost in costs}
    assert frozenset({"cluster"}) == ground.labels["mine"]
    assert [("B", "unknown-metric")] == [(f.place.panel, f.rule) for f in lint_sheets(sheets, ground)]
