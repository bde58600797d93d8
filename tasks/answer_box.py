"""Where people's signed answers to a run lie until it reads them: a ConfigMap in each cluster that answers.

Anybody may put something in; it counts for what its signature is worth.
"""

from __future__ import annotations

import hashlib

from tasks.clusters import Connection, refused
from tasks.leadership import NAMESPACE, make_namespace
from tasks.objects import Kind
from tasks.step_journal import LABEL

KIND = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
LOOK = 2.0  # seconds that an API server may take to answer


def put(connection: Connection, run: str, token: str) -> None:
    """Lay an answer down; the same one twice is one."""
    field = hashlib.sha256(token.encode()).hexdigest()[:20]
    metadata = {"name": _name(run), "namespace": NAMESPACE, "labels": {LABEL: "answers"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {field: token}}
    query = {"fieldManager": f"flotilla-answer-{field}", "force": "true"}  # each answer is its own writer's
    path, kind = KIND.path(NAMESPACE, _name(run)), "application/apply-patch+yaml"
    answer = connection.request("PATCH", path, query=query, body=body, content_type=kind, timeout=LOOK)
    if answer.status == 404:
        make_namespace(connection)
        answer = connection.request("PATCH", path, query=query, body=body, content_type=kind, timeout=LOOK)
    if answer.status not in (200, 201):
        raise refused(connection.name, f"keep the answer to run {run}", answer)


def tokens(connection: Connection, run: str) -> tuple[str, ...]:
    """Return the answers that lie there; raises what a request raises."""
    answer = connection.request("GET", KIND.path(NAMESPACE, _name(run)), timeout=LOOK)
    if answer.status == 404:
        return ()
    if answer.status != 200:
        raise refused(connection.name, f"read the answers to run {run}", answer)
    return tuple((answer.body.get("data") or {}).values())


def _name(run: str) -> str:
    return f"flotilla-recovery-{run}-answers"
