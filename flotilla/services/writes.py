"""From what a cluster holds and what it should hold to the writes that lead there, in order.

On the way in: import, Services, slices, status. On the way out slices go first, so that no client is sent to an address
after its Service is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from flotilla.objects import Manifest, ObjectKey
from flotilla.services.facts import ClusterView, Condition, ImportFact, ServiceFact
from flotilla.services.names import GROUP, ServiceKey
from flotilla.services.render import export_status, import_manifest, import_status, service_manifest, slice_manifest
from flotilla.services.scene import Wanted


class Action(StrEnum):
    """How a write is made: create and update by server-side apply, status by server-side apply to the subresource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    STATUS = "status"


@dataclass(frozen=True)
class Write:
    """One write to one cluster. A delete has no manifest, and its ``uid`` as precondition.

    The manifest of an update or a status names the ``uid`` of the object that was seen: server-side apply then answers
    409 where that is gone, instead of creating it anew (k8s.io/apiserver pkg/endpoints/handlers/patch.go).
    """

    action: Action
    key: ObjectKey
    manifest: Manifest | None = None
    uid: str = ""

    def __post_init__(self) -> None:
        if self.manifest is not None and self.uid:
            metadata = {**self.manifest["metadata"], "uid": self.uid}
            object.__setattr__(self, "manifest", {**self.manifest, "metadata": metadata})

    def __str__(self) -> str:
        return f"{self.action} {self.key}"


def writes_to(key: ServiceKey, view: ClusterView, wanted: Wanted) -> Iterator[Write]:
    """Yield the writes to one cluster, in order."""
    upserts, deletes = list(_slice_upserts(key, view, wanted)), _slice_deletes(key, view, wanted)
    staying = {piece.source for piece in wanted.slices}
    yield from (write for source, write in deletes if source not in staying)
    yield from _import_write(key, view, wanted)
    yield from _service_write(key, view, view.derived, wanted.derived)
    yield from _service_write(key, view, view.service if _is_ours(view.service) else None, wanted.native)
    yield from upserts
    yield from (write for source, write in deletes if source in staying)
    yield from _gone_services(key, view, wanted)
    if view.imported and wanted.imported is None and not view.imported.deleting:
        yield Write(Action.DELETE, _import_key(key), uid=view.imported.uid)
    yield from _import_status_write(key, view, wanted)
    yield from _export_status_write(key, view, wanted)


def _import_write(key: ServiceKey, view: ClusterView, wanted: Wanted) -> Iterator[Write]:
    if wanted.imported is None:
        return
    if view.imported is None:
        yield Write(Action.CREATE, _import_key(key), import_manifest(key, wanted.imported, view.version, view.lacks))
    elif _import_differs(view.imported, wanted.imported):
        manifest = import_manifest(key, wanted.imported, view.version, view.lacks)
        yield Write(Action.UPDATE, _import_key(key), manifest, view.imported.uid)


def _import_differs(here: ImportFact, wanted: ImportFact) -> bool:
    return (here.properties, here.ips, here.derived) != (wanted.properties, wanted.ips, wanted.derived)


def _service_write(key: ServiceKey, view: ClusterView, here: ServiceFact | None, wanted: ServiceFact | None) -> Iterator[Write]:
    """Yield the write of a Service of ours; one whose being headless changed was asked to go first (it is immutable)."""
    if wanted is None or (here and here.deleting):
        return
    at = _service_key(key, wanted.name)
    if here is None:
        yield Write(Action.CREATE, at, service_manifest(key, wanted, view.version))
    elif _service_differs(here, wanted):
        yield Write(Action.UPDATE, at, service_manifest(key, wanted, view.version), here.uid)


def _service_differs(here: ServiceFact, wanted: ServiceFact) -> bool:
    """Return whether a Service of ours is not as wanted; addresses and families are the API server's to give."""
    ours = replace(here.properties, ip_families=wanted.properties.ip_families)
    return (ours, here.ours, here.owner, here.type) != (wanted.properties, True, wanted.owner, wanted.type)


def _gone_services(key: ServiceKey, view: ClusterView, wanted: Wanted) -> Iterator[Write]:
    for here, staying in ((view.service, wanted.native), (view.derived, wanted.derived)):
        if here and here.ours and not here.deleting and staying is None:
            yield Write(Action.DELETE, _service_key(key, here.name), uid=here.uid)


def _slice_upserts(key: ServiceKey, view: ClusterView, wanted: Wanted) -> Iterator[Write]:
    here = {piece.name: piece for piece in view.slices}
    for piece in wanted.slices:
        known = here.get(piece.name)
        if known != piece:
            action = Action.UPDATE if known else Action.CREATE
            manifest = slice_manifest(key, piece, view.version)
            yield Write(action, _slice_key(key, piece.name), manifest, known.uid if known else "")


def _slice_deletes(key: ServiceKey, view: ClusterView, wanted: Wanted) -> list[tuple[str, Write]]:
    """Return the slices to delete, each with the cluster id that it came from."""
    staying = {piece.name for piece in wanted.slices}
    gone = [piece for piece in view.slices if piece.ours and piece.name not in staying]
    return [(piece.source, Write(Action.DELETE, _slice_key(key, piece.name), uid=piece.uid)) for piece in gone]


def _import_status_write(key: ServiceKey, view: ClusterView, wanted: Wanted) -> Iterator[Write]:
    if view.imported is None or not wanted.import_conditions:
        return
    same = wanted.clusters == view.imported.clusters
    if not same or _differ(wanted.import_conditions, view.imported.conditions):
        manifest = import_status(key, wanted.clusters, wanted.import_conditions, view.version)
        yield Write(Action.STATUS, _import_key(key), manifest, view.imported.uid)


def _export_status_write(key: ServiceKey, view: ClusterView, wanted: Wanted) -> Iterator[Write]:
    if view.export and wanted.export_conditions and _differ(wanted.export_conditions, view.export.conditions):
        manifest = export_status(key, wanted.export_conditions, view.version)
        yield Write(Action.STATUS, ObjectKey(GROUP, "ServiceExport", key.namespace, key.name), manifest, view.export.uid)


def _differ(wanted: tuple[Condition, ...], here: tuple[Condition, ...]) -> bool:
    had = {condition.type: condition for condition in here}
    return any(had.get(condition.type) != condition for condition in wanted)


def _is_ours(service: ServiceFact | None) -> bool:
    return service is not None and service.ours


def _import_key(key: ServiceKey) -> ObjectKey:
    return ObjectKey(GROUP, "ServiceImport", key.namespace, key.name)


def _service_key(key: ServiceKey, name: str) -> ObjectKey:
    return ObjectKey("", "Service", key.namespace, name)


def _slice_key(key: ServiceKey, name: str) -> ObjectKey:
    return ObjectKey("discovery.k8s.io", "EndpointSlice", key.namespace, name)
