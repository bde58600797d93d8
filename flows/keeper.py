"""The keeper: one long-lived process that keeps the fleet's services wired, without Prefect.

Events of all clusters mark services; each is decided as a whole, and what is to be written goes to the clusters' lanes.
Nothing waits for a clock but what a clock decides: health, retries, leases.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque

from flotilla.fleet import Fleet
from flotilla.keeping import Agenda, Pair, Patience
from flotilla.services.cap import Withdrawal
from flotilla.services.facts import ProbeFact
from flotilla.services.names import ServiceKey
from flotilla.services.parse import shared_ids
from flotilla.services.probing import Pace, Spot
from flows.wiring import Turn, Wiring
from flows.withdrawals import Waiting
from tasks.clusters import connect
from tasks.lanes import Done, Lane
from tasks.leadership import Leadership, own_identity
from tasks.multicluster import Mirror, News
from tasks.probes import Prober

START_PATIENCE = 10.0  # seconds until clusters that say nothing at all are decided without
HURRY = 4.0  # how much quicker than at rest endpoints are probed that are new, or fail
MANY = 100  # services that change at once are no event but a look at everything
log = logging.getLogger("flotilla.keeper")


class Keeper:
    """Mirrors, lanes, probers and leases of a fleet, and the loop that decides. Nothing is sent before ``start``."""

    def __init__(self, fleet: Fleet, identity: str = "") -> None:
        connections = [connect(cluster) for cluster in fleet.clusters]
        probes = fleet.services.probes
        pace = Pace(at_rest=probes.per_second, hurried=HURRY * probes.per_second)
        probed = connections if probes.enabled else []
        self.leadership = Leadership(connections, identity or own_identity())
        self.mirrors = {one.name: Mirror(one, self._hear) for one in connections}
        self.lanes = {name: Lane(mirror, lambda: self.leadership.leads, self._done) for name, mirror in self.mirrors.items()}
        self.probers = {one.name: Prober(one, probes.image, pace, self._probed) for one in probed}
        policy = fleet.services.policy()
        self._wiring = Wiring(policy, self.lanes, self.probers, lambda: self.leadership.facts, self._later)
        self._word = Waiting(connections, lambda: self.held, self._approved, lambda: self._ready)
        self.lags: deque[float] = deque(maxlen=2000)
        self.counts = {"decided": 0, "written": 0, "outdated": 0, "failed": 0, "defects": 0}
        self._agenda, self._patience, self._outdated = Agenda(), Patience(), Patience(longest=5.0)
        self._problems: dict[tuple[str, ServiceKey], str] = {}
        self._news: deque[News] = deque()
        self._results: deque[tuple[Spot, ProbeFact]] = deque()
        self._approvals: deque[frozenset[Pair]] = deque()
        self._turn = threading.Condition()
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._ready = False
        self.obstacle = "not started yet"
        """Why nothing is wired, "" if it is."""

    def start(self) -> None:
        """Begin to look, to take the leases, and to probe."""
        self.leadership.start()
        for part in self._parts():
            part.start()

    def stop(self) -> None:
        """Ask the loop to end; may be called from a signal handler."""
        self._stopping.set()
        with self._turn:
            self._turn.notify()

    def run(self) -> None:
        """Keep services wired until ``stop``; then give the leases back. Writes under way are finished or cut off."""
        self.start()
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception:  # a defect in one pass must not end the keeper
                self.counts["defects"] += 1
                log.exception("pass failed")
                self._stopping.wait(1.0)
        for part in self._parts():
            part.stop()
        self.leadership.stop()

    @property
    def waiting(self) -> int:
        """How many services wait to be decided."""
        return len(self._agenda)

    @property
    def held(self) -> tuple[Withdrawal, ...]:
        """The withdrawals that wait for a person."""
        return self._wiring.held

    def _parts(self) -> list[Mirror | Lane | Prober | Waiting]:
        return [*self.mirrors.values(), *self.lanes.values(), *self.probers.values(), self._word]

    def _hear(self, news: News) -> None:
        with self._turn:
            self._news.append(news)
            self._turn.notify()

    def _probed(self, spot: Spot, probe: ProbeFact) -> None:
        with self._turn:
            self._results.append((spot, probe))
            self._turn.notify()

    def _approved(self, pairs: frozenset[Pair]) -> None:
        with self._turn:
            self._approvals.append(pairs)
            self._turn.notify()

    def _later(self, key: ServiceKey, at: float) -> None:
        with self._turn:
            self._agenda.later(key, at)

    def _done(self, done: Done) -> None:
        """Have a service decided again when its writes are done, or when they may be tried again."""
        key, now = done.job.key, time.monotonic()
        at, jitter = (done.cluster, key), random.uniform(0.7, 1.3)  # noqa: S311 - not a secret
        with self._turn:
            self.counts["written"] += done.made
            if done.error:
                self.counts["failed"] += 1
                self._agenda.later(key, self._wiring.patience.failed(at, now, jitter))
            elif done.outdated:
                self.counts["outdated"] += 1
                self._agenda.later(key, self._outdated.failed(at, now, jitter))
            else:
                self._wiring.patience.succeeded(at)
                self._outdated.succeeded(at)
                self._agenda.mark([key], now, bulk=not done.job.urgent)
                self.lags.append(now - done.job.since)
            self._turn.notify()
        self._tell_problem(done)

    def _tell_problem(self, done: Done) -> None:
        """Log an error when it is new, and what came too late where somebody looks for it."""
        at, text = (done.cluster, done.job.key), str(done.error or "")
        if text and self._problems.get(at) != text:
            log.warning("not written cluster=%s service=%s: %s", done.cluster, done.job.key, text)
        if done.outdated:
            log.debug("outdated cluster=%s service=%s: %s", done.cluster, done.job.key, done.outdated)
        self._problems.pop(at, None)
        if text:
            self._problems[at] = text

    def _step(self) -> None:
        """Take in what happened, then decide one service, or end the pass if none waits, or wait."""
        now = time.monotonic()
        self._take_in(now)
        if not self._may_decide(now):
            self._wait(0.2)
            return
        with self._turn:
            taken = self._agenda.take(now)
        if taken:
            self._decide(Turn(*taken))
        if self._wiring.is_pass_over(now, idle=taken is None):
            self._wiring.end_pass(now)
        elif taken is None:
            self._wait(1.0)

    def _wait(self, at_most: float) -> None:
        with self._turn:
            if self._news or self._results or self._approvals or self._stopping.is_set():
                return
            due = self._agenda.wait(time.monotonic()) if self._ready else None
            pause = at_most if due is None else min(due, at_most)
            if pause:
                self._turn.wait(pause)

    def _decide(self, turn: Turn) -> None:
        """Decide one service; one that cannot be decided stops no other."""
        try:
            self.counts["decided"] += 1
            self._wiring.decide(turn)
            self._patience.succeeded(turn.key)
        except Exception:
            self.counts["defects"] += 1
            log.exception("decision service=%s failed", turn.key)
            self._later(turn.key, self._patience.failed(turn.key, time.monotonic()))

    def _may_decide(self, now: float) -> bool:
        """Tell whether anything may be wired now: every cluster was looked at or tried, ids are unique, this keeper leads."""
        obstacle = self._found_obstacle(now)
        if obstacle != self.obstacle:
            log.warning("nothing is wired: %s", obstacle) if obstacle else log.info("wiring as %s", self.leadership.identity)
            self.obstacle = obstacle
        if not obstacle and not self._ready:
            with self._turn:
                self._agenda.mark(self._wiring.keys(), now, bulk=True)
        self._ready = not obstacle
        return self._ready

    def _found_obstacle(self, now: float) -> str:
        pending = [name for name, mirror in self.mirrors.items() if not mirror.is_settled]
        if pending and now - self._began < START_PATIENCE:
            return f"{', '.join(pending)} not looked at yet"
        shared = shared_ids({name: mirror.id for name, mirror in self.mirrors.items() if mirror.id})
        if shared:
            told = "; ".join(f"{', '.join(names)} all say that they are {claim!r}" for claim, names in shared.items())
            return f"clusters share an id: {told}; give each its own ClusterProperty cluster.clusterset.k8s.io"
        if not self.leadership.leads:
            others = sorted(set(self.leadership.holders.values()) - {"", self.leadership.identity})
            return f"the leases are held by {', '.join(others)}" if others else "the leases of most clusters are not held yet"
        return ""

    def _take_in(self, now: float) -> None:
        """Mark what news, probes and a person's word may have changed."""
        while self._news:
            self._take_news(self._news.popleft(), now)
        while self._results:
            touched = self._wiring.observe(*self._results.popleft())
            with self._turn:
                self._agenda.mark(touched, now)
        while self._approvals:
            pairs = self._approvals.popleft()
            self._wiring.approve(pairs)
            with self._turn:
                self._agenda.mark({key for key, _ in pairs}, now, bulk=True)

    def _take_news(self, news: News, now: float) -> None:
        bulk: set[ServiceKey] = self._wiring.keys() if news.everything else set()
        if news.namespaces and not news.everything:
            bulk = {key for mirror in self.mirrors.values() for key in mirror.services(news.namespaces)}
        with self._turn:
            self._agenda.mark(news.keys, now, bulk=len(news.keys) > MANY)
            self._agenda.mark(bulk, now, bulk=True)
