"""From what the clusters hold to the plan of a rollout, the verdict over a wave, and the way back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flotilla.differences import FieldChange, differences
from flotilla.facts import Unknown
from flotilla.intent import OnUnreachable, Recycle, RenderedObject, WavePolicy
from flotilla.objects import Manifest, ObjectKey, canonical, digest


@dataclass(frozen=True)
class Wanted:
    """An object as one cluster is to have it: its namespace settled. ``step`` asks for it, in the step's ``stage``."""

    step: str
    stage: int
    key: ObjectKey
    item: RenderedObject


@dataclass(frozen=True)
class Conflict:
    """A field that another manager owns and that we want to be otherwise."""

    field: str
    manager: str


@dataclass(frozen=True)
class Sighting:
    """What a look at one wanted object found.

    ``merged`` is what applying would make of ``live`` (a server-side dry run); both None: it is not there and could not be
    tried, for the reason in ``note``. ``refusal`` is the API server's reason for not taking it.
    """

    wanted: Wanted
    live: Manifest | None = None
    merged: Manifest | None = None
    conflicts: tuple[Conflict, ...] = ()
    refusal: str = ""
    note: str = ""


@dataclass(frozen=True)
class Stray:
    """An object of the application's set that the application no longer names."""

    key: ObjectKey
    uid: str
    recycle: Recycle = Recycle.ON_APP_UPDATE
    orphan: bool = False


@dataclass(frozen=True)
class ClusterLook:
    """What a look at one cluster found of an application."""

    cluster: str
    sightings: tuple[Sighting, ...]
    strays: tuple[Stray, ...] = ()


class Action(StrEnum):
    """What a rollout does with an object, or why it can't."""

    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    RELEASE = "release"
    READ = "read only"
    CONFLICT = "conflict"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


BLOCKING = (Action.CONFLICT, Action.REFUSED)


@dataclass(frozen=True)
class PlannedChange:
    """One line of a plan. ``step`` is empty for deletes; ``key`` None for a cluster that could not be looked at.

    ``wanted`` is the digest of what is asked for: a create shows no fields, and a Secret hides its values.
    """

    cluster: str
    step: str
    key: ObjectKey | None
    action: Action
    fields: tuple[FieldChange, ...] = ()
    message: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Plan:
    """What a rollout would do, in all clusters; comparable and printable."""

    application: str
    changes: tuple[PlannedChange, ...] = field(default=())

    @property
    def hash(self) -> str:
        """The SHA-256 of what would change: what people approve.

        Neither order nor what stays as it is counts, nor in which words a cluster failed to answer.
        """
        told = [
            [
                one.cluster,
                one.step,
                str(one.key),
                one.action,
                sorted([f.path, canonical(f.old), canonical(f.new)] for f in one.fields),
                "" if one.action is Action.UNREACHABLE else one.message,
                one.wanted,
            ]
            for one in self.changes
            if one.action is not Action.UNCHANGED
        ]
        return digest([self.application, sorted(told, key=str)])

    @property
    def deletes(self) -> tuple[PlannedChange, ...]:
        """What would be deleted."""
        return tuple(one for one in self.changes if one.action is Action.DELETE)

    @property
    def blocked(self) -> tuple[PlannedChange, ...]:
        """What the clusters would not take: conflicts with other owners, and refusals."""
        return tuple(one for one in self.changes if one.action in BLOCKING)

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The clusters that could not be looked at."""
        return tuple(one.cluster for one in self.changes if one.action is Action.UNREACHABLE)

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change anywhere."""
        return all(one.action in (Action.UNCHANGED, Action.READ) for one in self.changes)

    def counts(self) -> dict[str, dict[Action, int]]:
        """Return how many objects of each action there are, by cluster."""
        found: dict[str, dict[Action, int]] = {}
        for one in self.changes:
            of_cluster = found.setdefault(one.cluster, {})
            of_cluster[one.action] = of_cluster.get(one.action, 0) + 1
        return found

    def summary(self) -> str:
        """Return the plan in one line: ``production: 2 create, 1 change; remote: unreachable``."""
        parts = []
        for cluster, actions in self.counts().items():
            told = ", ".join(f"{count} {action}" for action, count in actions.items() if action is not Action.UNREACHABLE)
            parts.append(f"{cluster}: {told or 'unreachable'}")
        return "; ".join(parts) or "nothing"

    def rows(self) -> list[dict[str, str]]:
        """Return the plan as rows of a table: a row for each object, but those that stay as they are."""
        return [_row(one) for one in self.changes if one.action is not Action.UNCHANGED]

    def of_steps(self, steps: Collection[str]) -> Plan:
        """Return the part of the plan that some steps carry out; deletes, which come last, are always part of it."""
        rest = tuple(one for one in self.changes if one.step in steps or one.action in (Action.DELETE, Action.RELEASE))
        return Plan(self.application, rest)


