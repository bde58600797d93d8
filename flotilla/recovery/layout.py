"""Which sites there are and what each may be: the fleet file as planning needs it, and what follows from who is primary."""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.recovery.facts import HELD

MARGIN = 3.0  # seconds on top of the isolation rule's: an agent looks once a second, a fast stop takes up to two


@dataclass(frozen=True)
class Place:
    """A site: its name, the city it stands in, and the address that DNS answers with for it."""

    name: str
    city: str
    address: str = ""


@dataclass(frozen=True)
class Layout:
    """The sites, the first of which is the primary by design, and what the fleet file says of recovering them.

    ``synchronous`` are the standbys that commits wait for while the first site is primary. Times are seconds: an agent that
    is ``isolation`` alone stops its primary; a failback waits until a follower was ``stable`` so long; lag of an asynchronous
    target of a switchover is at most ``lag`` bytes. ``health``: whether DNS leaves out a site that does not serve.
    """

    places: tuple[Place, ...]
    synchronous: tuple[str, ...] = ()
    isolation: float = 10.0
    drain: float = 2.0
    lag: int = 16 << 20
    zone: str = "fleet.test."
    name: str = "orders"
    ttl: int = 5
    port: int = 8080
    health: bool = True
    approvals: int = 1

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites' names in the order of the fleet file."""
        return tuple(place.name for place in self.places)

    @property
    def majority(self) -> int:
        """How many of them are more than half."""
        return len(self.places) // 2 + 1

    @property
    def fence_wait(self) -> float:
        """Seconds after a new epoch's acceptance until an agent that could not be reached has stopped its primary."""
        return self.isolation + MARGIN

    @property
    def held(self) -> float:
        """Seconds for which a follower must be seen to move."""
        return HELD

    def place(self, site: str) -> Place:
        """Return a site; raises KeyError for one that is not there."""
        return next((place for place in self.places if place.name == site), None) or _unknown(site, self.sites)

    def others(self, *sites: str) -> tuple[str, ...]:
        """Return all other sites."""
        return tuple(site for site in self.sites if site not in sites)

    def in_city_of(self, site: str) -> tuple[str, ...]:
        """Return the sites in a site's city, itself included."""
        city = self.place(site).city
        return tuple(place.name for place in self.places if place.city == city)

    def authorised(self, primary: str) -> tuple[str, ...]:
        """Return the sites that take traffic while a site is primary: those of its city, and no other city's."""
        return self.in_city_of(primary)

    def addresses(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        """Return the addresses that DNS answers with for sites."""
        return tuple(self.place(one).address for one in sites)

    def sync_names(self, primary: str) -> tuple[str, ...]:
        """Return the standbys that a primary's commits are to wait for.

        By design as the fleet file says; elsewhere in that city the first site takes the primary's place. A primary in another
        city waits for nobody: each commit would take a round trip between cities, and what it loses is stated.
        """
        first = self.sites[0]
        if primary == first:
            return self.synchronous
        if primary not in self.in_city_of(first) or not self.synchronous:
            return ()
        return (
            tuple(first if name == primary else name for name in self.synchronous) if primary in self.synchronous else (first,)
        )


def _unknown(site: str, sites: tuple[str, ...]) -> Place:
    raise KeyError(f"no site {site!r}; there are {', '.join(sites)}")
