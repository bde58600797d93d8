"""What rules would have found, had late samples been there."""

from __future__ import annotations

from pathlib import Path

import pytest

from flotilla.dashboards.answers import series
from flotilla.dashboards.hindsight import Outbreak, Past, absent, asked, inlined, outbreaks, unheard
from flotilla.dashboards.promql import NotPromql, parse
from flotilla.dashboards.rules import Group, Rule, parse_rules

FILES = sorted((Path(__file__).parents[2] / "deployments" / "rules").glob("*.yaml"))
RULES = """
groups:
  - name: of the collector
    rules:
      - {record: "flotilla:cluster_fresh:bool", expr: "time() - max by (cluster) (flotilla_watermark) < bool 120"}
      - {alert: Silent, expr: "flotilla:cluster_fresh:bool == 0"}
      - {alert: Lost, expr: "max by (cluster) (flotilla_gap_seconds) > 0"}
  - name: of what runs
    interval: 30s
    rules:
      - {record: "x:up:sum", expr: "sum by (cluster) (up) and on (cluster) (flotilla:cluster_fresh:bool == 1)"}
      - {alert: Few, expr: "x:up:sum < 3", for: 1m, labels: {severity: page, verdict: firing}}
      - {alert: Few, expr: "absent(x:up:sum)", labels: {verdict: unknown}}
      - {alert: Falls, expr: "deriv(x:up:sum[10m]) < 0"}
      - {alert: Part, expr: 'x:up:sum{cluster="a"} < 3'}
"""
FEW = Past(Rule(alert="Few", expr="up < 3", held=60, labels={"severity": "page", "note": "{{ $value }}"}), "up < 3", 30, 300)


def groups(text: str = RULES) -> list[Group]:
    return list(parse_rules(text, "rules.yaml").groups)


def test_what_was_recorded_in_ignorance_is_asked_again_from_the_samples_themselves():
    found = {past.rule.name: past for past in asked(groups(), ["a", "b"]).past}

    assert "flotilla:cluster_fresh:bool" not in found["Few"].expr
    assert "x:up:sum" not in found["Few"].expr
    assert 'label_replace(vector(1), "cluster", "b", "", "")' in found["Few"].expr
    assert "[10m:30s]" in found["Falls"].expr
    assert (30, 300) == (found["Few"].step, found["Few"].reach)
    assert 900 == found["Falls"].reach


def test_rules_about_the_collector_and_about_what_was_not_known_are_not_asked_again():
    assert ["x:up:sum", "Few", "Falls"] == [past.rule.name for past in asked(groups(), ["a"]).past]


def test_a_rule_that_reads_a_part_of_what_another_records_is_left_out_and_named():
    (reason,) = asked(groups(), ["a"]).left_out

    assert reason.startswith("Part: of x:up:sum, which is recorded, it reads a part")


def test_every_rule_that_we_ship_can_be_asked_again_but_those_about_the_collector():
    shipped = [group for file in FILES for group in parse_rules(file.read_text(), str(file)).groups]

    found = asked(shipped, ["production", "same-city", "remote"])

    assert () == found.left_out
    assert "FleetApplicationDown" in {past.rule.name for past in found.past}
    assert not [past.rule.name for past in found.past if past.rule.name.startswith("Flotilla")]
    for past in found.past:
        parse(past.expr)
        assert ":cluster_fresh:" not in past.expr


def test_a_rule_that_reads_itself_reads_what_was_recorded():
    assert "a:b or (up)" == inlined("a:b or x:y", {"x:y": "up"})
    assert "(1 + (up))" == inlined("x:y", {"x:y": "1 + z:z", "z:z": "up"})
    with pytest.raises(NotPromql):
        inlined("sum(", {})


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([30], []),
        ([30, 60], []),
        ([30, 60, 90], [(90, 90)]),
        ([30, 60, 90, 120, 240, 270], [(90, 120)]),
        ([30, 60, 90, 300, 330, 360, 390], [(90, 90), (360, 390)]),
    ],
)
def test_an_alert_would_have_fired_once_its_condition_had_held_long_enough(times, expected):
    found = outbreaks(FEW, [series({"__name__": "up", "cluster": "a"}, [(time, 1.0) for time in times])])

    assert expected == [(one.begin, one.end) for one in found]
    assert all({"alertname": "Few", "cluster": "a", "severity": "page"} == one.labels for one in found)


def test_what_did_fire_at_the_time_is_no_news():
    would = Outbreak({"alertname": "Few", "cluster": "a"}, 90, 120)
    labels = {"__name__": "ALERTS", "alertstate": "firing", "alertgroup": "x", **would.labels}

    assert [] == unheard([would], [series(labels, [(100.0, 1.0)])], 30)
    assert [would] == unheard([would], [series(labels, [(300.0, 1.0)])], 30)
    assert [would] == unheard([would], [series({**labels, "cluster": "b"}, [(100.0, 1.0)])], 30)
    assert "Few (cluster=a) would have fired at 1970-01-01 00:01:30, until 1970-01-01 00:02:00" == str(would)


def test_only_what_is_missing_is_recorded_and_only_of_clusters_that_were_late():
    past = Past(Rule(record="x:y", expr="up", labels={"by": "us"}), "up", 30, 300)
    found = [
        series({"cluster": "a"}, [(30.0, 1.0), (60.0, 2.0), (90.0, 3.0)]),
        series({"cluster": "b"}, [(30.0, 1.0)]),
        series({}, [(30.0, 5.0)]),
    ]
    there = [series({"__name__": "x:y", "cluster": "a", "by": "us"}, [(62.0, 9.0)])]

    (one,) = absent(past, found, there, ["a"])

    assert {"__name__": "x:y", "cluster": "a", "by": "us"} == dict(one.labels)
    assert ((30.0, 1.0),) == one.points
