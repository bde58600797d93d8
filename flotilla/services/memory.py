"""What consumers hold on behalf of exporters that nobody can see: kept as it stands, never read as "unexported"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flotilla.services.facts import ClusterView, Properties, SliceFact, World
from flotilla.services.health import Candidate, Health, is_marked
from flotilla.services.slices import port_names


@dataclass(frozen=True)
class Memory:
    """Cluster ids whose contributions stay as they are, by the consumer that holds them, and why.

    ``away`` are exporters that no one can see and of whom nothing else is known; ``held`` those whose withdrawal waits
    for a person. ``pinned`` is the import that stands on their behalf.
    """

    away: frozenset[str] = frozenset()
    held: frozenset[tuple[str, str]] = frozenset()
    pinned: Properties | None = None

    def kept(self, consumer: str, view: ClusterView) -> dict[str, list[SliceFact]]:
        """Return the slices that one consumer keeps, by cluster id."""
        slices: dict[str, list[SliceFact]] = {}
        for piece in view.slices:
            if piece.ours and (piece.source in self.away or (consumer, piece.source) in self.held):
                slices.setdefault(piece.source, []).append(piece)
        return slices


def ids_of(world: World) -> dict[str, str]:
    """Return the cluster ids by name, as far as they are known: of clusters seen now or before."""
    return {name: view.id for name, view in [*world.last.items(), *world.seen.items()]}


def memory_of(world: World, health: Health, exporting: frozenset[str]) -> Memory:
    """Return what is to be kept; ``exporting`` are the names of the clusters whose export is known and valid.

    A cluster id that belongs to no cluster known may be that of an Unknown one that was never seen. Only if every
    cluster was seen, now or before, is such an id that of a cluster which left.
    """
    ids = ids_of(world)
    strangers = _held_ids(world) - set(ids.values()) if set(world.away) - set(ids) else set()
    waiting = {(link.consumer, ids.get(link.source, link.source)) for link in health.held if link.source not in exporting}
    memory = Memory(frozenset(strangers), frozenset(waiting))
    return replace(memory, pinned=_pinned(world, memory))


def candidate_of(source: str, slices: Sequence[SliceFact]) -> Candidate:
    """Return a remembered source for health to judge: its addresses that are ready, or that only probes made not ready.

    It goes by its cluster id, as its name is not known.
    """
    serving = [(piece, end) for piece in slices for end in piece.endpoints if end.takes_traffic or is_marked(end)]
    ready = frozenset(address for _, end in serving for address in end.addresses)
    return Candidate(source, ready, frozenset(name for piece, _ in serving for name in port_names(piece.ports)))


def _held_ids(world: World) -> set[str]:
    """Return every cluster id that a consumer holds slices of or names in the status of its import."""
    ids: set[str] = set()
    for view in world.seen.values():
        ids |= {piece.source for piece in view.slices if piece.ours}
        if view.imported:
            ids |= set(view.imported.clusters)
    return ids


def _pinned(world: World, memory: Memory) -> Properties | None:
    """Return the import that stands on behalf of the kept ones: that of the first consumer, by name, to hold any."""
    for name, view in world.seen.items():
        if view.imported and (memory.kept(name, view) or memory.away & set(view.imported.clusters)):
            return view.imported.properties
    return None
