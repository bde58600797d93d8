"""What the store is asked for a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from flotilla.dashboards.answers import Question, Reply, Unanswered
from flotilla.dashboards.coverage import WATERMARKS
from flotilla.dashboards.headroom import ALLOCATABLE, REQUESTED, USED_BY_NAMESPACE
from flotilla.dashboards.units import duration_of
from flotilla.errors import InvalidInput, Problem
from flotilla.metrics.words import moment

SHORTEST, LONGEST = 0.01, 31.0  # days
POINTS = 96  # of a line: each quarter of an hour of a day

_DEPLOYMENT = "max by (cluster, namespace, deployment)"
_OF_POD = """
max by (cluster, namespace, pod, deployment) (label_replace(
kube_pod_info{created_by_kind="ReplicaSet", created_by_name=~".+-[a-z0-9]+"},
"deployment", "$1", "created_by_name", "(.+)-[a-z0-9]+"))""".strip()
IMAGES = f"""
count by (cluster, namespace, deployment, container, image) (
max by (cluster, namespace, pod, container, image) (kube_pod_container_info)
* on (cluster, namespace, pod) group_left (deployment) {_OF_POD})""".strip()
"""Pods by the image that a container of a Deployment runs."""

DESIRED = f"{_DEPLOYMENT} (kube_deployment_spec_replicas)"
AVAILABLE = f"{_DEPLOYMENT} (kube_deployment_status_replicas_available)"
MEMORY_BY_NAMESPACE = """
sum by (cluster, namespace) (max by (cluster, namespace, pod, container)
(container_memory_working_set_bytes{container!~"|POD"}))""".strip()
CPU_BY_CLUSTER = """
sum by (cluster) (max by (cluster, namespace, pod, container)
(rate(container_cpu_usage_seconds_total{container!~"|POD"}[15m])))""".strip()


class Ask(StrEnum):
    """A question of the report, by what it is about."""

    WATERMARKS = "watermarks"
    DESIRED = "desired"
    SEEN = "seen"  # Deployments that there were at some time of the period
    AVAILABLE = "available"
    LOWEST = "lowest"
    IMAGES = "images"
    IMAGES_BEFORE = "images before"
    ALLOCATABLE = "allocatable"
    REQUESTED = "requested"
    CPU = "cpu"
    CPU_BEFORE = "cpu before"
    MEMORY = "memory"
    MEMORY_BEFORE = "memory before"
    REACHED = "reached"
    LAG = "lag"
    MISSING = "missing"
    GAP = "gap"
    COMPLETE = "complete"
    LEAST_COMPLETE = "least complete"
    QUARANTINED = "quarantined"
    SKEW = "skew"
    CPU_LINES = "cpu over time"
    DESIRED_LINES = "desired over time"
    AVAILABLE_LINES = "available over time"


@dataclass(frozen=True)
class Period:
    """What a report is about, from ``begin`` to ``end``, and when it is asked for, in Unix seconds."""

    begin: float
    end: float
    asked: float

    @property
    def length(self) -> float:
        """Its seconds."""
        return self.end - self.begin

    @property
    def step(self) -> float:
        """Seconds between two points of a line."""
        return max(60.0, self.length // POINTS)

    def over(self, expr: str) -> Question:
        """Return an expression as a question about all of it."""
        steps = int(self.length // self.step)
        return Question(expr, self.end, self.end - steps * self.step, self.step)


def period_of(at: str, days: float, now: float) -> Period:
    """Return the period of some days up to a time, ISO 8601 (UTC where it names no zone), else now; whole minutes.

    ``now`` in Unix seconds. Raises InvalidInput.
    """
    problems = []
    try:
        end = _seconds(at) if at else now
    except ValueError:
        end = now
        problems.append(Problem("report", "at", at, "a time such as 2026-11-23T06:00, UTC where it names no zone"))
    if end > now:
        problems.append(Problem("report", "at", at, f"a time that is over; it is {moment(round(1000 * now))} UTC"))
    if not SHORTEST <= days <= LONGEST:
        problems.append(Problem("report", "days", days, f"a number from {SHORTEST:g} to {LONGEST:g}"))
    if problems:
        raise InvalidInput(problems)
    end = end // 60 * 60
    return Period(end - round(days * 1440) * 60, end, now)


def _seconds(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def questions(period: Period) -> dict[Ask, Question]:
    """Return everything that a report asks."""
    day = duration_of(period.length)
    now = {
        Ask.DESIRED: DESIRED,
        Ask.SEEN: f"{_DEPLOYMENT} (last_over_time(kube_deployment_spec_replicas[{day}]))",
        Ask.AVAILABLE: AVAILABLE,
        Ask.LOWEST: f"{_DEPLOYMENT} (min_over_time(kube_deployment_status_replicas_available[{day}]))",
        Ask.IMAGES: IMAGES,
        Ask.ALLOCATABLE: ALLOCATABLE,
        Ask.REQUESTED: REQUESTED,
        Ask.CPU: USED_BY_NAMESPACE,
        Ask.MEMORY: MEMORY_BY_NAMESPACE,
        Ask.REACHED: f"max by (cluster) (sum_over_time(flotilla_cluster_up[{day}]))",
        Ask.LAG: f"max by (cluster) (max_over_time(flotilla_lag_seconds[{day}]))",
        Ask.MISSING: "max by (cluster) (flotilla_missing_seconds)",
        Ask.GAP: "max by (cluster) (flotilla_gap_seconds)",
        Ask.COMPLETE: f"min by (cluster) (last_over_time(flotilla_completeness_ratio[{day}]))",
        Ask.LEAST_COMPLETE: f"min by (cluster) (min_over_time(flotilla_completeness_ratio[{day}]))",
        Ask.QUARANTINED: "max by (cluster) (flotilla_quarantined_series)",
        Ask.SKEW: f"max by (cluster) (max_over_time(abs(flotilla_clock_skew_seconds)[{day}:5m]))",
    }
    before = {Ask.IMAGES_BEFORE: IMAGES, Ask.CPU_BEFORE: USED_BY_NAMESPACE, Ask.MEMORY_BEFORE: MEMORY_BY_NAMESPACE}
    lines = {
        Ask.CPU_LINES: CPU_BY_CLUSTER,
        Ask.DESIRED_LINES: f"sum by (cluster) ({DESIRED})",
        Ask.AVAILABLE_LINES: f"sum by (cluster) ({AVAILABLE})",
    }
    return {
        Ask.WATERMARKS: Question(WATERMARKS, period.asked),  # what came late by then is there as well
        **{ask: Question(expr, period.end) for ask, expr in now.items()},
        **{ask: Question(expr, period.begin) for ask, expr in before.items()},
        **{ask: period.over(expr) for ask, expr in lines.items()},
    }


@dataclass(frozen=True)
class Replies:
    """What the store answered; a question that was not asked was not answered."""

    found: Mapping[Ask, Reply]

    def __getitem__(self, ask: Ask) -> Reply:
        return self.found.get(ask, Unanswered("the store was not asked"))

    def failure(self, *asks: Ask) -> str:
        """Return why some questions have no answer; empty where all of them have one."""
        reasons = [reply.reason for reply in map(self.__getitem__, asks) if isinstance(reply, Unanswered)]
        return next(iter(reasons), "")

    def silence(self) -> str:
        """Return why there is no answer at all; empty where there is any."""
        return "" if any(not isinstance(reply, Unanswered) for reply in self.found.values()) else self.failure(*Ask)

    def warnings(self) -> tuple[str, ...]:
        """Return what the store warned of."""
        told = [reply.warnings for reply in self.found.values() if not isinstance(reply, Unanswered)]
        return tuple(sorted({warning for warnings in told for warning in warnings}))
