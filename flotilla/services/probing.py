"""Which endpoint a consumer probes next: failing ones, then new ones, then those under suspicion, then all in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
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
    as many fewer: a busy node is not helped by probes. What failed is tried again ``retry`` seconds later until it failed
    ``sure`` times in a row, then, and for ``convalescence`` seconds after its first answer, every ``again`` seconds; nothing
    else more often than that.
    """

    at_rest: float = 2.0
    hurried: float = 8.0
    at_once: int = 4
    usual: float = 0.3
    retry: float = 0.5
    again: float = 1.0
    sure: int = 3
    convalescence: float = 10.0


@dataclass
class _State:
    keys: set[ServiceKey] = field(default_factory=set)
    last: float | None = None
    failures: int = 0  # in a row
    answers_since: float | None = None  # the first answer after it had been sure to be dead
    running: bool = False


class ProbePlan:
    """The probes of one consumer. Times are seconds of any clock that never goes back.

    Sources take turns, so that a link that is cut is noticed within as many probes as there are sources. One failure puts
    the service's other endpoints there under suspicion; a second one, with no answer since, one of each other service.
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
        self._doubts: dict[str, set[Spot]] = {}
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

    def next(self, now: float) -> Spot | None:
        """Return what to probe now and count it as under way; None where it is not time for anything yet."""
        if self._running >= self._pace.at_once:
            return None
        spot = self._hurried(now) if now >= self._hurry_at else None
        if spot:
            self._hurry_at = max(self._hurry_at, now - 1) + self._slowness / self._pace.hurried
        elif now >= self._rest_at and (spot := self._in_turn(now)):
            self._rest_at = max(self._rest_at, now - 1) + self._slowness / self._pace.at_rest
        if spot:
            self._spots[spot].running = True
            self._running += 1
        return spot

    def pause(self, now: float) -> float:
        """Return for how many seconds there is nothing to probe, if nothing new is wanted and no result comes."""
        if self._running >= self._pace.at_once or not self._spots:
            return 1.0
        if self._new or self._suspects:
            return max(0.01, self._hurry_at - now)
        return max(0.1, min(self._pace.retry if self._failing or self._dead else 1.0, self._rest_at - now))

    @property
    def _slowness(self) -> float:
        return max(1.0, self._effort / self._pace.usual)

    def done(self, spot: Spot, now: float, answered: bool | None, effort: float = 0.0) -> None:
        """Take the result of a probe; None where it could not be made, which says nothing about the endpoint.

        ``effort`` is how many seconds it took, less what the endpoint took.
        """
        self._running -= 1
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
        self._doubts.pop(spot.source, None)
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
            self._doubts.get(spot.source, set()).discard(spot)

    def _hurried(self, now: float) -> Spot | None:
        if spot := self._first(self._failing, now - self._pace.retry):
            return spot
        while self._new:
            spot = self._new.popleft()
            known = self._spots.get(spot)
            if known and known.last is None and not known.running:
                return spot
        return self._first(self._suspects, now) or self._first(self._dead, now - self._pace.again)

    def _first(self, waiting: dict[Spot, None], before: float) -> Spot | None:
        """Return the first that is not under way and was not probed after a time; the others come first next time."""
        for spot in waiting:
            state = self._spots[spot]
            if not state.running and (state.last is None or state.last <= before):
                waiting[spot] = waiting.pop(spot)
                return spot
        return None

    def _in_turn(self, now: float) -> Spot | None:
        """Return the next endpoint of the source whose turn it is."""
        for source in list(self._turns):
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
        doubts = self._doubts.setdefault(spot.source, set())
        spread = len(doubts) == 1 and spot not in doubts  # once: the second failure in a row
        doubts.add(spot)
        keys = list(self._of_key) if spread else sorted(state.keys)
        for key in keys:
            beside = [one for one in self._of_key[key] if one.source == spot.source and not self._spots[one].failures]
            chosen = sorted(beside) if key in state.keys else sorted(beside)[:1]
            self._suspects.update(dict.fromkeys(chosen))
