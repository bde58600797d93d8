"""Exports, services and slices of all clusters in; what every cluster should hold out, and why.

One service at a time: all that is decided about a namespace and name depends on what the clusters hold of that namespace
and name. The decision takes as many rounds as the API servers need to answer (a ServiceImport's uid comes before its
slices, the derived Service's address before the import's ``ips``): write, look, decide again, until there is nothing to
write. Deciding on what was written writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from flotilla.services.cap import Cause, Withdrawal
from flotilla.services.conditions import export_conditions, import_ready, stamped
from flotilla.services.facts import (
    ClusterView,
    Condition,
    ImportFact,
    ImportModel,
    Properties,
    ServiceFact,
    SliceFact,
    World,
)
from flotilla.services.health import Candidate, Health, Judgement, Link, Verdict, judge
from flotilla.services.memory import Memory, candidate_of, ids_of, memory_of
from flotilla.services.merge import Invalid, Merged, Source, merge, sources_of
from flotilla.services.names import KEEPER, RESERVED, derived_name
from flotilla.services.policy import Policy
from flotilla.services.slices import Attachment, imported_slices, remembered_slice


@dataclass(frozen=True)
class Wanted:
    """What one cluster should hold of the service; None where it should hold none of a kind.

    An empty tuple of conditions means that there is no object whose status could be written. ``why`` says in sentences
    what is not as one might expect.
    """

    imported: ImportFact | None = None
    derived: ServiceFact | None = None
    native: ServiceFact | None = None
    slices: tuple[SliceFact, ...] = ()
    clusters: tuple[str, ...] = ()
    import_conditions: tuple[Condition, ...] = ()
    export_conditions: tuple[Condition, ...] = ()
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What is wanted of every cluster that could be looked at, by cluster name, and what it follows from.

    ``withdrawals`` are the exporters whose endpoints leave a consumer if this decision is carried out. Where a person
    has to agree first, put their links into ``Health.held`` and decide again.
    """

    wanted: Mapping[str, Wanted]
    merged: Merged | None
    sources: tuple[Source, ...]
    invalid: tuple[Invalid, ...]
    withdrawals: tuple[Withdrawal, ...]
    memory: Memory


@dataclass(frozen=True)
class _Scene:
    """What all clusters' decisions have in common."""

    world: World
    health: Health
    policy: Policy
    now: datetime
    sources: tuple[Source, ...]
    invalid: Mapping[str, Invalid]
    memory: Memory
    merged: Merged | None

    @property
    def consumers(self) -> dict[str, ClusterView]:
        """The clusters that import, of those that could be looked at."""
        return {name: view for name, view in self.world.seen.items() if self.imports(view)}

    def imports(self, view: ClusterView) -> bool:
        """Whether a cluster is to import: by the model of the oldest export, or that of the policy."""
        if self.merged is None or not view.takes_objects or (view.imported and view.imported.deleting):
            return False
        own = self.sources[0].export.import_model if self.sources else None
        declared = view.imported is not None and not view.imported.automatic
        return declared or (own or self.policy.imports) is ImportModel.AUTOMATIC


def decide(world: World, health: Health, policy: Policy, now: datetime) -> Decision:
    """Return what every cluster should hold of one service.

    ``now`` stamps conditions whose status changes and says which leases hold; it has a time zone. An Unknown cluster is
    asked for nothing, and what it contributed stays: as last seen, or as the others hold it.
    """
    sources, invalid = sources_of(world, policy)
    memory = memory_of(world, health, frozenset(source.cluster for source in sources))
    scene = _Scene(
        world=world,
        health=health,
        policy=policy,
        now=now,
        sources=sources,
        invalid={problem.cluster: problem for problem in invalid},
        memory=memory,
        merged=merge(sources, memory.pinned),
    )
    wanted = {name: _import_side(scene, name, view) for name, view in world.seen.items()}
    wanted = {name: _with_export_status(scene, name, wanted) for name in wanted}
    withdrawals = [w for name, view in world.seen.items() for w in _withdrawals(scene, name, view, wanted[name])]
    return Decision(wanted, scene.merged, sources, invalid, tuple(sorted(withdrawals)), memory)


def _import_side(scene: _Scene, name: str, view: ClusterView) -> Wanted:
    """Return what one cluster should hold as a consumer."""
    if not view.takes_objects:
        return _as_it_is(view)  # a namespace on its way out takes its objects along
    if not scene.imports(view) or scene.merged is None:
        return _not_importing(scene, name, view)
    imported = _import(scene, scene.merged, view)
    if view.imported is None:
        return replace(_as_it_is(view), imported=imported, why=("the import comes first: the rest is owned by it",))
    judgements = _judgements(scene, name, view)
    derived = _derived(scene, scene.merged.properties, view.imported.uid)
    attachments, native, why = _attachments(scene, name, view, scene.merged)
    slices = [piece for to in attachments for piece in _slices(scene, to, view, judgements)]
    wanted = Wanted(imported, derived, native, tuple(slices), judgements=judgements, why=why)
    return _with_import_status(scene, name, view, wanted)


