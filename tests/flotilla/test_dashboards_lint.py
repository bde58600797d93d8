"""What the lint finds in expressions, what it leaves alone, and that what is shipped is clean."""

from __future__ import annotations

import pytest

from flotilla.dashboards.checks import Ground, cost
from flotilla.dashboards.findings import Finding, Place, Rule
from flotilla.dashboards.lint import costs, knowing, lint_dashboard, lint_expression, lint_rules, metrics_of
from flotilla.dashboards.parsing import parse_dashboard
from flotilla.dashboards.promql import parse
from flotilla.dashboards.rules import Rules, parse_rules
from tests.flotilla import deployed
from tests.flotilla.deployed import page

FRESH = "flotilla:cluster_fresh:bool == 1"
HERE = Place("mine.yaml", "Panel")
ANY = Ground(known=None)


def found(text: str, *, drawn: bool = False, ground: Ground = ANY) -> list[Rule]:
    return [one.rule for one in lint_expression(text, HERE, ground, drawn=drawn)]


@pytest.mark.parametrize(
    "text",
    [
        # the class of helm/charts#20726: a join without cluster finds duplicates once clusters come together
        "a * on (namespace, pod) group_left (node) max by (cluster, namespace, pod, node) (kube_pod_info)",
        "a * on (namespace, pod) group_left (node) max by (namespace, pod, node) (kube_pod_info)",
        "a / ignoring (cluster) b",
        "sum by (namespace, pod) (rate(a_total[5m]))",
        "max by (node) (up)",
        "sum without (cluster) (a)",
        "max by (namespace, deployment) (kube_deployment_spec_replicas)",  # of raw series: two exporters count twice
        "sum by (cluster) (a) / sum by (namespace) (max by (cluster, namespace) (b))",
        "a and on (pod) b",
    ],
)
def test_what_forgets_the_cluster_is_found(text):
    assert Rule.FORGETS_CLUSTER in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "a * on (cluster, namespace, pod) group_left (node) max by (cluster, namespace, pod, node) (kube_pod_info)",
        "sum by (namespace, deployment) (max by (cluster, namespace, deployment) (kube_deployment_spec_replicas))",
        "sum(max by (cluster, node) (a)) / sum(max by (cluster, node) (b))",
        "sum(rate(a_total[5m]))",
        "a / b",
        "a / ignoring (pod) group_left b",
        "sum by (cluster) (a) and on () (min(b) == 1)",
        "sum by (cluster, namespace) (a) / on (namespace) group_left () sum by (namespace) (max by (cluster, namespace) (b))",
        "topk by (cluster, namespace) (1, a)",
        "2 * a > 1",
        "sum by (namespace) (cluster_namespace:a:sum)",  # recorded: aggregated by cluster already
        "a or b",
        "absent(a)",
    ],
)
def test_what_keeps_the_cluster_is_left_alone(text):
    assert Rule.FORGETS_CLUSTER not in found(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("rate(node_memory_bytes[5m])", Rule.RATE_OF_GAUGE),
        ("increase(cluster:a_total:sum[5m])", Rule.RATE_OF_GAUGE),
        ("rate(sum(a_total)[5m:1m])", Rule.RATE_OF_GAUGE),
        ("sum by (cluster) (a_total)", Rule.COUNTER_WITHOUT_RATE),
        ("deriv(a_seconds_count[5m])", Rule.COUNTER_WITHOUT_RATE),
        ("rate(a_total[1m])", Rule.SHORT_RANGE),
        ("irate(a_total[90s])", Rule.SHORT_RANGE),
        ("sum(", Rule.PARSE),
        ("topk_avg(3, a)", Rule.PARSE),
    ],
)
def test_what_is_wrong_with_an_expression_is_found(text, rule):
    assert [rule] == found(text)


@pytest.mark.parametrize(
    "text",
    [
        "rate(a_total[5m])",
        "rate(a_total[$__rate_interval])",
        "rate(a_total[2m])",
        "max_over_time(rate(a_total[5m])[1h:1m])",
        "deriv(a_bytes[5m])",
        "max_over_time(a_bytes[1m])",
        "histogram_quantile(0.9, sum by (cluster, le) (rate(a_bucket[5m])))",
        "count(a_total)",
        "changes(a_total[10m])",
        "timestamp(a_total)",
        "cluster:a_total:rate5m",
    ],
)
def test_what_is_right_is_left_alone(text):
    assert [] == found(text)


@pytest.mark.parametrize(
    ("text", "drawn", "is_found"),
    [
        ("topk(5, a)", True, True),
        ("sum(bottomk(5, a))", True, True),
        ("topk(5, avg_over_time(a[1h]))", True, True),
        ("topk(5, a)", False, False),
        ("a and on (cluster, pod) topk(5, avg_over_time(a[1h] @ end()))", True, False),
        ("a and on (cluster, pod) topk(5, avg_over_time((a + b)[1h:1m] @ end()))", True, False),
        ("topk by (cluster, pod) (1, a)", True, False),  # one of several that say the same
        ("topk(1, a)", True, True),
    ],
)
def test_topk_that_picks_anew_at_each_step_is_found(text, drawn, is_found):
    assert is_found == (Rule.TOPK_PER_STEP in found(text, drawn=drawn))


