"""What must hold before any record is written: assertions on the outcome, and a pace for what changes by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flotilla.facts import Unknown
from flotilla.traffic.records import Foreign, Held, Holding
from flotilla.traffic.service import Desired, ModeKind, Service

HOUR = 3600.0


@dataclass(frozen=True)
class Pace:
    """How often traffic may change by itself: seconds between two changes, and how many an hour; then a person is needed."""

    between: float = 60.0
    an_hour: int = 6


@dataclass(frozen=True)
class Automatic:
    """A change that nobody has asked for: when it would be made, and when earlier such changes were (epoch seconds)."""

    at: float
    earlier: Sequence[float] = ()
    pace: Pace = Pace()


def refusals(
    service: Service, wanted: Desired, held: Mapping[str, Holding | Unknown], automatic: Automatic | None = None
) -> tuple[str, ...]:
    """Return every reason not to write, none if it may be written; ``held`` by the name of the server's site.

    ``automatic`` None: a person or a runbook that people have agreed to asks. A server that cannot be seen is no reason: a
    recovery must not wait for what it recovers from.
    """
    return (*_unknown_sites(service, wanted), *_bad_sets(service, wanted), *_lower(service, wanted, held)) + (
        tuple(_too_fast(service, automatic, held)) if automatic else ()
    )


def _unknown_sites(service: Service, wanted: Desired) -> Iterator[str]:
    named = wanted.authorised | {wanted.primary} | ({wanted.mode.site} if wanted.mode.site else set())
    for name in sorted(named - set(service.site_names)):
        yield f"{service.name} has no site {name!r}; there are {', '.join(service.site_names)}"


def _bad_sets(service: Service, wanted: Desired) -> Iterator[str]:
    if not wanted.authorised:
        yield f"{service.name}: no site would be authorised; users would be sent nowhere, or anywhere"
    elif not wanted.answered:
        yield f"{service.name}: {wanted.mode} leaves no authorised site in the answer; authorise another site first"
    if wanted.mode.kind is ModeKind.PIN and wanted.mode.site not in wanted.authorised:
        yield f"{service.name}: {wanted.mode} names a site that is not authorised ({_list(wanted.authorised)} are)"
    cities = {site.city: site.name for site in service.sites if site.name in wanted.authorised}
    home = next((site.city for site in service.sites if site.name == wanted.primary), None)
    if len(cities) > 1:
        yield (
            f"{service.name}: {_list(cities.values())} stand in different cities and would be authorised together; "
            "one city serves at a time"
        )
    for site in service.sites:
        if home is not None and site.name in wanted.authorised and site.city != home:
            yield (
                f"{service.name}: {site.name} would be authorised while the database is written at {wanted.primary}, in "
                f"another city; promote {site.name} first"
            )


def _lower(service: Service, wanted: Desired, held: Mapping[str, Holding | Unknown]) -> Iterator[str]:
    for server, one in held.items():
        if isinstance(one, Held) and one.desired.epoch > wanted.epoch:
            yield (
                f"{service.name}: the server at {server} holds epoch {one.desired.epoch}, this change is of epoch "
                f"{wanted.epoch}: a later recovery has written there"
            )


def _too_fast(service: Service, automatic: Automatic, held: Mapping[str, Holding | Unknown]) -> Iterator[str]:
    since = automatic.at - max(automatic.earlier, default=float("-inf"))
    if since < automatic.pace.between:
        yield (
            f"{service.name}: the last automatic change was {since:.0f} s ago; {automatic.pace.between:.0f} s must lie between "
            "two, or traffic flaps"
        )
    lately = [at for at in automatic.earlier if automatic.at - at < HOUR]
    if len(lately) >= automatic.pace.an_hour:
        yield f"{service.name}: {len(lately)} automatic changes within an hour; from now on a person changes traffic"
    for server, one in held.items():
        if isinstance(one, Foreign):
            yield f"{service.name}: the server at {server} holds what Flotilla has not written: {one.reason}"
    if held and all(isinstance(one, Unknown) for one in held.values()):
        yield f"{service.name}: no server could be seen; what cannot be seen is not changed without a person"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
