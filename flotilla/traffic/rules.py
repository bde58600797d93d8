"""What must hold before any record is written: assertions on the outcome, whoever made the change and whatever for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flotilla.traffic.service import Desired


def refusals(wanted: Desired, cities: Mapping[str, str], held: Desired | None) -> Iterator[str]:
    """Yield every reason not to write; ``cities`` of the authorised sites, ``held`` what the server has, if that is known.

    A server that cannot be seen is no reason: a recovery must not wait for what it recovers from.
    """
    if not wanted.authorised:
        yield "no site would be authorised; users would be sent nowhere, or anywhere"
    elif wanted.primary not in wanted.authorised:
        yield f"{wanted.primary} is primary and would not be authorised"
    if len({cities[site] for site in wanted.authorised if site in cities}) > 1:
        shown = ", ".join(f"{site} in {cities[site]}" for site in sorted(wanted.authorised) if site in cities)
        yield f"{shown} would be authorised together; one city serves at a time"
    if held is not None and held.epoch > wanted.epoch:
        yield f"epoch {held.epoch} is there, this change is of epoch {wanted.epoch}: a later recovery has written there"
