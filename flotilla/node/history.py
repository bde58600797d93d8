"""Timelines: their history files, the names of WAL files, and where two servers' histories part.

Sources: PostgreSQL 15, src/backend/access/transam/timeline.c and src/bin/pg_rewind/timeline.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flotilla.errors import Permanent
from flotilla.recovery import lsn

SEGMENT = 16 << 20  # bytes; initdb's default, which the agent does not change
_WAL_FILE = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")
_HISTORY_FILE = re.compile(r"([0-9A-F]{8})\.history")


@dataclass(frozen=True)
class Stretch:
    """A timeline of a server's past: it ended at ``end`` (bytes), where the next one began; None for the one of now."""

    timeline: int
    end: int | None


def parse_history(text: str, timeline: int) -> tuple[Stretch, ...]:
    """Return the history that leads to a timeline, from its .history file; an empty text is timeline 1's."""
    stretches = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words:
            if len(words) < 2 or not words[0].isdecimal():
                raise Permanent(f"the history of timeline {timeline} has a line {line!r}: expected a timeline and a position")
            stretches.append(Stretch(int(words[0]), lsn.parse(words[1])))
    return (*stretches, Stretch(timeline, None))


def history_file(timeline: int) -> str:
    """Return the name of a timeline's history file."""
    return f"{timeline:08X}.history"


def forks(history: Sequence[Stretch]) -> dict[int, int]:
    """Return where each timeline but the first began."""
    return {after.timeline: before.end or 0 for before, after in pairwise(history)}


def parting(ours: Sequence[Stretch], theirs: Sequence[Stretch]) -> tuple[int, int | None]:
    """Return the last common timeline of two histories and where they part on it; None if neither has left it.

    Raises Permanent where they have not even begun alike.
    """
    common = [(one, other) for one, other in zip(ours, theirs, strict=False) if one.timeline == other.timeline]
    alike = 0
    for one, other in common:
        alike += 1
        if one.end != other.end:
            break
    if not alike:
        raise Permanent("the two histories have no timeline in common: these are not copies of one database")
    one, other = common[alike - 1]
    ends = [end for end in (one.end, other.end) if end is not None]
    return one.timeline, min(ends) if ends else None


@dataclass(frozen=True)
class Piece:
    """A piece of one timeline's WAL, in bytes; ``end`` is None where it goes on to the end of what there is."""

    timeline: int
    begin: int
    end: int | None


def beyond(ours: Sequence[Stretch], timeline: int, fork: int) -> tuple[Piece, ...]:
    """Return what of our history is not another's, which left it at ``fork`` of a timeline: a piece of each timeline since."""
    since = [one for one in ours if one.timeline >= timeline]
    begins = [fork, *(one.end or 0 for one in since)]
    pieces = [Piece(one.timeline, begin, one.end) for one, begin in zip(since, begins, strict=False)]
    return tuple(one for one in pieces if one.end is None or one.end > one.begin)


def newest_timeline(names: Iterable[str]) -> int | None:
    """Return the highest timeline that the names of WAL files speak of; None where there is no such file."""
    found = [int(match[1], 16) for name in names if (match := _WAL_FILE.fullmatch(name))]
    return max(found, default=None)


def histories(names: Iterable[str]) -> list[int]:
    """Return the timelines whose history files are among some names."""
    return sorted(int(match[1], 16) for name in names if (match := _HISTORY_FILE.fullmatch(name)))


def segments_from(names: Iterable[str], timeline: int, position: int) -> list[str]:
    """Return the WAL files of a timeline, and of later ones, that hold something at or after a position."""
    wanted = []
    for name in names:
        match = _WAL_FILE.fullmatch(name)
        if match and int(match[1], 16) >= timeline and _end_of(match) > position:
            wanted.append(name)
    return sorted(wanted)


def _end_of(match: re.Match[str]) -> int:
    per_id = (1 << 32) // SEGMENT
    return (int(match[2], 16) * per_id + int(match[3], 16) + 1) * SEGMENT
