"""A connection to PostgreSQL that stays open, and answers in time or is broken off by us.

PostgreSQL's own time-outs do not end a wait for a synchronous standby, and cancelling one acknowledges the commit
(recovery-lab.md, 0.2 and 0.3): so nothing is ever cancelled here, the socket is shut down.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from flotilla.errors import Permanent, Transient

LEAST_TO_CONNECT = 2.0  # seconds; libpq's own least

Row = tuple[Any, ...]


class Line:
    """One connection, made when it is first needed, and anew when it broke. One question at a time."""

    def __init__(self, name: str, settings: Mapping[str, object]) -> None:
        self.name = name
        self._settings = {key: value for key, value in settings.items() if value is not None}
        self._connection: Connection[Row] | None = None
        self._lock = threading.Lock()

    def ask(self, query: str, values: tuple[object, ...] = (), *, within: float = 1.0) -> list[Row]:
        """Return the rows of an answer, none for a command.

        A connection that turns out to be broken is made anew once, so what is asked must bear being said twice. Raises
        Transient where nothing answered within so many seconds (what was asked may then have been done), Permanent
        where PostgreSQL refused it.
        """
        deadline = time.monotonic() + within
        with self._lock:
            fresh = self._connection is None
            try:
                return self._asked(query, values, deadline)
            except _Broken as broken:
                if fresh or time.monotonic() > deadline:
                    raise Transient(f"{self.name}: {broken}") from None
            try:
                return self._asked(query, values, deadline)
            except _Broken as broken:
                raise Transient(f"{self.name}: {broken}") from None

    def encrypted(self, role: str, password: str) -> str:
        """Return the verifier of a password, so that the password itself never reaches the server or its log."""
        with self._lock:
            connection = self._connected(time.monotonic() + LEAST_TO_CONNECT)
            return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()

    def close(self) -> None:
        """Close the connection, if there is one; the next question makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _asked(self, query: str, values: tuple[object, ...], deadline: float) -> list[Row]:
        connection = self._connected(deadline)
        cutter = threading.Timer(max(0.01, deadline - time.monotonic()), _shut, [connection])
        cutter.daemon = True
        cutter.start()
        try:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            late = time.monotonic() >= deadline
            raise _Broken("did not answer in time" if late else _sentence(error)) from None
        except psycopg.Error as error:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                self.close()  # refused between begin and commit, it would refuse all that is asked after it
            raise Permanent(f"{self.name} refused it: {_sentence(error)}") from None
        finally:
            cutter.cancel()

    def _connected(self, deadline: float) -> Connection[Row]:
        if self._connection is None:
            patience = max(LEAST_TO_CONNECT, deadline - time.monotonic())
            try:
                self._connection = psycopg.connect(
                    make_conninfo("", **self._settings, connect_timeout=round(patience)),  # type: ignore[arg-type]
                    autocommit=True,
                    prepare_threshold=None,
                )
            except psycopg.Error as error:
                raise _Broken(_sentence(error)) from None
        return self._connection


class _Broken(Exception):
    """The connection is of no use any more."""


def _shut(connection: Connection[Row]) -> None:
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as other:
        other.shutdown(socket.SHUT_RDWR)


def _sentence(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
