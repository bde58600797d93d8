"""Objects of one cluster over its API: where a kind is served, list, apply, delete; one request per function."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from flotilla.errors import Permanent, Transient
from flotilla.objects import Manifest, ObjectKey
from flotilla.rollout import Conflict
from tasks.clusters import Answer, Connection, is_retriable, refused

MANAGER = "flotilla"
PAGE = 500
ONLY_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
ATTEMPTS = 5
UNANSWERED = 3  # attempts where nothing answers: each may take the whole connect timeout
Result = TypeVar("Result")


@dataclass(frozen=True)
class Kind:
    """Where a kind is served: the path of its collection, per namespace if ``namespaced``."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of a collection or of one object; without a namespace that of all namespaces."""
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{base}{inside}/{self.plural}" + (f"/{name}" if name else "")


def kind_of(connection: Connection, api_version: str, kind: str) -> Kind | None:
    """Return where a kind is served in a cluster, None where it is not; raises Transient where nobody could look."""
    return connection.remembered((api_version, kind), lambda: _discovered(connection, api_version, kind))


def kind_of_group(connection: Connection, group: str, kind: str) -> Kind | None:
    """Return where a kind of a group is served in the version that the cluster prefers, None where it is not."""
    if not group:
        return kind_of(connection, "v1", kind)
    answer = connection.remembered(("group", group), lambda: _body(connection, f"/apis/{group}"))
    return kind_of(connection, answer["preferredVersion"]["groupVersion"], kind) if answer else None


def _discovered(connection: Connection, api_version: str, kind: str) -> Kind | None:
    """Look a kind up with one request. The library's own discovery asks all groups first, and waits without a limit."""
    path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    resources = connection.remembered(("version", api_version), lambda: _body(connection, path))
    for one in (resources or {}).get("resources") or ():
        if one["kind"] == kind and "/" not in one["name"]:
            return Kind(api_version, kind, one["name"], one["namespaced"])
    if resources:  # a definition may have been added to the group since
        connection.forget(("version", api_version))
    return None


def _body(connection: Connection, path: str) -> dict[str, Any] | None:
    answer = patiently(lambda: connection.request("GET", path))
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise refused(connection.name, f"ask what is served at {path}", answer)
    found: dict[str, Any] = answer.body
    return found


def read(connection: Connection, kind: Kind, namespace: str, name: str) -> Manifest | None:
    """Return an object, None if it is not there."""
    answer = patiently(lambda: connection.request("GET", kind.path(namespace, name)))
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise refused(connection.name, f"read {kind.kind} {namespace}/{name}", answer)
    found: Manifest = answer.body
    return found


def listed(connection: Connection, kind: Kind, namespace: str, selector: str = "") -> Iterator[Manifest]:
    """Yield the objects of a kind in a namespace ("" for all) that a label selector matches, page by page."""
    query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
    while True:
        answer = patiently(lambda: connection.request("GET", kind.path(namespace), query=query))
        if answer.status == 404:
            return
        if answer.status != 200:
            raise refused(connection.name, f"list {kind.plural}", answer)
        for item in answer.body.get("items") or ():
            yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
        token = answer.body["metadata"].get("continue")
        if not token:
            return
        query["continue"] = token


def names_in(connection: Connection, kind: Kind, namespace: str, at_most: int) -> frozenset[str] | None:
    """Return the names of a kind's objects in a namespace, without the objects; None where there are more than ``at_most``."""
    names: set[str] = set()
    query = {"limit": str(PAGE)}
    while True:
        answer = patiently(lambda: connection.request("GET", kind.path(namespace), query=query, accept=ONLY_METADATA))
        if answer.status == 404:
            return frozenset()
        if answer.status != 200:
            raise refused(connection.name, f"list {kind.plural}", answer)
        names.update(item["metadata"]["name"] for item in answer.body.get("items") or ())
        page = answer.body["metadata"]
        if len(names) + page.get("remainingItemCount", 0) > at_most:
            return None
        if not page.get("continue"):
            return frozenset(names)
        query["continue"] = page["continue"]


def applied(
    connection: Connection,
    kind: Kind,
    manifest: Manifest,
    *,
    dry_run: bool = False,
    force: bool = False,
    manager: str = MANAGER,
) -> Answer:
    """Return the answer to a server-side apply: 200 or 201 with the object as it now is, or the refusal."""
    metadata = manifest["metadata"]
    query = {"fieldManager": manager, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    if force:
        query["force"] = "true"
    path = kind.path(metadata.get("namespace", ""), metadata["name"])
    return patiently(
        lambda: connection.request("PATCH", path, query=query, body=manifest, content_type="application/apply-patch+yaml")
    )


def deleted(connection: Connection, kind: Kind, key: ObjectKey, uid: str) -> bool:
    """Delete an object if it still is the one of this uid; True if this call deleted it."""
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": uid}}
    answer = patiently(lambda: connection.request("DELETE", kind.path(key.namespace, key.name), body=body))
    if answer.status in (404, 409):  # gone, or another object of that name by now
        return False
    if answer.status not in (200, 202):
        raise refused(connection.name, f"delete {key}", answer)
    return True


def conflicts_in(answer: Answer) -> tuple[Conflict, ...]:
    """Return the fields that others own, as a 409 of a server-side apply tells them."""
    causes = ((answer.body.get("details") or {}).get("causes") or ()) if isinstance(answer.body, dict) else ()
    return tuple(
        Conflict(cause.get("field", "").lstrip("."), cause.get("message", "").partition('"')[2].partition('"')[0])
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Return an answer, asking again with growing pauses where it may be another one in a while.

    Only for requests that may be repeated. Raises Transient where no answer came three times. Retry-After is honoured.
    """
    unanswered = 0
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = ask()
        except Transient:
            unanswered += 1
            if unanswered == UNANSWERED or attempt == ATTEMPTS:
                raise
            _pause(attempt)
            continue
        if attempt == ATTEMPTS or not is_retriable(answer):
            return answer
        _pause(attempt, answer.headers.get("Retry-After"))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _pause(attempt: int, retry_after: str | None = None) -> None:
    asked: Any = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
    time.sleep(min(10.0, max(asked, 0.2 * 2**attempt * random.uniform(0.5, 1.5))))  # noqa: S311 - jitter, not a secret


def unserved(connection: Connection, api_version: str, kind: str) -> Permanent:
    """Return the error for a kind that a cluster does not serve."""
    return Permanent(f"{connection.name}: serves no {kind} in {api_version}; is its CustomResourceDefinition installed?")
