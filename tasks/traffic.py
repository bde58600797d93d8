"""What DNS servers answer users, asked of each one by DNS: the proof that a change of traffic has arrived."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from flotilla.facts import Unknown
from flotilla.traffic.agreement import Agreement, Answer, Useless, agreement
from flotilla.traffic.service import Desired, Service

PATIENCE = 1.0  # seconds for one question
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2  # seconds between two rounds of questions


@dataclass(frozen=True)
class Server:
    """A DNS server that users may come to: the name of its site, and where it answers."""

    site: str
    address: str
    port: int = 53


class _Refused(Exception):
    """A server has answered, and that it will not, or cannot."""


def server_at(site: str, address: str) -> Server:
    """Return a site's server at ADDRESS or ADDRESS:PORT."""
    host, colon, port = address.rpartition(":")
    return Server(site, host, int(port)) if colon else Server(site, address)


def ask(server: Server, service: Service) -> Answer | Unknown:
    """Return what a server answers users of a service, Useless where that is an error; or that nobody could ask."""
    try:
        # The epoch first: both change in one transaction, so addresses that are asked for later are of this epoch or newer.
        told = _texts(server, service.epoch_name)
        return Answer(server.site, frozenset(_contents(server, service.name, dns.rdatatype.A)), tuple(told))
    except _Refused as error:
        return Useless(server.site, f"answers with an error at {server.address} port {server.port}: {error}")
    except (OSError, dns.exception.DNSException) as error:
        reason = f"gives no answer at {server.address} port {server.port}: {error or type(error).__name__}"
        return Unknown(server.site, reason)


def asked(service: Service, desired: Desired, servers: Sequence[Server]) -> Agreement:
    """Return which servers answer as desired now; all are asked side by side."""
    with ThreadPoolExecutor(len(servers)) as pool:
        return agreement(service, desired, pool.map(lambda server: ask(server, service), servers))


def agreed(service: Service, desired: Desired, servers: Sequence[Server], patience: float) -> Agreement:
    """Return who answers as desired, once all do, or after ``patience`` seconds: then with what each other one lacks.

    Asking has an effect of its own: a server begins to check the health of addresses when it is first asked for them.
    """
    deadline, pause = time.monotonic() + patience, _FIRST_PAUSE
    while not (found := asked(service, desired, servers)).is_whole and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return found


def _texts(server: Server, name: str) -> list[str]:
    return [text.strip('"') for text in _contents(server, name, dns.rdatatype.TXT)]


def _contents(server: Server, name: str, kind: dns.rdatatype.RdataType) -> list[str]:
    query = dns.message.make_query(name, kind)
    said, _ = dns.query.udp_with_fallback(query, server.address, PATIENCE, server.port)
    if said.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _Refused(f"it answers {dns.rcode.to_text(said.rcode())} for {name}")
    return [one.to_text() for found in said.answer if found.rdtype == kind for one in found]
