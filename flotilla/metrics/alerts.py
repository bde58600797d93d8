"""What alerts on the aggregate say, of three values, and what they start.

A cluster that is silent makes an alert unknown, not true: no data is as likely our own partition as a disaster there. What is
unknown never starts a recovery, and neither does what is found out afterwards, when late samples have come.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import promql_parser

from flotilla.metrics.config import AlertRoute
from flotilla.metrics.selectors import Matcher, matchers_of
from flotilla.metrics.webhook import Alert
from flotilla.metrics.words import spoken

VERDICT = "verdict"  # the label by which a rule that knows of silent clusters says what its alert means


class Sense(StrEnum):
    """What a rule says; ``unknown`` where samples that it reads are old."""

    FIRING = "firing"
    QUIET = "quiet"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Freshness:
    """How old each cluster's newest sample at the store is, in ms; None where there is none. Older than ``limit`` is stale."""

    ages: Mapping[str, int | None]
    limit: int = 120_000

    def stale(self, clusters: Iterable[str]) -> tuple[str, ...]:
        """Return those of some clusters whose samples are too old to say anything; one that is not known is among them."""
        ages = {cluster: self.ages.get(cluster) for cluster in clusters}
        return tuple(sorted(cluster for cluster, age in ages.items() if age is None or age > self.limit))

    def said(self, clusters: Iterable[str]) -> str:
        """Return how old the samples of some clusters are: "samples of remote are 4 min old"."""
        ages = {cluster: self.ages.get(cluster) for cluster in clusters}
        each = (
            "no samples of " + one if age is None else f"samples of {one} are {spoken(age)} old" for one, age in ages.items()
        )
        return ", ".join(each)


def sense_of(alert: Alert, situation: Situation) -> Sense:
    """Return what an alert says now."""
    if not alert.is_firing:
        return Sense.QUIET
    return Sense.UNKNOWN if _unknown(alert, situation) else Sense.FIRING


def sense(is_active: bool, reads: Collection[str], freshness: Freshness) -> Sense:
    """Return what a rule says that reads samples of some clusters and at present has a result, or none."""
    if freshness.stale(reads):
        return Sense.UNKNOWN
    return Sense.FIRING if is_active else Sense.QUIET


def clusters_read(expression: str, clusters: Collection[str], about: str | None = None) -> frozenset[str]:
    """Return which clusters' samples an expression reads; raises ValueError where it is no PromQL.

    A selector that does not name a cluster reads all of them; in an alert ``about`` one cluster, that one, since rules join by
    cluster (`flotilla dashboards lint` sees to that).
    """
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        selector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(selector, promql_parser.VectorSelector):
            named = [one for one in matchers_of(selector) if one.name == "cluster"]
            among = clusters if named or about is None else [about]
            found.update(cluster for cluster in among if all(_may_meet(one, cluster) for one in named))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return frozenset(found)


@dataclass(frozen=True)
class Situation:
    """What is known when an alert comes: the fleet's clusters, how fresh they are, what was started, and the rules by name."""

    freshness: Freshness
    started: Collection[str] = frozenset()
    rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def clusters(self) -> Collection[str]:
        """The fleet's clusters."""
        return self.freshness.ages.keys()


@dataclass(frozen=True)
class Start:
    """That a deployment is to be started, once for its key."""

    alert: Alert
    deployment: str
    parameters: Mapping[str, str | int | float | bool]

    @property
    def key(self) -> str:
        """The idempotency key of the run."""
        return f"{self.alert.key}-{self.deployment}"


@dataclass(frozen=True)
class Leave:
    """That nothing is started, and why."""

    alert: Alert
    why: str

    def __str__(self) -> str:
        return f"{self.alert}: nothing is started: {self.why}"


def decided(alert: Alert, routes: Iterable[AlertRoute], situation: Situation) -> Start | Leave:
    """Return what an alert starts, or why it starts nothing. What it starts has to check for itself all the same."""
    if not alert.is_firing:
        return Leave(alert, "it is over")
    if alert.is_historical:
        return Leave(alert, "it was found out afterwards, from samples that came late")
    route = next((route for route in routes if route.selector.picks(alert.labels)), None)
    if route is None:
        return Leave(alert, "no route of the fleet file is for it")
    if lacking := sorted(label for label in route.from_labels.values() if not alert.labels.get(label)):
        return Leave(alert, f"it has no label {', '.join(lacking)}, which {route.deployment} needs")
    if (why := _unknown(alert, situation)) and not route.looks_only:
        return Leave(alert, f"it is unknown: {why}")
    given = {name: alert.labels[label] for name, label in route.from_labels.items()}
    start = Start(alert, route.deployment, {**route.parameters, **given})
    return Leave(alert, f"{route.deployment} was started for it already") if start.key in situation.started else start


def reads(alert: Alert, situation: Situation) -> frozenset[str]:
    """Return which clusters' samples an alert is made of: by its rule, if that is known, else the one it is about, or all."""
    about = alert.cluster if alert.cluster in situation.clusters else None
    rule = situation.rules.get(alert.name)
    if rule is None:
        return frozenset([about] if about else situation.clusters)
    try:
        return clusters_read(rule, situation.clusters, about)
    except ValueError:  # MetricsQL knows more than PromQL
        return frozenset(situation.clusters)


def _unknown(alert: Alert, situation: Situation) -> str | None:
    """Return why an alert says nothing, None where it does say something.

    A rule that looks by itself at how fresh clusters are says so in the label ``verdict``: it is believed.
    """
    verdict = alert.labels.get(VERDICT)
    if verdict == Sense.UNKNOWN:
        return "its rule says so"
    if verdict == Sense.FIRING:
        return None
    read = reads(alert, situation)
    if not read:
        return "its rule reads no cluster of the fleet"
    stale = situation.freshness.stale(read)
    return situation.freshness.said(stale) if stale else None


def _may_meet(matcher: Matcher, cluster: str) -> bool:
    """Tell whether a cluster's name may meet a condition; one that only RE2 understands may."""
    try:
        return matcher.meets(cluster)
    except re.error:
        return True
