"""A few connections to one database, lent one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from session import Doubt, Late, Session


class Unwritable(Exception):
    """No database may be written now, or none has a connection to spare; nothing was tried."""


class Pool:
    """At most ``size`` connections to one database at a time.

    A connection whose statement is late is kept, and counts: the server's process at its other end is still there, and while a
    standby is away each retry would add another one until the server takes no more.
    """

    def __init__(self, connect: Callable[[], Session], size: int) -> None:
        self._connect, self._size = connect, size
        self._idle: list[Session] = []
        self._late: list[Session] = []
        self._lent: list[Session] = []
        self._coming = 0  # connections that are being made
        self._turn = threading.Condition()
        self._closed = False

    @contextmanager
    def lend(self, patience: float) -> Iterator[Session]:
        """Give a connection for a while; raises Unwritable where there is none to spare."""
        session = self._taken(time.monotonic() + patience)
        goes_to: list[Session] | None = self._idle
        try:
            yield session
        except Late:
            goes_to = self._late
            raise
        except Doubt:
            goes_to = None
            raise
        finally:
            self._give_back(session, goes_to)

    def settle(self) -> None:
        """Take connections back whose late statement was answered meanwhile."""
        with self._turn:
            for session in list(self._late):
                try:
                    done = session.settled()
                except Doubt:
                    self._late.remove(session)
                    session.close()
                else:
                    if done:
                        self._late.remove(session)
                        self._idle.append(session)
            self._turn.notify_all()

    def close(self) -> None:
        """Hang up on all connections; who waits for an answer on one is told at once that there will be none."""
        with self._turn:
            self._closed = True
            for session in self._idle + self._late:
                session.close()
            for session in self._lent:
                session.abandon()
            self._idle, self._late = [], []
            self._turn.notify_all()

    def counts(self) -> dict[str, int]:
        """Return how many connections are idle, lent and late."""
        with self._turn:
            return {"idle": len(self._idle), "lent": len(self._lent), "late": len(self._late)}

    def _taken(self, deadline: float) -> Session:
        with self._turn:
            while True:
                if session := self._idle_one():
                    return session
                if len(self._lent) + len(self._late) + self._coming < self._size:
                    self._coming += 1
                    break
                if not self._lent and not self._coming:
                    raise Unwritable(f"all {self._size} connections wait for the database to confirm a commit")
                if not self._turn.wait(deadline - time.monotonic()):
                    raise Unwritable(f"all {self._size} connections are busy")
        return self._made()

    def _idle_one(self) -> Session | None:
        """Lend an idle connection, if there is one that the server has not ended."""
        if self._closed:
            raise Unwritable("the primary has changed")
        while self._idle:
            session = self._idle.pop()
            if session.is_open():
                self._lent.append(session)
                return session
            session.close()
        return None

    def _made(self) -> Session:
        fresh: Session | None = None
        try:
            fresh = self._connect()
        except Doubt as error:
            raise Unwritable(f"no connection: {error}") from None
        finally:
            with self._turn:
                self._coming -= 1
                if fresh:
                    self._lent.append(fresh)
                self._turn.notify()
        return fresh

    def _give_back(self, session: Session, goes_to: list[Session] | None) -> None:
        with self._turn:
            self._lent.remove(session)
            if self._closed or goes_to is None:
                session.close()
            else:
                goes_to.append(session)
            self._turn.notify()
