"""What a keeper of services does next: pure bookkeeping over times that others read from a clock.

Times are seconds of a clock that never goes back.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flotilla.services.cap import Cause, Ration, Withdrawal, ration
from flotilla.services.health import Link
from flotilla.services.names import ServiceKey

Pair = tuple[ServiceKey, str]
"""A service and the source whose endpoints are withdrawn: what a person agrees to."""


class Agenda:
    """Which service is to be decided next: each at most once, urgent ones first, then the bulk, in the order they came.

    An event is urgent; what a look at everything brings (a start, a cluster that came back) is bulk.
    """

    def __init__(self) -> None:
        self._urgent: dict[ServiceKey, float] = {}
        self._bulk: dict[ServiceKey, float] = {}
        self._due: dict[ServiceKey, float] = {}
        self._heap: list[tuple[float, ServiceKey]] = []

    def __len__(self) -> int:
        return len(self._urgent) + len(self._bulk)

    def mark(self, keys: Iterable[ServiceKey], now: float, *, bulk: bool = False) -> None:
        """Have some services decided soon."""
        for key in keys:
            if key in self._urgent or (bulk and key in self._bulk):
                continue
            since = self._bulk.pop(key, now)
            (self._bulk if bulk else self._urgent)[key] = since

    def later(self, key: ServiceKey, at: float) -> None:
        """Have a service decided at a time, or sooner if something happens."""
        if self._due.get(key, at + 1) > at:
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))

    def take(self, now: float) -> tuple[ServiceKey, float, bool] | None:
        """Return the next service, since when it waits and whether it is urgent; None where nothing is to be done."""
        self._ripen(now)
        for waiting in (self._urgent, self._bulk):
            if waiting:
                key = next(iter(waiting))
                return key, waiting.pop(key), waiting is self._urgent
        return None

    def wait(self, now: float) -> float | None:
        """Return the seconds until something is to be done: 0 for now, None for never."""
        if self:
            return 0.0
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def _ripen(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                self.mark([key], at)


@dataclass
class Patience:
    """Pauses that grow with each failure in a row: from ``first`` to ``longest`` seconds."""

    first: float = 0.2
    longest: float = 30.0
    _until: dict[Hashable, float] = field(default_factory=dict)
    _failures: dict[Hashable, int] = field(default_factory=dict)

    def failed(self, what: Hashable, now: float, jitter: float = 1.0) -> float:
        """Take note of a failure and return when to try again; ``jitter`` stretches the pause."""
        count = self._failures[what] = self._failures.get(what, 0) + 1
        until = now + min(self.longest, self.first * 2.0 ** min(count - 1, 16)) * jitter
        self._until[what] = until
        return until

    def succeeded(self, what: Hashable) -> None:
        """Forget the failures."""
        self._failures.pop(what, None)
        self._until.pop(what, None)

    def until(self, what: Hashable) -> float:
        """Return when it may be tried again; a time in the past where it may be now."""
        return self._until.get(what, 0.0)


@dataclass
class Repeats:
    """Notices when one object is written alike again and again: ``most`` times with no other write of it in between.

    Somebody else then keeps undoing it, or the API server does not keep what it is told.
    """

    most: int = 3
    _last: dict[Hashable, tuple[int, int]] = field(default_factory=dict)

    def wrote(self, what: Hashable, content: str) -> bool:
        """Take note of a write; True where it was one too many, and a pause is due."""
        digest = hash(content)
        had, count = self._last.get(what, (digest, 0))
        self._last[what] = (digest, count + 1 if had == digest else 1)
        return had == digest and count >= self.most

    def forget(self, what: Hashable) -> None:
        """Forget an object that is as it should be, or gone."""
        self._last.pop(what, None)


@dataclass
class Warden:
    """Keeps mass withdrawals waiting for a person: over ``cap`` exporters within ``window`` seconds.

    What once waits goes on waiting until a person agreed or it is no longer asked for; as long as anything waits, it counts
    towards the cap, so that a mass withdrawal does not seep through bit by bit.
    """

    cap: int
    window: float = 60.0
    approved: frozenset[Pair] = frozenset()
    held: dict[Pair, Withdrawal] = field(default_factory=dict)
    _let: dict[Pair, float] = field(default_factory=dict)

    def ration(self, asked: Mapping[ServiceKey, Sequence[Withdrawal]], now: float) -> Ration:
        """Return which of the withdrawals that some services ask for go ahead; services that are not named keep theirs."""
        self._let = {pair: at for pair, at in self._let.items() if now - at < self.window}
        self.held = {pair: one for pair, one in self.held.items() if pair[0] not in asked or _asked(pair, asked)}
        self.approved = frozenset(pair for pair in self.approved if pair[0] not in asked or _asked(pair, asked))
        free = self.approved | set(self._let)
        every = [one for of_key in asked.values() for one in of_key]
        sticky = [one for one in every if _pair(one) in self.held and _pair(one) not in free]
        fresh = [one for one in every if one not in sticky]
        already = len(self._let) + len(set(self.held) - free)
        judged = ration(fresh, cap=self.cap, already=already, approved=free)
        counted = {_pair(one) for one in judged.allowed if one.cause is not Cause.NOT_IMPORTED} - self.approved
        self._let |= {pair: self._let.get(pair, now) for pair in counted}
        held = (*judged.held, *sticky)
        self.held = {pair: one for pair, one in self.held.items() if pair not in free} | {_pair(one): one for one in held}
        return Ration(judged.allowed, tuple(sorted(held)))

    def forget(self, key: ServiceKey) -> None:
        """Forget a service that no longer is one."""
        self.held = {pair: one for pair, one in self.held.items() if pair[0] != key}
        self.approved = frozenset(pair for pair in self.approved if pair[0] != key)


def leads(held_until: Mapping[str, float], clusters: Sequence[str], now: float) -> bool:
    """Tell whether a keeper acts: it holds the lease of more than half of the clusters, or of half with the first one.

    ``held_until`` is when each lease that it holds runs out. Losing any one of three clusters blocks nobody, and two keepers
    never act at once as long as their clocks run equally fast.
    """
    held = [name for name in clusters if held_until.get(name, 0.0) > now]
    return 2 * len(held) > len(clusters) or (2 * len(held) == len(clusters) and clusters[0] in held)


def links_of(held: Iterable[Withdrawal], key: ServiceKey) -> frozenset[Link]:
    """Return what ``Health.held`` is to be for one service."""
    return Ration((), tuple(held)).held_links(key)


def _pair(withdrawal: Withdrawal) -> Pair:
    return withdrawal.key, withdrawal.link.source


def _asked(pair: Pair, asked: Mapping[ServiceKey, Sequence[Withdrawal]]) -> bool:
    return any(_pair(one) == pair for one in asked[pair[0]])
