"""The statuses that follow from what is wanted: of the import in a consumer, of the export in a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flotilla.services.conditions import export_conditions, import_ready, stamped
from flotilla.services.facts import ClusterView, Properties
from flotilla.services.scene import Scene, Wanted


def with_import_status(scene: Scene, name: str, view: ClusterView, wanted: Wanted) -> Wanted:
    """Return what is wanted of a consumer with the status of its ServiceImport, the evidence in its message."""
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


def _no_family(scene: Scene, properties: Properties) -> str:
    """Return why this cluster can reach no exporter by IP, or ""."""
    exported = {family for source in scene.sources for family in source.properties.ip_families}
    if not exported or not properties.ip_families or exported & set(properties.ip_families):
        return ""
    return f"this cluster has {', '.join(properties.ip_families)}, the exporters {', '.join(sorted(exported))}"


def with_export_status(scene: Scene, name: str, wanted: Mapping[str, Wanted]) -> Wanted:
    """Return what is wanted of a cluster with the status of its ServiceExport, if it has one."""
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