def _as_it_is(view: ClusterView) -> Wanted:
    """Return what the keeper has in a cluster already."""
    native = view.service if view.service and view.service.ours else None
    return Wanted(view.imported, view.derived, native, tuple(piece for piece in view.slices if piece.ours))


def _not_importing(scene: _Scene, name: str, view: ClusterView) -> Wanted:
    """Return what a cluster should hold that does not import: nothing but a ServiceImport that somebody else made.

    Slices of exporters that nobody can see stay even without their import.
    """
    kept = scene.memory.kept(name, view).values() if scene.merged is None else ()
    slices = tuple(piece for of_source in kept for piece in of_source)
    if view.imported is None or view.imported.automatic or view.imported.deleting:
        return Wanted(slices=slices)
    ready = import_ready(view.imported, sources=(), families="", evidence=())
    conditions = stamped([ready], view.imported.conditions, scene.now)
    return Wanted(view.imported, slices=slices, import_conditions=conditions, why=("no cluster exports it",))


def _import(scene: _Scene, merged: Merged, view: ClusterView) -> ImportFact:
    """Return the wanted ServiceImport; address and families are those of this cluster's derived Service."""
    of_all = merged.properties
    ips: tuple[str, ...] = ()
    annotations = {key: text for key, text in of_all.annotations.items() if key not in RESERVED}
    properties = replace(of_all, annotations=annotations)
    if of_all.headless:
        properties = replace(properties, session_affinity="None", affinity_timeout=None)
    else:
        ips, families = _address(view)
        properties = replace(properties, ip_families=families)
    return ImportFact(
        uid=view.imported.uid if view.imported else "",
        properties=properties,
        ips=ips,
        derived="" if of_all.headless else derived_name(scene.world.key),
        automatic=view.imported is None or view.imported.automatic,
        native=bool(view.imported and view.imported.native),
        generation=view.imported.generation if view.imported else 1,
    )


def _address(view: ClusterView) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return addresses and families of the import: the derived Service's, else those it had, so that they do not flicker."""
    if view.derived and view.derived.cluster_ips:
        return view.derived.cluster_ips, view.derived.properties.ip_families
    if view.imported and not view.imported.properties.headless:
        return view.imported.ips, view.imported.properties.ip_families if view.imported.ips else ()
    return (), ()


def _derived(scene: _Scene, properties: Properties, owner: str) -> ServiceFact | None:
    """Return the derived Service: no selector, all policies of the import; a headless import has none."""
    if properties.headless:
        return None
    own = replace(properties, labels={}, annotations={}, ip_families=())
    return ServiceFact(derived_name(scene.world.key), own, selects=False, ours=True, owner=owner)


def _attachments(
    scene: _Scene, name: str, view: ClusterView, merged: Merged
) -> tuple[list[Attachment], ServiceFact | None, tuple[str, ...]]:
    """Return the Services that slices hang on, the plain-named Service if the keeper makes it, and what speaks against one."""
    key, properties = scene.world.key, merged.properties
    owner = view.imported.uid if view.imported else ""
    hung = "" if properties.headless else derived_name(key)
    distribution = properties.traffic_distribution
    found = [Attachment(key, name, "imported", hung, key.name, owner, properties.ports, distribution)]
    if view.imported is None or not view.imported.native:
        return found, None, ()
    service = view.service
    if problem := _no_native_name(key.name, view, properties):
        return found, None, (f"the plain name reaches no other cluster: {problem}",)
    ports = service.properties.ports if service and not service.ours else properties.ports
    found.append(Attachment(key, name, "native", key.name, "", owner, ports, distribution))
    if service is not None and not service.ours:
        return found, None, ()
    plain = replace(properties, labels={}, annotations={}, ip_families=())
    return found, ServiceFact(key.name, plain, selects=False, ours=True, owner=owner), ()


def _no_native_name(name: str, view: ClusterView, properties: Properties) -> str:
    """Return why the plain name must stay local, or "". Local pods always win: cluster.local keeps its meaning."""
    service = view.service
    if view.export is not None:
        return "this cluster exports the service itself"
    if service is None:
        return ""
    if service.type == "ExternalName":
        return "the Service here is of type ExternalName"
    if service.ours and service.properties.headless != properties.headless:
        return "the Service here has to be made anew, as the import's type changed"
    if any(piece.native and piece.service == name and piece.endpoints for piece in view.slices):
        return "the Service here has endpoints of its own"
    return ""


def _judgements(scene: _Scene, name: str, view: ClusterView) -> dict[str, Judgement]:
    """Return the judgement on each source as this consumer sees it; remembered sources go by their cluster id."""
    candidates = [_candidate(source) for source in scene.sources]
    kept = scene.memory.kept(name, view)
    candidates += [candidate_of(source, slices) for source, slices in kept.items() if source in scene.memory.away]
    return judge(name, candidates, scene.health, scene.world, damping=scene.policy.damping, now=scene.now)


def _candidate(source: Source) -> Candidate:
    ends = [end for piece in source.slices for end in piece.endpoints if end.takes_traffic]
    ready = frozenset(address for end in ends for address in end.addresses)
    return Candidate(source.cluster, ready, source.export.draining)


