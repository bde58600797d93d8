"""Status conditions of ServiceExport and ServiceImport, in the types and reasons of mcs-api v1beta1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from flotilla.services.facts import ClusterView, Condition, ExportFact, ImportFact
from flotilla.services.merge import Invalid, Merged


def stamped(conditions: Iterable[Condition], before: Sequence[Condition], now: datetime) -> tuple[Condition, ...]:
    """Return conditions with the time of their last change of status: the one they had, or now."""
    had = {condition.type: condition for condition in before}
    text = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tuple(
        condition._replace(since=had[condition.type].since if _unchanged(condition, had) else text) for condition in conditions
    )


def export_conditions(
    name: str,
    export: ExportFact,
    *,
    merged: Merged | None,
    invalid: Invalid | None,
    consumers: Mapping[str, ClusterView],
    evidence: Sequence[str],
    memory: bool,
) -> list[Condition]:
    """Return Valid, Ready and Conflict of the ServiceExport in cluster ``name``, without their times.

    ``consumers`` are the importing clusters, ``evidence`` what probes say against this source. With ``memory`` some
    exporter cannot be seen, and a conflict that was raised before stays.
    """
    generation = export.generation
    if invalid is not None:
        return [
            Condition("Valid", "False", invalid.reason, invalid.message, generation),
            Condition("Ready", "False", "Failed", f"not exported: {invalid.message}", generation),
            Condition("Conflict", "False", "NoConflicts", "an invalid export takes part in no conflict", generation),
        ]
    return [
        Condition("Valid", "True", "Valid", f"the Service in {name} can be exported", generation),
        _export_ready(consumers, evidence, generation),
        _conflict(merged, export, memory=memory),
    ]


def import_ready(
    imported: ImportFact, *, sources: Sequence[str], families: str, evidence: Sequence[str], unproved: bool = False
) -> Condition:
    """Return the Ready condition of a ServiceImport, without its time.

    ``sources`` are the exporters' names; ``families`` is the sentence on why no IP family fits, "" if one does;
    ``unproved`` where an answered probe is asked for and there was none.
    """
    generation = imported.generation
    if not sources:
        return Condition("Ready", "False", "Pending", "no cluster exports this service", generation)
    if families:
        return Condition("Ready", "False", "IPFamilyNotSupported", families, generation)
    if not imported.properties.headless and not imported.ips:
        return Condition("Ready", "False", "Pending", "the derived Service has no address yet", generation)
    if unproved:
        return Condition("Ready", "Unknown", "Pending", "no probe of an endpoint was answered yet", generation)
    text = "; ".join([f"exported by {', '.join(sources)}", *evidence])
    return Condition("Ready", "True", "Ready", text, generation)


def _unchanged(condition: Condition, had: Mapping[str, Condition]) -> bool:
    return condition.type in had and had[condition.type].status == condition.status and bool(had[condition.type].since)


def _export_ready(consumers: Mapping[str, ClusterView], evidence: Sequence[str], generation: int) -> Condition:
    holding = [name for name, view in sorted(consumers.items()) if view.imported]
    waiting = [name for name in sorted(consumers) if name not in holding]
    if not consumers:
        return Condition("Ready", "True", "Exported", "; ".join(["no cluster imports it yet", *evidence]), generation)
    if not holding:
        return Condition("Ready", "False", "Pending", f"no import yet in {', '.join(waiting)}", generation)
    parts = [f"imported by {', '.join(holding)}"]
    parts += [f"not yet by {', '.join(waiting)}"] if waiting else []
    return Condition("Ready", "True", "Exported", "; ".join([*parts, *evidence]), generation)


def _conflict(merged: Merged | None, export: ExportFact, *, memory: bool) -> Condition:
    conflicts = merged.conflicts if merged else ()
    before = next((condition for condition in export.conditions if condition.type == "Conflict"), None)
    reasons = [conflict.reason for conflict in conflicts]
    if memory and before and before.status == "True":
        known = before.reason.split(",")
        if set(reasons) <= set(known):
            return before._replace(generation=export.generation)
        text = " ".join([before.message, *(c.message for c in conflicts if c.reason not in known)])
        reasons = [*known, *(reason for reason in reasons if reason not in known)]
        return Condition("Conflict", "True", ",".join(reasons), text, export.generation)
    if not conflicts:
        return Condition("Conflict", "False", "NoConflicts", "all exports agree", export.generation)
    text = " ".join(conflict.message for conflict in conflicts)
    return Condition("Conflict", "True", ",".join(reasons), text, export.generation)
