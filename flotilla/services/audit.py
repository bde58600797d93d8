"""Where services are not wired as they should be, told by what all clusters hold and without the keeper's word for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from flotilla.exports import Decision, decide, writes
from flotilla.facts import Unknown
from flotilla.services.facts import ClusterView, Condition, LeaseFact, SliceFact, World
from flotilla.services.health import Health, lease_is_current
from flotilla.services.policy import Policy
from flotilla.services.writes import Action, Write


@dataclass(frozen=True, order=True)
class Difference:
    """What one cluster holds otherwise than it should. ``held_back`` where the keeper says in a condition why it is so."""

    service: str
    cluster: str
    text: str
    held_back: str = ""


@dataclass(frozen=True)
class Wiring:
    """How one service is wired: who exports it, in which clusters it is imported, ready endpoints there, conflicts."""

    service: str
    exported_by: tuple[str, ...]
    imported_by: tuple[str, ...]
    endpoints: Mapping[str, int]
    conflicts: tuple[str, ...]
    differences: tuple[Difference, ...]

    def row(self) -> dict[str, str]:
        """Return it as a row of a table."""
        broken = [one.text for one in self.differences if not one.held_back]
        held = [f"{one.cluster}: {one.held_back}" for one in self.differences if one.held_back]
        return {
            "service": self.service,
            "exported by": ", ".join(self.exported_by) or "nobody",
            "imported by": ", ".join(self.imported_by) or "nobody",
            "ready endpoints": ", ".join(f"{name} {count}" for name, count in self.endpoints.items()),
            "conflicts": "; ".join(self.conflicts),
            "differs": "; ".join([*broken, *dict.fromkeys(held)]),
        }


def wiring_of(world: World, policy: Policy, now: datetime) -> Wiring:
    """Return how a service is wired, and what differs from what should be."""
    decision = decide(world, Health(), policy, now)
    importing = {name: view for name, view in world.seen.items() if view.imported}
    return Wiring(
        service=str(world.key),
        exported_by=tuple(source.cluster for source in decision.sources),
        imported_by=tuple(importing),
        endpoints={name: _ready(view) for name, view in importing.items()},
        conflicts=tuple(f"{one.reason}: {one.message}" for one in (decision.merged.conflicts if decision.merged else ())),
        differences=tuple(_differences(world, decision)),
    )


def lasting(before: Iterable[Difference], now: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return what differed in both of two looks: what the keeper was at in between is none."""
    return tuple(sorted(set(before) & set(now)))


def keeper_problem(leases: Mapping[str, LeaseFact | Unknown], now: datetime) -> str:
    """Return why nobody keeps services wired, "" where a keeper holds the leases of more than half of the clusters."""
    known = [lease for lease in leases.values() if isinstance(lease, LeaseFact) and lease.holder]
    held = [lease for lease in known if lease_is_current(lease, now)]
    if 2 * len(held) > len(leases):
        return ""
    return f"no keeper holds the leases of most clusters ({len(held)} of {len(leases)}): start one: flotilla keep, or make up"


def _ready(view: ClusterView) -> int:
    return sum(end.takes_traffic for piece in view.slices if piece.ours and piece.imported for end in piece.endpoints)


def _differences(world: World, decision: Decision) -> Iterator[Difference]:
    for cluster, listed in writes(world, decision).items():
        view = world.seen[cluster]
        wanted = {piece.name: piece for piece in decision.wanted[cluster].slices}
        for write in listed:
            if write.action is Action.STATUS and _told_alike(view, write):
                continue
            held = _held_back(view, write, wanted) if write.key.kind == "EndpointSlice" else ""
            yield Difference(str(world.key), cluster, f"{cluster}: {write} is due", held)


def _told_alike(view: ClusterView, write: Write) -> bool:
    """Tell whether a status differs in words only: the keeper's carry what its probes have found."""
    fact = view.imported if write.key.kind == "ServiceImport" else view.export
    here: Iterable[Condition] = fact.conditions if fact else ()
    manifest = write.manifest or {}
    due = {(one["type"], one["status"], one["reason"]) for one in (manifest.get("status") or {}).get("conditions") or ()}
    return due <= {(one.type, one.status, one.reason) for one in here}


def _held_back(view: ClusterView, write: Write, wanted: Mapping[str, SliceFact]) -> str:
    """Return the keeper's own reason where it keeps endpoints back that its probes do not reach, "" otherwise."""
    message = next((one.message for one in view.imported.conditions if one.type == "Ready"), "") if view.imported else ""
    here = {piece.name: piece for piece in view.slices}
    piece, had = wanted.get(write.key.name), here.get(write.key.name)
    if piece is None:
        return ""
    if had is None:
        absent = all(other.source != piece.source for other in view.slices if other.ours)
        return message if absent and f"{piece.source}" in message.partition(";")[2] else ""
    return message if _ready_alike(piece) == _ready_alike(had) and ";" in message else ""


def _ready_alike(piece: SliceFact) -> SliceFact:
    return replace(piece, endpoints=tuple(end._replace(ready=None, serving=None) for end in piece.endpoints))
