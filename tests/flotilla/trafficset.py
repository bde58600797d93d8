"""A service of two centres in one city and one in another, for tests of traffic."""

from __future__ import annotations

from flotilla.traffic.service import AUTO, Desired, Mode, Service, Site

SITES = (
    Site("production", "10.0.0.11", "hangzhou"),
    Site("same-city", "10.0.0.12", "hangzhou"),
    Site("remote", "10.0.0.13", "beijing"),
)
SHOP = Service("shop.example.", "example.", SITES, 8080)
CITY = frozenset({"production", "same-city"})
REMOTE = frozenset({"remote"})


def desired(epoch: int = 7, primary: str = "production", sites: frozenset[str] = CITY, mode: Mode = AUTO) -> Desired:
    return Desired(epoch, primary, sites, mode)
