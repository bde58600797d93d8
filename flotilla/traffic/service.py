"""A service that users reach by one name, the sites that can take them, and which of those may now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

PATH = "/dr/serving"  # where a site is asked whether it serves: it does while it answers 200
_NAME = re.compile(r"([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?\.)+")
_SITE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PATH = re.compile(r"/[\w./~%-]*")


@dataclass(frozen=True)
class Site:
    """A place that can serve: its name in the fleet file, the IPv4 address that users are given, the city it stands in."""

    name: str
    address: str
    city: str

    def __post_init__(self) -> None:
        if not _SITE.fullmatch(self.name):
            raise ValueError(f"site {self.name!r}: a DNS label is needed")
        IPv4Address(self.address)  # it becomes part of an expression that the DNS server evaluates


@dataclass(frozen=True)
class Service:
    """A service's DNS name in a zone, both with a dot at their end, and how each of its sites is asked whether it serves.

    A site serves where ``http://ADDRESS:port path`` answers 200 within ``timeout`` seconds. ``ttl`` in seconds: how long a user
    may go on with an old answer.
    """

    name: str
    zone: str
    sites: tuple[Site, ...]
    port: int
    path: str = PATH
    ttl: int = 5
    timeout: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not _NAME.fullmatch(self.zone) or not self.name.endswith(f".{self.zone}"):
            raise ValueError(f"service {self.name!r} in zone {self.zone!r}: names with a dot at their end, one below the other")
        if not _PATH.fullmatch(self.path) or not 0 < self.port < 65536:
            raise ValueError(f"service {self.name}: port {self.port} and path {self.path!r} make no URL")
        if len({site.name for site in self.sites}) < len(self.sites) or not self.sites:
            raise ValueError(f"service {self.name}: at least one site is needed, and each once")

    @property
    def epoch_name(self) -> str:
        """The name whose TXT record says of which epoch the answer is, and of which sites."""
        return f"_epoch.{self.name}"

    @property
    def site_names(self) -> tuple[str, ...]:
        """The sites' names in the order of the service."""
        return tuple(site.name for site in self.sites)

    def site(self, name: str) -> Site:
        """Return the site of that name; raises KeyError naming those there are."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(f"{self.name} has no site {name!r}; there are {', '.join(self.site_names)}")


class ModeKind(StrEnum):
    """How the answer follows from the authorised sites."""

    AUTO = "auto"
    DRAIN = "drain"
    PIN = "pin"


@dataclass(frozen=True)
class Mode:
    """AUTO: every authorised site that is healthy. DRAIN: those without ``site``. PIN: ``site`` alone, whatever its health."""

    kind: ModeKind = ModeKind.AUTO
    site: str = ""

    def __post_init__(self) -> None:
        if bool(self.site) == (self.kind is ModeKind.AUTO):
            raise ValueError(f"mode {self.kind} with site {self.site!r}: drain and pin name a site, auto names none")

    def __str__(self) -> str:
        return f"{self.kind}:{self.site}" if self.site else self.kind.value


AUTO = Mode()


def drained(site: str) -> Mode:
    """Return the mode in which new users go to the other authorised sites."""
    return Mode(ModeKind.DRAIN, site)


def pinned(site: str) -> Mode:
    """Return the mode in which all users go to one site, whatever its health."""
    return Mode(ModeKind.PIN, site)


def parse_mode(text: str) -> Mode:
    """Return the mode that ``str`` of it would show; raises ValueError naming what there is."""
    kind, _, site = text.partition(":")
    if kind not in set(ModeKind):
        raise ValueError(f"mode {text!r}: auto, drain:SITE or pin:SITE")
    return Mode(ModeKind(kind), site)


@dataclass(frozen=True)
class Desired:
    """Which sites may take users, since which epoch, where the database is written, and how the answer follows."""

    epoch: int
    primary: str
    authorised: frozenset[str]
    mode: Mode = AUTO

    @property
    def answered(self) -> frozenset[str]:
        """The sites that stand in the answer; of these, in every mode but PIN, a server leaves out the unhealthy."""
        if self.mode.kind is ModeKind.PIN:
            return frozenset({self.mode.site})
        return self.authorised - {self.mode.site}
