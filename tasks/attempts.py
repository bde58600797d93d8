"""One object of an application in one cluster: what would be sent, whether it need be, and whose it is."""

from __future__ import annotations

import secrets

from flotilla import applyset
from flotilla.differences import changes_at, comparable, holds, tolerated
from flotilla.objects import Manifest, digest
from flotilla.rollout import Conflict, Wanted
from tasks.clusters import Answer
from tasks.objects import MANAGER, Kind, applied
from tasks.scene import Scene


def is_as_wanted(live: Manifest, manifest: Manifest) -> bool:
    """Tell whether applying a manifest would provably change nothing, so that it need not be tried.

    Server-side apply changes an object where a wanted value differs, or where a field that was applied before is no longer
    wanted. The first is compared here; the second can't be where what was applied last has the digest of what is wanted now.
    """
    notes = live["metadata"].get("annotations") or {}
    return notes.get(applyset.DIGEST) == digest(manifest) and holds(live, comparable(manifest))


def stays(scene: Scene, wanted: Wanted) -> bool:
    """Tell whether a wanted object need not be touched: it is as wanted, and is marked as its policies have it."""
    live, item = scene.members.get(wanted.key), wanted.item
    return live is not None and applyset.is_marked(live, scene.set_id, item.handling) and is_as_wanted(live, item.manifest)


def version_of(manifest: Manifest) -> object:
    """Return the resourceVersion of an object, None for one that has none."""
    return manifest["metadata"].get("resourceVersion")


def foreign_set(scene: Scene, wanted: Wanted, live: Manifest | None) -> Conflict | None:
    """Return the conflict with another application that has the object in its set."""
    handling = wanted.item.handling
    if live is None or handling.shared or handling.take_over:
        return None
    other = applyset.set_of(live)
    if other in ("", scene.set_id):
        return None
    notes = live["metadata"].get("labels") or {}
    return Conflict("the object", f"application {notes.get('app.oam.dev/name', other)}")


def as_applied(scene: Scene, wanted: Wanted, live: Manifest | None) -> Manifest | None:
    """Return the manifest to apply, None where the object is to be left alone (apply-once on update)."""
    handling = wanted.item.handling
    manifest = applyset.as_member(wanted.item.manifest, scene.set_id, handling)
    if live is None or not handling.apply_once or handling.apply_once_affects == "onStateKeep":
        return manifest
    return None if "*" in handling.apply_once else tolerated(manifest, live, handling.apply_once)


def send(scene: Scene, wanted: Wanted, kind: Kind, manifest: Manifest, *, dry_run: bool = False) -> Answer:
    """Apply a manifest as its policies have it: by which manager, and whether over other owners."""
    handling = wanted.item.handling
    manager = f"{MANAGER}-{scene.namespace}-{scene.application}"[:128] if handling.shared else MANAGER
    forced = scene.force or handling.take_over or leaves_set(scene, wanted)
    return applied(scene.connection, kind, manifest, dry_run=dry_run, force=forced, manager=manager)


def leaves_set(scene: Scene, wanted: Wanted) -> bool:
    """Tell whether an object of the set is to be shared from now on."""
    return wanted.item.handling.shared and wanted.key in scene.members


def _is_ours(scene: Scene, wanted: Wanted, live: Manifest) -> bool:
    return applyset.set_of(live) == scene.set_id or wanted.item.handling.take_over


def asks_for_recreation(scene: Scene, wanted: Wanted, live: Manifest) -> bool:
    """Tell whether a field changes whose change alone is reason enough to create an object anew."""
    paths, manifest = wanted.item.handling.recreate_fields, wanted.item.manifest
    return _is_ours(scene, wanted, live) and any(changes_at(live, manifest, path) for path in paths)


def may_be_recreated(scene: Scene, wanted: Wanted, live: Manifest, answer: Answer) -> bool:
    """Tell whether deleting and creating again is allowed and would help, where a change was refused as invalid."""
    kind = scene.kinds.get(wanted.key)
    if kind is None or answer.status != 422 or not wanted.item.handling.replace or not _is_ours(scene, wanted, live):
        return False
    return tried_anew(scene, wanted, kind).status == 201


def tried_anew(scene: Scene, wanted: Wanted, kind: Kind) -> Answer:
    """Return the answer to creating an object under another name, as a dry run.

    What is invalid in itself could not be created again either, and is not to be deleted for it.
    """
    name = f"{wanted.key.name[:50].rstrip('-.')}-{secrets.token_hex(4)}"
    manifest = {**wanted.item.manifest, "metadata": {**wanted.item.manifest["metadata"], "name": name}}
    return applied(scene.connection, kind, manifest, dry_run=True)
