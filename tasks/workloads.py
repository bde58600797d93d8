"""What an application has in one cluster: apply it, prune it. Server-side apply, field manager `flotilla`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby

from flotilla import applyset
from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.intent import Recycle
from flotilla.objects import Manifest, ObjectKey
from flotilla.rollout import Action, Wanted
from tasks.attempts import (
    as_applied,
    asks_for_recreation,
    foreign_set,
    leaves_set,
    may_be_recreated,
    send,
    stays,
    tried_anew,
    version_of,
)
from tasks.clusters import Answer, Connection, refused
from tasks.objects import Kind, applied, conflicts_in, deleted, kind_of, kind_of_group, names_in, read, unserved
from tasks.scene import GROUND, WORKERS, Scene, strays_in

OTHERS = 50  # times as many objects in a list of names as are looked for: beyond that reading each is cheaper
FEW = 4  # objects of a kind that are read one by one rather than looked for in a list
GONE_WITHIN = 60.0  # seconds that an object may take to go before it is created again
SERVED_WITHIN = 15.0  # seconds that a new definition may take until its objects can be created


@dataclass(frozen=True)
class Applied:
    """What became of one object: created, changed or unchanged."""

    key: ObjectKey
    action: Action


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


def _rank(wanted: Wanted) -> int:
    return applyset.rank(wanted.key.kind)


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
    if live is not None and stays(scene, wanted):
        return Applied(wanted.key, Action.UNCHANGED)
    if live is None and wanted.stage != GROUND and wanted.key not in scene.absent:
        live = read(scene.connection, kind, wanted.key.namespace, wanted.key.name)
    if foreign := foreign_set(scene, wanted, live):
        raise Permanent(
            f"{scene.connection.name}: {wanted.key} belongs to {foreign.manager}: share it or take it over by policy"
        )
    manifest = wanted.item.manifest if wanted.stage == GROUND else as_applied(scene, wanted, live)
    if manifest is None:
        return Applied(wanted.key, Action.UNCHANGED)
    answer = _written(scene, wanted, kind, manifest, live)
    if answer.status not in (200, 201):
        raise _refusal(scene, wanted, answer)
    if leaves_set(scene, wanted):
        _give_up(scene, wanted, kind)
    if answer.status == 201 or live is None:
        return Applied(wanted.key, Action.CREATE)
    return Applied(wanted.key, Action.UNCHANGED if version_of(live) == version_of(answer.body) else Action.CHANGE)


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
    if live is not None and asks_for_recreation(scene, wanted, live):
        tried = tried_anew(scene, wanted, kind)
        return _recreated(scene, wanted, kind, manifest, live) if tried.status == 201 else tried
    answer = send(scene, wanted, kind, manifest)
    deadline = time.monotonic() + SERVED_WITHIN
    while _is_unserved(answer) and time.monotonic() < deadline:
        time.sleep(0.2)
        answer = send(scene, wanted, kind, manifest)
    if live is not None and may_be_recreated(scene, wanted, live, answer):
        return _recreated(scene, wanted, kind, manifest, live)
    return answer


def _is_unserved(answer: Answer) -> bool:
    """Tell whether a path is not served, as it is for some time after its definition was created."""
    return answer.status == 404 and ("page not found" in answer.message or "the requested resource" in answer.message)


def _recreated(scene: Scene, wanted: Wanted, kind: Kind, manifest: Manifest, live: Manifest) -> Answer:
    """Delete an object whose change is refused, wait until it is gone, create it anew."""
    deleted(scene.connection, kind, wanted.key, live["metadata"]["uid"])
    deadline = time.monotonic() + GONE_WITHIN
    while read(scene.connection, kind, wanted.key.namespace, wanted.key.name) is not None:
        if time.monotonic() > deadline:
            raise Permanent(f"{scene.connection.name}: {wanted.key} was deleted to be created again and is not gone after 60 s")
        time.sleep(0.2)
    return send(scene, wanted, kind, manifest)


def _refusal(scene: Scene, wanted: Wanted, answer: Answer) -> FlotillaError:
    if answer.status == 409 and (conflicts := conflicts_in(answer)):
        told = ", ".join(f"{one.field} is owned by {one.manager}" for one in conflicts)
        return Permanent(
            f"{scene.connection.name}: could not apply {wanted.key}: {told}; take it over by policy, or give it up there"
        )
    return refused(scene.connection.name, f"apply {wanted.key}", answer)
