"""Who exports a service, and what the exports make of it together (KEP-1645, Constraints and Conflict Resolution)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from flotilla.facts import Unknown
from flotilla.services.facts import ClusterView, ExportFact, Port, Properties, ServiceFact, SliceFact, World
from flotilla.services.policy import Policy


@dataclass(frozen=True)
class Source:
    """A valid export: cluster name and id, what it says, and the slices it brings. ``away`` where it is as last seen.

    ``properties`` are how this cluster alone would have the service consumed; labels and annotations are the export's.
    """

    cluster: str
    id: str
    export: ExportFact
    service: ServiceFact
    slices: tuple[SliceFact, ...]
    properties: Properties
    away: Unknown | None = None


@dataclass(frozen=True)
class Invalid:
    """An export that cannot be: the reason of its Valid condition, and the message."""

    cluster: str
    reason: str
    message: str


@dataclass(frozen=True)
class Conflict:
    """A property on which the exports differ: a reason of mcs-api v1beta1 and the sentence on who won and who disagrees."""

    reason: str
    message: str


@dataclass(frozen=True)
class Merged:
    """What every importing cluster is to see. ``winner`` is the cluster of the oldest export, "" where it is remembered."""

    properties: Properties
    winner: str
    conflicts: tuple[Conflict, ...] = ()


def sources_of(world: World, policy: Policy) -> tuple[tuple[Source, ...], tuple[Invalid, ...]]:
    """Return the valid exports, oldest first, and the invalid ones by cluster name.

    Equal times (they are whole seconds) are ordered by cluster name, so that every keeper decides alike.
    An Unknown cluster counts as it was last seen.
    """
    valid: list[Source] = []
    invalid: list[Invalid] = []
    for name, (view, away) in _views(world).items():
        if view.export is None or view.export.deleting:
            continue
        if problem := _problem(name, view, world, policy):
            invalid.append(problem)
        elif view.service is not None:
            slices = tuple(piece for piece in view.slices if piece.native and piece.service == world.key.name)
            own = replace(view.service.properties, labels=view.export.labels, annotations=view.export.annotations)
            valid.append(Source(name, view.id, view.export, view.service, slices, own, away))
    return tuple(sorted(valid, key=lambda source: (source.export.created, source.cluster))), tuple(invalid)


def merge(sources: Sequence[Source], pinned: Properties | None = None) -> Merged | None:
    """Return what the exports make together; None where there is none and nothing is remembered.

    ``sources`` come oldest first. ``pinned`` is what consumers hold already on behalf of an exporter that nobody can see:
    it comes before all others, as traffic that flows is not to change (KEP-1645).
    """
    if not sources and pinned is None:
        return None
    oldest = pinned or sources[0].properties
    ports = union([oldest.ports, *(source.properties.ports for source in sources)])
    winner = "" if pinned else sources[0].cluster
    return Merged(replace(oldest, ports=ports), winner, tuple(_conflicts(sources, ports)))


def union(port_lists: Iterable[Sequence[Port]]) -> tuple[Port, ...]:
    """Return the ports of all lists: no name twice, no protocol and number twice; the earlier list wins.

    Merged by name first, then by protocol and number (KEP-1645, Service Port). Where more than one port is left, one
    without a name gets one, as a Service must name its ports then.
    """
    merged: list[Port] = []
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for port in (port for ports in port_lists for port in ports):
        if port.name not in names and port.number not in numbers:
            merged.append(port)
            names.add(port.name)
            numbers.add(port.number)
    if len(merged) == 1:
        return tuple(merged)
    return tuple(port if port.name else port._replace(name=_free_name(port, names)) for port in merged)


def _free_name(port: Port, taken: set[str]) -> str:
    name = f"{port.protocol.lower()}-{port.port}"
    while name in taken:
        name += "-x"
    return name


def _views(world: World) -> dict[str, tuple[ClusterView, Unknown | None]]:
    views: dict[str, tuple[ClusterView, Unknown | None]] = {name: (view, None) for name, view in world.seen.items()}
    views |= {name: (world.last[name], away) for name, away in world.away.items() if name in world.last}
    return views


def _problem(name: str, view: ClusterView, world: World, policy: Policy) -> Invalid | None:
    """Return what makes an export invalid (mcs-api v1beta1: NoService, InvalidServiceType; others may be added)."""
    if world.key.namespace in policy.refused_namespaces:
        text = f"namespace {world.key.namespace} is not exported from: it does not mean the same in every cluster"
        return Invalid(name, "NamespaceNotAllowed", text)
    if view.service is None or view.service.deleting:
        return Invalid(name, "NoService", f"there is no Service {world.key} in {name}")
    if view.service.type == "ExternalName":
        text = f"Service {world.key} in {name} is of type ExternalName, which has no endpoints to export"
        return Invalid(name, "InvalidServiceType", text)
    return None


def _type(properties: Properties) -> str:
    return "Headless" if properties.headless else "ClusterSetIP"


def _affinity_config(properties: Properties) -> str:
    """Return what tells two configurations of client affinity apart; there is none without client affinity."""
    return f"{properties.affinity_timeout} s" if properties.affinity_timeout is not None else "none"


_Read = Callable[[Properties], object]
_WHOLE: tuple[tuple[str, str, _Read], ...] = (
    ("TypeConflict", "type", _type),
    ("SessionAffinityConflict", "session affinity", lambda p: p.session_affinity),
    ("SessionAffinityConfigConflict", "session affinity config", _affinity_config),
    ("InternalTrafficPolicyConflict", "internal traffic policy", lambda p: p.internal_traffic_policy),
    ("TrafficDistributionConflict", "traffic distribution", lambda p: p.traffic_distribution or "none"),
    ("IPFamilyConflict", "IP families", lambda p: ",".join(sorted(p.ip_families))),
    ("LabelsConflict", "exported labels", lambda p: _pairs(p.labels.items())),
    ("AnnotationsConflict", "exported annotations", lambda p: _pairs(p.annotations.items())),
)
"""Properties that the oldest export decides as a whole (mcs-api v1beta1 ServiceExportConditionConflict)."""


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(items)) or "none"


def _short(value: object) -> str:
    """Return a value as a message shows it; a condition's message has room for 32,768 characters in all."""
    text = str(value)
    return f'"{text}"' if len(text) <= 200 else f'"{text[:197]}..."'


