"""Samples of replication kept in a ConfigMap of each cluster, so that those of a lost city are at hand in another."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from flotilla.errors import FlotillaError
from flotilla.recovery.facts import Sample
from flotilla.recovery.samples import from_text, to_text, together
from tasks.clusters import Connection, refused
from tasks.fanout import side_by_side
from tasks.leadership import NAMESPACE, make_namespace
from tasks.objects import Kind
from tasks.step_journal import LABEL

KIND = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
NAME, FIELD = "flotilla-recovery-samples", "samples"
LOOK = 2.0  # seconds that an API server may take to answer
log = logging.getLogger("flotilla.recovery")


def put(connection: Connection, samples: Iterable[Sample]) -> None:
    """Have the newest of these kept in place of those that are there; raises Transient or Permanent."""
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": {LABEL: "samples"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FIELD: to_text(samples)}}
    query, kind = {"fieldManager": "flotilla-samples", "force": "true"}, "application/apply-patch+yaml"
    path = KIND.path(NAMESPACE, NAME)
    answer = connection.request("PATCH", path, query=query, body=body, content_type=kind, timeout=LOOK)
    if answer.status == 404:
        make_namespace(connection)
        answer = connection.request("PATCH", path, query=query, body=body, content_type=kind, timeout=LOOK)
    if answer.status not in (200, 201):
        raise refused(connection.name, f"keep ConfigMap {NAMESPACE}/{NAME}", answer)


def kept(connections: Mapping[str, Connection]) -> tuple[Sample, ...]:
    """Return what the clusters keep that answer; none, and a word in the log, where that is not readable."""
    found = side_by_side(connections, lambda name: _read(connections[name]))
    return together(copy for copy in found.values() if not isinstance(copy, FlotillaError))


def _read(connection: Connection) -> tuple[Sample, ...]:
    answer = connection.request("GET", KIND.path(NAMESPACE, NAME), timeout=LOOK)
    if answer.status == 404:
        return ()
    if answer.status != 200:
        raise refused(connection.name, f"read ConfigMap {NAMESPACE}/{NAME}", answer)
    try:
        return from_text((answer.body.get("data") or {}).get(FIELD, "[]"))
    except ValueError as error:
        log.warning("%s: ConfigMap %s/%s: %s", connection.name, NAMESPACE, NAME, error)
        return ()
