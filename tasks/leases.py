"""One rollout of an application at a time: a coordination.k8s.io Lease in each of its clusters."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from flotilla.errors import Transient
from tasks.clusters import Connection, refused
from tasks.objects import Kind, patiently, read

KIND = Kind("coordination.k8s.io/v1", "Lease", "leases", namespaced=True)


@dataclass(frozen=True)
class LeaseRef:
    """Which lease: of an application, in the application's namespace."""

    application: str
    namespace: str

    @property
    def name(self) -> str:
        """The Lease's name."""
        return f"flotilla.{self.application}"


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, since when, and whether it has run out."""

    identity: str
    since: str
    expired: bool


def holder_of(connection: Connection, ref: LeaseRef) -> Holder | None:
    """Return who holds a lease, None if nobody does."""
    live = read(connection, KIND, ref.namespace, ref.name)
    identity = (live or {}).get("spec", {}).get("holderIdentity") if live else None
    if not live or not identity:
        return None
    return Holder(identity, live["spec"].get("acquireTime", ""), _expired(live["spec"]))


def take_lease(connection: Connection, ref: LeaseRef, identity: str, seconds: float, *, over: str = "") -> Holder | None:
    """Take or renew a lease for ``seconds``; return None if it is ours now, else who holds it.

    A lease that has run out, or whose holder is ``over`` (known to be finished), is taken. Two that take it at once can't
    both succeed: the API server compares resourceVersion.
    """
    live = read(connection, KIND, ref.namespace, ref.name)
    spec: dict[str, Any] = dict((live or {}).get("spec") or {})
    held = spec.get("holderIdentity") or ""
    if held not in ("", identity, over) and not _expired(spec):
        return Holder(held, spec.get("acquireTime", ""), expired=False)
    now = _now()
    since = spec.get("acquireTime", now) if held == identity else now
    spec |= {
        "holderIdentity": identity,
        "acquireTime": since,
        "renewTime": now,
        "leaseDurationSeconds": max(1, round(seconds)),
        "leaseTransitions": spec.get("leaseTransitions", 0) + (held != identity),
    }
    return _written(connection, ref, live, spec)


def give_back(connection: Connection, ref: LeaseRef, identity: str) -> None:
    """Give a lease back; one that is somebody else's by now is left alone."""
    live = read(connection, KIND, ref.namespace, ref.name)
    if live and live["spec"].get("holderIdentity") == identity:
        spec = {**live["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        _written(connection, ref, live, spec)


def _written(connection: Connection, ref: LeaseRef, live: Any, spec: dict[str, Any]) -> Holder | None:
    metadata: dict[str, Any] = {"name": ref.name, "namespace": ref.namespace}
    path, method = KIND.path(ref.namespace), "POST"
    if live:
        path, method = KIND.path(ref.namespace, ref.name), "PUT"
        metadata = live["metadata"]
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    answer = patiently(lambda: connection.request(method, path, body=body))
    if answer.status in (200, 201):
        return None
    if answer.status == 409:  # somebody was quicker
        held = holder_of(connection, ref)
        if held is None:
            raise Transient(f"{connection.name}: lease {ref.namespace}/{ref.name} changed while it was taken")
        return held if held.identity != spec["holderIdentity"] else None
    raise refused(connection.name, f"take lease {ref.namespace}/{ref.name}", answer)


def _expired(spec: dict[str, Any]) -> bool:
    if not spec.get("renewTime"):
        return True
    renewed = datetime.datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
    age = datetime.datetime.now(datetime.UTC) - renewed
    return bool(age.total_seconds() > spec.get("leaseDurationSeconds", 0))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
