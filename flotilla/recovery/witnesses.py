"""Is a site down, as several witnesses have it: one health check is no decision, and being cut off is not their being down.

Witnesses are the agents of the other sites and whoever decides. A site counts as down for a witness once ``failures`` of its
last ``of`` looks failed and none succeeded for ``silent`` seconds: what flaps, or is slow now and then, never gets there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

OURSELVES = "ourselves"


class State(StrEnum):
    """What is held of a site."""

    UP = "up"
    DOWN = "down"
    CUT_OFF_OURSELVES = "cut off ourselves"
    UNSURE = "unsure"


class Testimony(NamedTuple):
    """A look at a site by a witness (a site's name, or ``OURSELVES``), at a time of the clock of whoever decides."""

    witness: str
    site: str
    at: float
    reached: bool
    detail: str = ""


@dataclass(frozen=True)
class Patience:
    """How much has to fail before a site is held to be down. Times in seconds.

    Testimonies older than ``fresh`` count for nothing. ``witnesses`` is how many have to agree, ourselves among them or not.
    """

    failures: int = 3
    of: int = 4
    silent: float = 2.5
    fresh: float = 5.0
    witnesses: int = 2


class Verdict(NamedTuple):
    """What is held of a site, and every witness's reason."""

    state: State
    reasons: tuple[str, ...]


def verdict(site: str, testimonies: Sequence[Testimony], now: float, patience: Patience, sites: int = 3) -> Verdict:
    """Return what is held of a site.

    Down if enough witnesses find it so and none reached it lately. If we reach no majority of the sites, ourselves included
    as one, we judge nobody.
    """
    if why := _cut_off(site, testimonies, now, patience, sites=sites):
        return Verdict(State.CUT_OFF_OURSELVES, why)
    by_witness = {one.witness: _looks(one.witness, site, testimonies) for one in testimonies if one.site == site}
    found = {witness: _finds(looks, now, patience) for witness, looks in by_witness.items()}
    reasons = tuple(f"{witness}: {_told(by_witness[witness], now)}" for witness in sorted(found))
    down = [witness for witness, state in found.items() if state is State.DOWN]
    up = [witness for witness, state in found.items() if state is State.UP]
    if not down and up:
        return Verdict(State.UP, reasons)
    if len(down) >= patience.witnesses and not up and _all_silent(by_witness.values(), now, patience):
        return Verdict(State.DOWN, reasons)
    return Verdict(State.UNSURE, reasons or (f"nobody has looked at {site}",))


def _cut_off(site: str, testimonies: Sequence[Testimony], now: float, patience: Patience, *, sites: int) -> tuple[str, ...]:
    """Return why we are the ones who are cut off: fewer than a majority of all sites, but the one in question, answer us."""
    own = {one.site for one in testimonies if one.witness == OURSELVES and one.site != site}
    answer = [other for other in own if _finds(_looks(OURSELVES, other, testimonies), now, patience) is not State.DOWN]
    answering = sorted(other for other in answer if _answered_lately(_looks(OURSELVES, other, testimonies), now, patience))
    if len(answering) >= sites // 2 + 1 or _reaches(site, testimonies, now, patience):
        return ()
    return (f"of {sites} sites {', '.join(answering) or 'none'} answers us: that is no majority without {site}",)


def _reaches(site: str, testimonies: Sequence[Testimony], now: float, patience: Patience) -> bool:
    return _answered_lately(_looks(OURSELVES, site, testimonies), now, patience)


def _looks(witness: str, site: str, testimonies: Iterable[Testimony]) -> list[Testimony]:
    return sorted((one for one in testimonies if one.witness == witness and one.site == site), key=lambda one: one.at)


def _answered_lately(looks: Sequence[Testimony], now: float, patience: Patience) -> bool:
    return any(one.reached and now - one.at <= patience.fresh for one in looks)


def _finds(looks: Sequence[Testimony], now: float, patience: Patience) -> State:
    last = list(looks)[-patience.of :]
    if not last or now - last[-1].at > patience.fresh or last[-1].at > now + patience.fresh:
        return State.UNSURE
    failed = sum(not one.reached for one in last)
    silent = now - max((one.at for one in looks if one.reached), default=looks[0].at)
    if failed >= patience.failures and silent >= patience.silent and not last[-1].reached:
        return State.DOWN
    return State.UP if last[-1].reached else State.UNSURE


def _all_silent(looks: Iterable[Sequence[Testimony]], now: float, patience: Patience) -> bool:
    return not any(one.reached and now - one.at < patience.silent for of_witness in looks for one in of_witness)


def _told(looks: Sequence[Testimony], now: float) -> str:
    failed = [one for one in looks if not one.reached]
    answered = max((one.at for one in looks if one.reached), default=None)
    since = "never answered" if answered is None else f"answered {max(0.0, now - answered):.1f} s ago"
    detail = f" ({failed[-1].detail})" if failed and failed[-1].detail else ""
    return f"{len(failed)} of {len(looks)} looks failed, {since}{detail}"
