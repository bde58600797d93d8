"""If a cluster falls, do the others hold what ran there? From requests against what nodes can give, in numbers already fetched.

That sums fit does not prove that every pod finds a node, nor that it may run there; that they do not fit proves the contrary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flotilla.dashboards.answers import Answer, Reply, Unanswered
from flotilla.facts import Unknown


class Resource(StrEnum):
    """What runs out: CPU in cores, memory in bytes, pods in number."""

    CPU = "cpu"
    MEMORY = "memory"
    PODS = "pods"


class Holds(StrEnum):
    """Whether the others hold it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


_ACTIVE = 'max by (cluster, namespace, pod) (kube_pod_status_phase{phase=~"Pending|Running"} == 1)'
REQUESTED = f"""
sum by (cluster, resource) (max by (cluster, namespace, pod, container, resource)
(kube_pod_container_resource_requests{{resource=~"cpu|memory"}}) * on (cluster, namespace, pod) group_left () {_ACTIVE})
or label_replace(count by (cluster) ({_ACTIVE}), "resource", "pods", "", "")""".strip()
"""What the pods of each cluster that run, or are about to, ask for; of pods their number."""

ALLOCATABLE = """
sum by (cluster, resource) ((max by (cluster, node, resource)
(kube_node_status_allocatable{resource=~"cpu|memory|pods"})) and on (cluster, node)
(max by (cluster, node) (kube_node_status_condition{condition="Ready", status="true"}) == 1)
unless on (cluster, node) (max by (cluster, node) (kube_node_spec_unschedulable) == 1))""".strip()
"""What the nodes of each cluster that are ready and take pods can give."""

USED_BY_NAMESPACE = """
sum by (cluster, namespace) (max by (cluster, namespace, pod, container)
(rate(container_cpu_usage_seconds_total{container!~"|POD"}[30m])))""".strip()
"""CPU in cores of each namespace: asked now and a day before, for what has moved most."""


@dataclass(frozen=True)
class Room:
    """What one cluster can give and is asked for, by resource."""

    cluster: str
    allocatable: Mapping[Resource, float]
    requested: Mapping[Resource, float]

    def free(self, resource: Resource) -> float:
        """Return what it can still give; below zero where it is overcommitted already."""
        return self.allocatable.get(resource, 0.0) - self.requested.get(resource, 0.0)


@dataclass(frozen=True)
class Strain:
    """One resource after a loss: what has to move, what each survivor has free, and whether that is enough.

    ``unseen`` are survivors whose room nobody knows: they may hold all of it, or nothing.
    """

    resource: Resource
    needed: float
    free: Mapping[str, float]
    unseen: tuple[str, ...] = ()

    @property
    def spare(self) -> float:
        """What would surely be left; below zero: what is missing among those that can be seen."""
        return sum(max(0.0, value) for value in self.free.values()) - self.needed

    @property
    def holds(self) -> Holds:
        """Whether what is free is enough; yes where it is without those that cannot be seen."""
        if self.spare >= 0:
            return Holds.YES
        return Holds.UNKNOWN if self.unseen else Holds.NO


@dataclass(frozen=True)
class Headroom:
    """The answer for the loss of one cluster; ``unknown`` are the clusters whose numbers nobody has."""

    lost: str
    survivors: tuple[str, ...]
    strains: tuple[Strain, ...]
    unknown: tuple[Unknown, ...] = ()

    @property
    def holds(self) -> Holds:
        """No where a resource is surely missing; unknown where that turns on what nobody can see."""
        found = {one.holds for one in self.strains} or {Holds.UNKNOWN}
        return next(one for one in (Holds.NO, Holds.UNKNOWN, Holds.YES) if one in found)

    def sentence(self) -> str:
        """Return it in one line."""
        if not self.survivors:
            return f"If {self.lost} falls, nobody is left to hold it"
        others = " and ".join(self.survivors)
        unseen = "; ".join(map(str, self.unknown))
        missing = [f"{_shown(-one.spare, one.resource)} are missing" for one in self.strains if one.holds is Holds.NO]
        match self.holds:
            case Holds.UNKNOWN:
                return f"Whether {others} would hold {self.lost} cannot be said: {unseen}"
            case Holds.NO:
                return f"If {self.lost} falls, {others} do not hold it: {', '.join(missing)}"
            case Holds.YES:
                tightest = min(self.strains, key=_left)
                told = f"{tightest.resource} is tightest, with {_left(tightest):.0%} of what is free to spare"
                return f"If {self.lost} falls, {others} hold it; {told}" + (f" (even without {unseen})" if unseen else "")

    def rows(self) -> list[dict[str, str]]:
        """Return it as rows of a table."""
        return [
            {
                "if this falls": self.lost,
                "resource": one.resource.value,
                "has to move": _shown(one.needed, one.resource),
                **{f"free in {name}": _shown(value, one.resource) for name, value in one.free.items()},
                "left": _shown(one.spare, one.resource),
                "holds": one.holds.value,
            }
            for one in self.strains
        ]


