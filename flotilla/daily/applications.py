"""What ran where: each Deployment over all clusters, its replicas, its images, what changed and what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flotilla.daily.asked import Ask, Replies
from flotilla.daily.seeing import UNKNOWN, Sight, series_of
from flotilla.dashboards.answers import Reply

NONE = "-"
Images = Mapping[str, frozenset[str]]
"""The images that pods run, by container."""

Key = tuple[str, str, str]
"""Cluster, namespace, name."""


class Presence(StrEnum):
    """Whether a cluster has a Deployment."""

    THERE = "there"
    ABSENT = "absent"
    GONE = "gone"  # it was there within the period
    UNKNOWN = UNKNOWN


@dataclass(frozen=True)
class Share:
    """What one cluster has of an application; ``lowest`` is how few replicas were available within the period."""

    presence: Presence
    asked: int = 0
    available: int | None = None
    lowest: int | None = None
    images: Images = field(default_factory=dict)
    before: Images = field(default_factory=dict)

    @property
    def lacks(self) -> bool:
        """Whether replicas are missing."""
        return self.presence is Presence.THERE and self.available is not None and self.available < self.asked

    @property
    def changed(self) -> bool:
        """Whether it runs other images than at the beginning of the period."""
        return bool(self.images and self.before) and self.images != self.before

    def cell(self) -> str:
        """Return it as a cell of a table: available of asked."""
        match self.presence:
            case Presence.ABSENT:
                return NONE
            case Presence.THERE:
                seen = UNKNOWN if self.available is None else str(self.available)
                dipped = self.lowest is not None and self.lowest < min(self.asked, self.available or 0)
                return f"{seen}/{self.asked}" + (f" (was {self.lowest})" if dipped else "")
            case _:
                return self.presence.value


@dataclass(frozen=True)
class Application:
    """A Deployment of the same namespace and name in all clusters, by cluster in the fleet's order."""

    namespace: str
    name: str
    shares: Mapping[str, Share]

    @property
    def lacks(self) -> bool:
        """Whether replicas are missing anywhere."""
        return any(one.lacks for one in self.shares.values())

    @property
    def changed(self) -> bool:
        """Whether anything else runs than at the beginning of the period."""
        return any(one.changed or one.presence is Presence.GONE for one in self.shares.values())

    @property
    def skewed(self) -> bool:
        """Whether a container runs other images in one cluster than in another."""
        running = [one.images for one in self.shares.values() if one.images]
        shared = {container for images in running for container in images}
        return any(len({images[name] for images in running if name in images}) > 1 for name in shared)

    def row(self) -> dict[str, str]:
        """Return it as a row of a table."""
        cells = {cluster: one.cell() for cluster, one in self.shares.items()}
        return {"application": f"{self.namespace}/{self.name}", **cells, "images": self._images(), "changed": self._changed()}

    def _images(self) -> str:
        running = {cluster: _told(one.images) for cluster, one in self.shares.items() if one.images}
        if not running:
            return UNKNOWN if any(one.presence is Presence.THERE for one in self.shares.values()) else NONE
        if not self.skewed and len(set(running.values())) == 1:
            return next(iter(running.values()))
        return ("**skew**: " if self.skewed else "") + "; ".join(f"{cluster} {told}" for cluster, told in running.items())

    def _changed(self) -> str:
        told = [f"{name}: {_told(one.before)} → {_told(one.images)}" for name, one in self.shares.items() if one.changed]
        return "; ".join(told)


def applications(clusters: Sequence[str], seen: Sight, replies: Replies) -> tuple[Application, ...]:
    """Return every Deployment that there is or was within the period, those to look at first."""
    parts = _Parts(replies)
    keys = sorted({key[1:] for key in (*parts.seen, *parts.desired)})
    found = [Application(*key, {name: parts.share((name, *key), seen) for name in clusters}) for key in keys]
    return tuple(sorted(found, key=lambda one: (not one.lacks, not one.skewed, not one.changed)))


class _Parts:
    """The answers about Deployments, by key."""

    def __init__(self, replies: Replies) -> None:
        self.desired, self.seen = _numbers(replies[Ask.DESIRED]), _numbers(replies[Ask.SEEN])
        self._available, self._lowest = _numbers(replies[Ask.AVAILABLE]), _numbers(replies[Ask.LOWEST])
        self._images, self._before = _images(replies[Ask.IMAGES]), _images(replies[Ask.IMAGES_BEFORE])

    def share(self, key: Key, seen: Sight) -> Share:
        if key[0] not in seen.covers:
            return Share(Presence.UNKNOWN)
        if key not in self.desired:
            return Share(Presence.GONE if key in self.seen else Presence.ABSENT)
        images, before = self._images.get(key, {}), self._before.get(key, {})
        numbers = self.desired[key], self._available.get(key), self._lowest.get(key)
        return Share(Presence.THERE, *numbers, images, before)


def _numbers(reply: Reply) -> dict[Key, int]:
    return {_key(one.key(_BY)): round(one.last) for one in series_of(reply) if one.last is not None}


def _images(reply: Reply) -> dict[Key, Images]:
    found: defaultdict[Key, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in series_of(reply):
        if one.last:
            found[_key(one.key(_BY))][one.get("container")].add(one.get("image"))
    return {key: {name: frozenset(images) for name, images in each.items()} for key, each in found.items()}


_BY = ("cluster", "namespace", "deployment")


def _key(values: Iterable[str]) -> Key:
    cluster, namespace, name = values
    return cluster, namespace, name


def _told(images: Images) -> str:
    """Return images without their registries; with their containers where there are several."""
    each = {name: ", ".join(sorted(one.rpartition("/")[2] for one in found)) for name, found in sorted(images.items())}
    return next(iter(each.values())) if len(each) == 1 else ", ".join(f"{name} {told}" for name, told in each.items())
