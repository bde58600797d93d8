"""What a cluster should hold as a consumer: import, derived Service, plain-named Service, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flotilla.services.conditions import import_ready, stamped
from flotilla.services.facts import ClusterView, ImportFact, Properties, ServiceFact, SliceFact
from flotilla.services.health import Judgement, Link, Verdict, judge
from flotilla.services.memory import candidate_of
from flotilla.services.merge import Merged
from flotilla.services.names import RESERVED, derived_name
from flotilla.services.scene import Scene, Wanted
from flotilla.services.slices import Attachment, candidate_in, imported_slices, remembered_slice
from flotilla.services.status import with_import_status


def import_side(scene: Scene, name: str, view: ClusterView) -> Wanted:
    """Return what one cluster should hold as a consumer."""
    if not view.takes_objects:
        return _as_it_is(view)  # a namespace on its way out takes its objects along
    if not scene.imports(view) or scene.merged is None:
        return _not_importing(scene, name, view)
    imported = _import(scene, scene.merged, view)
    if view.imported is None:
        return replace(_as_it_is(view), imported=imported, why=("the import comes first: the rest is owned by it",))
    judgements = judgements_in(scene, name, view)
    derived = _derived(scene, scene.merged.properties, view)
    attachments, native, why = _attachments(scene, name, view, scene.merged)
    slices = [piece for to in attachments for piece in _slices(scene, to, view, judgements)]
    wanted = Wanted(imported, derived, native, tuple(slices), judgements=judgements, why=why)
    return with_import_status(scene, name, view, wanted)


def _as_it_is(view: ClusterView) -> Wanted:
    """Return what the keeper has in a cluster already."""
    native = view.service if view.service and view.service.ours else None
    derived = view.derived if view.derived and view.derived.ours else None
    return Wanted(view.imported, derived, native, tuple(piece for piece in view.slices if piece.ours))


def _not_importing(scene: Scene, name: str, view: ClusterView) -> Wanted:
    """Return what a cluster should hold that does not import: nothing but a ServiceImport that somebody else made.

    Slices of exporters that nobody can see stay even without their import.
    """
    kept = scene.memory.kept(name, view).values() if scene.merged is None else ()
    slices = tuple(piece for of_source in kept for piece in of_source)
    if view.imported is None or view.imported.automatic or view.imported.deleting:
        return Wanted(slices=slices)
    ready = import_ready(view.imported, sources=(), families="", evidence=())
    conditions = stamped([ready], view.imported.conditions, scene.now)
    left = view.imported
    if left.derived:  # the address that the keeper gave it goes with the derived Service
        left = replace(left, derived="", ips=(), properties=replace(left.properties, ip_families=()))
    return Wanted(left, slices=slices, import_conditions=conditions, why=("no cluster exports it",))


def _import(scene: Scene, merged: Merged, view: ClusterView) -> ImportFact:
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
        properties=properties.known_to("ServiceImport", view.lacks),
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


def _derived(scene: Scene, properties: Properties, view: ClusterView) -> ServiceFact | None:
    """Return the derived Service: all ports and policies of the import; a headless import has none."""
    return None if properties.headless else _own_service(derived_name(scene.world.key), properties, view)


def _own_service(name: str, properties: Properties, view: ClusterView) -> ServiceFact:
    """Return a Service without selector that the import owns; its addresses and families are the API server's to give."""
    own = replace(properties, labels={}, annotations={}, ip_families=()).known_to("Service", view.lacks)
    return ServiceFact(name, own, selects=False, ours=True, owner=view.imported.uid if view.imported else "")


def _attachments(
    scene: Scene, name: str, view: ClusterView, merged: Merged
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
    return found, _own_service(key.name, properties, view), ()


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


def judgements_in(scene: Scene, name: str, view: ClusterView) -> dict[str, Judgement]:
    """Return the judgement on each source as this consumer sees it; remembered sources go by their cluster id."""
    ports = scene.merged.properties.ports if scene.merged else ()
    candidates = [candidate_in(source, ports) for source in scene.sources]
    kept = scene.memory.kept(name, view)
    candidates += [candidate_of(source, slices) for source, slices in kept.items() if source in scene.memory.away]
    return judge(name, candidates, scene.health, scene.world, damping=scene.policy.damping, now=scene.now)


def _slices(scene: Scene, to: Attachment, view: ClusterView, judgements: Mapping[str, Judgement]) -> list[SliceFact]:
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
