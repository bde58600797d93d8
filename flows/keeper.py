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
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flotilla.exports import Decision, decide, probe_targets, writes
from flotilla.fleet import Fleet
from flotilla.keeping import Agenda, Patience, Warden, links_of
from flotilla.services.cap import Withdrawal
from flotilla.services.facts import ClusterView, ProbeFact, World
from flotilla.services.health import Health, Pulse, forget_gone, observe
from flotilla.services.names import ServiceKey
from flotilla.services.parse import shared_ids
from flotilla.services.probing import Pace, Spot
from tasks.clusters import connect
from tasks.lanes import Done, Job, Lane
from tasks.leadership import Leadership, own_identity
from tasks.multicluster import Mirror, News
from tasks.probes import Prober

START_PATIENCE = 10.0  # seconds until clusters that say nothing at all are decided without
LONGEST_PASS = 2.0  # seconds that a withdrawal waits for the rest of its pass
TICK = 1.0  # seconds between decisions of a service whose probes fail: patience runs out without an event
log = logging.getLogger("flotilla.keeper")


class Keeper:
    """Mirrors, lanes, probers and leases of a fleet, and the loop that decides. Nothing is sent before ``start``."""

    def __init__(self, fleet: Fleet, identity: str = "") -> None:
        connections = [connect(cluster) for cluster in fleet.clusters]
        self.policy, probes = fleet.services.policy(), fleet.services.probes
        self.leadership = Leadership(connections, identity or own_identity())
        self.mirrors = {one.name: Mirror(one, self._hear) for one in connections}
        self.lanes = {name: Lane(mirror, lambda: self.leadership.leads, self._done) for name, mirror in self.mirrors.items()}
        pace = Pace(at_rest=probes.per_second, hurried=5 * probes.per_second)
        image = probes.image if probes.enabled else ""
        self.probers = {one.name: Prober(one, image, pace, self._probed) for one in connections} if image else {}
        self.warden = Warden(self.policy.withdrawal_cap)
        self.lags: deque[float] = deque(maxlen=2000)
        self.counts = {"decided": 0, "written": 0, "outdated": 0, "failed": 0, "defects": 0}
        self._health: dict[ServiceKey, Health] = {}
        self._agenda, self._patience, self._problems = Agenda(), Patience(), dict[tuple[str, ServiceKey], str]()
        self._asking: dict[ServiceKey, tuple[tuple[Withdrawal, ...], float, bool]] = {}
        self._asking_since = 0.0
        self._news: deque[News] = deque()
        self._results: deque[tuple[Spot, ProbeFact]] = deque()
        self._turn = threading.Condition()
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._ready, self._obstacle = False, "not started yet"

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
        return tuple(self.warden.held.values())

    @property
    def obstacle(self) -> str:
        """Why nothing is wired, "" if it is."""
        return self._obstacle

    def _parts(self) -> list[Mirror | Lane | Prober]:
        return [*self.mirrors.values(), *self.lanes.values(), *self.probers.values()]

    def _hear(self, news: News) -> None:
        with self._turn:
            self._news.append(news)
            self._turn.notify()

    def _probed(self, spot: Spot, probe: ProbeFact) -> None:
        with self._turn:
            self._results.append((spot, probe))
            self._turn.notify()

    def _done(self, done: Done) -> None:
        now = time.monotonic()
        at = (done.cluster, done.job.key)
        with self._turn:
            self.counts["written"] += done.made
            if done.error:
                self._agenda.later(done.job.key, self._patience.failed(at, now, random.uniform(0.7, 1.3)))  # noqa: S311 - jitter
                self.counts["failed"] += 1
            elif done.outdated:
                self._agenda.later(done.job.key, now + 0.3)
                self.counts["outdated"] += 1
            else:
                self._patience.succeeded(at)
                self._agenda.mark([done.job.key], now, bulk=not done.job.urgent)
                self.lags.append(now - done.job.since)
            self._turn.notify()
        self._tell_problem(done)

    def _tell_problem(self, done: Done) -> None:
        """Log an error when it is new, and what came too late when somebody looks for it."""
        at, text = (done.cluster, done.job.key), str(done.error or "")
        if text and self._problems.get(at) != text:
            log.warning("not written cluster=%s service=%s: %s", done.cluster, done.job.key, text)
        if done.outdated:
            log.debug("outdated cluster=%s service=%s: %s", done.cluster, done.job.key, done.outdated)
        self._problems.pop(at, None)
        if text:
            self._problems[at] = text

    def _step(self) -> None:
        """Decide one service, or end the pass if none waits, or wait."""
        now = time.monotonic()
        self._take_news(now)
        self._take_probes(now)
        if not self._may_decide(now):
            self._wait(0.2)
            return
        with self._turn:
            taken = self._agenda.take(now)
        if taken:
            self._guarded(*taken)
        if self._asking and (taken is None or now - self._asking_since > LONGEST_PASS):
            self._end_pass(now)
        elif taken is None:
            self._wait(1.0)

    def _wait(self, at_most: float) -> None:
        with self._turn:
            if self._news or self._results or self._stopping.is_set():
                return
            pause = self._agenda.wait(time.monotonic())
            if not self._ready or pause is None or pause > at_most:
                pause = at_most
            if pause:
                self._turn.wait(pause)

    def _may_decide(self, now: float) -> bool:
        """Tell whether anything may be wired now: every cluster was looked at or tried, ids are unique, this keeper leads."""
        obstacle = self._found_obstacle(now)
        if obstacle != self._obstacle:
            log.warning("nothing is wired: %s", obstacle) if obstacle else log.info("wiring as %s", self.leadership.identity)
            self._obstacle = obstacle
        if not obstacle and not self._ready:
            with self._turn:
                self._agenda.mark(self._keys(), now, bulk=True)
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

    def _keys(self) -> set[ServiceKey]:
        return {key for mirror in self.mirrors.values() for key in mirror.services()} | set(self._health)

    def _take_news(self, now: float) -> None:
        while self._news:
            news = self._news.popleft()
            urgent, bulk = set(news.keys), set[ServiceKey]()
            if news.namespaces:
                bulk = {key for mirror in self.mirrors.values() for key in mirror.services(news.namespaces)}
            if news.everything:
                bulk |= self._keys()
            with self._turn:
                self._agenda.mark(urgent, now, bulk=len(urgent) > 100)
                self._agenda.mark(bulk, now, bulk=True)

    def _take_probes(self, now: float) -> None:
        """Let probes change what is known of health; services for which that may change something are marked."""
        while self._results:
            spot, probe = self._results.popleft()
            prober = self.probers[probe.consumer]
            with prober.lock:
                keys = prober.plan.keys_of(spot)
            for key in keys:
                before = self._health.get(key, Health())
                after = self._health[key] = observe(before, [probe], self.policy.damping)
                if _matters(before, after, probe):
                    with self._turn:
                        self._agenda.mark([key], now)

    def _guarded(self, key: ServiceKey, since: float, urgent: bool) -> None:
        """Decide one service; one that cannot be decided stops no other."""
        try:
            self._decide(key, since, urgent)
            self._patience.succeeded(key)
        except Exception:
            self.counts["defects"] += 1
            log.exception("decision service=%s failed", key)
            now = time.monotonic()
            with self._turn:
                self._agenda.later(key, self._patience.failed(key, now))

    def _decide(self, key: ServiceKey, since: float, urgent: bool) -> None:
        self.counts["decided"] += 1
        if not any(mirror.concerns(key) for mirror in self.mirrors.values()):
            self._forget(key)
            return
        world = self._world(key)
        had = self._health.get(key, Health())
        health = replace(forget_gone(had, world), held=frozenset()) if had.pulses or had.held else had
        decision = decide(world, health, self.policy, datetime.now(UTC))
        if decision.withdrawals or had.held:
            self._asking_since = self._asking_since if self._asking else time.monotonic()
            self._asking[key] = (decision.withdrawals, since, urgent)
            return
        self._settle(key, health, decision, world, since, urgent)

    def _end_pass(self, now: float) -> None:
        """Decide anew what withdraws something, now that it is known how much is withdrawn at once."""
        asking, self._asking = self._asking, {}
        rationed = self.warden.ration({key: asked for key, (asked, _, _) in asking.items()}, now)
        if rationed.held:
            log.warning(
                "withdrawals held: %d exporters over the cap of %d wait for a person", len(rationed.held), self.warden.cap
            )
        for key, (_, since, urgent) in asking.items():
            world = self._world(key)
            health = forget_gone(self._health.get(key, Health()), world)
            health = replace(health, held=links_of(rationed.held, key))
            decision = decide(world, health, self.policy, datetime.now(UTC))
            if set(_links(decision.withdrawals)) <= set(_links(rationed.allowed, key)):
                self._settle(key, health, decision, world, since, urgent)
            else:  # something happened since: what is new in it has to be rationed too
                with self._turn:
                    self._agenda.mark([key], now)

    def _settle(self, key: ServiceKey, health: Health, decision: Decision, world: World, since: float, urgent: bool) -> None:
        """Have a decision carried out, and its endpoints probed."""
        now = time.monotonic()
        for name, listed in writes(world, decision).items():
            until = self._patience.until((name, key))
            if now < until:
                with self._turn:
                    self._agenda.later(key, until)
            elif not self.lanes[name].is_busy(key):
                self.lanes[name].give(Job(key, listed, since, urgent))
        if health.pulses or health.held:
            self._health[key] = health
        else:
            self._health.pop(key, None)
        if health.held or any(_is_unwell(pulse) for of in health.pulses.values() for pulse in of.values()):
            with self._turn:
                self._agenda.later(key, now + TICK)
        self._probe(key, decision, world)

    def _probe(self, key: ServiceKey, decision: Decision, world: World) -> None:
        """Have endpoints in other clusters probed; those of a cluster's own are its kubelets' to judge."""
        targets = probe_targets(world, decision) if self.probers else {}
        for name, prober in self.probers.items():
            wanted = {link.source: of for link, of in targets.items() if link.consumer == name and link.source != name}
            with prober.lock:
                prober.plan.want(key, wanted)

    def _forget(self, key: ServiceKey) -> None:
        self._health.pop(key, None)
        self.warden.forget(key)
        for prober in self.probers.values():
            with prober.lock:
                prober.plan.want(key, {})

    def _world(self, key: ServiceKey) -> World:
        views = {name: mirror.view_of(key) for name, mirror in self.mirrors.items()}
        away = [name for name, view in views.items() if not isinstance(view, ClusterView)]
        last = {name: seen for name in away if (seen := self.mirrors[name].last_of(key))}
        return World(key, views, last, self.leadership.facts)


def _links(withdrawals: Sequence[Withdrawal], key: ServiceKey | None = None) -> list[Any]:
    return [one.link for one in withdrawals if key is None or one.key == key]


def _is_unwell(pulse: Pulse) -> bool:
    return not pulse.alive or not pulse.answering


def _matters(before: Health, after: Health, probe: ProbeFact) -> bool:
    """Tell whether a probe may change a decision: an endpoint's first answer, or anything about one that is not well."""
    link = (probe.consumer, probe.source)
    had, has = before.pulses.get(link, {}).get(probe.address), after.pulses[link][probe.address]  # type: ignore[call-overload,index]
    return had is None or had.last_answer is None or _is_unwell(had) or _is_unwell(has)
