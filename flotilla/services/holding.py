"""Withdrawals that wait for a person, and a person's word on them, as text: what keeper and command line tell each other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from flotilla.services.cap import Withdrawal
from flotilla.services.names import ServiceKey


@dataclass(frozen=True, order=True)
class Held:
    """An exporter whose withdrawal waits. ``since`` makes it this one: a word on it is no word on a later one.

    ``source`` is a cluster's name, ``consumers`` are those that still hold its endpoints, ``why`` is a sentence.
    """

    service: str
    source: str
    since: str
    consumers: tuple[str, ...] = ()
    cause: str = ""
    why: str = ""

    @property
    def key(self) -> ServiceKey:
        """The service."""
        namespace, _, name = self.service.partition("/")
        return ServiceKey(namespace, name)


@dataclass(frozen=True)
class Word:
    """What a person said: who, why, when, and about which withdrawals (service, source, since)."""

    by: str
    reason: str
    at: str
    about: frozenset[tuple[str, str, str]]


def held_since(held: Iterable[Withdrawal], before: Iterable[Held], now: str) -> tuple[Held, ...]:
    """Return what waits, one for each exporter; what waited before keeps the time since when."""
    since = {(one.service, one.source): one.since for one in before}
    found: dict[tuple[str, str], list[Withdrawal]] = {}
    for one in held:
        found.setdefault((str(one.key), one.link.source), []).append(one)
    return tuple(
        Held(service, source, since.get((service, source), now), _consumers(of), str(of[0].cause), of[0].why)
        for (service, source), of in sorted(found.items())
    )


def agreed(words: Iterable[Word], held: Iterable[Held]) -> tuple[Held, ...]:
    """Return those of what waits that somebody agreed to."""
    about = {one for word in words for one in word.about}
    return tuple(one for one in held if (one.service, one.source, one.since) in about)


def word_on(held: Iterable[Held], by: str, reason: str, at: str) -> Word:
    """Return a person's agreement to what waits."""
    return Word(by, reason, at, frozenset((one.service, one.source, one.since) for one in held))


def write_held(held: Iterable[Held]) -> str:
    """Return what waits as JSON."""
    return json.dumps([asdict(one) for one in held], indent=1)


def read_held(text: str) -> tuple[Held, ...]:
    """Return what waits from JSON; raises ValueError for other text."""
    try:
        return tuple(Held(**{**one, "consumers": tuple(one["consumers"])}) for one in json.loads(text))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of withdrawals: {error!r}") from None


def write_word(word: Word) -> str:
    """Return a person's word as JSON."""
    return json.dumps({"by": word.by, "reason": word.reason, "at": word.at, "about": sorted(word.about)}, indent=1)


def read_word(text: str) -> Word:
    """Return a person's word from JSON; raises ValueError for other text."""
    try:
        body = json.loads(text)
        about = frozenset((str(service), str(source), str(since)) for service, source, since in body["about"])
        return Word(str(body["by"]), str(body["reason"]), str(body["at"]), about)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a word on withdrawals: {error!r}") from None


def _consumers(withdrawals: Iterable[Withdrawal]) -> tuple[str, ...]:
    return tuple(sorted({one.link.consumer for one in withdrawals}))
