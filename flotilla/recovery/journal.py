"""The step journal: what was intended, seen, decided and by whom. Append-only, each entry bound to the one before by its hash.

It tells, it does not rule: whether something is done is told by the world. Copies are kept at two sites, and a run goes on
with the longer one that is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from flotilla.errors import Permanent

FIRST = "0" * 64


class Wrote(StrEnum):
    """What an entry tells of."""

    PLANNED = "planned"
    INTENDED = "intended"
    WAITED = "waited"
    TOLD = "told"
    FAILED = "failed"
    ASKED = "asked"
    APPROVED = "approved"
    DECIDED = "decided"
    RESUMED = "resumed"
    ENDED = "ended"


class Forked(Permanent):
    """Two processes have written one journal at once."""


@dataclass(frozen=True)
class Entry:
    """Something that happened in a run: at a step of the plan of ``epoch``, at a time, said by ``who``."""

    at: float
    kind: Wrote
    who: str
    epoch: int = 0
    step: str = ""
    data: Mapping[str, Any] | None = None
    before: str = FIRST
    hash: str = ""

    def sealed(self, before: str) -> Entry:
        """Return it as the entry that follows the one with the hash ``before``."""
        return replace(self, before=before, hash=_hash(replace(self, before=before)))

    @property
    def said(self) -> Mapping[str, Any]:
        """Its data; empty if it has none."""
        return self.data or {}


@dataclass(frozen=True)
class Journal:
    """The entries of one run, oldest first."""

    run: str
    entries: tuple[Entry, ...] = ()

    def with_entry(self, entry: Entry) -> Journal:
        """Return the journal with one entry more."""
        before = self.entries[-1].hash if self.entries else _first(self.run)
        return replace(self, entries=(*self.entries, entry.sealed(before)))

    def of(self, epoch: int) -> Iterator[Entry]:
        """Yield the entries of the plan of an epoch."""
        return (entry for entry in self.entries if entry.epoch == epoch)

    @property
    def plan(self) -> Mapping[str, Any] | None:
        """The plan that was decided last, as plain data; None before the first."""
        planned = (entry.said for entry in reversed(self.entries) if entry.kind is Wrote.PLANNED)
        return next(planned, None)


def broken(journal: Journal) -> str:
    """Return what is wrong with a journal's chain; "" if it is whole. What was cut off its end only another copy can tell."""
    before = _first(journal.run)
    for number, entry in enumerate(journal.entries, 1):
        if entry.before != before:
            return f"entry {number} does not follow the one before it: something was taken out or put in"
        if entry.hash != _hash(entry):
            return f"entry {number} ({entry.kind} {entry.step}) was changed after it was written"
        before = entry.hash
    return ""


def merged(one: Journal, other: Journal) -> Journal:
    """Return the longer of two copies of a journal; raises Permanent if neither is whole, Forked if they contradict each other.

    A copy that is broken, or lacks the end, counts as far as it is right. Of two that went different ways the one counts that
    begins with its run being taken up: whoever did so had not heard of what the dead process wrote last, and looked at the
    world. Others were written by two processes at once: people have to look.
    """
    if one.run != other.run:
        raise Permanent(f"journals of two runs are no copies of each other: {one.run} and {other.run}")
    whole = [copy for copy in (one, other) if not broken(copy)]
    if not whole:
        raise Permanent(f"both copies of the journal of {one.run} are broken: {broken(one)}; {broken(other)}")
    longest = max(whole, key=lambda copy: len(copy.entries))
    if len(whole) == 2:
        return _of_two(one, other, longest)
    return longest


def _of_two(one: Journal, other: Journal, longest: Journal) -> Journal:
    shared = zip(one.entries, other.entries, strict=False)
    parted = next((number for number, (ours, theirs) in enumerate(shared) if ours.hash != theirs.hash), None)
    if parted is None:
        return longest
    taken_up = [copy for copy in (one, other) if copy.entries[parted].kind is Wrote.RESUMED]
    if len(taken_up) != 1:
        raise Forked(f"the copies of the journal of {one.run} went different ways: two processes wrote them")
    return taken_up[0]


def lacking(copy: Journal, whole: Journal) -> tuple[Entry, ...]:
    """Return the entries that a copy lacks at its end; raises Permanent if it is none of the whole one."""
    if _hashes(merged(copy, whole), len(copy.entries)) != _hashes(copy, len(copy.entries)):
        raise Permanent(f"this copy of the journal of {copy.run} is another's")
    return whole.entries[len(copy.entries) :]


def _hashes(journal: Journal, first: int) -> tuple[str, ...]:
    """Return what binds the first entries: what was read from JSON has lists where what was just written has tuples."""
    return tuple(entry.hash for entry in journal.entries[:first])


def to_lines(journal: Journal) -> str:
    """Return a journal as JSON lines, the first of which names the run."""
    lines = [_canonical({"run": journal.run}), *(_canonical(vars(entry)) for entry in journal.entries)]
    return "\n".join(lines) + "\n"


def from_lines(text: str) -> Journal:
    """Return the journal of some JSON lines; a last line cut off by a crash is left out; raises Permanent for others."""
    lines = text.split("\n")
    kept = lines[:-1]  # what no newline ends was not written whole
    try:
        run = json.loads(kept[0])["run"]
        return Journal(run, tuple(_entry(json.loads(line)) for line in kept[1:]))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise Permanent(f"this is no journal of a recovery, or is broken: {error}") from None


def _entry(data: Mapping[str, Any]) -> Entry:
    return Entry(**{**data, "kind": Wrote(data["kind"])})


def _first(run: str) -> str:
    return hashlib.sha256(f"flotilla recovery {run}".encode()).hexdigest()


def _hash(entry: Entry) -> str:
    data = {name: value for name, value in vars(entry).items() if name != "hash"}
    return hashlib.sha256(_canonical(data).encode()).hexdigest()


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
