"""What a rollout asks before and after it changes a cluster that others send traffic to. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from flotilla.objects import ObjectKey
from flotilla.services.facts import ClusterView, SliceFact, World
from flotilla.services.health import Target, targets_in
from flotilla.services.names import GROUP, ServiceKey


def services_among(objects: Iterable[ObjectKey]) -> tuple[ServiceKey, ...]:
    """Return the services that some objects are or export."""
    kinds = (("", "Service"), (GROUP, "ServiceExport"))
    return tuple(sorted({ServiceKey(one.namespace, one.name) for one in objects if (one.group, one.kind) in kinds}))


def is_exported(world: World, cluster: str) -> bool:
    """Tell whether a cluster exports a service now."""
    view = world.seen.get(cluster)
    return view is not None and view.export is not None and not view.export.deleting


def is_served_elsewhere(world: World, cluster: str) -> bool:
    """Tell whether another cluster exports a service, is not drained, and has an endpoint that takes traffic."""
    return any(
        name != cluster and view.export is not None and not view.export.draining and _takes_traffic(_own(view, world.key))
        for name, view in world.seen.items()
    )


def senders(world: World, cluster: str) -> tuple[str, ...]:
    """Return the clusters that send traffic for a service to another one: they hold an endpoint of it that takes some."""
    source = world.seen[cluster].id if cluster in world.seen else cluster
    return tuple(name for name, view in world.seen.items() if _takes_traffic(_imported(view, world.key, source)))


def importers(world: World) -> tuple[str, ...]:
    """Return the clusters that import a service."""
    return tuple(name for name, view in world.seen.items() if view.imported is not None)


def own_endpoints(world: World, cluster: str) -> tuple[Target, ...]:
    """Return the endpoints that take traffic in the cluster itself."""
    view = world.seen.get(cluster)
    return targets_in(_own(view, world.key)) if view else ()


def _takes_traffic(slices: Iterable[SliceFact]) -> bool:
    return any(end.takes_traffic for piece in slices for end in piece.endpoints)


def _own(view: ClusterView, key: ServiceKey) -> list[SliceFact]:
    return [piece for piece in view.slices if piece.native and piece.service == key.name]


def _imported(view: ClusterView, key: ServiceKey, source: str) -> list[SliceFact]:
    return [piece for piece in view.slices if piece.ours and piece.imported == key.name and piece.source == source]
