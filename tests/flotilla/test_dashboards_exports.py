"""Two further views of the one model: Grafana's JSON and vmui's."""

from __future__ import annotations

import json

import pytest

from flotilla.dashboards.grafana import grafana_json
from flotilla.dashboards.parsing import parse_dashboard
from flotilla.dashboards.promql import parse
from flotilla.dashboards.vmui import vmui_dashboard
from tests.flotilla import deployed
from tests.flotilla.deployed import page

FLEET = ("a", "b")
PAGES = list(deployed.dashboards().values())


def grafana(panels: str, **more: str) -> dict:
    return json.loads(grafana_json(parse_dashboard(page(panels, **more), "mine.yaml"), FLEET))


def vmui(panels: str, **more: str) -> list[dict]:
    told = vmui_dashboard(parse_dashboard(page(panels, **more), "mine.yaml"))
    return [panel for row in told["rows"] for panel in row["panels"]][1:]


@pytest.mark.parametrize("dashboard", PAGES, ids=lambda one: one.name)
def test_grafana_gets_every_panel_at_a_place_of_its_own(dashboard):
    told = json.loads(grafana_json(dashboard, FLEET))
    panels = told["panels"]
    spots = {
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in panels
        for x in range(p["gridPos"]["w"])
        for y in range(p["gridPos"]["h"])
    }

    assert f"flotilla-{dashboard.name}" == told["uid"]
    assert {panel.title for panel in dashboard.panels} <= {panel["title"] for panel in panels}
    assert len(spots) == sum(p["gridPos"]["w"] * p["gridPos"]["h"] for p in panels)
    assert max(x for x, _ in spots) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert "Seconds behind, by cluster" == panels[1]["title"]


@pytest.mark.parametrize("dashboard", PAGES, ids=lambda one: one.name)
def test_what_grafana_asks_is_promql(dashboard):
    for panel in json.loads(grafana_json(dashboard, FLEET))["panels"]:
        for target in panel.get("targets", ()):
            parse(target["expr"])


def test_grafana_asks_for_the_picked_clusters_and_fills_in_the_durations_itself():
    told = grafana(
        "{kind: timeseries, title: A, queries: [{expr: 'rate(a_total[$__rate_interval])', legend: '{{pod}}'}]}",
        variables="{name: cluster, title: Cluster, metric: up}",
    )
    cluster = told["templating"]["list"][1]

    assert 'rate(a_total{cluster=~"$cluster"}[$__rate_interval])' == told["panels"][3]["targets"][0]["expr"]
    assert ("label_values(up, cluster)", ".*", True) == (cluster["query"]["query"], cluster["allValue"], cluster["multi"])


def test_a_top_n_in_grafana_has_its_remainder_and_the_lines_of_the_same_series():
    told = grafana("{kind: topN, title: A, by: [cluster, pod], k: 3, expr: up}")
    bars, lines = told["panels"][3:]
    ranking = "avg_over_time((up)[$__range:$__interval])"

    assert [f"sort_desc(topk(3, {ranking}))", f"sum(({ranking}) unless topk(3, {ranking}))"] == [
        one["expr"] for one in bars["targets"]
    ]
    assert ["(up) and on (cluster, pod) topk(3, avg_over_time((up)[$__range:$__interval] @ end()))"] == [
        one["expr"] for one in lines["targets"]
    ]


def test_a_table_in_grafana_has_a_column_for_each_cluster_and_texts_from_labels():
    columns = "{title: In, expr: up, spread: cluster}, {title: Image, expr: img, show: image}"
    told = grafana(f"{{kind: table, title: A, by: [app], columns: [{columns}]}}")
    table = told["panels"][3]

    assert [
        'sum by (app) (up{cluster="a"})',
        'sum by (app) (up{cluster="b"})',
        'group by (app, Image) (label_replace(img, "Image", "$1", "image", "(.*)"))',
    ] == [one["expr"] for one in table["targets"]]
    organised = table["transformations"][1]["options"]
    assert {"Value #A": "In a", "Value #B": "In b", "Image": "Image"} == organised["renameByName"]
    assert {"Time": True, "Value #C": True} == organised["excludeByName"]


@pytest.mark.parametrize(
    ("thresholds", "steps"),
    [
        ("", [(None, "text")]),
        ("{level: warning, above: 1}, {level: bad, above: 2}", [(None, "text"), (1, "orange"), (2, "red")]),
        ("{level: warning, below: 1}, {level: bad, below: 0.5}", [(None, "red"), (0.5, "orange"), (1, "text")]),
        ("{level: warning, above: 30}, {level: warning, below: -30}", [(None, "orange"), (-30, "text"), (30, "orange")]),
    ],
)
def test_thresholds_become_grafanas_steps(thresholds, steps):
    told = grafana(f"{{kind: stat, title: A, expr: up, thresholds: [{thresholds}]}}")

    assert steps == [
        (one["value"], one["color"]) for one in told["panels"][3]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    ]


def test_a_link_carries_the_row_to_another_dashboard():
    told = grafana(
        "{kind: topN, title: A, by: [cluster, pod], expr: up, links: [{title: L, dashboard: pods, carry: [cluster]}]}"
    )

    (link,) = told["panels"][3]["fieldConfig"]["defaults"]["links"]
    assert "/d/flotilla-pods?${__url_time_range}&var-cluster=${__field.labels.cluster}" == link["url"]


@pytest.mark.parametrize("dashboard", PAGES, ids=lambda one: one.name)
def test_vmui_gets_expressions_with_nothing_left_open_in_the_form_it_reads(dashboard):
    told = vmui_dashboard(dashboard)

    assert {"title", "rows"} == set(told)
    for row in told["rows"]:
        for panel in row["panels"]:
            assert {"title", "description", "unit", "expr", "alias", "showLegend", "width"} == set(panel)
            assert 1 <= panel["width"] <= 12
            assert len(panel["expr"]) == len(panel["alias"])
            assert all(expr.replace("$1", "").count("$") == 0 for expr in panel["expr"])
    assert "Seconds behind, by cluster" == told["rows"][0]["panels"][0]["title"]


def test_vmui_ranks_on_the_range_by_itself_and_adds_the_others():
    (panel,) = vmui("{kind: topN, title: A, by: [cluster, pod], k: 3, expr: up}")
    (ratio,) = vmui("{kind: topN, title: A, by: [cluster, pod], k: 3, expr: up, others: average, rank: max, unit: ratio}")

    assert ['topk_avg(3, up, "pod=others")'] == panel["expr"]
    assert ["{{cluster}} / {{pod}}"] == panel["alias"]
    assert ["(topk_max(3, up)) / 0.01"] == ratio["expr"]


def test_vmui_draws_the_numbers_of_a_table_by_unit_and_leaves_texts_out():
    numbers = "{title: B, expr: b}, {title: C, expr: c}, {title: D, expr: d, unit: bytes, spread: cluster}"
    columns = f"{numbers}, {{title: E, expr: e, show: x}}"
    first, second = vmui(f"{{kind: table, title: A, by: [app], columns: [{columns}]}}")

    assert ("A: b, c", ["topk_last(20, b)", "topk_last(20, c)"]) == (first["title"], first["expr"])
    assert ("A: d", ["(topk_last(20, d)) / 1048576"], " MiB") == (second["title"], second["expr"], second["unit"])
    assert ["D: {{app}} / {{cluster}}"] == second["alias"]
