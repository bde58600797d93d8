"""Rule files in Prometheus's format: read strictly, and what is shipped says what it cannot see."""

from __future__ import annotations

import pytest

from flotilla.dashboards.promql import parse
from flotilla.dashboards.rules import parse_rules
from flotilla.errors import InvalidInput
from tests.flotilla import deployed


def test_a_rule_file_is_read_with_its_durations():
    rule = "{alert: A, expr: up == 0, for: 5m, keep_firing_for: 90s, labels: {severity: page}}"
    (rule,) = parse_rules(f"groups: [{{name: g, interval: 1m, rules: [{rule}]}}]", "mine.yaml").rules

    assert ("A", 300, 90, {"severity": "page"}) == (rule.name, rule.held, rule.keep_firing_for, rule.labels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("groups: []", "mine.yaml: groups: []; allowed: at least one"),
        (
            "groups: [{name: g, rules: [{expr: up}]}]",
            "groups[0].rules[0]: {'expr': 'up'}; allowed: record or alert, exactly one",
        ),
        ("groups: [{name: g, rules: [{record: a, alert: b, expr: up}]}]", "allowed: record or alert, exactly one"),
        (
            "groups: [{name: g, rules: [{record: a, expr: up, for: 5m}]}]",
            "allowed: for, keep_firing_for and annotations are for alerts",
        ),
        (
            "groups: [{name: g, rules: [{record: 'a-b', expr: up}]}]",
            "groups[0].rules[0].record: 'a-b'; allowed: String should match",
        ),
        (
            "groups: [{name: g, rules: [{alert: a, expr: up, for: soon}]}]",
            "groups[0].rules[0].for: 'soon'; allowed: a duration",
        ),
        (
            "groups: [{name: g, rules: [{alert: a, expr: up, keepFiringFor: 5m}]}]",
            "keepFiringFor: '5m'; allowed: one of the fields alert, annotations",
        ),
        (
            "groups: [{name: g, rules: [{record: a, expr: up}]}, {name: g, rules: [{record: a, expr: up}]}]",
            "groups[1].name: 'g'; allowed: a name of its own",
        ),
        ("[]", "mine.yaml: is not a mapping; allowed: one YAML document with groups"),
        ("a: 1\n---\nb: 1", "mine.yaml: holds 2 documents"),
    ],
)
def test_what_is_wrong_with_a_rule_file_is_told_with_its_place(text, expected):
    with pytest.raises(InvalidInput) as caught:
        parse_rules(text, "mine.yaml")

    assert expected in str(caught.value)


def test_every_deployed_alert_has_a_verdict_a_severity_and_a_summary():
    alerts = [rule for held in deployed.rules().values() for rule in held.rules if rule.alert]

    assert len(alerts) >= 12
    for alert in alerts:
        assert alert.labels["verdict"] in ("firing", "unknown")
        assert alert.labels["severity"] in ("warning", "critical")
        assert alert.annotations["summary"]


def test_every_deployed_rule_is_promql():
    for held in deployed.rules().values():
        for rule in held.rules:
            parse(rule.expr)


def test_the_mixins_names_are_recorded():
    recorded = {rule.record for held in deployed.rules().values() for rule in held.rules}

    assert {
        "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m",
        "node_namespace_pod_container:container_memory_working_set_bytes",
        "cluster:namespace:pod_cpu:active:kube_pod_container_resource_requests",
        "namespace_workload_pod:kube_pod_owner:relabel",
        "node:node_cpu_utilization:ratio_rate5m",
        "cluster:node_cpu:ratio_rate5m",
    } <= recorded
