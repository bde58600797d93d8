"""One application in one cluster: what it wants there, and the members of its set that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from flotilla import applyset
from flotilla.intent import Delivery, Intent, RenderedObject
from flotilla.objects import Manifest, ObjectKey, group_of, key_of
from flotilla.recovery.replicas import as_recovery_left_it
from flotilla.rollout import Stray, Wanted
from tasks.clusters import Connection
from tasks.objects import Kind, kind_of, kind_of_group, listed, read

WORKERS = 8  # requests under way per cluster; more were not faster (the API server is the limit)
GROUND = -1
"""The stage of the namespaces that an application needs: before everything else."""


@dataclass(frozen=True)
class Scene:
    """One application in one cluster: what it wants there, and the members of its set that are there."""

    connection: Connection
    application: str
    namespace: str
    wanted: tuple[Wanted, ...]
    members: Mapping[ObjectKey, Manifest]
    kinds: Mapping[ObjectKey, Kind]
    missing: frozenset[str] = field(default=frozenset())
    """Namespaces that are not there yet and are part of what is wanted."""
    absent: frozenset[ObjectKey] = field(default=frozenset())
    """Wanted objects that are known not to be there, in any set or none."""
    force: bool = False
    """Take fields over that other managers own."""

    @property
    def set_id(self) -> str:
        """The id of the application's ApplySet."""
        return applyset.applyset_id(self.application, self.namespace)


def scene_of(connection: Connection, intent: Intent, *, force: bool = False) -> Scene:
    """Return an application's objects as one cluster is to have them, and those of its set that it has.

    With ``force`` fields that other managers own are taken over; without it they are conflicts.
    """
    deliveries = [(step, delivery) for step, delivery in intent.steps_and_deliveries if delivery.cluster == connection.name]
    definitions = _definitions(delivery for _, delivery in deliveries)
    wanted: list[Wanted] = []
    kinds: dict[ObjectKey, Kind] = {}
    for step, delivery in deliveries:
        for stage, items in enumerate(delivery.stages):
            for item in items:
                kind = _kind(connection, item.manifest, definitions)
                one = _settled(Wanted(step, stage, key_of(item.manifest), item), kind, delivery.namespace)
                wanted.append(one)
                if kind is not None:
                    kinds[one.key] = kind
    ground, missing = _ground(connection, intent, wanted)
    members = members_of(connection, intent.name, intent.namespace, kinds.values())
    kept = (_as_left(one, members.get(one.key)) for one in wanted)
    return Scene(connection, intent.name, intent.namespace, (*ground, *kept), members, kinds, missing, force=force)


def _as_left(one: Wanted, live: Manifest | None) -> Wanted:
    manifest = as_recovery_left_it(one.item.manifest, live)
    return one if manifest is one.item.manifest else replace(one, item=replace(one.item, manifest=manifest))


def members_of(
    connection: Connection, application: str, namespace: str, kinds: Iterable[Kind] = ()
) -> dict[ObjectKey, Manifest]:
    """Return the live members of an application's set: of the kinds and in the namespaces that its parent names."""
    configmap = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
    parent = read(connection, configmap, namespace, applyset.parent_name(application))
    if parent is None:
        return {}
    named = [kind_of_group(connection, *pair) for pair in applyset.kinds_of(parent)]
    known = {(group_of(kind.api_version), kind.kind): kind for kind in (*named, *kinds) if kind is not None}
    places = [
        (kind, place) for kind in known.values() for place in (applyset.namespaces_of(parent) if kind.namespaced else ("",))
    ]
    selector = f"{applyset.PART_OF}={applyset.applyset_id(application, namespace)}"
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda place: list(listed(connection, place[0], place[1], selector)), places)
    return {key_of(item): item for items in found for item in items}


def strays_in(scene: Scene) -> tuple[Stray, ...]:
    """Return the members of the set that the application no longer names."""
    named = {wanted.key for wanted in scene.wanted}
    return tuple(
        Stray(key, live["metadata"]["uid"], *applyset.fate_of(live))
        for key, live in scene.members.items()
        if key not in named and not live["metadata"].get("deletionTimestamp")
    )


def _definitions(deliveries: Iterable[Delivery]) -> dict[tuple[str, str], Kind]:
    """Return the kinds that an application brings itself, from its CustomResourceDefinitions."""
    found = {}
    for delivery in deliveries:
        for item in delivery.objects:
            if item.manifest["kind"] == "CustomResourceDefinition":
                spec = item.manifest["spec"]
                for version in spec.get("versions") or ():
                    api_version = f"{spec['group']}/{version['name']}"
                    names, namespaced = spec["names"], spec.get("scope") != "Cluster"
                    found[api_version, names["kind"]] = Kind(api_version, names["kind"], names["plural"], namespaced)
    return found


def _kind(connection: Connection, manifest: Manifest, definitions: Mapping[tuple[str, str], Kind]) -> Kind | None:
    pair = (manifest["apiVersion"], manifest["kind"])
    return definitions.get(pair) or kind_of(connection, *pair)


def _settled(wanted: Wanted, kind: Kind | None, namespace: str) -> Wanted:
    """Return what is wanted with its namespace settled: the delivery's where it names none, none for cluster-scoped kinds."""
    metadata = {key: value for key, value in wanted.item.manifest["metadata"].items() if key != "namespace"}
    if kind is None or kind.namespaced:
        metadata["namespace"] = wanted.key.namespace or namespace
    manifest = {**wanted.item.manifest, "metadata": metadata}
    return replace(wanted, key=key_of(manifest), item=replace(wanted.item, manifest=manifest))


def _ground(connection: Connection, intent: Intent, wanted: Sequence[Wanted]) -> tuple[list[Wanted], frozenset[str]]:
    """Return the namespaces that are needed and neither there nor wanted by the application itself."""
    kind = Kind("v1", "Namespace", "namespaces", namespaced=False)
    own = {one.key.name for one in wanted if one.key.kind == "Namespace" and not one.key.group}
    first: dict[str, str] = {}
    for one in wanted:
        if one.key.namespace and one.key.namespace not in own:
            first.setdefault(one.key.namespace, one.step)
    if intent.namespace not in own and wanted:
        first.setdefault(intent.namespace, wanted[0].step)
    absent = [name for name in first if read(connection, kind, "", name) is None]
    ground = []
    for name in absent:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        ground.append(Wanted(first[name], GROUND, key_of(manifest), RenderedObject(manifest, component="")))
    return ground, frozenset({*absent, *own})
