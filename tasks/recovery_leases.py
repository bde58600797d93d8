"""The Lease of recovery in each cluster: who recovers, at which epoch, and what is published of the business.

A Lease runs out ``SECONDS`` after it was renewed; what is published in its annotations stays. Both times are told by the
cluster's own clock: those of two machines may be minutes apart.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from flotilla.errors import Permanent, Transient
from flotilla.facts import Unknown
from flotilla.recovery.facts import LeaseSeen
from flotilla.recovery.parsing import lease_annotations, parse_lease
from tasks.clusters import Answer, Connection, refused
from tasks.leadership import NAMESPACE, make_namespace
from tasks.objects import Kind

KIND = Kind("coordination.k8s.io/v1", "Lease", "leases", namespaced=True)
NAME = "flotilla-recovery"
SECONDS = 30
PREFIX = "flotilla.dev/"
LOOK = 2.0  # seconds that an API server may take to answer
EXACT = datetime.timedelta(seconds=3)  # an answer's Date is cut off to the second, and of a moment before


@dataclass(frozen=True)
class _Live:
    """A Lease as it was read, None where there is none, and what time it was for its API server then."""

    lease: dict[str, Any] | None
    now: datetime.datetime

    @property
    def is_over(self) -> bool:
        """Whether nobody holds it any more."""
        spec = (self.lease or {}).get("spec") or {}
        if not spec.get("renewTime"):
            return True
        renewed = datetime.datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
        return bool((self.now - renewed).total_seconds() > spec.get("leaseDurationSeconds", 0))


def seen(connection: Connection) -> LeaseSeen | Unknown:
    """Return what a cluster's Lease says; raises what a request raises."""
    live = _read(connection)
    return parse_lease(connection.name, live.lease, live.is_over)


def take(connection: Connection, run: str, epoch: int, plan: str) -> str:
    """Take or renew the Lease for a run; what is published in it stays. Raises Transient where another run holds it.

    Raises Permanent where it was held at a higher epoch: whoever asks is over.
    """
    live = _read(connection)
    held = parse_lease(connection.name, live.lease, live.is_over)
    if isinstance(held, Unknown):
        raise Permanent(str(held))
    if held.holder not in ("", run):
        raise Transient(f"{connection.name}: run {held.holder} holds the lease")
    if held.epoch > epoch:
        raise Permanent(f"{connection.name}: the lease was held at epoch {held.epoch} already: {epoch} is stale")
    said = {f"{PREFIX}epoch": str(epoch), f"{PREFIX}run": run, f"{PREFIX}plan": plan}
    _write(connection, live, holder=run, said=said)
    return f"{connection.name}: the lease is held by {run} at epoch {epoch}"


def publish(connection: Connection, run: str, epoch: int, said: tuple[str, Sequence[str], Sequence[str]]) -> str:
    """Write who is primary, which sites are authorised and which are promotable; only for the run that holds the Lease."""
    live = _read(connection)
    held = parse_lease(connection.name, live.lease, live.is_over)
    if isinstance(held, Unknown) or (held.holder, held.epoch) != (run, epoch):
        raise Transient(f"{connection.name}: the lease is not held by {run} at epoch {epoch}")
    _write(connection, live, holder=run, said=lease_annotations(*said, epoch))
    return f"{connection.name}: published: primary {said[0]}, promotable {', '.join(said[2]) or 'nobody'}"


def release(connection: Connection, run: str) -> str:
    """Give the Lease back; one that is somebody else's is left alone."""
    live = _read(connection)
    if live.lease is None or live.lease["spec"].get("holderIdentity") != run:
        return f"{connection.name}: the lease is not ours"
    _write(connection, live, holder="", said={})
    return f"{connection.name}: the lease is given back"


def _read(connection: Connection) -> _Live:
    answer = connection.request("GET", KIND.path(NAMESPACE, NAME), timeout=LOOK)
    if answer.status not in (200, 404):
        raise refused(connection.name, f"read Lease {NAMESPACE}/{NAME}", answer)
    return _Live(answer.body if answer.status == 200 else None, _time_of(answer))


def _time_of(answer: Answer) -> datetime.datetime:
    """Return our clock's time, set right by an answer's Date (RFC 9110, 6.6.1) where they are apart."""
    ours, told = _clock(), next((value for name, value in answer.headers.items() if name.lower() == "date"), "")
    theirs = parsedate_to_datetime(told) if told else ours
    return ours if abs(ours - theirs) <= EXACT else theirs


def _clock() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _write(connection: Connection, read: _Live, *, holder: str, said: Mapping[str, str]) -> None:
    """Write the Lease as it is to be, unless it changed since it was read."""
    live = read.lease
    metadata: dict[str, Any] = dict(live["metadata"]) if live else {"name": NAME, "namespace": NAMESPACE}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **said}
    now = read.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {**((live or {}).get("spec") or {}), "holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": SECONDS}
    body = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": metadata, "spec": spec}
    method, path = ("PUT", KIND.path(NAMESPACE, NAME)) if live else ("POST", KIND.path(NAMESPACE))
    answer = connection.request(method, path, body=body, timeout=LOOK)
    if answer.status == 404 and not live:
        make_namespace(connection)
        answer = connection.request(method, path, body=body, timeout=LOOK)
    if answer.status == 409:
        raise Transient(f"{connection.name}: the lease changed while it was written")
    if answer.status not in (200, 201):
        raise refused(connection.name, f"write Lease {NAMESPACE}/{NAME}", answer)
