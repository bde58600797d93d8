"""What a site agent's file says of its site's DNS: the part ``traffic`` (PowerDNS), or ``externalDns`` in its place.

Secrets are names of files, never values.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from flotilla.metrics.config import Address
from flotilla.validation import Strict


def _absolute_name(value: str) -> str:
    if not value.endswith(".") or value.startswith(".") or ".." in value:
        raise ValueError("a DNS name with a dot at its end, such as fleet.example.")
    return value


def _ipv4(value: str) -> str:
    return str(IPv4Address(value))


AbsoluteName = Annotated[str, AfterValidator(_absolute_name)]
Ipv4 = Annotated[str, AfterValidator(_ipv4)]


class Nameserver(Strict):
    """Where the site's own server answers users."""

    address: Ipv4
    port: int = Field(default=53, gt=0, lt=65536)


class AgentTraffic(Strict):
    """The site's PowerDNS: its API, which only the agent has the key of, and the zone that it holds.

    ``nameservers`` are the names and addresses of all servers of the zone, those of the other sites too.
    """

    api: Address
    key_file: Path
    dns: Nameserver
    zone: AbsoluteName
    nameservers: dict[AbsoluteName, Ipv4] = Field(min_length=1)


class ExternalDnsTraffic(Strict):
    """An object of a cluster that external-dns makes DNS of, at whichever provider: DNSEndpoint ``name`` in ``namespace``.

    All agents name the same object, in a cluster that does not stand or fall with a site. Nobody checks health: the fleet
    file says ``recovery.traffic.health: false``.
    """

    kubeconfig: Path
    context: str = Field(min_length=1)
    namespace: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1, max_length=253)
    zone: AbsoluteName
