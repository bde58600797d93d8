"""What applying an application would change in one cluster: a dry run of each object; nothing is changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from flotilla import applyset
from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.intent import Intent
from flotilla.objects import Manifest
from flotilla.rollout import ClusterLook, Sighting, Wanted
from tasks.attempts import as_applied, asks_for_recreation, foreign_set, leaves_set, may_be_recreated, send, stays, version_of
from tasks.clusters import Answer, Connection, is_retriable, refused
from tasks.objects import Kind, conflicts_in, kind_of, read, unserved
from tasks.scene import GROUND, WORKERS, Scene, scene_of, strays_in

RECREATED = "deleted and created again: a field cannot be changed in place"


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
    if live is not None and stays(scene, wanted):
        return Sighting(wanted, live=live, merged=live)
    return _tried(scene, wanted, kind, live)


def _tried(scene: Scene, wanted: Wanted, kind: Kind, live: Manifest | None) -> Sighting:
    manifest = as_applied(scene, wanted, live)
    if manifest is None:
        return Sighting(wanted, live=live, merged=live, note="left as it is: apply-once")
    live, answer = _dry_run(scene, wanted, kind, live)
    if answer.status == 201:
        return Sighting(wanted, merged=answer.body)
    if foreign := foreign_set(scene, wanted, live):
        return Sighting(wanted, live=live, conflicts=(foreign,))
    if answer.status == 200:
        note = RECREATED if live is not None and asks_for_recreation(scene, wanted, live) else ""
        return Sighting(
            wanted, live=live, merged=_outside(answer.body) if leaves_set(scene, wanted) else answer.body, note=note
        )
    if answer.status == 409 and (conflicts := conflicts_in(answer)):
        return Sighting(wanted, live=live, conflicts=conflicts)
    return _untried(scene, wanted, live, answer)


def _dry_run(scene: Scene, wanted: Wanted, kind: Kind, live: Manifest | None) -> tuple[Manifest | None, Answer]:
    """Return a dry run's answer and the live object that it started from.

    A controller may have written since the object was listed: what it wrote must not read as a change of ours.
    """
    for _ in range(3):
        answer = send(scene, wanted, kind, as_applied(scene, wanted, live) or wanted.item.manifest, dry_run=True)
        if answer.status in (201, 404) or (live is not None and answer.status != 200):
            break
        if live is None or version_of(live) != version_of(answer.body):
            live = read(scene.connection, kind, wanted.key.namespace, wanted.key.name)
        if live is not None and (answer.status != 200 or version_of(live) == version_of(answer.body)):
            break
    return live, answer


def _untried(scene: Scene, wanted: Wanted, live: Manifest | None, answer: Answer) -> Sighting:
    """Return the sighting of an object that the dry run did not take."""
    if answer.status == 404:  # what it stands in is itself still to be created
        inside = wanted.key.namespace in scene.missing
        if inside or kind_of(scene.connection, wanted.item.manifest["apiVersion"], wanted.key.kind) is None:
            return Sighting(wanted, note="not tried: its namespace or definition is created first")
    if live is not None and may_be_recreated(scene, wanted, live, answer):
        merged = {**live, **{key: value for key, value in wanted.item.manifest.items() if key != "metadata"}}
        return Sighting(wanted, live=live, merged=merged, note=RECREATED)
    if is_retriable(answer):
        raise refused(scene.connection.name, f"try {wanted.key}", answer)
    return Sighting(wanted, live=live, refusal=answer.message)


def _outside(merged: Manifest) -> Manifest:
    """Return an object without the label of its set."""
    metadata = dict(merged["metadata"])
    metadata["labels"] = {key: value for key, value in (metadata.get("labels") or {}).items() if key != applyset.PART_OF}
    return {**merged, "metadata": metadata}
