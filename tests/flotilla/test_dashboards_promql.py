"""PromQL as a tree with positions, and texts rewritten without touching anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.dashboards.frames import expressions
from flotilla.dashboards.labels import labels_of
from flotilla.dashboards.picks import Picks, filled, open_text, pattern
from flotilla.dashboards.promql import (
    Aggregate,
    Binary,
    Call,
    Literal,
    NotPromql,
    Selector,
    Subquery,
    parse,
    pinned_to_end,
    selectors,
    walk,
    with_matcher,
)
from tests.flotilla import deployed

KNOWN = {"a": frozenset({"cluster", "x", "y"}), "b": frozenset({"cluster", "x", "z"})}
DEPLOYED = [
    open_text(dashboard, expr)
    for dashboard in deployed.dashboards().values()
    for panel in dashboard.panels
    for expr in expressions(panel)
]


@pytest.mark.parametrize(
    "text",
    [
        "sum by (up, cluster) (rate(up{a=\"}\", b='{'}[5m])) / on (cluster) group_left (x) topk(3, avg_over_time((b)[1h:1m]))",
        "a - -b * c offset -5m",
        "sum(a) by (b) - sum without (c) (d)",
        'a{x="1"} and on (b) c or ignoring (d) e unless f',
        "max_over_time(rate(a[5m])[1h:]) > bool 1",
        "a @ end() - b @ 1609746000 - sum(c)",
        '{__name__=~"a|b"} # a comment with sum by (x) (y)\n + c',
        "histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))",
        ":node:sum + node:rate5m:",
        'label_replace(a, "b", "$1", "c", "(.+)-[a-z]+")',
        "(a atan2 b) ^ 2 % 3",
    ],
)
def test_every_node_stands_where_it_is_written(text):
    stand_where_written(text)


@pytest.mark.parametrize("text", DEPLOYED)
def test_every_node_of_the_deployed_dashboards_stands_where_it_is_written(text):
    stand_where_written(text)


def stand_where_written(text: str) -> None:
    for node, _ in walk(parse(text)):
        match node:
            case Selector():
                assert text.startswith((node.name or "{", "{"), node.at)
            case Call():
                assert text.startswith(node.function, node.at)
            case Aggregate() | Binary():
                assert text.lower().startswith(node.op, node.at)
            case Subquery():
                assert text.startswith(f"[{node.range}]", node.at)
            case Literal():
                pass


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sum(", "unclosed left parenthesis"),
        ("rate(a)", "expected type matrix"),
        ("topk_avg(3, a)", "unknown function with name 'topk_avg'"),
        ("rate(a[$span])", "$span stands outside a string"),
        ("sum by (x) ", "invalid promql"),
    ],
)
def test_what_is_no_promql_is_told_in_the_parsers_words(text, told):
    with pytest.raises(NotPromql, match=told.replace("$", r"\$").replace("(", r"\(")):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up", 'up{cluster=~"$c"}'),
        ("up{}", 'up{cluster=~"$c"}'),
        ('up{a="b",}', 'up{a="b", cluster=~"$c"}'),
        ('rate(up{a="b"}[5m] offset 1h)', 'rate(up{a="b", cluster=~"$c"}[5m] offset 1h)'),
        ('up{cluster="x"} + down', 'up{cluster="x"} + down{cluster=~"$c"}'),
        ('up{mycluster="x"}', 'up{mycluster="x", cluster=~"$c"}'),
        ("sum by (cluster) (up) # up", 'sum by (cluster) (up{cluster=~"$c"}) # up'),
        ("a and on (up) b", 'a{cluster=~"$c"} and on (up) b{cluster=~"$c"}'),
        ("max_over_time(a[5m:1m])", 'max_over_time(a{cluster=~"$c"}[5m:1m])'),
        ('{__name__=~"a|b"}', '{__name__=~"a|b", cluster=~"$c"}'),
    ],
)
def test_a_condition_is_put_into_every_selector_that_lacks_it(text, expected):
    assert expected == with_matcher(text, "cluster", 'cluster=~"$c"')


@pytest.mark.parametrize("text", DEPLOYED)
def test_every_selector_of_the_deployed_dashboards_asks_for_the_picked_clusters(text):
    assert selectors(text)
    for one in selectors(text):
        assert [("cluster", "=~", "$cluster")] == [(m.label, m.op, m.value) for m in one.matchers if m.label == "cluster"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate(a[$__range]) / b", "rate(a[$__range] @ end()) / b @ end()"),
        ("avg_over_time((a + b)[1h:1m])", "avg_over_time((a + b)[1h:1m] @ end())"),
        ("a @ end() + b", "a @ end() + b @ end()"),
        ("sum(max_over_time(rate(a[5m])[1h:1m]))", "sum(max_over_time(rate(a[5m])[1h:1m] @ end()))"),
    ],
)
def test_a_text_that_is_pinned_looks_at_the_end_once(text, expected):
    assert expected == pinned_to_end(text)
    assert expected == pinned_to_end(expected)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_picked_values_never_leave_their_string(values):
    text = f"up{{pod=~\"{pattern(values)}\", other=~'{pattern(values)}'}}"

    (selector,) = selectors(text)

    assert ["pod", "other"] == [one.label for one in selector.matchers]


def test_nothing_picked_means_everything():
    dashboard = next(one for one in deployed.dashboards().values() if one.name == "pods")

    text = filled(dashboard, 'a{namespace=~"$namespace", pod=~"$pod"}[$__rate_interval]', Picks(0, 3600))

    assert 'a{namespace=~".*", pod=~"$pod"}[2m]' == text


@pytest.mark.parametrize(
    ("span", "step", "rate", "inner"),
    [(900, 30, "2m", "30s"), (3600, 30, "2m", "1m"), (86_400, 600, "630s", "24m"), (604_800, 3600, "3630s", "168m")],
)
def test_durations_grow_with_the_range_and_a_rate_sees_every_scrape(span, step, rate, inner):
    picks = Picks(0, span)

    assert step == picks.step
    assert {"$__rate_interval": rate, "$__interval": inner} == {k: v for k, v in picks.durations.items() if k != "$__range"}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a", "cluster x y"),
        ("rate(a[5m])", "cluster x y"),
        ("sum(a)", ""),
        ("sum by (x, q) (a)", "x"),
        ("sum without (x) (a)", "cluster y"),
        ("topk(3, a)", "cluster x y"),
        ("a * on (cluster) group_left (z) b", "cluster x y z"),
        ("a / on (cluster, x) b", "cluster x"),
        ("a / ignoring (y) b", "cluster x"),
        ("a and on (x) b", "cluster x y"),
        ("a or b", "cluster x y z"),
        ("2 * a", "cluster x y"),
        ('label_replace(a, "q", "$1", "x", "(.*)")', "cluster q x y"),
        ('absent(a{cluster="c"})', "cluster"),
        ("vector(1)", ""),
        ('count_values("v", a)', "v"),
        ("max_over_time((sum by (x) (a))[1h:1m])", "x"),
    ],
)
def test_the_labels_of_an_answer_follow_from_the_text(text, labels):
    assert set(labels.split()) == set(labels_of(parse(text), KNOWN).names)
