"""Wait until objects are as they were asked to be, or can't become so: by looking again and again, kind by kind."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from flotilla.errors import Transient
from flotilla.health import CURRENT, Health, State, health_of, newest_pods, restarted_pod, unspoken_export
from flotilla.objects import Manifest, ObjectKey
from tasks.clusters import Connection
from tasks.objects import Kind, kind_of, kind_of_group, listed

EVERY = 0.5  # seconds between looks: what a person does not notice, and 6 requests a second at the most
AT_ONCE = frozenset(
    (
        *("ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "NetworkPolicy"),
        *("PriorityClass", "LimitRange", "ResourceQuota", "StorageClass", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
        *("Ingress", "CronJob"),
    )
)
"""Kinds that are as they were asked to be once they are there: applying them has shown it."""
WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet")

Progress = Callable[["HealthReport"], None]


@dataclass(frozen=True)
class HealthReport:
    """How far the objects of one cluster are. ``unseen`` says why nobody could look the last time, "" if someone could."""

    cluster: str
    health: Mapping[ObjectKey, Health]
    unseen: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether everything is as it was asked to be."""
        return not self.unseen and all(one.state is State.CURRENT for one in self.health.values())

    @property
    def failed(self) -> tuple[ObjectKey, ...]:
        """What can't become as it was asked to be."""
        return tuple(key for key, one in self.health.items() if one.state is State.FAILED)

    def summary(self) -> str:
        """Return what is not yet as asked for, in one line, failures first."""
        late = [(key, one) for key, one in self.health.items() if one.state is not State.CURRENT]
        late.sort(key=lambda pair: pair[1].state is not State.FAILED)
        told = "; ".join(f"{key} {one.message}" for key, one in late[:3]) + (f"; {len(late) - 3} more" if len(late) > 3 else "")
        return self.unseen or told or f"{len(self.health)} objects healthy"


def look_at_health(connection: Connection, keys: Iterable[ObjectKey]) -> HealthReport:
    """Return the health of some objects now; raises Transient where nobody could look."""
    wanted = list(keys)
    slow = [key for key in wanted if key.kind not in AT_ONCE]
    live = _live(connection, slow)
    health = {key: CURRENT if key.kind in AT_ONCE else health_of(live.get(key)) for key in wanted}
    health |= {key: Health(State.IN_PROGRESS, told) for key, told in _unspoken(live).items()}
    with_pods = [key for key in slow if key.kind in WITH_PODS and key in live]
    late = [key for key in with_pods if health[key].state is State.IN_PROGRESS]
    return HealthReport(connection.name, health | _with_pods(connection, {key: live[key] for key in late or with_pods}))


def wait_until_healthy(
    connection: Connection, keys: Sequence[ObjectKey], *, timeout: float, on_progress: Progress = lambda _: None
) -> HealthReport:
    """Return the last report: healthy, or failed for good, or what was seen when ``timeout`` seconds were over.

    An API server that does not answer is waited for as long; it never reads as failed. ``on_progress`` is told each change.
    """
    deadline = time.monotonic() + timeout
    last = ""
    while True:
        try:
            report = look_at_health(connection, keys)
        except Transient as error:
            report = HealthReport(connection.name, {}, unseen=str(error))
        if report.summary() != last:
            last = report.summary()
            on_progress(report)
        if report.is_healthy or report.failed or time.monotonic() >= deadline:
            return report
        time.sleep(EVERY)


def stay_healthy(connection: Connection, keys: Sequence[ObjectKey], *, seconds: float) -> HealthReport:
    """Look for ``seconds`` (the soak) and return the first report that is not healthy, else the last one.

    A look that nobody could take is neither: it is taken again.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            report = look_at_health(connection, keys)
            if not report.is_healthy:
                return report
        except Transient as error:
            report = HealthReport(connection.name, {}, unseen=str(error))
        if time.monotonic() >= deadline:
            return report
        time.sleep(min(2 * EVERY, max(0.0, deadline - time.monotonic())))


def _live(connection: Connection, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Manifest]:
    """Return the objects that are there, with one list for each kind and namespace."""
    places = list(dict.fromkeys((key.group, key.kind, key.namespace) for key in keys))

    def found(place: tuple[str, str, str]) -> list[tuple[ObjectKey, Manifest]]:
        group, name, namespace = place
        kind = kind_of_group(connection, group, name)
        items = listed(connection, kind, namespace) if kind is not None else ()
        return [(ObjectKey(group, name, namespace, item["metadata"]["name"]), item) for item in items]

    with ThreadPoolExecutor(4) as pool:
        return {key: item for items in pool.map(found, places) for key, item in items}


def _unspoken(live: Mapping[ObjectKey, Manifest]) -> dict[ObjectKey, str]:
    now = datetime.datetime.now(datetime.UTC)
    return {key: told for key, found in live.items() if (told := unspoken_export(found, now))}


def _with_pods(connection: Connection, workloads: Mapping[ObjectKey, Manifest]) -> dict[ObjectKey, Health]:
    """Return the health of workloads with what their newest pods tell."""
    result = {}
    replica_set = kind_of(connection, "apps/v1", "ReplicaSet")
    pod = Kind("v1", "Pod", "pods", namespaced=True)
    for namespace in {key.namespace for key in workloads}:
        replica_sets = list(listed(connection, replica_set, namespace)) if replica_set else []
        pods = list(listed(connection, pod, namespace))
        for key, live in workloads.items():
            if key.namespace == namespace:
                result[key] = _told_by(live, newest_pods(live, replica_sets, pods))
    return result


def _told_by(live: Manifest, pods: Sequence[Manifest]) -> Health:
    health = health_of(live, pods)
    restarted = restarted_pod(pods, datetime.datetime.now(datetime.UTC)) if health.state is State.CURRENT else ""
    return Health(State.IN_PROGRESS, restarted) if restarted else health