@dataclass(frozen=True)
class Move:
    """How much something uses now and used before, in cores."""

    cluster: str
    name: str
    before: float
    now: float

    @property
    def change(self) -> float:
        """How much more it uses now; below zero: less."""
        return self.now - self.before


def headroom(rooms: Mapping[str, Room | Unknown], lost: str) -> Headroom:
    """Return whether the other clusters hold what runs in one; ``rooms`` are the fleet's, in its order.

    Raises KeyError where ``lost`` is none of them.
    """
    survivors = tuple(name for name in rooms if name != lost)
    seen = {name: room for name in survivors if isinstance(room := rooms[name], Room)}
    unknown = tuple(room for room in rooms.values() if isinstance(room, Unknown))
    unseen = tuple(name for name in survivors if name not in seen)
    falling = rooms[lost]
    if isinstance(falling, Unknown):
        return Headroom(lost, survivors, (), unknown)
    free = {one: {name: room.free(one) for name, room in seen.items()} for one in Resource}
    return Headroom(
        lost, survivors, tuple(Strain(one, falling.requested.get(one, 0.0), free[one], unseen) for one in Resource), unknown
    )


def rooms_of(
    clusters: Sequence[str], allocatable: Reply, requested: Reply, silent: Mapping[str, str]
) -> dict[str, Room | Unknown]:
    """Return the room of each cluster from the answers to ``ALLOCATABLE`` and ``REQUESTED``.

    ``silent`` are clusters whose samples are too old to go by, each with the sentence that says so.
    """
    failed = next((reply.reason for reply in (allocatable, requested) if isinstance(reply, Unanswered)), "")
    given, asked = _by_cluster(allocatable), _by_cluster(requested)
    rooms: dict[str, Room | Unknown] = {}
    for name in clusters:
        reason = failed or silent.get(name) or ("" if name in given else "the store has nothing on its nodes")
        rooms[name] = Unknown(name, reason) if reason else Room(name, given[name], asked.get(name, {}))
    return rooms


def top_movers(before: Reply, now: Reply, by: Sequence[str] = ("cluster", "namespace"), k: int = 10) -> tuple[Move, ...]:
    """Return what uses most more, or most less, than before; what came or went counts from or to zero."""
    old, new = _by_key(before, by), _by_key(now, by)
    moves = (Move(key[0], "/".join(key[1:]), old.get(key, 0.0), new.get(key, 0.0)) for key in {*old, *new})
    ordered = sorted(moves, key=lambda move: (-abs(move.change), move.cluster, move.name))
    return tuple(move for move in ordered[:k] if move.change)


def _by_cluster(reply: Reply) -> dict[str, dict[Resource, float]]:
    found: dict[str, dict[Resource, float]] = {}
    for one in reply.series if isinstance(reply, Answer) else ():
        if one.get("resource") in set(Resource) and one.last is not None:
            found.setdefault(one.get("cluster"), {})[Resource(one.get("resource"))] = one.last
    return found


def _by_key(reply: Reply, by: Iterable[str]) -> dict[tuple[str, ...], float]:
    by = tuple(by)
    return {one.key(by): one.last for one in (reply.series if isinstance(reply, Answer) else ()) if one.last is not None}


def _left(strain: Strain) -> float:
    """Return the part of what is free that would be left, 0 to 1."""
    free = sum(max(0.0, value) for value in strain.free.values())
    return strain.spare / free if free else 0.0


def _shown(value: float, resource: Resource) -> str:
    match resource:
        case Resource.CPU:
            return f"{value:,.1f} cores"
        case Resource.MEMORY:
            return f"{value / 2**30:,.1f} GiB"
        case Resource.PODS:
            return f"{value:,.0f} pods"
