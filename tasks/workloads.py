"""What an application has in one cluster: look at it, apply it, prune it. Server-side apply, field manager `flotilla`."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby

from flotilla import applyset
from flotilla.differences import changes_at, comparable, holds, tolerated
from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.facts import Unknown
from flotilla.intent import Delivery, Intent, Recycle, RenderedObject
from flotilla.objects import Manifest, ObjectKey, digest, group_of, key_of
from flotilla.rollout import Action, ClusterLook, Conflict, Sighting, Stray, Wanted
from tasks.clusters import Answer, Connection, is_retriable, refused
from tasks.objects import (
    MANAGER,
    Kind,
    applied,
    conflicts_in,
    deleted,
    kind_of,
    kind_of_group,
    listed,
    names_in,
    read,
    unserved,
)

OTHERS = 50  # times as many objects in a list of names as are looked for: beyond that reading each is cheaper
FEW = 4  # objects of a kind that are read one by one rather than looked for in a list
WORKERS = 8  # requests under way per cluster; more were not faster (the API server is the limit)
GONE_WITHIN = 60.0  # seconds that an object may take to go before it is created again
SERVED_WITHIN = 15.0  # seconds that a new definition may take until its objects can be created
RECREATED = "deleted and created again: a field cannot be changed in place"
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


@dataclass(frozen=True)
class Applied:
    """What became of one object: created, changed or unchanged."""

    key: ObjectKey
    action: Action


def look_at(connection: Connection, intent: Intent, *, force: bool = False) -> ClusterLook | Unknown:
    """Return what one cluster holds of an application and what applying it would change there; nothing is changed.

    Each object is tried by a server-side dry run, but for those that provably are as wanted: see ``is_as_wanted``.
    """
    try:
        scene = scene_of(connection, intent, force=force)
        with ThreadPoolExecutor(WORKERS) as pool:
            sightings = tuple(pool.map(lambda wanted: _sighted(scene, wanted), scene.wanted))
    except FlotillaError as error:
        return Unknown(connection.name, str(error).removeprefix(f"{connection.name}: "))
    return ClusterLook(connection.name, sightings, strays_in(scene))


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
    return Scene(connection, intent.name, intent.namespace, (*ground, *wanted), members, kinds, missing, force=force)


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


def is_as_wanted(live: Manifest, manifest: Manifest) -> bool:
    """Tell whether applying a manifest would provably change nothing, so that it need not be tried.

    Server-side apply changes an object where a wanted value differs, or where a field that was applied before is no longer
    wanted. The first is compared here; the second can't be where what was applied last has the digest of what is wanted now.
    """
    notes = live["metadata"].get("annotations") or {}
    return notes.get(applyset.DIGEST) == digest(manifest) and holds(live, comparable(manifest))


def _stays(scene: Scene, wanted: Wanted) -> bool:
    """Tell whether a wanted object need not be touched: it is as wanted, and is marked as its policies have it."""
    live, item = scene.members.get(wanted.key), wanted.item
    return live is not None and applyset.is_marked(live, scene.set_id, item.handling) and is_as_wanted(live, item.manifest)


def apply_step(scene: Scene, step: str, stage: int) -> tuple[Applied, ...]:
    """Apply what a step wants in one of its stages, kinds in their order, objects of one rank side by side.

    May be repeated: what is as wanted is left alone. Raises Permanent with every object that was refused, after all others
    of its rank have been applied; Transient where the API server does not answer, and then no more objects are tried.
    """
    lost = threading.Event()
    now = [one for one in scene.wanted if one.step == step and one.stage == stage and not one.item.handling.read_only]
    done: list[Applied] = []
    scene = replace(scene, absent=_absent(scene, now))
    for _, group in groupby(sorted(now, key=_rank), key=_rank):
        with ThreadPoolExecutor(WORKERS) as pool:
            results = list(pool.map(lambda one: _outcome(scene, one, lost), group))
        failures = [result for result in results if isinstance(result, FlotillaError)]
        if failures:
            raise _joined(failures)
        done += [result for result in results if isinstance(result, Applied)]
    return tuple(done)


def save_parent(scene: Scene, more: Iterable[ObjectKey] = ()) -> None:
    """Write the parent of the set: before members are added, with all kinds that were and will be in it."""
    keys = {
        *scene.members,
        *(one.key for one in scene.wanted if one.stage != GROUND and one.item.handling.shared is False),
        *more,
    }
    manifest = applyset.parent(scene.application, scene.namespace, keys)
    kind = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
    answer = applied(scene.connection, kind, manifest, force=True)
    if answer.status not in (200, 201):
        raise refused(scene.connection.name, f"write ConfigMap {scene.namespace}/{manifest['metadata']['name']}", answer)


def ensure_namespace(connection: Connection, name: str) -> None:
    """Create a namespace if it is not there; one that is there is left as it is."""
    kind = Kind("v1", "Namespace", "namespaces", namespaced=False)
    if read(connection, kind, "", name) is None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        answer = applied(connection, kind, manifest)
        if answer.status not in (200, 201):
            raise refused(connection.name, f"create Namespace {name}", answer)


def prune(scene: Scene, keys: Iterable[ObjectKey]) -> tuple[ObjectKey, ...]:
    """Delete members that are named in ``keys`` and return those that were deleted; all others stay.

    Only what carries the application's label, is the very object that was seen (by uid), and may be deleted is deleted.
    """
    chosen = set(keys)
    strays = [stray for stray in strays_in(scene) if stray.key in chosen]
    gone = []
    for stray in sorted(strays, key=lambda one: -applyset.rank(one.key.kind)):
        kind = kind_of_group(scene.connection, stray.key.group, stray.key.kind)
        if kind is None or stray.recycle is not Recycle.ON_APP_UPDATE:
            continue
        if stray.orphan:
            _release(scene, kind, stray.key)
        elif deleted(scene.connection, kind, stray.key, stray.uid):
            gone.append(stray.key)
    return tuple(gone)


def _release(scene: Scene, kind: Kind, key: ObjectKey) -> None:
    """Take an object out of the set and leave it in the cluster."""
    body = {"metadata": {"labels": {applyset.PART_OF: None}}}
    path = kind.path(key.namespace, key.name)
    answer = scene.connection.request("PATCH", path, body=body, content_type="application/merge-patch+json")
    if answer.status not in (200, 404):
        raise refused(scene.connection.name, f"release {key}", answer)


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


def _rank(wanted: Wanted) -> int:
    return applyset.rank(wanted.key.kind)


def _sighted(scene: Scene, wanted: Wanted) -> Sighting:
    """Return what a look at one object found, trying it by a dry run where that is needed."""
    kind = scene.kinds.get(wanted.key)
    if wanted.stage == GROUND:
        return Sighting(wanted, note="the namespace is not there yet")
    if kind is None:
        error = unserved(scene.connection, wanted.item.manifest["apiVersion"], wanted.key.kind)
        return Sighting(wanted, refusal=str(error).removeprefix(f"{scene.connection.name}: "))
    live = scene.members.get(wanted.key)
    if wanted.item.handling.read_only:
        return Sighting(wanted, live=live or read(scene.connection, kind, wanted.key.namespace, wanted.key.name))
    if live is not None and _stays(scene, wanted):
        return Sighting(wanted, live=live, merged=live)
    return _tried(scene, wanted, kind, live)


def _tried(scene: Scene, wanted: Wanted, kind: Kind, live: Manifest | None) -> Sighting:
    manifest = _as_applied(scene, wanted, live)
    if manifest is None:
        return Sighting(wanted, live=live, merged=live, note="left as it is: apply-once")
    live, answer = _dry_run(scene, wanted, kind, live)
    if answer.status == 201:
        return Sighting(wanted, merged=answer.body)
    if foreign := _foreign(scene, wanted, live):
        return Sighting(wanted, live=live, conflicts=(foreign,))
    if answer.status == 200:
        note = RECREATED if live is not None and _asks_for_recreation(scene, wanted, live) else ""
        return Sighting(wanted, live=live, merged=_outside(answer.body) if _leaves(scene, wanted) else answer.body, note=note)
    if answer.status == 409 and (conflicts := conflicts_in(answer)):
        return Sighting(wanted, live=live, conflicts=conflicts)
    return _untried(scene, wanted, live, answer)


def _dry_run(scene: Scene, wanted: Wanted, kind: Kind, live: Manifest | None) -> tuple[Manifest | None, Answer]:
    """Return a dry run's answer and the live object that it started from.

    A controller may have written since the object was listed: what it wrote must not read as a change of ours.
    """
    for _ in range(3):
        answer = _apply(scene, wanted, kind, _as_applied(scene, wanted, live) or wanted.item.manifest, dry_run=True)
        if answer.status in (201, 404) or (live is not None and answer.status != 200):
            break
        if live is None or _version(live) != _version(answer.body):
            live = read(scene.connection, kind, wanted.key.namespace, wanted.key.name)
        if live is not None and (answer.status != 200 or _version(live) == _version(answer.body)):
            break
    return live, answer


def _version(manifest: Manifest) -> object:
    return manifest["metadata"].get("resourceVersion")


def _untried(scene: Scene, wanted: Wanted, live: Manifest | None, answer: Answer) -> Sighting:
    """Return the sighting of an object that the dry run did not take."""
    if answer.status == 404:  # what it stands in is itself still to be created
        inside = wanted.key.namespace in scene.missing
        if inside or kind_of(scene.connection, wanted.item.manifest["apiVersion"], wanted.key.kind) is None:
            return Sighting(wanted, note="not tried: its namespace or definition is created first")
    if live is not None and _may_be_recreated(scene, wanted, live, answer):
        merged = {**live, **{key: value for key, value in wanted.item.manifest.items() if key != "metadata"}}
        return Sighting(wanted, live=live, merged=merged, note=RECREATED)
    if is_retriable(answer):
        raise refused(scene.connection.name, f"try {wanted.key}", answer)
    return Sighting(wanted, live=live, refusal=answer.message)


def _foreign(scene: Scene, wanted: Wanted, live: Manifest | None) -> Conflict | None:
    """Return the conflict with another application that has the object in its set."""
    handling = wanted.item.handling
    if live is None or handling.shared or handling.take_over:
        return None
    other = applyset.set_of(live)
    if other in ("", scene.set_id):
        return None
    notes = live["metadata"].get("labels") or {}
    return Conflict("the object", f"application {notes.get('app.oam.dev/name', other)}")


def _as_applied(scene: Scene, wanted: Wanted, live: Manifest | None) -> Manifest | None:
    """Return the manifest to apply, None where the object is to be left alone (apply-once on update)."""
    handling = wanted.item.handling
    manifest = applyset.as_member(wanted.item.manifest, scene.set_id, handling)
    if live is None or not handling.apply_once or handling.apply_once_affects == "onStateKeep":
        return manifest
    return None if "*" in handling.apply_once else tolerated(manifest, live, handling.apply_once)


def _apply(scene: Scene, wanted: Wanted, kind: Kind, manifest: Manifest, *, dry_run: bool = False) -> Answer:
    handling = wanted.item.handling
    manager = f"{MANAGER}-{scene.namespace}-{scene.application}"[:128] if handling.shared else MANAGER
    forced = scene.force or handling.take_over or _leaves(scene, wanted)
    return applied(scene.connection, kind, manifest, dry_run=dry_run, force=forced, manager=manager)


def _absent(scene: Scene, wanted: Iterable[Wanted]) -> frozenset[ObjectKey]:
    """Return those wanted objects that are not there, as far as a list of names for each kind and namespace tells it.

    Where few are asked for, or many others are there, each is better read by itself.
    """
    places: dict[tuple[Kind, str], list[ObjectKey]] = {}
    for one in wanted:
        if one.key not in scene.members and one.stage != GROUND and (kind := scene.kinds.get(one.key)):
            places.setdefault((kind, one.key.namespace), []).append(one.key)
    many = [(kind, place, keys) for (kind, place), keys in places.items() if len(keys) >= FEW]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda one: names_in(scene.connection, one[0], one[1], OTHERS * len(one[2])), many)
        known = [(keys, names) for (_, _, keys), names in zip(many, found, strict=True)]
    return frozenset(key for keys, names in known if names is not None for key in keys if key.name not in names)


def _outcome(scene: Scene, wanted: Wanted, lost: threading.Event) -> Applied | FlotillaError | None:
    """Apply one object; the error is returned, so that one refusal does not hide another. None: ``lost``, not tried."""
    if lost.is_set():
        return None
    try:
        return _put(scene, wanted)
    except Transient as error:
        lost.set()
        return error
    except FlotillaError as error:
        return error


def _joined(failures: Sequence[FlotillaError]) -> FlotillaError:
    """Return one error for several: one that is retried only if each of them may pass by itself."""
    if len(failures) == 1:
        return failures[0]
    kind = Transient if all(isinstance(error, Transient) for error in failures) else Permanent
    return kind("\n".join(str(error) for error in failures))


def _put(scene: Scene, wanted: Wanted) -> Applied:
    kind = scene.kinds.get(wanted.key) or kind_of(scene.connection, wanted.item.manifest["apiVersion"], wanted.key.kind)
    if kind is None:
        raise unserved(scene.connection, wanted.item.manifest["apiVersion"], wanted.key.kind)
    live = scene.members.get(wanted.key)
    if live is not None and _stays(scene, wanted):
        return Applied(wanted.key, Action.UNCHANGED)
    if live is None and wanted.stage != GROUND and wanted.key not in scene.absent:
        live = read(scene.connection, kind, wanted.key.namespace, wanted.key.name)
    if foreign := _foreign(scene, wanted, live):
        raise Permanent(
            f"{scene.connection.name}: {wanted.key} belongs to {foreign.manager}: share it or take it over by policy"
        )
    manifest = wanted.item.manifest if wanted.stage == GROUND else _as_applied(scene, wanted, live)
    if manifest is None:
        return Applied(wanted.key, Action.UNCHANGED)
    answer = _written(scene, wanted, kind, manifest, live)
    if answer.status not in (200, 201):
        raise _refusal(scene, wanted, answer)
    if _leaves(scene, wanted):
        _give_up(scene, wanted, kind)
    if answer.status == 201 or live is None:
        return Applied(wanted.key, Action.CREATE)
    return Applied(wanted.key, Action.UNCHANGED if _version(live) == _version(answer.body) else Action.CHANGE)


def _leaves(scene: Scene, wanted: Wanted) -> bool:
    """Tell whether an object of the set is to be shared from now on."""
    return wanted.item.handling.shared and wanted.key in scene.members


def _outside(merged: Manifest) -> Manifest:
    """Return an object without the label of its set."""
    metadata = dict(merged["metadata"])
    metadata["labels"] = {key: value for key, value in (metadata.get("labels") or {}).items() if key != applyset.PART_OF}
    return {**merged, "metadata": metadata}


def _give_up(scene: Scene, wanted: Wanted, kind: Kind) -> None:
    """Take an object that is shared by now out of the set: own nothing of it any more but as one of those who share it."""
    metadata = {
        key: wanted.item.manifest["metadata"][key] for key in ("name", "namespace") if wanted.key.namespace or key == "name"
    }
    bare = {"apiVersion": wanted.item.manifest["apiVersion"], "kind": wanted.key.kind, "metadata": metadata}
    answer = applied(scene.connection, kind, bare)
    if answer.status not in (200, 201):
        raise refused(scene.connection.name, f"share {wanted.key}", answer)


def _written(scene: Scene, wanted: Wanted, kind: Kind, manifest: Manifest, live: Manifest | None) -> Answer:
    """Apply a manifest; delete the object and create it anew where its policy says so and that would succeed."""
    if live is not None and _asks_for_recreation(scene, wanted, live):
        tried = _tried_anew(scene, wanted, kind)
        return _recreated(scene, wanted, kind, manifest, live) if tried.status == 201 else tried
    answer = _apply(scene, wanted, kind, manifest)
    deadline = time.monotonic() + SERVED_WITHIN
    while _is_unserved(answer) and time.monotonic() < deadline:
        time.sleep(0.2)
        answer = _apply(scene, wanted, kind, manifest)
    if live is not None and _may_be_recreated(scene, wanted, live, answer):
        return _recreated(scene, wanted, kind, manifest, live)
    return answer


def _is_unserved(answer: Answer) -> bool:
    """Tell whether a path is not served, as it is for some time after its definition was created."""
    return answer.status == 404 and ("page not found" in answer.message or "the requested resource" in answer.message)


def _is_ours(scene: Scene, wanted: Wanted, live: Manifest) -> bool:
    return applyset.set_of(live) == scene.set_id or wanted.item.handling.take_over


def _asks_for_recreation(scene: Scene, wanted: Wanted, live: Manifest) -> bool:
    """Tell whether a field changes whose change alone is reason enough to create an object anew."""
    paths, manifest = wanted.item.handling.recreate_fields, wanted.item.manifest
    return _is_ours(scene, wanted, live) and any(changes_at(live, manifest, path) for path in paths)


def _may_be_recreated(scene: Scene, wanted: Wanted, live: Manifest, answer: Answer) -> bool:
    """Tell whether deleting and creating again is allowed and would help, where a change was refused as invalid."""
    kind = scene.kinds.get(wanted.key)
    if kind is None or answer.status != 422 or not wanted.item.handling.replace or not _is_ours(scene, wanted, live):
        return False
    return _tried_anew(scene, wanted, kind).status == 201


def _tried_anew(scene: Scene, wanted: Wanted, kind: Kind) -> Answer:
    """Return the answer to creating an object under another name, as a dry run.

    What is invalid in itself could not be created again either, and is not to be deleted for it.
    """
    name = f"{wanted.key.name[:50].rstrip('-.')}-{secrets.token_hex(4)}"
    manifest = {**wanted.item.manifest, "metadata": {**wanted.item.manifest["metadata"], "name": name}}
    return applied(scene.connection, kind, manifest, dry_run=True)


def _recreated(scene: Scene, wanted: Wanted, kind: Kind, manifest: Manifest, live: Manifest) -> Answer:
    """Delete an object whose change is refused, wait until it is gone, create it anew."""
    deleted(scene.connection, kind, wanted.key, live["metadata"]["uid"])
    deadline = time.monotonic() + GONE_WITHIN
    while read(scene.connection, kind, wanted.key.namespace, wanted.key.name) is not None:
        if time.monotonic() > deadline:
            raise Permanent(f"{scene.connection.name}: {wanted.key} was deleted to be created again and is not gone after 60 s")
        time.sleep(0.2)
    return _apply(scene, wanted, kind, manifest)


def _refusal(scene: Scene, wanted: Wanted, answer: Answer) -> FlotillaError:
    if answer.status == 409 and (conflicts := conflicts_in(answer)):
        told = ", ".join(f"{one.field} is owned by {one.manager}" for one in conflicts)
        return Permanent(
            f"{scene.connection.name}: could not apply {wanted.key}: {told}; take it over by policy, or give it up there"
        )
    return refused(scene.connection.name, f"apply {wanted.key}", answer)
