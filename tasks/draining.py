"""Drain an exported service of one cluster, and take it back: an annotation on its ServiceExport, which the keeper obeys."""

from __future__ import annotations

from collections.abc import Mapping

from flotilla.errors import Permanent
from flotilla.services.names import DRAIN_ANNOTATION, DRAINED_BY_ANNOTATION, GROUP, ServiceKey
from tasks.clusters import Connection, refused
from tasks.objects import Kind, kind_of_group, listed


def drain(connection: Connection, key: ServiceKey, run: str) -> None:
    """Have the endpoints of a service in one cluster take no new connections from other clusters."""
    _annotate(connection, key, {DRAIN_ANNOTATION: "true", DRAINED_BY_ANNOTATION: run})


def undrain(connection: Connection, key: ServiceKey) -> None:
    """Have them take connections again; a service that is exported no more is fine."""
    _annotate(connection, key, {DRAIN_ANNOTATION: None, DRAINED_BY_ANNOTATION: None})


def drained_services(connection: Connection, namespace: str) -> dict[ServiceKey, str]:
    """Return the services that runs drain in a namespace, and which run each; none where nothing can be exported."""
    kind = kind_of_group(connection, GROUP, "ServiceExport")
    found = {}
    for live in listed(connection, kind, namespace) if kind else ():
        metadata = live["metadata"]
        if run := (metadata.get("annotations") or {}).get(DRAINED_BY_ANNOTATION):
            found[ServiceKey(metadata["namespace"], metadata["name"])] = run
    return found


def _annotate(connection: Connection, key: ServiceKey, annotations: Mapping[str, str | None]) -> None:
    path = _kind(connection).path(key.namespace, key.name)
    body = {"metadata": {"annotations": dict(annotations)}}
    query = {"fieldManager": "flotilla-drain"}
    answer = connection.request("PATCH", path, query=query, body=body, content_type="application/merge-patch+json")
    if answer.status == 404 and None in annotations.values():
        return
    if answer.status != 200:
        raise refused(connection.name, f"annotate ServiceExport {key}", answer)


def _kind(connection: Connection) -> Kind:
    kind = kind_of_group(connection, GROUP, "ServiceExport")
    if kind is None:
        raise Permanent(f"{connection.name}: has no ServiceExport: flotilla check --install-crds")
    return kind
