"""Which endpoint a consumer probes next: failing ones, then new ones, then those under suspicion, then all in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from flotilla.services.health import Target
from flotilla.services.names import ServiceKey


class Spot(NamedTuple):
    """What is probed: an endpoint of a source cluster. Services that share it share its probes."""

    source: str
    target: Target


@dataclass(frozen=True)
class Pace:
    """How many probes one consumer may begin. An exec through the API server costs the node about 45 ms of CPU.

    ``at_rest`` per second while everything answers, ``hurried`` per second for what fails, is new or is suspected,
    ``at_once`` under way. Where a probe takes longer than ``usual`` seconds, not counting what the endpoint takes, there are
    as many fewer: a busy node is not helped by probes. What fails is tried every ``retry`` seconds, or as soon as its last
    try has ended, until it failed ``sure`` times in a row, then, and for ``convalescence`` seconds after its first answer,
    every ``again`` seconds; nothing else more often than that. What has not answered within ``slow`` seconds counts as under
    suspicion while it is still waited for: packets take tens of milliseconds. ``witnesses`` endpoints of other services are
    suspected with it, since a link may be cut.
    """

    at_rest: float = 2.0
    hurried: float = 8.0
    at_once: int = 4
    usual: float = 0.3
    slow: float = 0.3
    witnesses: int = 3
    retry: float = 0.5
    again: float = 1.0
    sure: int = 3
    convalescence: float = 10.0


@dataclass
class _State:
    keys: set[ServiceKey] = field(default_factory=set)
    begun: float | None = None
    last: float | None = None
    failures: int = 0  # in a row
    answers_since: float | None = None  # the first answer after it had been sure to be dead
    running: bool = False
    doubted: bool = False  # what is under way is late


class ProbePlan:
    """The probes of one consumer. Times are seconds of any clock that never goes back.

    Sources take turns, so that a link that is cut is noticed within as many probes as there are sources. What is late or
    fails puts its service's other endpoints there under suspicion, and a few of other services.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._spots: dict[Spot, _State] = {}
        self._of_key: dict[ServiceKey, frozenset[Spot]] = {}
        self._turns: dict[str, deque[Spot]] = {}
        self._new: deque[Spot] = deque()
        self._suspects: dict[Spot, None] = {}
        self._failing: dict[Spot, None] = {}  # not sure yet
        self._dead: dict[Spot, None] = {}  # sure, or answering again for a while
        self._held: set[str] = set()
        self._under_way: dict[Spot, float] = {}
        self._running = 0
        self._rest_at = self._hurry_at = 0.0
        self._effort = 0.0  # seconds that a probe takes by itself, lately

    def __len__(self) -> int:
        return len(self._spots)

    def want(self, key: ServiceKey, targets: Mapping[str, Iterable[Target]]) -> None:
        """Probe these endpoints of a service from now on, by source cluster, and no others; none ends it."""
        wanted = frozenset(Spot(source, target) for source, of in targets.items() for target in of)
        had = self._of_key.get(key, frozenset())
        if wanted == had:
            return
        for spot in had - wanted:
            self._leave(spot, key)
        for spot in sorted(wanted - had):
            self._join(spot, key)
        if wanted:
            self._of_key[key] = wanted
        else:
            self._of_key.pop(key, None)

    def keys_of(self, spot: Spot) -> frozenset[ServiceKey]:
        """Return the services that have an endpoint."""
        state = self._spots.get(spot)
        return frozenset(state.keys) if state else frozenset()

    def known(self, source: str) -> int:
        """Return how many endpoints of a source are probed."""
        return sum(spot in self._spots for spot in self._turns.get(source, ()))

    def hold(self, source: str, held: bool) -> None:
        """Probe no more of a source than what fails already, as the link to it is cut; or all of it again."""
        (self._held.add if held else self._held.discard)(source)
        if held:
            self._suspects = {spot: None for spot in self._suspects if spot.source != source}

    def next(self, now: float) -> Spot | None:
        """Return what to probe now and count it as under way; None where it is not time for anything yet."""
        self._doubt_late(now)
        if self._running >= self._pace.at_once:
            return None
        spot = self._hurried(now) if now >= self._hurry_at else None
        if spot:
            self._hurry_at = max(self._hurry_at, now - 1) + self._slowness / self._pace.hurried
        elif now >= self._rest_at and (spot := self._in_turn(now)):
            self._rest_at = max(self._rest_at, now - 1) + self._slowness / self._pace.at_rest
        if spot:
            state = self._spots[spot]
            state.running, state.doubted, state.begun = True, False, now
            self._under_way[spot] = now
            self._running += 1
        return spot

    def pause(self, now: float) -> float:
        """Return for how many seconds there is nothing to probe, if nothing new is wanted and no result comes."""
        if self._running >= self._pace.at_once or not self._spots:
            return 1.0
        if self._new or self._suspects:
            return max(0.01, self._hurry_at - now)
        late = [begun + self._late_after - now for spot, begun in self._under_way.items() if not self._is_doubted(spot)]
        return max(0.1, min(self._pace.retry if self._failing or self._dead else 1.0, self._rest_at - now, *late))

    @property
    def _slowness(self) -> float:
        return max(1.0, self._effort / self._pace.usual)

    @property
    def _late_after(self) -> float:
        return self._pace.slow + 2 * self._effort

    def _is_doubted(self, spot: Spot) -> bool:
        state = self._spots.get(spot)
        return state is None or state.doubted or state.failures > 0

    def _doubt_late(self, now: float) -> None:
        """Suspect what may be lost together with an endpoint that is late to answer."""
        for spot, begun in self._under_way.items():
            if now - begun >= self._late_after and not self._is_doubted(spot):
                state = self._spots[spot]
                state.doubted = True
                self._suspect(spot, state)

    def done(self, spot: Spot, now: float, answered: bool | None, effort: float = 0.0) -> None:
        """Take the result of a probe; None where it could not be made, which says nothing about the endpoint.

        ``effort`` is how many seconds it took, less what the endpoint took.
        """
        self._running -= 1
        self._under_way.pop(spot, None)
        self._effort += (effort - self._effort) / 8
        state = self._spots.get(spot)
        if state is None:
            return
        state.running, state.last = False, now
        self._suspects.pop(spot, None)
        if answered is None:
            return
        if answered:
            self._answered(spot, state, now)
            return
        state.failures, state.answers_since = state.failures + 1, None
        if state.failures >= self._pace.sure:
            self._failing.pop(spot, None)
            self._dead[spot] = None
        elif spot not in self._dead:
            self._failing[spot] = None
            self._suspect(spot, state)

    def _answered(self, spot: Spot, state: _State, now: float) -> None:
        state.failures = 0
        self._failing.pop(spot, None)
        if spot in self._dead:
            state.answers_since = now if state.answers_since is None else state.answers_since
            if now - state.answers_since >= self._pace.convalescence:
                del self._dead[spot]
                state.answers_since = None

    def _join(self, spot: Spot, key: ServiceKey) -> None:
        state = self._spots.get(spot)
        if state is None:
            state = self._spots[spot] = _State()
            self._new.append(spot)
            self._turns.setdefault(spot.source, deque()).append(spot)
        state.keys.add(key)

    def _leave(self, spot: Spot, key: ServiceKey) -> None:
        state = self._spots[spot]
        state.keys.discard(key)
        if not state.keys:
            del self._spots[spot]
            self._suspects.pop(spot, None)
            self._failing.pop(spot, None)
            self._dead.pop(spot, None)

    def _hurried(self, now: float) -> Spot | None:
        if spot := self._first(self._failing, lambda state: (state.begun or 0) <= now - self._pace.retry):
            return spot
        while self._new:
            spot = self._new.popleft()
            known = self._spots.get(spot)
            if known and known.last is None and not known.running:
                return spot
        return self._first(self._suspects) or self._first(self._dead, lambda state: (state.last or 0) <= now - self._pace.again)

    def _first(self, waiting: dict[Spot, None], is_due: Callable[[_State], bool] = lambda _: True) -> Spot | None:
        """Return the first that is due and not under way; the others come first next time."""
        for spot in waiting:
            state = self._spots[spot]
            if not state.running and is_due(state):
                waiting[spot] = waiting.pop(spot)
                return spot
        return None

    def _in_turn(self, now: float) -> Spot | None:
        """Return the next endpoint of the source whose turn it is; of one that is held only if nothing else of it is tried."""
        tried = {spot.source for spot in [*self._failing, *self._dead]} & self._held
        for source in [source for source in self._turns if source not in tried]:
            turn = self._turns[source]
            self._turns[source] = self._turns.pop(source)
            for _ in range(len(turn)):
                spot = turn.popleft()
                state = self._spots.get(spot)
                if state is None:
                    continue  # it left
                turn.append(spot)
                if not state.running and (state.last is None or now - state.last >= self._pace.again):
                    return spot
            if not turn:
                del self._turns[source]
        return None

    def _suspect(self, spot: Spot, state: _State) -> None:
        """Put what may have failed together with an endpoint before its turn."""
        if spot.source in self._held:
            return
        beside = [one for key in sorted(state.keys) for one in sorted(self._of_key[key]) if one.source == spot.source]
        others = [one for one in self._turns[spot.source] if one in self._spots and one not in beside][: self._pace.witnesses]
        fresh = [one for one in [*beside, *others] if not (self._spots[one].failures or self._spots[one].running)]
        self._suspects.update(dict.fromkeys(fresh))
