"""DNS that external-dns writes: the records stand in an object of a cluster, behind the same interface as PowerDNS.

It does not check health and takes plain addresses only. See flotilla/traffic/endpoints.py for what is lost with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.objects import Manifest
from flotilla.traffic.endpoints import API_VERSION, KIND, endpoints, manifest, records_in
from flotilla.traffic.records import Record, parse_record
from flotilla.traffic.zone import epochs, objections, staleness
from tasks.clusters import READ_TIMEOUT, Answer, Connection, refused
from tasks.latest import Latest
from tasks.objects import MANAGER, Kind, applied, kind_of, patiently, read
from tasks.powerdns import StaleEpoch

WRITE, LOOK = 5.0, 5.0  # seconds for all that a write or a look asks; while one writes, no epoch is accepted
GLIMPSE = 0.5  # seconds that who looks waits: the other agents take a site for lost that does not answer them in 1.5 s
LASTING = 5.0  # seconds for which what was seen is told while nothing newer is


class ExternalDns:
    """The records of one zone in one cluster's DNSEndpoint ``name`` in ``namespace``."""

    def __init__(self, connection: Connection, zone: str, namespace: str, name: str) -> None:
        self._connection, self._zone = connection, zone
        self._namespace, self._name = namespace, name
        self._latest = Latest(self._looked, GLIMPSE, LASTING)

    def seen(self) -> dict[str, Any]:
        """Return what is asked of external-dns, as PowerDns does; ``serving``: whether external-dns has taken it.

        Takes half a second at most, whatever the API server does: then what was seen a moment ago is told.
        """
        return self._latest.get()

    def _looked(self) -> dict[str, Any]:
        api = _Brief(self._connection, LOOK)
        try:
            body = read(api, self._kind(api), self._namespace, self._name)
            held = self._records(body)
        except FlotillaError as error:
            return {"unseen": str(error)}
        return {
            "serving": body is not None and _is_taken(body),
            "zone": self._zone,
            "epoch": max((one.epoch for one in epochs(held).values()), default=None),
            "records": [one.as_dict() for one in held],
        }

    def set(self, zone: str, records: Iterable[Mapping[str, object]]) -> bool:
        """Have the object hold these records and no others; return whether it had to be changed.

        The check of the epoch and the write are one: whoever wrote in between makes the API server refuse. Raises StaleEpoch,
        Permanent or Transient.
        """
        wanted = self._checked(zone, records)
        try:
            return self._set(_Brief(self._connection, WRITE), wanted)
        finally:
            self._latest.forget()

    def _set(self, api: Connection, wanted: list[Record]) -> bool:
        kind = self._kind(api)
        body = read(api, kind, self._namespace, self._name)
        held = self._records(body)
        if late := staleness(held, wanted):
            raise StaleEpoch(f"{self._connection.name}: {late}; nothing was changed")
        if body is not None and endpoints(held) == endpoints(wanted):
            return False
        answer = self._written(api, kind, body, wanted)
        if answer.status == 409:
            raise Transient(f"{self._connection.name}: {KIND} {self._namespace}/{self._name} was changed meanwhile: look again")
        if answer.status not in (200, 201):
            raise refused(self._connection.name, f"write {KIND} {self._namespace}/{self._name}", answer)
        return True

    def _written(self, api: Connection, kind: Kind, body: Manifest | None, wanted: Iterable[Record]) -> Answer:
        """Return the answer to a write that is refused with 409 where anybody else wrote since we looked."""
        new = manifest(self._namespace, self._name, wanted)
        if body is None:
            path, query = kind.path(self._namespace), {"fieldManager": MANAGER}
            return patiently(lambda: api.request("POST", path, query=query, body=new))
        new["metadata"]["resourceVersion"] = body["metadata"]["resourceVersion"]
        return applied(api, kind, new, force=True)

    def _checked(self, zone: str, records: Iterable[Mapping[str, object]]) -> list[Record]:
        name = self._connection.name
        try:
            wanted = [parse_record(one) for one in records]
        except ValueError as error:
            raise Permanent(f"{name}: {error}") from None
        if lua := [one.name for one in wanted if one.type == "LUA"]:
            raise Permanent(f"{name}: {', '.join(lua)}: external-dns takes plain addresses and checks no health")
        wrong = objections(zone, wanted) if zone == self._zone else (f"it holds {self._zone}, not {zone}",)
        if wrong or not wanted:
            raise Permanent(f"{name}: {'; '.join(wrong) or 'no record to write'}; nothing was changed")
        return wanted

    def _kind(self, api: Connection) -> Kind:
        kind = kind_of(api, API_VERSION, KIND)
        if kind is None:
            raise Permanent(f"{self._connection.name} has no {KIND} of {API_VERSION}: install external-dns' definitions")
        return kind

    def _records(self, body: Manifest | None) -> list[Record]:
        try:
            return records_in(body) if body else []
        except ValueError as error:
            raise Permanent(f"{self._connection.name}: {KIND} {self._namespace}/{self._name}: {error}") from None


class _Brief(Connection):
    """A connection that is of use for so many seconds only."""

    def __init__(self, other: Connection, seconds: float) -> None:
        super().__init__(other.name, other.api)
        self._memory, self._seconds = other._memory, seconds
        self._until = time.monotonic() + seconds

    def request(self, method: str, path: str, *, timeout: float = READ_TIMEOUT, **words: Any) -> Answer:
        """Return what is answered, as ``Connection`` does; raises Transient once its time is over."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise Transient(f"{self.name}: the API server has not answered within {self._seconds:g} s")
        return super().request(method, path, timeout=min(timeout, left), **words)


def _is_taken(body: Manifest) -> bool:
    """Whether external-dns says that it has seen the object as it is now: not that any server answers so."""
    return bool((body.get("status") or {}).get("observedGeneration") == body["metadata"].get("generation"))
