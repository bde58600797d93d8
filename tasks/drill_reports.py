"""Where reports of drills are kept, so that the next one finds them: a ConfigMap each, in every cluster that answers."""

from __future__ import annotations

from typing import Any

from tasks.clusters import Connection, refused
from tasks.leadership import NAMESPACE, make_namespace
from tasks.objects import Kind

KIND = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
LABEL = "flotilla.dev/recovery"
DRILL = "drill"
FIELD = "drill.json"
LOOK = 2.0  # seconds that an API server may take to answer
KEPT = 30  # the newest; older ones are removed


def put(connection: Connection, name: str, text: str) -> str:
    """Keep a report in a cluster, in place of one of the same name; return what was done. Raises what a request raises."""
    metadata = {"name": _name(name), "namespace": NAMESPACE, "labels": {LABEL: DRILL}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FIELD: text}}
    answer = connection.request("POST", KIND.path(NAMESPACE), body=body, timeout=LOOK)
    if answer.status == 404:
        make_namespace(connection)
        answer = connection.request("POST", KIND.path(NAMESPACE), body=body, timeout=LOOK)
    if answer.status == 409:
        answer = connection.request("PUT", KIND.path(NAMESPACE, _name(name)), body=body, timeout=LOOK)
    if answer.status not in (200, 201):
        raise refused(connection.name, f"keep the report of {name}", answer)
    for old in _items(connection)[:-KEPT]:
        connection.request("DELETE", KIND.path(NAMESPACE, old["metadata"]["name"]), timeout=LOOK)
    return f"the report of {name} is kept in {connection.name}"


def kept(connection: Connection) -> tuple[str, ...]:
    """Return the reports that a cluster keeps, oldest first; raises what a request raises."""
    return tuple(str((item.get("data") or {}).get(FIELD, "")) for item in _items(connection))


def _items(connection: Connection) -> list[dict[str, Any]]:
    query = {"labelSelector": f"{LABEL}={DRILL}"}
    answer = connection.request("GET", KIND.path(NAMESPACE), query=query, timeout=LOOK)
    if answer.status not in (200, 404):
        raise refused(connection.name, f"list the reports of drills in {NAMESPACE}", answer)
    items: list[dict[str, Any]] = (answer.body.get("items") or []) if answer.status == 200 else []
    return sorted(items, key=lambda item: (item["metadata"].get("creationTimestamp", ""), item["metadata"]["name"]))


def _name(name: str) -> str:
    return f"flotilla-recovery-{name}-report"
