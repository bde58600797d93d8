"""A day of three clusters, as samples: what a collector would have brought, written to a real store at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flotilla.metrics.own import encoded_series

HOUR = 3600
STEP = 60  # seconds between two samples
Value = float | Callable[[float], float | None]
"""A number, or one for each hour of the day (0 to 24; before it below 0), None where there is none."""
Series = tuple[dict[str, str], Value]
"""Labels, ``__name__`` among them, and values."""


@dataclass(frozen=True)
class Day:
    """Ends at ``end`` (Unix seconds); remote is silent from ``cut`` hours on."""

    end: int
    cut: float = 21.0

    def series(self) -> Iterator[bytes]:
        """Yield every series of the day and the two hours before it."""
        for labels, value in _all(self.cut):
            until = self.cut if labels["cluster"] == "remote" and not labels["__name__"].startswith("flotilla_") else 24.0
            yield encoded_series(labels, self._points(value, until))

    def _points(self, value: Value, until: float) -> list[tuple[int, float]]:
        found = []
        for time in range(self.end - 26 * HOUR, self.end + 1, STEP):
            hour = 24 - (self.end - time) / HOUR
            number = value(hour) if callable(value) else value
            if number is not None and hour <= until:
                found.append((1000 * time, _absolute(number, self.end)))
        return found


def _absolute(number: float, end: int) -> float:
    """Return a watermark, which is given in hours before the end as a number below zero, in Unix seconds."""
    return end + HOUR * number if number < 0 else number


def _all(cut: float) -> Iterator[Series]:
    for cluster in ("production", "same-city", "remote"):
        old = (lambda hour: 1 if hour < 12 else None) if cluster == "production" else 1
        new = (lambda hour: 1 if hour >= 12 else None) if cluster == "production" else (lambda _: None)
        yield from _deployment(cluster, "podinfo", 2, 2)
        yield from _pod(cluster, "podinfo", "podinfo-6d9f-a", "registry.example/podinfo:6.9.1", old)
        yield from _pod(cluster, "podinfo", "podinfo-77c4-b", "registry.example/podinfo:6.9.2", new)
        yield from _nodes(cluster, cores=4 if cluster == "production" else 3)
        yield from _collector(cluster, cut)
    yield from _deployment("same-city", "checkout", 2, lambda hour: 2 if hour < 20 else 1)
    yield from _deployment("production", "legacy", 1, 1, until=6)


def _named(name: str, cluster: str, **labels: str) -> dict[str, str]:
    return {"__name__": name, "cluster": cluster, **labels}


def _deployment(cluster: str, name: str, asked: float, available: Value, until: float = 24) -> Iterator[Series]:
    labels = {"namespace": "shop", "deployment": name}

    def while_there(value: Value) -> Value:
        return lambda hour: (value(hour) if callable(value) else value) if hour <= until else None

    yield _named("kube_deployment_spec_replicas", cluster, **labels), while_there(asked)
    yield _named("kube_deployment_status_replicas_available", cluster, **labels), while_there(available)


def _pod(cluster: str, app: str, pod: str, image: str, there: Value) -> Iterator[Series]:
    labels = {"namespace": "shop", "pod": pod}
    owner = {"created_by_kind": "ReplicaSet", "created_by_name": pod.rpartition("-")[0]}
    yield _named("kube_pod_info", cluster, **labels, **owner), there
    yield _named("kube_pod_container_info", cluster, **labels, container=app, image=image), there
    yield _named("kube_pod_status_phase", cluster, **labels, phase="Running"), there
    requests = _named("kube_pod_container_resource_requests", cluster, **labels, container=app)
    yield {**requests, "resource": "cpu"}, lambda hour: _times(2.2 if cluster == "production" else 1.5, there, hour)
    yield {**requests, "resource": "memory"}, lambda hour: _times(2**30, there, hour)
    used = 0.4 if cluster == "production" else 0.2
    cpu = _named("container_cpu_usage_seconds_total", cluster, **labels, container=app)
    yield cpu, lambda hour: _times(HOUR * used * (hour + 3 + max(0.0, hour - 12) / 2), there, hour)
    yield _named("container_memory_working_set_bytes", cluster, **labels, container=app), lambda hour: _times(3e8, there, hour)


def _times(number: float, there: Value, hour: float) -> float | None:
    return None if callable(there) and there(hour) is None else number


def _nodes(cluster: str, cores: float) -> Iterator[Series]:
    for resource, number in {"cpu": cores, "memory": 16 * 2**30, "pods": 110}.items():
        yield _named("kube_node_status_allocatable", cluster, node="n1", resource=resource), number
    yield _named("kube_node_status_condition", cluster, node="n1", condition="Ready", status="true"), 1
    yield _named("kube_node_spec_unschedulable", cluster, node="n1"), 0


def _collector(cluster: str, cut: float) -> Iterator[Series]:
    def silent(hour: float) -> float:
        return max(0.0, hour - cut) if cluster == "remote" else 0.0

    yield _named("flotilla_cluster_up", cluster), lambda hour: float(not silent(hour))
    yield _named("flotilla_watermark_timestamp_seconds", cluster), lambda hour: hour - 24 - silent(hour) - 0.01
    yield _named("flotilla_lag_seconds", cluster), lambda hour: 36 + HOUR * silent(hour)
    yield _named("flotilla_missing_seconds", cluster), lambda hour: HOUR * silent(hour)
    yield _named("flotilla_gap_seconds", cluster), 90 if cluster == "same-city" else 0
    yield _named("flotilla_completeness_ratio", cluster), lambda hour: 0.98 if cluster == "same-city" and 5 < hour < 5.1 else 1
    yield _named("flotilla_quarantined_series", cluster), 3 if cluster == "production" else 0
    yield _named("flotilla_clock_skew_seconds", cluster), 0.3
