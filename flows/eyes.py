"""What is so at all sites, looked at all the time: a thread for each part of each site, over connections that stay open.

A world is put together from the last look at each part. Whoever has done something asks for one whose looks at what they
touched began afterwards.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.recovery import acts
from flotilla.recovery.facts import HELD, AgentSeen, DatabaseSeen, Lag, Sample, World

PARTS = (acts.AGENT, acts.DATABASE, acts.LEASE, acts.APPLICATION, acts.TRAFFIC, acts.SERVING)
Part = tuple[str, str]
"""A site and what is looked at there."""
Looker = Callable[[], Any]
"""Looks once and returns the fact; raises FlotillaError where it cannot."""

OLD = 5.0  # seconds after which a fact that nobody could renew counts for nothing
KEPT = 900  # samples, one a second
QUIET = {
    acts.AGENT: 0.5,
    acts.DATABASE: 0.5,
    acts.LEASE: 2.0,
    acts.APPLICATION: 2.0,
    acts.TRAFFIC: 2.0,
    acts.SERVING: 2.0,
}  # seconds between looks
HURRIED = {
    acts.AGENT: 0.1,
    acts.DATABASE: 0.1,
    acts.LEASE: 0.5,
    acts.APPLICATION: 0.5,
    acts.TRAFFIC: 0.25,
    acts.SERVING: 0.5,
}  # who needs one wakes it
log = logging.getLogger("flotilla.recovery")


@dataclass
class _Eye:
    """One part of one site: its last fact, when the look at it began (steady clock), and how it is woken."""

    site: str
    part: str
    look: Looker
    fact: Any = None
    began: float = -1e9
    answered: float = -1e9
    wake: threading.Event = field(default_factory=threading.Event)


class Eyes:
    """Looks at everything, all the time, from ``open`` to ``close``. Safe to use from several threads."""

    def __init__(self, lookers: Mapping[Part, Looker], samples: Iterable[Sample] = ()) -> None:
        self._eyes = {part: _Eye(*part, look, Unknown(part[0], "nobody has looked yet")) for part, look in lookers.items()}
        self._turn = threading.Condition()
        self._hurry, self._closing, self._version = False, False, 0
        self._history: dict[str, deque[DatabaseSeen]] = {}
        self._samples: deque[Sample] = deque(samples, KEPT)

    def open(self) -> Eyes:
        """Begin to look."""
        for eye in self._eyes.values():
            threading.Thread(target=self._watch, args=(eye,), name=f"eye-{eye.site}-{eye.part}", daemon=True).start()
        return self

    def __enter__(self) -> Eyes:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Look no more."""
        self._closing = True
        for eye in self._eyes.values():
            eye.wake.set()

    def hurry(self, on: bool) -> None:
        """Look as often as a recovery under way needs it, or at rest."""
        self._hurry = on
        for eye in self._eyes.values():
            eye.wake.set()

    def world(self, fresh: Iterable[Part] = (), since: float = 0.0, within: float = 3.0) -> World:
        """Return what is so; of the ``fresh`` parts by looks that began after ``since`` (steady clock), if they come in time.

        A part whose look does not come is what it was, and Unknown once that is ``OLD``.
        """
        eyes = [self._eyes[part] for part in fresh if part in self._eyes]
        for eye in eyes:
            if eye.began < since:
                eye.wake.set()
        with self._turn:
            self._turn.wait_for(lambda: all(eye.answered >= since and eye.began >= since for eye in eyes), within)
            return self._put_together(since, eyes)

    def changed(self, version: int, within: float) -> int:
        """Wait until there is something newer than ``version``, at most so long; return the version of now."""
        with self._turn:
            self._turn.wait_for(lambda: self._version != version, within)
            return self._version

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Replication as it was, oldest first."""
        return tuple(self._samples)

    def _put_together(self, since: float, eyes: Iterable[_Eye]) -> World:
        now = time.monotonic()
        late = {(eye.site, eye.part) for eye in eyes if eye.began < since}

        def facts(part: str) -> dict[str, Any]:
            return {
                site: self._fact(eye, now, (site, kind) in late) for (site, kind), eye in self._eyes.items() if kind == part
            }

        earlier = {site: found for site in self._history if (found := self._earlier(site))}
        return World(
            at=time.time(),
            agents=facts(acts.AGENT),
            databases=facts(acts.DATABASE),
            leases=facts(acts.LEASE),
            applications=facts(acts.APPLICATION),
            answers=facts(acts.TRAFFIC),
            servings=facts(acts.SERVING),
            earlier=earlier,
            samples=tuple(self._samples),
        )

    def _fact(self, eye: _Eye, now: float, late: bool) -> Any:
        if isinstance(eye.fact, Unknown):
            return eye.fact
        if late or now - eye.began > OLD:
            return Unknown(eye.site, f"its {eye.part} has not answered for {now - eye.began:.1f} s")
        return eye.fact

    def _earlier(self, site: str) -> DatabaseSeen | None:
        history = self._history[site]
        return next((one for one in reversed(history) if history[-1].at - one.at >= HELD), None)

    def _watch(self, eye: _Eye) -> None:
        while not self._closing:
            began = time.monotonic()
            eye.wake.clear()
            try:
                fact = eye.look()
            except FlotillaError as error:
                fact = Unknown(eye.site, str(error).removeprefix(f"{eye.site}: "))
            except Exception as error:  # a thread that ended for a defect would leave an old fact standing
                log.exception("site=%s part=%s", eye.site, eye.part)
                fact = Unknown(eye.site, f"what its {eye.part} answered was not understood: {error!r}")
            with self._turn:
                eye.fact, eye.began, eye.answered = fact, began, time.monotonic()
                self._remember(fact)
                self._version += 1
                self._turn.notify_all()
            pace = (HURRIED if self._hurry else QUIET)[eye.part]
            eye.wake.wait(max(0.0, began + pace - time.monotonic()))

    def _remember(self, fact: Any) -> None:
        """Keep what was so of a database a while ago, and how far its followers are: once a second, or on a change."""
        if not isinstance(fact, DatabaseSeen):
            return
        history = self._history.setdefault(fact.site, deque())
        history.append(fact)
        while len(history) > 2 and history[-1].at - history[1].at >= HELD:
            history.popleft()
        if not fact.in_recovery and (not self._samples or _is_news(sample_of(fact), self._samples[-1])):
            self._samples.append(sample_of(fact))


def _is_news(sample: Sample, last: Sample) -> bool:
    waits = (sample.sync, sample.weakened) != (last.sync, last.weakened) and sample.primary == last.primary
    return waits or abs(sample.at - last.at) >= 1.0  # a copy by a clock that is ahead keeps nobody from taking the next


def sample_of(primary: DatabaseSeen) -> Sample:
    """Return how far the followers of a primary are."""
    lags = tuple(Lag(one.name, one.flushed, one.lag) for one in primary.followers if one.flushed is not None)
    waits, weakened = primary.synchronous, primary.weakened
    return Sample(primary.at, primary.site, primary.position, lags, primary.commits, waits, weakened)


def parts_of(sites: Iterable[str], kinds: Iterable[str] = PARTS) -> list[Part]:
    """Return all of these kinds of these sites."""
    return [(site, kind) for site in sites for kind in kinds]


def fact_of(world: World, part: Part) -> object:
    """Return what is known of a part of a site."""
    site, kind = part
    looks = {
        acts.AGENT: world.agent,
        acts.DATABASE: world.database,
        acts.LEASE: world.lease,
        acts.APPLICATION: world.application,
        acts.TRAFFIC: world.traffic,
        acts.SERVING: world.serving,
    }
    return looks[kind](site)


def is_seen(fact: object) -> bool:
    """Tell whether a fact is one."""
    return not isinstance(fact, Unknown)


__all__ = ["PARTS", "AgentSeen", "Eyes", "fact_of", "is_seen", "parts_of", "sample_of"]
