"""All clusters at one moment, as far as services go: mirrors that have looked once, and the keeper's leases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.services.facts import ClusterView, LeaseFact, World
from flotilla.services.names import ServiceKey
from flotilla.services.parse import parse_lease, shared_ids
from tasks.clusters import Connection, connect, refused
from tasks.fanout import side_by_side
from tasks.leadership import NAME, NAMESPACE, TIMEOUT
from tasks.leases import KIND
from tasks.multicluster import Mirror

PATIENCE = 12.0  # seconds until a cluster that says nothing counts as one that nobody can look at


class Snapshot:
    """What every cluster holds of every service. It goes on following the clusters until ``close``."""

    def __init__(self, fleet: Fleet) -> None:
        connections = [connect(cluster) for cluster in fleet.clusters]
        self.mirrors = {one.name: Mirror(one, lambda _: None) for one in connections}
        self._connections = connections
        self.leases: Mapping[str, LeaseFact | Unknown] = {}

    def look(self) -> None:
        """Begin to look; return when every cluster was looked at, or has not answered for ``PATIENCE`` seconds."""
        for mirror in self.mirrors.values():
            mirror.start()
        self.look_at_leases()
        deadline = time.monotonic() + PATIENCE
        while not all(mirror.is_settled for mirror in self.mirrors.values()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def look_at_leases(self) -> None:
        """Look at the keeper's leases anew."""
        by_name = {one.name: one for one in self._connections}
        found = side_by_side(by_name, lambda name: _lease(by_name[name]))
        self.leases = {
            name: Unknown(name, str(lease)) if isinstance(lease, FlotillaError) else lease for name, lease in found.items()
        }

    def close(self) -> None:
        """Look no more."""
        for mirror in self.mirrors.values():
            mirror.stop()

    @property
    def away(self) -> dict[str, str]:
        """The clusters that nobody can look at, and why."""
        return {name: mirror.unknown.reason for name, mirror in self.mirrors.items() if mirror.unknown}

    @property
    def keys(self) -> list[ServiceKey]:
        """Every service that any cluster exports, imports or holds something of."""
        return sorted({key for mirror in self.mirrors.values() for key in mirror.services()})

    @property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """Ids that several clusters claim, with their names."""
        return shared_ids({name: mirror.id for name, mirror in self.mirrors.items() if mirror.id})

    def world(self, key: ServiceKey) -> World:
        """Return what all clusters hold of a service now."""
        views = {name: mirror.view_of(key) for name, mirror in self.mirrors.items()}
        away = [name for name, view in views.items() if not isinstance(view, ClusterView)]
        last = {name: seen for name in away if (seen := self.mirrors[name].last_of(key))}
        return World(key, views, last, self.leases)


@contextmanager
def looking_at(fleet: Fleet) -> Iterator[Snapshot]:
    """Yield what all clusters hold, looked at side by side."""
    snapshot = Snapshot(fleet)
    try:
        snapshot.look()
        yield snapshot
    finally:
        snapshot.close()


def _lease(connection: Connection) -> LeaseFact | Unknown:
    answer = connection.request("GET", KIND.path(NAMESPACE, NAME), timeout=TIMEOUT)
    if answer.status == 404:
        return Unknown(connection.name, "no keeper has taken its lease")
    if answer.status != 200:
        raise refused(connection.name, f"read Lease {NAMESPACE}/{NAME}", answer)
    return parse_lease(answer.body)
