"""What servers answer against what they should: which of them send users where they belong, and what the others lack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flotilla.facts import Unknown
from flotilla.traffic.records import parse_told
from flotilla.traffic.service import Desired, Service


@dataclass(frozen=True)
class Answer:
    """What one server answers users: addresses of the service, and the texts of its epoch's record."""

    server: str
    addresses: frozenset[str]
    told: tuple[str, ...]


@dataclass(frozen=True)
class Useless(Unknown):
    """A server that was asked, and answered with an error or with nothing that leads anywhere: so do its users fare."""


@dataclass(frozen=True)
class Agreement:
    """Which servers answer as desired, and what each other one lacks, as a sentence."""

    agreeing: tuple[str, ...]
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every server agrees."""
        return not self.lacking

    @property
    def is_majority(self) -> bool:
        """Whether more servers agree than not: enough to go on, the rest is brought along later."""
        return len(self.agreeing) > len(self.lacking)

    def __str__(self) -> str:
        good = f"{', '.join(self.agreeing)} answer as desired" if self.agreeing else "no server answers as desired"
        return "; ".join([good, *self.lacking.values()])


def agreement(service: Service, desired: Desired, answers: Iterable[Answer | Unknown]) -> Agreement:
    """Return who agrees."""
    lacking = {_server(one): lack(service, desired, one) for one in answers}
    return Agreement(
        tuple(server for server, what in lacking.items() if not what),
        {server: what for server, what in lacking.items() if what},
    )


def lack(service: Service, desired: Desired, answer: Answer | Unknown) -> str:
    """Return what an answer lacks, "" if nothing.

    Of the addresses in the record a healthy server answers those that are healthy, so fewer are fine; others never are.
    """
    if isinstance(answer, Unknown):
        return f"the server at {answer}"
    where = f"the server at {answer.server}"
    if (seen := _epoch(answer)) != desired:
        return f"{where} says {_shown(answer)}, expected epoch {desired.epoch}, sites {', '.join(sorted(desired.authorised))}"
    allowed = {site.address: site.name for site in service.sites if site.name in seen.answered}
    if strange := answer.addresses - set(allowed):
        return f"{where} answers {', '.join(sorted(strange))} for {service.name}; allowed: {', '.join(allowed)}"
    return "" if answer.addresses else f"{where} has no address of {service.name}"


def _epoch(answer: Answer) -> Desired | None:
    try:
        return parse_told(answer.told[0]) if len(answer.told) == 1 else None
    except ValueError:
        return None


def _shown(answer: Answer) -> str:
    return " and ".join(answer.told) or "no epoch"


def _server(answer: Answer | Unknown) -> str:
    return answer.cluster if isinstance(answer, Unknown) else answer.server
