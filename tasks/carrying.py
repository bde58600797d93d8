"""Carry one write of the keeper out in its cluster, and take the answer over into the mirror."""

from __future__ import annotations

from flotilla.objects import Manifest, ObjectKey
from flotilla.services.names import KEEPER
from flotilla.services.writes import Action, Write
from tasks.clusters import Answer, refused
from tasks.multicluster import SERVICES, SLICES, Mirror
from tasks.objects import Kind

TIMEOUT = 10.0  # seconds; what took longer may have been written all the same: the watch will tell


def carry_out(mirror: Mirror, write: Write) -> str:
    """Make one write; return "" if it was made, or why what it was decided on is no longer so.

    In the second case nothing is wrong: the watch brings what is so now, and with it another decision. Raises Transient
    where no answer came or another one may come in a while, Permanent where the write is refused for good.
    """
    kind = _kind(mirror, write.key)
    answer = _deleted(mirror, kind, write) if write.action is Action.DELETE else _applied(mirror, kind, write)
    if reason := _outdated(write, answer):
        return reason
    gone = write.action is Action.DELETE and answer.status == 404
    if answer.status not in (200, 201, 202) and not gone:
        raise refused(mirror.name, str(write), answer)
    table = mirror.tables[write.key.kind]
    if not gone and (write.action is not Action.DELETE or _lives_on(answer.body)):
        table.took(answer.body)
    else:
        table.dropped((write.key.namespace, write.key.name), write.uid)
    return ""


def _applied(mirror: Mirror, kind: Kind, write: Write) -> Answer:
    path = kind.path(write.key.namespace, write.key.name) + ("/status" if write.action is Action.STATUS else "")
    query = {"fieldManager": KEEPER, "force": "true"}
    return mirror.connection.request(
        "PATCH", path, query=query, body=write.manifest, content_type="application/apply-patch+yaml", timeout=TIMEOUT
    )


def _deleted(mirror: Mirror, kind: Kind, write: Write) -> Answer:
    body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": write.uid},
    }
    path = kind.path(write.key.namespace, write.key.name)
    return mirror.connection.request("DELETE", path, body=body, timeout=TIMEOUT)


def _outdated(write: Write, answer: Answer) -> str:
    """Return why a write came too late, "" if it did not.

    A delete of what is gone has been made. 409, or 422 for the uid, is another object than the one that was seen; a
    namespace on its way out answers 403 to what is new in it, one that is gone 404.
    """
    if answer.status == 404:
        return "" if write.action is Action.DELETE else f"{write}: it, or its namespace, is gone"
    if answer.status == 409 or (answer.status == 422 and "metadata.uid" in answer.message):
        return f"{write}: {answer.message}"
    if answer.status == 403 and "being terminated" in answer.message:
        return f"{write}: its namespace is being deleted"
    return ""


def _lives_on(body: Manifest) -> bool:
    """Tell whether an object that was asked to go waits for its finalizers."""
    return bool(body.get("metadata", {}).get("finalizers"))


def _kind(mirror: Mirror, key: ObjectKey) -> Kind:
    return {"Service": SERVICES, "EndpointSlice": SLICES}.get(key.kind) or mirror.mcs_kind(key.kind)
