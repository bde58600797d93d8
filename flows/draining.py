"""A wave that drains: others send a cluster nothing while it is changed, and something again once they reach it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flotilla.errors import FlotillaError, Permanent
from flotilla.facts import Unknown
from flotilla.intent import Drain
from flotilla.services.audit import keeper_problem
from flotilla.services.draining import (
    importers,
    is_exported,
    is_served_elsewhere,
    own_endpoints,
    senders,
    services_among,
)
from flotilla.services.facts import World
from flotilla.services.names import ServiceKey
from flows.journey import run_id, warn
from flows.locks import is_over
from tasks.attempts import stays
from tasks.clusters import Connection
from tasks.draining import drain, drained_services, undrain
from tasks.probes import dial, find_prober
from tasks.scene import Scene
from tasks.snapshot import Snapshot, looking_at

if TYPE_CHECKING:
    from flows.waves import Wave

LOOK_EVERY = 0.2
PROVED_WITHIN = 20.0  # seconds that a changed cluster's endpoints may take to be reached from another cluster
DIALLED = 3  # endpoints, of each service


class Drained:
    """The services that one cluster's wave drains; none where there is nothing to drain."""

    def __init__(self, wave: Wave, cluster: str, seen: Snapshot | None = None, keys: Sequence[ServiceKey] = ()) -> None:
        self._wave = wave
        self._cluster = cluster
        self._seen = seen
        self.keys = tuple(keys)

    def prove(self) -> None:
        """Reach the changed cluster's endpoints from another one; raises Permanent where they cannot be reached."""
        for key in self.keys:
            self._prove(key)

    def begin(self, policy: Drain) -> None:
        """Have the services drained: nobody sends anything any more, and what was under way had time to end."""
        connection = self._wave.journey.connection(self._cluster)
        for key in self.keys:
            drain(connection, key, self._wave.journey.run)
        self._note(f"drains {', '.join(map(str, self.keys))}")
        self._wait("to stop sending", lambda key: not senders(self._world(key), self._cluster), policy.within)
        self._note(f"drained; idles for {policy.idle:g} s")
        time.sleep(policy.idle)

    def end(self, policy: Drain) -> None:
        """Have the services take traffic again."""
        connection = self._wave.journey.connection(self._cluster)
        for key in self.keys:
            undrain(connection, key)
        ready = [key for key in self.keys if own_endpoints(self._world(key), self._cluster)]
        self._wait("to send again", lambda key: key not in ready or self._is_sent_to(key), policy.within)
        self._note("takes traffic again" if ready else "is no longer drained, and has no ready endpoint")

    def _is_sent_to(self, key: ServiceKey) -> bool:
        world = self._world(key)
        return set(importers(world)) <= set(senders(world, self._cluster))

    def _world(self, key: ServiceKey) -> World:
        if self._seen is None:
            raise Permanent("nothing is drained")
        return self._seen.world(key)

    def _note(self, text: str) -> None:
        self._wave.board.note(self._cluster, text)

    def _wait(self, what: str, done: Callable[[ServiceKey], bool], within: float) -> None:
        deadline = time.monotonic() + within
        while left := [key for key in self.keys if not done(key)]:
            if time.monotonic() > deadline:
                told = "; ".join(f"{key}: {', '.join(senders(self._world(key), self._cluster)) or 'nobody'}" for key in left)
                raise Permanent(f"{self._cluster}: waited {within:g} s for others {what}; who sends now: {told}")
            time.sleep(LOOK_EVERY)

    def _prove(self, key: ServiceKey) -> None:
        others = [name for name in importers(self._world(key)) if name != self._cluster]
        problem = "no other cluster imports it"
        deadline = time.monotonic() + PROVED_WITHIN
        while others:
            problem = self._reached(key, others[0])
            if not problem:
                return
            if problem.startswith("?"):
                warn("%s: %s was not probed from %s: %s", self._cluster, key, others[0], problem[1:])
                return
            if time.monotonic() > deadline:
                raise Permanent(f"{self._cluster}: {key} does not answer {others[0]}: {problem}")
            time.sleep(1)
        warn("%s: %s was not probed: %s", self._cluster, key, problem)

    def _reached(self, key: ServiceKey, consumer: str) -> str:
        """Return "" where the endpoints answer a consumer, else what was seen; beginning with "?" where nobody could try."""
        connection = self._wave.journey.connection(consumer)
        try:
            pod = find_prober(connection)
            if isinstance(pod, Unknown):
                return f"?{pod.reason}"
            targets = own_endpoints(self._world(key), self._cluster)[:DIALLED]
            tried = {target: dial(connection, pod, target.address, target.port) for target in targets}
        except FlotillaError as error:
            return f"?{error}" if isinstance(error, Permanent) else str(error)
        failed = [f"{target.address}:{target.port} {detail}" for target, (answered, detail) in tried.items() if not answered]
        return ", ".join(failed) if tried else "it has no ready endpoint"


@contextmanager
def drained(wave: Wave, scene: Scene) -> Iterator[Drained]:
    """Drain what a step changes in one cluster, for as long as this lasts; does nothing where nothing would change."""
    cluster, policy = scene.connection.name, wave.step.wave.drain
    now = [one for one in scene.wanted if one.step == wave.step.name]
    release_leftovers(scene.connection, scene.namespace)
    if policy is None or all(stays(scene, one) for one in now):
        yield Drained(wave, cluster)
        return
    with looking_at(wave.journey.fleet) as seen:
        one = Drained(wave, cluster, seen, _drainable(seen, cluster, services_among(wanted.key for wanted in now)))
        if not one.keys:
            wave.board.note(cluster, "nothing to drain: no service of this step is exported here and served elsewhere too")
            yield one
            return
        try:
            one.begin(policy)
            yield one
        finally:
            one.end(policy)


def release_leftovers(connection: Connection, namespace: str) -> None:
    """Take back what a run that was killed has left drained."""
    for key, run in drained_services(connection, namespace).items():
        if run != run_id() and not is_over(run):
            continue
        warn("%s: %s was left drained by run %s: it takes traffic again", connection.name, key, run)
        undrain(connection, key)


def _drainable(seen: Snapshot, cluster: str, keys: Sequence[ServiceKey]) -> list[ServiceKey]:
    worlds = {key: seen.world(key) for key in keys}
    exported = [key for key, world in worlds.items() if is_exported(world, cluster)]
    if exported and (problem := keeper_problem(seen.leases, datetime.now(UTC))):
        raise Permanent(f"{cluster}: cannot drain: {problem}")
    for key in exported:
        if not is_served_elsewhere(worlds[key], cluster):
            warn("%s: %s is not drained: no other cluster serves it now", cluster, key)
    return [key for key in exported if is_served_elsewhere(worlds[key], cluster)]
