"""What an agent remembers over its own death: the highest epoch it accepted, and what its PostgreSQL is to be.

It lies outside PGDATA, and is on disk before what follows from it is done.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from flotilla.errors import Permanent, Transient


class Stale(Permanent):
    """The asker acts for an epoch that has passed, or that belongs to another run: it must stop."""


class NotBegun(Transient):
    """The epoch of an act is above the one accepted here: it has to be begun first."""


class Forgotten(Permanent):
    """The memory is there and cannot be read: nothing is safe until a person has looked."""


@dataclass(frozen=True)
class Memory:
    """``epoch`` of ``run``, accepted ``at`` (seconds since 1970). ``glass`` is who broke the glass for it.

    ``autostart``: whether PostgreSQL is to run. ``fenced``: clients are kept out. ``primary_epoch``: the epoch at which this
    site last was made primary. ``unfinished``: a copy that was begun on PGDATA and not ended, which makes PGDATA useless.
    ``like``: at which epoch it was last made like which site, and what pg_control showed right after.
    """

    epoch: int = 0
    run: str = ""
    at: float = 0.0
    autostart: bool = True
    fenced: bool = False
    primary_epoch: int = 0
    glass: tuple[str, ...] = ()
    unfinished: str = ""
    like: str = ""


def checked_epoch(memory: Memory, epoch: int, run: str) -> None:
    """Raise Stale for an epoch below the accepted one or of another run, NotBegun for one above it."""
    accepted = f"{memory.epoch} was accepted at {_shown(memory.at)}"
    if epoch < memory.epoch:
        raise Stale(f"stale epoch {epoch}: {accepted}")
    if epoch == memory.epoch and run != memory.run:
        raise Stale(f"epoch {epoch} is run {memory.run}'s, not {run}'s: {accepted}")
    if epoch > memory.epoch:
        raise NotBegun(f"epoch {epoch} was not begun here, {accepted}: send begin first")


@dataclass(frozen=True)
class Begun:
    """An epoch that a run begins ``at`` a time, perhaps on the word of those who broke the glass."""

    epoch: int
    run: str
    at: float
    glass: tuple[str, ...] = ()


def accepted(memory: Memory, begun: Begun) -> Memory:
    """Return the memory with an epoch accepted, the same one where it was already; raises Stale."""
    if begun.epoch > memory.epoch:
        return replace(memory, epoch=begun.epoch, run=begun.run, at=begun.at, glass=begun.glass)
    checked_epoch(memory, begun.epoch, begun.run)
    return memory


def to_text(memory: Memory) -> str:
    """Return a memory as it is kept."""
    return json.dumps(asdict(memory), indent=2)


def from_text(text: str, file: str) -> Memory:
    """Return the memory that a file holds; raises Forgotten where it is not one."""
    try:
        data = json.loads(text)
        memory = Memory(**{**data, "glass": tuple(data["glass"])})
    except (ValueError, TypeError, KeyError) as error:
        raise Forgotten(
            f"{file} is not what an agent writes ({error}): without the highest epoch it accepted an agent must not act. "
            "Write it anew with the highest epoch of the other agents, or remove it where this site has no data"
        ) from None
    if not isinstance(memory.epoch, int) or memory.epoch < 0:
        raise Forgotten(f"{file} says epoch {memory.epoch!r}: expected a number")
    return memory


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else "no time yet"