def _row(one: PlannedChange) -> dict[str, str]:
    told = [str(change) for change in one.fields] + ([one.message] if one.message else [])
    return {
        "cluster": one.cluster,
        "step": one.step,
        "action": str(one.action),
        "object": str(one.key or ""),
        "fields": "\n".join(told),
    }


def plan(application: str, looks: Mapping[str, ClusterLook | Unknown]) -> Plan:
    """Return what rolling an application out would do, given what each of its clusters holds."""
    changes: list[PlannedChange] = []
    for cluster, look in looks.items():
        if isinstance(look, Unknown):
            changes.append(PlannedChange(cluster, "", None, Action.UNREACHABLE, message=look.reason))
            continue
        changes += [_planned(cluster, sighting) for sighting in look.sightings]
        changes += [change for stray in look.strays if (change := _fate(cluster, stray))]
    return Plan(application, tuple(changes))


def _planned(cluster: str, seen: Sighting) -> PlannedChange:
    wanted = seen.wanted
    action, fields, message = _verdict_on(seen)
    return PlannedChange(cluster, wanted.step, wanted.key, action, fields, message, digest(wanted.item.manifest))


def _verdict_on(seen: Sighting) -> tuple[Action, tuple[FieldChange, ...], str]:
    if seen.wanted.item.handling.read_only:
        return Action.READ, (), "" if seen.live is not None else "is not there"
    if seen.refusal:
        return Action.REFUSED, (), seen.refusal
    if seen.conflicts:
        told = ", ".join(f"{one.field} is owned by {one.manager}" for one in seen.conflicts)
        return Action.CONFLICT, (), told
    if seen.live is None:
        return Action.CREATE, (), seen.note
    fields = differences(seen.live, seen.merged) if seen.merged is not None else ()
    return (Action.CHANGE if fields else Action.UNCHANGED), fields, seen.note


def _fate(cluster: str, stray: Stray) -> PlannedChange | None:
    """Return what becomes of an object that is no longer named, None where its policy says that it stays."""
    if stray.recycle is not Recycle.ON_APP_UPDATE:
        return None
    action = Action.RELEASE if stray.orphan else Action.DELETE
    message = "leaves the application, stays in the cluster" if stray.orphan else ""
    return PlannedChange(cluster, "", stray.key, action, message=message)


class Verdict(StrEnum):
    """What follows from a wave."""

    GO = "go"
    HOLD = "hold"
    STOP = "stop"
    ROLL_BACK = "roll back"


class Ending(StrEnum):
    """How one cluster came out of a wave."""

    HEALTHY = "healthy"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class ClusterEnding:
    """How one cluster came out of a wave, and why."""

    cluster: str
    ending: Ending
    message: str = ""


def judge_wave(endings: Iterable[ClusterEnding], policy: WavePolicy) -> Verdict:
    """Return what follows: failures beyond ``max_failures`` roll back; an unreachable cluster does what the policy says."""
    found = list(endings)
    if sum(one.ending is Ending.FAILED for one in found) > policy.max_failures:
        return Verdict.ROLL_BACK
    if not any(one.ending is Ending.UNREACHABLE for one in found):
        return Verdict.GO
    by_policy = {OnUnreachable.GO_ON: Verdict.GO, OnUnreachable.HOLD: Verdict.HOLD, OnUnreachable.STOP: Verdict.STOP}
    return by_policy[policy.on_unreachable]


@dataclass(frozen=True)
class Return:
    """One step of the way back: a cluster and the revision it goes back to; None where it never had a good one."""

    cluster: str
    revision: int | None


def way_back(waves: Sequence[Sequence[str]], last_good: Mapping[str, int]) -> tuple[tuple[Return, ...], ...]:
    """Return the way back: the waves that were begun, in reverse order, each cluster once, with its last good revision."""
    seen: set[str] = set()
    back: list[tuple[Return, ...]] = []
    for wave in reversed(waves):
        clusters = [cluster for cluster in dict.fromkeys(wave) if cluster not in seen]
        seen.update(clusters)
        if clusters:
            back.append(tuple(Return(cluster, last_good.get(cluster)) for cluster in clusters))
    return tuple(back)
