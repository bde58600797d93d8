"""One site's PowerDNS Authoritative server, by its HTTP API: what its zone holds, and a change of it, whole or not at all.

The API knows no compare-and-swap: a stale write would win. So the epoch is looked at right before each write, and only one
may hold this object at a time: the site's agent, under its lock. https://doc.powerdns.com/authoritative/http-api/
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import httpx
from httpx import codes

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.node.memory import Stale
from flotilla.traffic.config import AgentTraffic
from flotilla.traffic.records import Record, parse_record
from flotilla.traffic.zone import RecordSet, changes, epochs, objections, staleness
from tasks.trust import trusted

PATIENCE = 2.0  # seconds for one exchange with the API; milliseconds are usual
LOOK_PATIENCE = 0.5  # seconds; a look must not keep others waiting
_NEGATIVE_TTL = 5  # seconds for which a resolver may remember that there is no such name
_WRITTEN_BY_THEN = 0.2  # seconds after which a zone that somebody else writes is usually there; milliseconds are usual
_ZONES = "/api/v1/servers/localhost/zones"


class StaleEpoch(Stale):
    """A change of an epoch that a later recovery has left behind."""


@dataclass(frozen=True)
class Zone:
    """A zone, its name with a dot at the end, and the servers that answer for it: name to IPv4 address."""

    name: str
    nameservers: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """Where a server is: the site, the API's URL and key, and where it answers DNS (address, port)."""

    site: str
    api: str
    key: str
    dns: tuple[str, int]


class PowerDns:
    """One server and the zone that it holds for Flotilla. Not to be used by two at once."""

    def __init__(self, place: Place, zone: Zone) -> None:
        self.place, self.zone = place, zone
        headers = {"X-API-Key": place.key}
        self._http = httpx.Client(base_url=place.api, headers=headers, timeout=PATIENCE, trust_env=False, verify=trusted())

    def close(self) -> None:
        """Close the connection to the API."""
        self._http.close()

    def seen(self) -> dict[str, Any]:
        """Return what the server holds and whether it answers, as a site agent tells it; ``unseen`` where nobody could look."""
        try:
            found = self._held(LOOK_PATIENCE)
        except FlotillaError as error:
            return {"unseen": str(error)}
        return {
            "serving": self._answers(),
            "zone": self.zone.name,
            "epoch": max((one.epoch for one in epochs(found or []).values()), default=None),
            "records": [one.as_dict() for one in found or []],
        }

    def set(self, zone: str, records: Iterable[Mapping[str, object]]) -> bool:
        """Have the zone hold these records in one change, all or none; return whether anything had to be changed.

        Raises StaleEpoch, Permanent (they will never be taken) or Transient (the server is away; try again).
        """
        wanted = self._checked(zone, records)
        held = self._held()
        if held is None:
            self._create()
            held = []
        if late := staleness(held, wanted):
            raise StaleEpoch(f"{self.place.site}: {late}; nothing was changed")
        needed = changes(held, wanted)
        if not needed:
            return False
        self._exchange("PATCH", f"{_ZONES}/{self.zone.name}", {"rrsets": [_rrset(at, found) for at, found in needed.items()]})
        if left := changes(self._held() or [], wanted):
            names = ", ".join(f"{name} {kind}" for name, kind in left)
            raise Permanent(f"{self.place.site}: PowerDNS took a change of {names} and holds something else; look at its log")
        return True

    def _checked(self, zone: str, records: Iterable[Mapping[str, object]]) -> list[Record]:
        try:
            wanted = [parse_record(one) for one in records]
        except ValueError as error:
            raise Permanent(f"{self.place.site}: {error}") from None
        wrong = objections(zone, wanted) if zone == self.zone.name else (f"it holds {self.zone.name}, not {zone}",)
        if wrong or not wanted:
            raise Permanent(f"{self.place.site}: {'; '.join(wrong) or 'no record to write'}; nothing was changed")
        return wanted

    def _held(self, timeout: float = PATIENCE) -> list[Record] | None:
        """Return the zone's records but those that make it a zone; None where there is no such zone."""
        answer = self._exchange("GET", f"{_ZONES}/{self.zone.name}", timeout=timeout, absent=True)
        if answer is None:
            return None
        try:
            return [
                Record(rrset["name"], rrset["type"], int(rrset["ttl"]), str(one["content"]))
                for rrset in answer["rrsets"]
                for one in rrset["records"]
                if rrset["type"] not in ("SOA", "NS") and rrset["name"] not in self.zone.nameservers
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise Transient(f"{self.place.site}: PowerDNS answers {self.zone.name} in no known form ({error!r})") from None

    def _create(self) -> None:
        """Have the zone; another one who makes it just now is fine."""
        first = next(iter(self.zone.nameservers))
        soa = f"{first} hostmaster.{self.zone.name} 1 10800 3600 604800 {_NEGATIVE_TTL}"
        contents = {(self.zone.name, "SOA"): [soa], (self.zone.name, "NS"): list(self.zone.nameservers)}
        contents |= {(name, "A"): [address] for name, address in self.zone.nameservers.items()}
        sets = [_rrset(at, [Record(*at, _NEGATIVE_TTL, one) for one in found]) for at, found in contents.items()]
        body = {"name": self.zone.name, "kind": "Native", "nameservers": [], "soa_edit_api": "INCREASE", "rrsets": sets}
        try:
            self._exchange("POST", _ZONES, body, present=True)
        except Transient:  # who comes while another one's zone is written is answered with 500, not with 409
            time.sleep(_WRITTEN_BY_THEN)
            self._exchange("POST", _ZONES, body, present=True)

    def _exchange(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float = PATIENCE,
        absent: bool = False,
        present: bool = False,
    ) -> Any:
        """Return the answer's body; None where there is none, or what is asked for may be missing or is there already."""
        try:
            answer = self._http.request(method, path, json=body, timeout=timeout)
            if answer.is_success:
                return answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            raise Transient(f"{self.place.site}: PowerDNS' API at {self.place.api} gives no whole answer: {error!r}") from None
        if (absent and answer.status_code == codes.NOT_FOUND) or (present and answer.status_code == codes.CONFLICT):
            return None
        said = answer.text.strip()[:300]  # JSON for most errors, plain text where the zone is not there
        sentence = f"{self.place.site}: PowerDNS answers {method} {path} with {answer.status_code}: {said}"
        raise (Transient if answer.is_server_error else Permanent)(sentence)

    def _answers(self) -> bool:
        """Whether the server answers DNS for the zone, with authority."""
        address, port = self.place.dns
        try:
            said = dns.query.udp(dns.message.make_query(self.zone.name, "SOA"), address, LOOK_PATIENCE, port)
        except (OSError, dns.exception.DNSException):
            return False
        return said.rcode() == dns.rcode.NOERROR and bool(said.flags & dns.flags.AA)


def of_site(site: str, config: AgentTraffic) -> PowerDns:
    """Return a site's server as its agent's file has it; raises Permanent where the key's file can't be read."""
    try:
        key = config.key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Permanent(f"{site}: the key of PowerDNS' API can't be read: {error}") from None
    place = Place(site, config.api, key, (config.dns.address, config.dns.port))
    return PowerDns(place, Zone(config.zone, config.nameservers))


def _rrset(at: RecordSet, found: Sequence[Record]) -> dict[str, object]:
    name, kind = at
    if not found:
        return {"name": name, "type": kind, "changetype": "DELETE"}
    contents = [{"content": one.content, "disabled": False} for one in found]
    return {"name": name, "type": kind, "ttl": found[0].ttl, "changetype": "REPLACE", "records": contents}