def _conflicts(sources: Sequence[Source], ports: tuple[Port, ...]) -> list[Conflict]:
    found = [_port_conflict(sources, ports)]
    found += [_whole_conflict(sources, *row) for row in _WHOLE]
    return [conflict for conflict in found if conflict]


def _whole_conflict(sources: Sequence[Source], reason: str, word: str, read: _Read) -> Conflict | None:
    """Return the conflict on one property in the words of KEP-1645's example."""
    values = {source.cluster: read(source.properties) for source in sources}
    if len(set(values.values())) < 2:
        return None
    oldest = sources[0].cluster
    others = [f"{cluster} ({_short(value)})" for cluster, value in values.items() if value != values[oldest]]
    text = (
        f'Conflicting {word}. Using {_short(values[oldest])} from oldest service export in "{oldest}". '
        f"{len(others)}/{len(values)} clusters disagree: {', '.join(others)}."
    )
    return Conflict(reason, text)


def _port_conflict(sources: Sequence[Source], ports: tuple[Port, ...]) -> Conflict | None:
    """Return the conflict on ports: they are not identical in all exports (mcs-api v1beta1 PortConflict)."""
    if len({frozenset(source.properties.ports) for source in sources}) < 2:
        return None
    oldest = sources[0]
    others = [source for source in sources if set(source.properties.ports) != set(oldest.properties.ports)]
    exposed = {port.number for port in ports}
    lost = [
        f"{port} of {source.cluster} is not reachable, as its name went to an older export"
        for source in others
        for port in source.properties.ports
        if port.number not in exposed
    ]
    text = (
        f'Conflicting ports. Using the union "{", ".join(map(str, ports))}", duplicates from oldest service export in '
        f'"{oldest.cluster}". {len(others)}/{len(sources)} clusters disagree: '
        f"{', '.join(source.cluster for source in others)}."
    )
    return Conflict("PortConflict", " ".join([text, *(f"{sentence}." for sentence in lost)]))
