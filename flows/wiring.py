"""One service after another: what is so in all clusters, what should be, what has to be written and probed for that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from flotilla.exports import Decision, decide, probe_targets, writes
from flotilla.facts import Unknown
from flotilla.keeping import Pair, Patience, Warden, links_of
from flotilla.services.cap import Ration, Withdrawal
from flotilla.services.facts import ClusterView, LeaseFact, ProbeFact, World
from flotilla.services.health import Health, Link, Pulse, forget_gone, healed, next_look, observe
from flotilla.services.names import ServiceKey
from flotilla.services.policy import Policy
from flotilla.services.probing import Spot
from flotilla.services.ways import Way, walked
from flotilla.services.writes import Action, Write
from tasks.lanes import Job, Lane
from tasks.multicluster import Mirror
from tasks.probes import Prober

TICK = 1.0  # seconds until a service is decided again that could not be
MARGIN = 0.05  # seconds after the end of a patience
LONGEST_PASS = 2.0  # seconds that a withdrawal waits for the rest of its pass
log = logging.getLogger("flotilla.keeper")


class Turn(NamedTuple):
    """A service that is to be decided, since when it waits, and whether an event of its own is the reason."""

    key: ServiceKey
    since: float
    urgent: bool


class Wiring:
    """Decides services and hands on what follows; used by one thread. Times are those of ``time.monotonic``.

    ``later`` has a service decided again at a time. A pass is what is decided until nothing waits: what it withdraws is
    rationed as a whole, at its end.
    """

    def __init__(
        self,
        policy: Policy,
        lanes: Mapping[str, Lane],
        probers: Mapping[str, Prober],
        leases: Callable[[], Mapping[str, LeaseFact | Unknown]],
        later: Callable[[ServiceKey, float], None],
    ) -> None:
        self._policy, self._lanes, self._probers, self._leases, self._later = policy, lanes, probers, leases, later
        self._mirrors: dict[str, Mirror] = {name: lane.mirror for name, lane in lanes.items()}
        self._health: dict[ServiceKey, Health] = {}
        self._ways: dict[Link, Way] = {}
        self._asking: dict[ServiceKey, tuple[tuple[Withdrawal, ...], Turn]] = {}
        self._asking_since = 0.0
        self._warden = Warden(policy.withdrawal_cap)
        self.patience = Patience()
        """Pauses after writes that failed, by cluster and service."""

    @property
    def _cut(self) -> dict[Link, datetime]:
        return {link: way.cut for link, way in self._ways.items() if way.cut}

    @property
    def held(self) -> tuple[Withdrawal, ...]:
        """The withdrawals that wait for a person."""
        return tuple(self._warden.held.values())

    def approve(self, pairs: frozenset[Pair]) -> None:
        """Let withdrawals go ahead that wait; they have to be decided again for that."""
        self._warden.approved |= pairs

    def keys(self) -> set[ServiceKey]:
        """Return the services that any cluster holds something of, or that probes are remembered for."""
        return {key for mirror in self._mirrors.values() for key in mirror.services()} | set(self._health)

    def observe(self, spot: Spot, probe: ProbeFact) -> list[ServiceKey]:
        """Take a probe; return the services for which it may change something."""
        if self._walk(probe):
            return list(self.keys())
        touched = []
        for key in self._probers[probe.consumer].keys_of(spot):
            before = self._health.get(key, Health())
            after = self._health[key] = observe(before, [probe], self._policy.damping)
            if _matters(before, after, probe):
                touched.append(key)
        return touched

    def _walk(self, probe: ProbeFact) -> bool:
        """Take what a probe says about the link that it went along; True where that is cut, or whole again, by it."""
        link, prober = Link(probe.consumer, probe.source), self._probers[probe.consumer]
        before = self._ways.get(link, Way())
        after = self._ways[link] = walked(before, probe, prober.known(probe.source), self._policy.damping)
        if after.cut == before.cut:
            return False
        prober.hold(probe.source, after.cut is not None)
        if before.cut:
            self._health = {key: healed(health, link, before.cut) for key, health in self._health.items()}
        told = f"nothing answers since {after.cut:%H:%M:%S}: {probe.detail}" if after.cut else "answers again"
        log.warning("link from=%s to=%s %s", link.consumer, link.source, told)
        return True

    def decide(self, turn: Turn) -> None:
        """Decide one service; one that withdraws something is carried out at the end of the pass."""
        key = turn.key
        if not any(mirror.concerns(key) for mirror in self._mirrors.values()):
            self._forget(key)
            return
        world = self._world(key)
        had = self._health.get(key, Health())
        health = replace(forget_gone(had, world) if had.pulses else had, held=frozenset(), cut=self._cut)
        decision = decide(world, health, self._policy, datetime.now(UTC))
        if decision.withdrawals or had.held:
            self._asking_since = self._asking_since if self._asking else time.monotonic()
            self._asking[key] = (decision.withdrawals, turn)
            return
        self._carry(turn, health, decision, world)

    def is_pass_over(self, now: float, *, idle: bool) -> bool:
        """Tell whether what asked for a withdrawal is to be carried out now: nothing else waits, or it waited for long."""
        return bool(self._asking) and (idle or now - self._asking_since > LONGEST_PASS)

    def end_pass(self, now: float) -> None:
        """Decide anew what withdraws something, now that it is known how much is withdrawn at once."""
        asking, self._asking = self._asking, {}
        before = len(self._warden.held)
        rationed = self._warden.ration({key: asked for key, (asked, _) in asking.items()}, now)
        if len(self._warden.held) > before:
            waiting = len(self._warden.held)
            log.warning("withdrawals held: %d exporters, over the cap of %d, wait for a person", waiting, self._warden.cap)
        for key, (_, turn) in asking.items():
            try:
                self._carry_rationed(turn, rationed)
            except Exception:  # one service that cannot be decided stops no other
                log.exception("decision service=%s failed", key)
                self._later(key, now + TICK)

    def _carry_rationed(self, turn: Turn, rationed: Ration) -> None:
        key, world = turn.key, self._world(turn.key)
        health = replace(forget_gone(self._health.get(key, Health()), world), held=links_of(rationed.held, key), cut=self._cut)
        decision = decide(world, health, self._policy, datetime.now(UTC))
        if _links(decision.withdrawals, key) <= _links(rationed.allowed, key):
            self._carry(turn, health, decision, world)
        else:  # something happened since: what is new in it has to be rationed too
            self._later(key, time.monotonic())

    def _carry(self, turn: Turn, health: Health, decision: Decision, world: World) -> None:
        """Have a decision carried out, and its endpoints probed."""
        key, now = turn.key, time.monotonic()
        for name, asked in writes(world, decision).items():
            until = self.patience.until((name, key))
            if now < until:
                self._later(key, until)
            elif not self._lanes[name].is_busy(key):  # else it is decided again when they are done
                self._lanes[name].give(Job(key, _worthwhile(asked), turn.since, turn.urgent))
        if health.pulses or health.held:
            self._health[key] = health
        else:
            self._health.pop(key, None)
        if (seconds := next_look(health, self._policy.damping, datetime.now(UTC))) is not None:
            self._later(key, now + seconds + MARGIN)
        self._probe(key, decision, world)

    def _probe(self, key: ServiceKey, decision: Decision, world: World) -> None:
        """Have endpoints in other clusters probed; those of a cluster's own are its kubelets' to judge."""
        targets = probe_targets(world, decision) if self._probers else {}
        for name, prober in self._probers.items():
            wanted = {link.source: of for link, of in targets.items() if link.consumer == name and link.source != name}
            prober.want(key, wanted)

    def _forget(self, key: ServiceKey) -> None:
        self._health.pop(key, None)
        self._warden.forget(key)
        for prober in self._probers.values():
            prober.want(key, {})

    def _world(self, key: ServiceKey) -> World:
        views = {name: mirror.view_of(key) for name, mirror in self._mirrors.items()}
        away = [name for name, view in views.items() if not isinstance(view, ClusterView)]
        last = {name: seen for name in away if (seen := self._mirrors[name].last_of(key))}
        return World(key, views, last, self._leases())


def _worthwhile(asked: tuple[Write, ...]) -> tuple[Write, ...]:
    """Return a round's writes without the statuses, where an import or a Service is made: the next round would change them."""
    more = any(write.action is Action.CREATE and write.key.kind != "EndpointSlice" for write in asked)
    return tuple(write for write in asked if not (more and write.action is Action.STATUS))


def _links(withdrawals: Sequence[Withdrawal], key: ServiceKey) -> set[Link]:
    return {one.link for one in withdrawals if one.key == key}


def _is_unwell(pulse: Pulse) -> bool:
    return not pulse.alive or not pulse.answering


def _matters(before: Health, after: Health, probe: ProbeFact) -> bool:
    """Tell whether a probe may change a decision: an endpoint's first answer, or anything about one that is not well."""
    link = Link(probe.consumer, probe.source)
    had, has = before.pulses.get(link, {}).get(probe.address), after.pulses[link][probe.address]
    return had is None or had.last_answer is None or _is_unwell(had) or _is_unwell(has)
