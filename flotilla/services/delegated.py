"""Services that somebody else wires (Submariner, Cilium, GKE): what was said and made of the exports. Pure; writes nothing.

Only what the API itself defines is read: exports and their conditions, imports, slices with the standard's label. The types
of conditions differ (KEP-1645 has Valid, Ready and Conflict; Submariner also Synced, GKE Initialized and Exported), so every
one of them that is False is told, but for Conflict, which is told where it is True.
"""

from __future__ import annotations

from collections.abc import Iterator

from flotilla.facts import Unknown
from flotilla.services.audit import Difference, Wiring
from flotilla.services.explain import Blame, Explanation, Step, dns_step, no_namespace
from flotilla.services.facts import ClusterView, Condition, DnsFact, ExportFact, ImportModel, World
from flotilla.services.policy import Policy

CONFLICT = "Conflict"


def wiring_of(world: World, policy: Policy) -> Wiring:
    """Return how a service is wired, and what its implementation has not done or will not do."""
    exports = _exports(world)
    return Wiring(
        service=str(world.key),
        exported_by=tuple(exports),
        imported_by=tuple(name for name, view in world.seen.items() if view.imported),
        endpoints={name: _ready(view) for name, view in world.seen.items() if view.imported},
        conflicts=tuple(dict.fromkeys(_told(one) for export in exports.values() for one in _conflicts(export))),
        differences=tuple(Difference(str(world.key), name, f"{name}: {text}") for name, text in _lacks(world, policy)),
    )


def explain(world: World, consumer: str, dns: DnsFact | Unknown | None = None) -> Explanation:
    """Return the chain from the exports to the answer in one consumer, as far as the API tells it."""
    return Explanation(consumer, tuple(_chain(world, consumer, dns)))


def _chain(world: World, consumer: str, dns: DnsFact | Unknown | None) -> Iterator[Step]:
    exports = _exports(world)
    for name, export in exports.items():
        lacks = _unmet(export)
        text = "; ".join(lacks) or f"exports {world.key}: {', '.join(one.type for one in export.conditions)} as they should be"
        yield Step("export", name, text, Blame.CONTROLLER if lacks else None)
    for name, away in world.away.items():
        yield Step("export", name, f"cannot be looked at: {away.reason}", Blame.CONTROLLER)
    if not exports:
        yield Step("export", "", f"no cluster that can be seen has a ServiceExport {world.key}", Blame.USER)
        return
    conflicts = [(name, _told(one)) for name, export in exports.items() for one in _conflicts(export)]
    yield from (Step("conflict", name, text) for name, text in conflicts)
    view = world.clusters[consumer]
    if isinstance(view, Unknown):
        yield Step("import", consumer, f"this cluster cannot be looked at: {view.reason}", Blame.CONTROLLER)
        return
    yield _import(consumer, view)
    if any(piece.imported for piece in view.slices):  # an implementation may route without any
        ready = _ready(view)
        yield Step("slices", consumer, f"{ready} endpoints take traffic", None if ready else Blame.SOURCE)
    if dns is not None:
        headless = bool(view.imported and view.imported.properties.headless)
        expected = _addresses(view) if headless else set(view.imported.ips if view.imported else ())
        yield dns_step(consumer, dns, expected)


def _import(consumer: str, view: ClusterView) -> Step:
    if not view.takes_objects:
        return no_namespace(consumer, view)
    if view.imported is None:
        return Step("import", consumer, "there is no ServiceImport: not made yet, or none declared here", Blame.CONTROLLER)
    kind = "Headless" if view.imported.properties.headless else "ClusterSetIP"
    return Step("import", consumer, f"ServiceImport of type {kind}, addresses {', '.join(view.imported.ips) or 'none'}")


def _lacks(world: World, policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield cluster and text of what is not as a healthy implementation leaves it."""
    exports = _exports(world)
    for name, export in exports.items():
        for text in _unmet(export):
            yield name, text
    valid = any(not _unmet(export) for export in exports.values())
    for name, view in world.seen.items():
        if valid and view.imported is None and view.takes_objects and policy.imports is ImportModel.AUTOMATIC:
            yield name, "has the namespace and no ServiceImport"
        if not exports and not world.away and view.imported is not None and policy.imports is ImportModel.AUTOMATIC:
            yield name, "has a ServiceImport, and nobody exports the service"


def _exports(world: World) -> dict[str, ExportFact]:
    return {name: view.export for name, view in world.seen.items() if view.export and not view.export.deleting}


def _unmet(export: ExportFact) -> list[str]:
    """Return what an export's conditions say against it."""
    if not any(one.type != CONFLICT for one in export.conditions):
        return ["no condition on the ServiceExport: what implements the API here has not looked at it"]
    return [_told(one) for one in export.conditions if one.type != CONFLICT and one.status == "False"]


def _conflicts(export: ExportFact) -> list[Condition]:
    return [one for one in export.conditions if one.type == CONFLICT and one.status == "True"]


def _told(condition: Condition) -> str:
    reason = f" ({condition.reason})" if condition.reason else ""
    return f"{condition.type} is {condition.status}{reason}: {condition.message or 'no message'}"


def _ready(view: ClusterView) -> int:
    return sum(end.takes_traffic for piece in view.slices if piece.imported for end in piece.endpoints)


def _addresses(view: ClusterView) -> set[str]:
    ends = [end for piece in view.slices if piece.imported for end in piece.endpoints if end.takes_traffic]
    return {address for end in ends for address in end.addresses}
