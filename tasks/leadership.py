"""Which keeper acts, and which clusters' control planes are well: one coordination.k8s.io Lease in each cluster.

Renewing it proves the way to the cluster's API server (KEP-1645, Endpoint TTL); holding most of them is leading.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.keeping import leads
from flotilla.services.facts import LeaseFact
from flotilla.services.parse import parse_lease
from tasks.clusters import Answer, Connection, refused
from tasks.leases import KIND

NAMESPACE = "flotilla-system"
NAME = "flotilla-keeper"
DURATION = 8.0  # seconds a lease lasts; so long no other keeper acts after one that died on another machine
EVERY = 2.0  # seconds between renewals: three may fail
TIMEOUT = 2.0  # seconds a renewal may take
MARGIN = 2.0  # seconds before its end that a lease counts as lost: a write that was begun must be over by then
log = logging.getLogger("flotilla.keeper")


def own_identity() -> str:
    """Return a name for this process that no other has: host, process id and a random part."""
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


@dataclass
class _Seen:
    """A lease that is another's, and when it was first seen as it is: ages are told by one clock only, ours."""

    renewed: str = ""
    at: float = 0.0


class Leadership:
    """The leases of one keeper, each renewed by a thread of its own, so that a cluster that hangs delays no other.

    Leases are taken in the order of the fleet file: who does not have an earlier one that can be reached leaves the later
    ones alone. So two keepers that start at once do not end up with half of them each.
    """

    def __init__(self, connections: Sequence[Connection], identity: str, lease: str = NAME) -> None:
        self.identity, self._lease = identity, lease
        self._connections = list(connections)
        self._names = [connection.name for connection in connections]
        self._held_until: dict[str, float] = {}
        self._facts: dict[str, LeaseFact | Unknown] = {
            name: Unknown(name, "its lease was not tried yet") for name in self._names
        }
        self._live: dict[str, dict[str, Any]] = {}
        self._seen: dict[str, _Seen] = {}
        self._reached: dict[str, bool] = {}
        self._stopping = False
        self._turn = threading.Condition()
        self._turns = 0  # how often something changed that others wait for
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to take and renew."""
        for connection in self._connections:
            thread = threading.Thread(target=self._run, args=(connection,), name=f"lease-{connection.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, within: float = 1.0) -> None:
        """Give every lease back, so that another keeper takes over at once; wait ``within`` seconds for that."""
        self._stopping = True
        self._tell_others()
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def leads(self) -> bool:
        """Whether this keeper may write."""
        return leads(self._held_until, self._names, time.monotonic())

    @property
    def facts(self) -> Mapping[str, LeaseFact | Unknown]:
        """The leases as they were seen last, by cluster name."""
        return dict(self._facts)

    @property
    def holders(self) -> dict[str, str]:
        """Who holds the lease of each cluster, as far as it is known."""
        return {name: fact.holder for name, fact in self.facts.items() if isinstance(fact, LeaseFact)}

    def _run(self, connection: Connection) -> None:
        while not self._stopping:
            began, turns = time.monotonic(), self._turns
            try:
                self._renew(connection, began)
                self._reached[connection.name] = True
            except FlotillaError as error:
                self._failed(connection.name, str(error).removeprefix(f"{connection.name}: "))
            except Exception as error:  # a thread that ended for a defect would cost the lead
                log.exception("lease cluster=%s failed", connection.name)
                self._failed(connection.name, f"what it answered was not understood: {error!r}")
            with self._turn:
                pause = max(0.1, EVERY - (time.monotonic() - began))
                self._turn.wait_for(lambda turns=turns: self._stopping or self._turns != turns, pause)  # type: ignore[misc]
        self._give_back(connection)

    def _tell_others(self) -> None:
        """Wake the threads that wait for an earlier lease to be ours, or to be out of reach."""
        with self._turn:
            self._turns += 1
            self._turn.notify_all()

    def _failed(self, name: str, reason: str) -> None:
        self._live.pop(name, None)
        if self._reached.get(name) is not False:
            self._reached[name] = False
            self._tell_others()
        if not isinstance(self._facts[name], LeaseFact):
            self._facts[name] = Unknown(name, reason)

    def _renew(self, connection: Connection, began: float) -> None:
        """Renew a lease that is ours, take one that may be taken, take note of one that is another's."""
        name = connection.name
        live = self._live.get(name) or self._read(connection)
        spec = (live or {}).get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self.identity) and not self._is_over(name, spec):
            self._note(name, live)
            return
        if not self._may_take(name):
            return
        answer = self._write(connection, live, self._renewed(spec, holder))
        if answer.status == 409:  # somebody was quicker, or the lease is not as it was: looked at again next time
            self._live.pop(name, None)
            return
        if answer.status not in (200, 201):
            raise refused(name, f"renew Lease {NAMESPACE}/{self._lease}", answer)
        self._live[name] = answer.body
        self._facts[name] = parse_lease(answer.body)
        newly = name not in self._held_until
        self._held_until[name] = began + DURATION - MARGIN
        if newly:
            log.info("lease cluster=%s taken holder=%s before=%s", name, self.identity, holder or "nobody")
            self._tell_others()

    def _may_take(self, name: str) -> bool:
        """Tell whether every earlier cluster's lease is ours, or cannot be had by anybody from here."""
        now = time.monotonic()
        earlier = self._names[: self._names.index(name)]
        return all(self._held_until.get(one, 0.0) > now or self._reached.get(one) is False for one in earlier)

    def _is_over(self, name: str, spec: Mapping[str, Any]) -> bool:
        """Tell whether a lease of another has run out since we watch it, or its holder was a process of this machine."""
        host, _, rest = str(spec.get("holderIdentity")).rpartition("_")[0].rpartition("_")
        if host == socket.gethostname() and rest.isdigit() and not _runs(int(rest)):
            return True
        seen, renewed = self._seen.setdefault(name, _Seen()), str(spec.get("renewTime"))
        if seen.renewed != renewed:
            seen.renewed, seen.at = renewed, time.monotonic()
        return time.monotonic() - seen.at > float(spec.get("leaseDurationSeconds") or DURATION)

    def _note(self, name: str, live: Any) -> None:
        if self._held_until.pop(name, None):
            log.warning("lease cluster=%s lost to %s", name, live["spec"]["holderIdentity"])
        self._live.pop(name, None)
        self._facts[name] = parse_lease(live)

    def _renewed(self, spec: Mapping[str, Any], holder: str) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = holder == self.identity
        return {
            "holderIdentity": self.identity,
            "acquireTime": spec.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseDurationSeconds": int(DURATION),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (not mine),
        }

    def _read(self, connection: Connection) -> dict[str, Any] | None:
        answer = connection.request("GET", KIND.path(NAMESPACE, self._lease), timeout=TIMEOUT)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(connection.name, f"read Lease {NAMESPACE}/{self._lease}", answer)
        found: dict[str, Any] = answer.body
        return found

    def _write(self, connection: Connection, live: dict[str, Any] | None, spec: Mapping[str, Any]) -> Answer:
        metadata = live["metadata"] if live else {"name": self._lease, "namespace": NAMESPACE}
        body = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": metadata, "spec": spec}
        if live:
            return connection.request("PUT", KIND.path(NAMESPACE, self._lease), body=body, timeout=TIMEOUT)
        answer = connection.request("POST", KIND.path(NAMESPACE), body=body, timeout=TIMEOUT)
        if answer.status == 404:
            make_namespace(connection)
            answer = connection.request("POST", KIND.path(NAMESPACE), body=body, timeout=TIMEOUT)
        return answer

    def _give_back(self, connection: Connection) -> None:
        live = self._live.get(connection.name)
        if live is None or live["spec"].get("holderIdentity") != self.identity:
            return
        self._held_until.pop(connection.name, None)
        try:
            self._write(connection, live, {**live["spec"], "holderIdentity": ""})
        except FlotillaError as error:
            log.warning("lease cluster=%s not given back, it runs out in %.0f s: %s", connection.name, DURATION, error)


def make_namespace(connection: Connection) -> None:
    """Have the namespace in which the keeper keeps what is its own."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    answer = connection.request("POST", "/api/v1/namespaces", body=body, timeout=TIMEOUT)
    if answer.status not in (201, 409):
        raise refused(connection.name, f"create the namespace {NAMESPACE}", answer)


def _runs(process: int) -> bool:
    """Tell whether another process of this number runs on this machine."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