def _slices(scene: _Scene, to: Attachment, view: ClusterView, judgements: Mapping[str, Judgement]) -> list[SliceFact]:
    """Return the imported slices of one Service: every source's that is not withdrawn, and those that are remembered."""
    slices: list[SliceFact] = []
    for source in scene.sources:
        judgement = judgements[source.cluster]
        held = Link(to.consumer, source.cluster) in scene.health.held
        if judgement.verdict is not Verdict.WITHDRAW or held:
            slices.extend(imported_slices(source, to, judgement.dead))
    for source_id, kept in scene.memory.kept(to.consumer, view).items():
        dead = judgements[source_id].dead if source_id in judgements else frozenset[str]()
        mine = [piece for piece in kept if (piece.service, piece.imported) == (to.service, to.imported)]
        slices.extend(remembered_slice(piece, dead, to.owner) for piece in mine)
    return slices


def _with_import_status(scene: _Scene, name: str, view: ClusterView, wanted: Wanted) -> Wanted:
    if view.imported is None or wanted.imported is None:
        return wanted
    evidence = [judged.evidence for _, judged in sorted(wanted.judgements.items()) if judged.evidence]
    remembered = sorted(scene.memory.away & (set(scene.memory.kept(name, view)) | set(view.imported.clusters)))
    if wanted.imported.properties.internal_traffic_policy == "Local":
        evidence.append("internalTrafficPolicy is Local: only endpoints on the client's own node are reached")
    evidence += [f"{source} cannot be seen and is kept as it was" for source in remembered]
    names = [source.cluster for source in scene.sources]
    proved = any(
        pulse.last_answer for link, of in scene.health.pulses.items() if link.consumer == name for pulse in of.values()
    )
    ready = import_ready(
        replace(wanted.imported, ips=view.imported.ips),
        sources=sorted([*names, *remembered]) or ["exporters whose withdrawal waits for a person"],
        families=_no_family(scene, wanted.imported.properties),
        evidence=[*evidence, *wanted.why],
        unproved=scene.policy.ready_needs_answer and not proved,
    )
    clusters = sorted({*(source.id for source in scene.sources), *remembered, *scene.memory.kept(name, view)})
    conditions = stamped([ready], view.imported.conditions, scene.now)
    return replace(wanted, clusters=tuple(clusters), import_conditions=conditions)


def _no_family(scene: _Scene, properties: Properties) -> str:
    """Return why this cluster can reach no exporter by IP, or ""."""
    exported = {family for source in scene.sources for family in source.properties.ip_families}
    if not exported or not properties.ip_families or exported & set(properties.ip_families):
        return ""
    return f"this cluster has {', '.join(properties.ip_families)}, the exporters {', '.join(sorted(exported))}"


def _with_export_status(scene: _Scene, name: str, wanted: Mapping[str, Wanted]) -> Wanted:
    view = scene.world.seen[name]
    if view.export is None or view.export.deleting or not view.takes_objects:
        return wanted[name]
    judged = [(consumer, of.judgements[name]) for consumer, of in wanted.items() if name in of.judgements]
    conditions = export_conditions(
        name,
        view.export,
        merged=scene.merged,
        invalid=scene.invalid.get(name),
        consumers=scene.consumers,
        evidence=list(dict.fromkeys(judgement.evidence for _, judgement in judged if judgement.evidence)),
        memory=bool(scene.memory.away),
    )
    return replace(wanted[name], export_conditions=stamped(conditions, view.export.conditions, scene.now))


def _withdrawals(scene: _Scene, name: str, view: ClusterView, wanted: Wanted) -> list[Withdrawal]:
    """Return the sources whose endpoints this cluster holds and would no longer hold."""
    held = {piece.source for piece in view.slices if piece.ours and piece.endpoints}
    gone = held - {piece.source for piece in wanted.slices}
    by_id = {id_: cluster for cluster, id_ in ids_of(scene.world).items()}
    found = [_withdrawal(scene, name, view, by_id.get(source, source)) for source in sorted(gone)]
    return [withdrawal for withdrawal in found if withdrawal]


def _withdrawal(scene: _Scene, name: str, view: ClusterView, source: str) -> Withdrawal | None:
    """Return why a source leaves a consumer; None if it still exports and merely has no endpoints."""
    key, link = scene.world.key, Link(name, source)
    if scene.merged is not None and not scene.imports(view):
        return Withdrawal(key, link, Cause.NOT_IMPORTED, f"{name} no longer imports {key}")
    if source in scene.invalid:
        return Withdrawal(key, link, Cause.INVALID, scene.invalid[source].message)
    if source not in scene.world.clusters:
        return Withdrawal(key, link, Cause.LEFT, f"{source} is no longer in the fleet")
    if source not in {exporter.cluster for exporter in scene.sources}:
        return Withdrawal(key, link, Cause.UNEXPORTED, f"{source} no longer exports {key}")
    judgement = _judgements(scene, name, view)[source]
    if judgement.verdict is Verdict.WITHDRAW:
        return Withdrawal(key, link, Cause.DEAD, judgement.evidence)
    return None


__all__ = ["KEEPER", "Decision", "Wanted", "decide"]
