"""What differs from what was rolled out, per field and owner; what policies tolerate is left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flotilla.differences import FieldChange, owners
from flotilla.facts import Unknown
from flotilla.intent import Handling
from flotilla.revisions import Revision, RevisionState, last_good
from flotilla.rollout import Action, ClusterLook, PlannedChange, Sighting, plan

QUIET = (Action.UNCHANGED, Action.READ, Action.DELETE, Action.RELEASE)


@dataclass(frozen=True)
class DriftRow:
    """One difference: a field (empty: the whole object), what it is, what was rolled out, and who owns it now."""

    application: str
    cluster: str
    object: str
    field: str
    found: str
    rolled_out: str
    owner: str

    def row(self) -> dict[str, str]:
        """Return the difference as a row of a table."""
        return {
            "application": self.application,
            "cluster": self.cluster,
            "object": self.object,
            "field": self.field,
            "is": self.found,
            "was rolled out": self.rolled_out,
            "owner": self.owner,
        }


def drift_in(application: str, look: ClusterLook | Unknown) -> tuple[DriftRow, ...]:
    """Return what differs in one cluster from what an application wants there; nothing where nobody could look."""
    if isinstance(look, Unknown):
        return ()
    seen = {one.wanted.key: one for one in look.sightings}
    changes = plan(application, {look.cluster: look}).changes
    return tuple(
        row
        for change in changes
        if change.action not in QUIET and change.key is not None
        for row in _rows(application, change, seen[change.key])
    )


def newest_good(revisions: Iterable[Revision]) -> tuple[Revision, ...]:
    """Return the newest good revision of every application, as any cluster holds it."""
    by_application: dict[tuple[str, str], list[Revision]] = {}
    for one in revisions:
        by_application.setdefault((one.intent.namespace, one.intent.name), []).append(one)
    found = (last_good(each) for _, each in sorted(by_application.items()))
    return tuple(one for one in found if one is not None)


def missed(own: Sequence[Revision], others: Iterable[Revision], newest: Revision) -> Revision | None:
    """Return the revision that a cluster is still at although the fleet went back from it, None where it missed nothing.

    It was away when the others went back to ``newest``: they record as failed what it records as being rolled out.
    """
    failed = {one.number for one in others if one.state is RevisionState.FAILED and one.number > newest.number}
    return next((one for one in own if one.state is RevisionState.ROLLING_OUT and one.number in failed), None)


def is_tolerated(field: FieldChange, handling: Handling) -> bool:
    """Tell whether an apply-once policy lets a field drift (KubeVela: affect onStateKeep or always)."""
    if handling.apply_once_affects == "onUpdate":
        return False
    return any(
        path == "*" or field.path == path or field.path.startswith((f"{path}.", f"{path}[")) for path in handling.apply_once
    )


def _rows(application: str, change: PlannedChange, seen: Sighting) -> list[DriftRow]:
    told = (application, change.cluster, str(change.key))
    if not change.fields:
        missing = change.action is Action.CREATE
        return [DriftRow(*told, "", "missing" if missing else str(change.action), change.message, "")]
    return [
        DriftRow(*told, one.path, str(one.old), str(one.new), ", ".join(owners(seen.live, one.path)) if seen.live else "")
        for one in change.fields
        if not is_tolerated(one, seen.wanted.item.handling)
    ]
