"""What an agent needs of its site's database, whoever runs that: its own PostgreSQL, or an operator in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from flotilla.node.boot import Answer
from flotilla.node.requests import Act, Reseed, Rewind

Go = Callable[[str], None]
"""Told what is begun next; raises where it must not be begun any more, as another epoch was accepted meanwhile."""

Answers = Callable[[], Mapping[str, Answer | None]]
"""Asks the other agents now; None for one that does not answer."""

Say = Callable[[str], None]
"""Takes a sentence for the agent's log; what was said last is not said again."""

Alone = Callable[[], AbstractContextManager[bool]]
"""Keeps acts out if none is under way; tells whether it does."""


class Told(NamedTuple):
    """What came of an act: one sentence, and whether it changed anything."""

    text: str
    changed: bool


class Guard(Protocol):
    """A process of its own that stops a primary whose agent no longer lives: ``tasks.node_guard``."""

    def supported(self) -> float | None:
        """Return when the primary last was supported, as this agent or an earlier one knew; None where nothing is known."""

    def renew(self, supported: float) -> None:
        """Say when the primary last was supported."""

    def ensure(self) -> None:
        """Have a guard that was begun by this agent."""


class Database(Protocol):
    """A site's database as its agent holds it. Each act looks, acts if needed, and proves; it may be repeated.

    The agent checks the epoch of each act and sees to it that only one goes on at a time. Acts raise Transient where it may
    be tried again, Permanent where it stays wrong: also for what this kind of database cannot do.
    """

    @property
    def stopping(self) -> float:
        """Seconds of ``isolation`` that are needed to stop a primary: it is begun so much earlier."""

    @property
    def guard(self) -> Guard:
        """The guard of its primary."""

    def begin(self) -> None:
        """Have everything as an agent that was here before may have left it half-way.

        Raises Permanent where it could not tell a server that runs.
        """

    def end(self, alone: Callable[[], AbstractContextManager[None]], /) -> str:
        """Let go of it, alone where something is done to it; return what became of it and why."""

    def seen(self) -> dict[str, Any]:
        """Return what the API tells of the database: ``flotilla.recovery.parsing.parse_agent`` reads it.

        Nothing of it waits for PostgreSQL: the other agents take a site for lost that does not answer them in 1.5 s.
        """

    def act(self, act: Act, epoch: int, answers: Answers) -> Told:
        """Do a short act of this epoch."""

    def copy(self, act: Rewind | Reseed, go: Go) -> Told:
        """Do a long act, telling of each of its stages before it is begun."""

    def is_standby(self) -> bool:
        """Return whether it would start as a standby, or is one; waits for nothing."""

    def runs_as_primary(self) -> bool:
        """Return whether there may be a primary that runs; waits for nothing."""

    def stop_now(self) -> None:
        """Have no primary that runs, in order or not: it may have been replaced. What is in the way is logged; asked again."""

    def tend(self, alone: Alone, answers: Answers, say: Say) -> bool:
        """Start what may run and does not, by the boot rule; return whether it takes connections."""

    def beat(self, statements: str) -> None:
        """Have a primary that takes writes write its heartbeat."""
