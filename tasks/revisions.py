"""Revisions of applications, kept as ControllerRevisions in each cluster."""

from __future__ import annotations

from dataclasses import replace

from flotilla.objects import key_of
from flotilla.revisions import LABEL, Revision, decoded, encoded
from tasks.clusters import Connection, refused
from tasks.objects import Kind, applied, deleted, listed

KIND = Kind("apps/v1", "ControllerRevision", "controllerrevisions", namespaced=True)


def revisions_of(connection: Connection, application: str, namespace: str) -> tuple[Revision, ...]:
    """Return the revisions of an application that a cluster holds, oldest first; raises Transient where nobody could look."""
    found = listed(connection, KIND, namespace, f"{LABEL}={application}")
    return tuple(sorted((decoded(connection.name, one) for one in found), key=lambda one: one.number))


def all_revisions(connection: Connection) -> tuple[Revision, ...]:
    """Return the revisions of every application that a cluster holds."""
    return tuple(decoded(connection.name, one) for one in listed(connection, KIND, "", LABEL))


def save_revision(connection: Connection, revision: Revision) -> Revision:
    """Write a revision as it now is and return it; what it holds never changes, its state and notes may."""
    manifest = encoded(replace(revision, cluster=connection.name))
    answer = applied(connection, KIND, manifest, force=True)
    if answer.status not in (200, 201):
        raise refused(connection.name, f"write revision {revision.number} of {revision.intent.name}", answer)
    return replace(revision, cluster=connection.name)


def discard_revision(connection: Connection, revision: Revision) -> None:
    """Delete a revision; one that is gone already is fine."""
    for live in listed(connection, KIND, revision.intent.namespace, f"{LABEL}={revision.intent.name}"):
        if live["metadata"]["name"] == revision.name:
            deleted(connection, KIND, key_of(live), live["metadata"]["uid"])