@pytest.mark.parametrize(
    ("text", "rule", "told"),
    [
        ("kube_deployment_spec_replica", Rule.UNKNOWN_METRIC, "there is kube_deployment_spec_replicas"),
        ('kube_pod_info{nod="a"}', Rule.UNKNOWN_LABEL, "kube_pod_info has no label nod; it has cluster, created_by_kind"),
        ("max by (cluster, pods) (kube_pod_info)", Rule.UNKNOWN_LABEL, "max names the label pods, which nothing in it has"),
    ],
)
def test_unknown_names_are_told_with_those_that_there_are(text, rule, told):
    (finding,) = lint_expression(text, HERE, Ground(), drawn=False)

    assert rule == finding.rule
    assert told in finding.says


def test_known_names_are_left_alone():
    assert [] == found('max by (cluster, namespace, pod) (kube_pod_info{node="a", site="b"})', ground=Ground())
    assert [] == found("anything_at_all", ground=ANY)


def test_an_expression_that_reads_too_many_series_is_told_with_their_number():
    ground = Ground(known=None, series={"a": 200_000, "b": 150_000, "c": 10})

    (finding,) = lint_expression("sum(a) / sum(b)", HERE, ground, drawn=False)

    assert (Rule.EXPENSIVE, True) == (finding.rule, "350,000 series, more than 300,000" in finding.says)
    assert [] == found("sum(a) / sum(c)", ground=ground)
    assert 200_010 == cost(parse("sum(a) / sum(c) + unheard_of"), ground.series)


def test_a_finding_says_where_it_stands():
    text = 'sum by (cluster) (\n  rate(up{a="rate("}[5m]))'
    (finding,) = lint_expression(text, HERE, ANY, drawn=False)

    assert (2, 3) == (finding.line, finding.column)
    assert str(finding).startswith('mine.yaml: Panel: rate-of-gauge at 2:3 «rate(up{a="rate("}[5m]))»: up is no counter')
    assert isinstance(finding, Finding)


def test_an_unknown_variable_is_found_and_known_ones_are_not():
    text = page(
        '{kind: stat, title: A, expr: "up{namespace=~\\"$namespace\\", pod=~\\"$pod\\", node=~\\"${node}\\"}"}',
        variables="{name: pod, metric: up}",
    )
    findings = lint_dashboard(parse_dashboard(text, "mine.yaml"), "mine.yaml", ANY)

    assert [Rule.UNKNOWN_VARIABLE] * 2 == [one.rule for one in findings]
    assert "no variable and no part is called namespace; there are pod" in findings[0].says


def test_a_top_n_whose_series_are_named_otherwise_is_found():
    named = "{kind: topN, title: A, by: [cluster, pod], expr: 'sum by (cluster, namespace, pod) (kube_pod_info)'}"
    right = named.replace("[cluster, pod]", "[cluster, namespace, pod]")

    for text, rules in ((named, [Rule.UNKNOWN_LABEL]), (right, [])):
        assert rules == [one.rule for one in lint_dashboard(parse_dashboard(page(text), "mine.yaml"), "mine.yaml", Ground())]


def rules_of(rules: str) -> Rules:
    return parse_rules(f"groups: [{{name: g, rules: [{rules}]}}]", "mine.yaml")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("{alert: A, expr: up == 0}", [Rule.IGNORES_STALENESS]),
        (f"{{alert: A, expr: 'up == 0 and on (cluster) {FRESH}'}}", []),
        ("{alert: A, expr: flotilla_gap_seconds > 0}", []),
        (f"{{record: 'a:b', expr: 'up and on (cluster) {FRESH}'}}, {{alert: A, expr: 'a:b == 0'}}", []),
        ("{record: 'a:b', expr: up}, {alert: A, expr: 'a:b == 0'}", [Rule.IGNORES_STALENESS]),
        ("{record: 'a:b', expr: sum(}", [Rule.PARSE]),
        ("{record: 'a:b', expr: sum by (pod) (up)}", [Rule.FORGETS_CLUSTER]),
    ],
)
def test_an_alert_that_takes_silence_for_quiet_is_found(rules, expected):
    assert expected == [one.rule for one in lint_rules({"mine.yaml": rules_of(rules)}, ANY)]


def test_what_is_recorded_is_known_with_the_labels_of_its_expression():
    expr = "sum by (node) (max by (cluster, node) (kube_node_info))"
    rules = rules_of(f"{{record: 'n:x:sum', expr: '{expr}', labels: {{a: b}}}}").rules

    assert frozenset({"node", "a"}) == knowing(Ground(), rules).labels["n:x:sum"]


def test_the_deployed_dashboards_and_rules_are_clean():
    findings = [one for file, page_ in deployed.dashboards().items() for one in lint_dashboard(page_, file, Ground())]

    assert [] == [str(one) for one in (*findings, *lint_rules(deployed.rules(), Ground()))]


def test_what_dashboards_and_rules_read_is_what_a_collector_has_to_bring():
    needed = metrics_of(deployed.dashboards().values(), deployed.rules().values())

    assert {"kube_deployment_spec_replicas", "container_cpu_usage_seconds_total", "kube_replicaset_owner"} <= needed
    assert not [name for name in needed if name.startswith("flotilla") or ":" in name]


def test_the_cost_of_a_panel_is_that_of_all_its_expressions():
    text = page("{kind: stat, title: A, expr: sum(up), of: sum(down) + sum(up)}")

    assert {Place("f", "A"): 23} == costs({"f": parse_dashboard(text, "f")}, {"up": 10, "down": 3})
