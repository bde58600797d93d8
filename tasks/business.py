"""The business' Deployments in one cluster: whether they run, and having them wanted there or not."""

from __future__ import annotations

from typing import Any

from flotilla.errors import Permanent, Transient
from flotilla.recovery.config import Application
from flotilla.recovery.facts import ApplicationSeen
from flotilla.recovery.replicas import EPOCH
from tasks.clusters import Connection, refused
from tasks.objects import Kind

KIND = Kind("apps/v1", "Deployment", "deployments", namespaced=True)
LOOK = 2.0  # seconds that an API server may take to answer


def seen(connection: Connection, application: Application) -> ApplicationSeen:
    """Return how the business' Deployments stand, all together; raises Transient or Permanent where nobody can say."""
    live = [_read(connection, application.namespace, name) for name in application.deployments]
    images = {container["image"] for one in live for container in one["spec"]["template"]["spec"].get("containers", ())}
    wanted = [one["spec"].get("replicas", 1) for one in live]
    ready = sum(_ready(one) for one in live)
    return ApplicationSeen(connection.name, 0 if 0 in wanted else sum(wanted), ready, tuple(sorted(images)))


def scale(connection: Connection, application: Application, replicas: int, epoch: int) -> str:
    """Have so many replicas wanted of each Deployment. Raises Permanent where a later epoch has decided already."""
    for name in application.deployments:
        live = _read(connection, application.namespace, name)
        before = int((live["metadata"].get("annotations") or {}).get(EPOCH) or 0)
        if before > epoch:
            raise Permanent(f"{connection.name}: Deployment {name} was scaled at epoch {before}: {epoch} is stale")
        _scale(connection, live, replicas, epoch)
    return f"{connection.name}: {', '.join(application.deployments)} wanted with {replicas} replicas"


def _scale(connection: Connection, live: dict[str, Any], replicas: int, epoch: int) -> None:
    metadata = live["metadata"]
    body = {
        "metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": {EPOCH: str(epoch)}},
        "spec": {"replicas": replicas},
    }
    path = KIND.path(metadata["namespace"], metadata["name"])
    answer = connection.request("PATCH", path, body=body, content_type="application/merge-patch+json", timeout=LOOK)
    if answer.status == 409:
        raise Transient(f"{connection.name}: Deployment {metadata['name']} changed while it was scaled")
    if answer.status != 200:
        raise refused(connection.name, f"scale Deployment {metadata['namespace']}/{metadata['name']}", answer)


def _read(connection: Connection, namespace: str, name: str) -> dict[str, Any]:
    answer = connection.request("GET", KIND.path(namespace, name), timeout=LOOK)
    if answer.status == 404:
        raise Permanent(f"{connection.name}: there is no Deployment {namespace}/{name}: roll the application out there first")
    if answer.status != 200:
        raise refused(connection.name, f"read Deployment {namespace}/{name}", answer)
    found: dict[str, Any] = answer.body
    return found


def _ready(live: dict[str, Any]) -> int:
    """Return how many replicas of what is wanted now are ready; none of an older generation."""
    status = live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return 0
    return int(min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0)))
