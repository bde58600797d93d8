"""What is known of one kind in one cluster: facts by place, told by a watch and by the answers to our own writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flotilla.objects import Manifest
from flotilla.services.names import ServiceKey

Place = tuple[str, str]
"""Namespace and name; the namespace is "" for cluster-scoped kinds."""


class Entry(NamedTuple):
    """An object as a fact: its resourceVersion, the service it belongs to (None for none), what it says, its uid."""

    version: int
    key: ServiceKey | None
    fact: Any
    uid: str


class Change(NamedTuple):
    """An object before and after; None where it was, or is, not there."""

    place: Place
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Unreadable:
    """An object that is not as the API documents it; nothing may be concluded from it."""

    reason: str


class Table:
    """Facts of one kind in one cluster, by place. It is a watch's sink; ``lock`` guards it and is the mirror's.

    ``told`` is called with the lock held, ``looked`` without it, whenever there was a sign of life.

    The API server tells the events of a kind in the order of their resourceVersions (KEP-5504 says that these compare as
    numbers), so an answer to a write of ours that is not newer than the last event was told already, or is outdated: a
    write that was answered late must not bring back what was deleted since.
    """

    def __init__(
        self,
        lock: threading.RLock,
        key_of: Callable[[Manifest], ServiceKey | None],
        parse: Callable[[Manifest], Any],
        *,
        told: Callable[[Sequence[Change]], None],
        looked: Callable[[], None],
    ) -> None:
        self._lock, self._told, self._looked = lock, told, looked
        self._key_of, self._parse = key_of, parse
        self.entries: dict[Place, Entry] = {}
        self.version = 0  # every event up to here was told
        self.reason = "not listed yet"  # why nobody can look; "" if somebody can
        self.was_listed = False

    def listed(self, items: Iterator[Manifest], began: int, version: Callable[[], int]) -> None:
        """Take a list in place of what was known, but for writes of ours that are newer than the list."""
        found = {_place(body): self._entry(body) for body in items}
        reached = version()
        with self._lock:
            newer = {} if reached < began else {at: one for at, one in self.entries.items() if one.version > reached}
            found |= newer  # a server that was set back to an earlier state knows nothing of what we remember
            had = self.entries
            changes = [Change(at, had.get(at), one) for at, one in found.items() if _differs(had.get(at), one)]
            changes += [Change(at, one, None) for at, one in had.items() if at not in found]
            self.entries, self.version, self.was_listed = found, reached, True
            self._told(changes)

    def changed(self, body: Manifest, version: int) -> None:
        """Take an event about an object that is new or has changed."""
        self._take(body, version, told=True)

    def took(self, body: Manifest) -> None:
        """Take the answer to a write of ours."""
        self._take(body, int(body["metadata"]["resourceVersion"]), told=False)

    def gone(self, body: Manifest, version: int) -> None:
        """Take an event about an object that was deleted."""
        at = _place(body)
        with self._lock:
            self.version = max(self.version, version)
            before = self.entries.get(at)
            if before and before.version <= version:
                del self.entries[at]
                self._told([Change(at, before, None)])
        self._looked()

    def dropped(self, at: Place, uid: str) -> None:
        """Take note that a delete of ours succeeded; the event is yet to come."""
        with self._lock:
            before = self.entries.get(at)
            if before and before.uid == uid:
                del self.entries[at]
                self._told([Change(at, before, None)])

    def reached(self, version: int) -> None:
        """Take a bookmark."""
        with self._lock:
            self.version = max(self.version, version)
        self._looked()

    def sees(self) -> None:
        """Take note that the watch is open."""
        self._set(reason="")

    def blind(self, reason: str) -> None:
        """Take note that nobody can look."""
        self._set(reason=reason)

    def _set(self, *, reason: str) -> None:
        with self._lock:
            self.reason = reason
        self._looked()

    def _take(self, body: Manifest, version: int, *, told: bool) -> None:
        at, after = _place(body), self._entry(body)
        with self._lock:
            known = self.version
            self.version = max(known, version) if told else known
            before = self.entries.get(at)
            if (before and before.version >= version) or (not told and version <= known):
                return
            self.entries[at] = after
            if _differs(before, after):
                self._told([Change(at, before, after)])
        if told:
            self._looked()

    def _entry(self, body: Manifest) -> Entry:
        metadata = body["metadata"]
        try:
            fact = self._parse(body)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            fact = Unreadable(f"{body.get('kind') or 'object'} {'/'.join(_place(body))} is not as documented: {error!r}")
        return Entry(int(metadata["resourceVersion"]), self._key_of(body), fact, metadata.get("uid", ""))


def _place(body: Manifest) -> Place:
    metadata = body["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _differs(before: Entry | None, after: Entry | None) -> bool:
    if before is None or after is None:
        return before is not after
    return (before.key, before.uid, before.fact) != (after.key, after.uid, after.fact)
