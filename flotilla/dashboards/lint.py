"""`flotilla dashboards lint`: every expression of dashboards and rules, checked without a store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from flotilla.dashboards import topn
from flotilla.dashboards.checks import Ground, cost, flaws
from flotilla.dashboards.findings import Finding, Place
from flotilla.dashboards.findings import Rule as Flaw
from flotilla.dashboards.frames import expressions
from flotilla.dashboards.labels import labels_of
from flotilla.dashboards.model import Dashboard, Panel, Timeseries, TopN
from flotilla.dashboards.picks import open_text
from flotilla.dashboards.promql import NotPromql, Selector, parse, selectors, walk
from flotilla.dashboards.rules import Rule, Rules

FRESHNESS = frozenset({"flotilla:cluster_fresh:bool", "flotilla:cluster_lag:seconds"})
"""Recorded by our own rules: which clusters' samples are recent enough to judge by."""

_COLLECTORS_OWN = re.compile(r"flotilla_")
_VARIABLE = re.compile(r"\$\{?([a-zA-Z]\w*)\}?")


def lint_dashboard(dashboard: Dashboard, file: str, ground: Ground) -> tuple[Finding, ...]:
    """Return what is wrong with the expressions of a dashboard."""
    return tuple(finding for panel in dashboard.panels for finding in _of_panel(dashboard, panel, file, ground))


def lint_rules(files: Mapping[str, Rules], ground: Ground) -> tuple[Finding, ...]:
    """Return what is wrong with the expressions of some rule files; what one of them records, others may use."""
    rules = [rule for held in files.values() for rule in held.rules]
    known = knowing(ground, rules)
    return tuple(
        finding
        for file, held in files.items()
        for rule in held.rules
        for finding in (*lint_expression(rule.expr, Place(file, rule.name), known, drawn=False), *_unguarded(rule, rules, file))
    )


def lint_expression(text: str, place: Place, ground: Ground, *, drawn: bool) -> tuple[Finding, ...]:
    """Return what is wrong with one expression; ``drawn``: it is asked at each step of a range."""
    try:
        root = parse(text)
    except NotPromql as error:
        return (Finding(Flaw.PARSE, place, text, 0, str(error)),)
    found = [Finding(rule, place, text, at, says) for rule, at, says in flaws(root, ground, drawn=drawn)]
    read = cost(root, ground.series)
    if read > ground.most:
        told = f"reads up to {read:,} series, more than {ground.most:,}: match fewer, or record it"
        found.append(Finding(Flaw.EXPENSIVE, place, text, 0, told))
    return tuple(dict.fromkeys(found))


def knowing(ground: Ground, rules: Iterable[Rule]) -> Ground:
    """Return the ground with what some rules record, each with the labels that its expression gives it."""
    if ground.known is None:
        return ground
    known = dict(ground.known)
    for rule in rules:
        if rule.record:
            known[rule.record] = _recorded(rule, known)
    return replace(ground, known=known)


def metrics_of(dashboards: Iterable[Dashboard], rules: Iterable[Rules]) -> frozenset[str]:
    """Return the metrics that dashboards and rules read from the members: what a collector has to bring."""
    held = [rule for one in rules for rule in one.rules]
    texts = [open_text(one, expr) for one in dashboards for panel in one.panels for expr in expressions(panel)]
    names = {name for text in [*texts, *(rule.expr for rule in held)] for name in _names(text)}
    names |= {variable.metric for one in dashboards for variable in one.variables}
    return frozenset(name for name in names if name and not _COLLECTORS_OWN.match(name) and ":" not in name)


def _of_panel(dashboard: Dashboard, panel: Panel, file: str, ground: Ground) -> Iterator[Finding]:
    place = Place(file, panel.title)
    for expr in expressions(panel):
        text = open_text(dashboard, expr)
        yield from _unknown_variables(dashboard, text, place)
        yield from lint_expression(text, place, ground, drawn=isinstance(panel, Timeseries | TopN))
    if isinstance(panel, TopN):
        yield from _misnamed(dashboard, panel, place, ground)


def _unknown_variables(dashboard: Dashboard, text: str, place: Place) -> Iterator[Finding]:
    names = {variable.name for variable in dashboard.variables}
    for found in _VARIABLE.finditer(text):
        if found[1] not in names and not found[1].startswith("__"):
            told = f"no variable and no part is called {found[1]}; there are {', '.join(sorted(names | set(dashboard.parts)))}"
            yield Finding(Flaw.UNKNOWN_VARIABLE, place, text, found.start(), told)


def _misnamed(dashboard: Dashboard, panel: TopN, place: Place, ground: Ground) -> Iterator[Finding]:
    """Yield a Top N whose series are not told apart by the labels that name them."""
    text = topn.ranking_text(panel, open_text(dashboard, panel.expr))
    try:
        labels = labels_of(parse(text), ground.labels)
    except NotPromql:
        return
    if not labels.open and labels.names != frozenset(panel.by):
        told = f"its series are named by {', '.join(sorted(labels.names)) or 'nothing'}, not by {', '.join(panel.by)}"
        yield Finding(Flaw.UNKNOWN_LABEL, place, text, 0, told)


def _recorded(rule: Rule, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    try:
        return labels_of(parse(rule.expr), known).names | set(rule.labels)
    except NotPromql:
        return frozenset()


def _unguarded(rule: Rule, rules: Iterable[Rule], file: str) -> Iterator[Finding]:
    """Yield an alert on members' series that takes a cluster's silence for quiet."""
    if not rule.alert:
        return
    names = _names(rule.expr)
    if names and not all(map(_COLLECTORS_OWN.match, names)) and not _reaches(names, rules):
        told = f"a cluster that falls silent reads as quiet: add `and on (cluster) {min(FRESHNESS)} == 1`"
        yield Finding(Flaw.IGNORES_STALENESS, Place(file, rule.name), rule.expr, 0, told)


def _reaches(names: Iterable[str], rules: Iterable[Rule]) -> bool:
    """Tell whether freshness is among some names, or among what the recorded ones of them are made of."""
    seen, left, recorded = set[str](), list(names), {rule.record: rule.expr for rule in rules if rule.record}
    while left:
        name = left.pop()
        if name in FRESHNESS:
            return True
        if name not in seen:
            seen.add(name)
            left += _names(recorded.get(name, ""))
    return False


def _names(text: str) -> tuple[str, ...]:
    try:
        return tuple(one.name for one in selectors(text)) if text else ()
    except NotPromql:
        return ()


def costs(dashboards: Mapping[str, Dashboard], series: Mapping[str, int]) -> dict[Place, int]:
    """Return how many series each panel reads at most."""
    found: dict[Place, int] = {}
    for file, dashboard in dashboards.items():
        for panel in dashboard.panels:
            texts = [open_text(dashboard, expr) for expr in expressions(panel)]
            names = [node.name for text in texts for node, _ in walk(parse(text)) if isinstance(node, Selector)]
            found[Place(file, panel.title)] = sum(series.get(name, 0) for name in names)
    return found
