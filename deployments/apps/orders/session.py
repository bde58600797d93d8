"""One connection to PostgreSQL that never keeps its caller longer than it wants, and never takes a doubt for a promise.

It speaks libpq's asynchronous way (psycopg.pq), since no timeout of the server or of a driver does what is needed here: a
commit that waits for a synchronous standby is not ended by statement_timeout, and a driver that is cancelled sends a cancel
request, which makes the server give up the wait and *report success* for a transaction that is on one machine only.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from psycopg import OperationalError, pq

Row = tuple[str | None, ...]
_WANTED = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}
_ENDING = ("08", "57P")  # SQLSTATE: the connection is lost, the server ends; whether it committed is not said


class Doubt(Exception):
    """Nobody said whether the statement took effect."""


class Late(Doubt):
    """The server has not answered yet; it may still."""


class Failed(Exception):
    """The server said no: the statement had no effect. ``code`` is its SQLSTATE."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(f"{message} (SQLSTATE {code})")


class Session:
    """An open connection. Not to be used by two threads at once. ``options`` are libpq's, on top of its environment."""

    def __init__(self, options: dict[str, object], patience: float) -> None:
        text = " ".join(f"{name}='{value}'" for name, value in options.items())
        self._warnings: list[str] = []
        self._connection = pq.PGconn.connect_start(text.encode())
        self._connection.notice_handler = self._noticed
        try:
            self._connect(time.monotonic() + patience)
        except OperationalError as error:
            self.close()
            raise Doubt(f"the connection was lost: {error}") from None
        except BaseException:
            self.close()
            raise
        self._connection.nonblocking = 1

    def ask(self, statement: str, values: Sequence[str | None] = (), *, patience: float) -> list[Row]:
        """Return the rows of a statement that is a transaction of its own, once the server has said that it is complete.

        Raises Failed (no effect), Late (no answer within ``patience`` seconds: ``settled`` tells when it has come) or Doubt.
        """
        self._warnings.clear()
        try:
            self._connection.send_query_params(statement.encode(), [None if one is None else one.encode() for one in values])
            self._send(time.monotonic() + patience)
            return self._answer(time.monotonic() + patience)
        except OperationalError as error:
            raise Doubt(f"the connection was lost: {error}") from None

    def settled(self) -> bool:
        """Whether a statement that was late has been answered by now; what the answer was is not told. Never waits."""
        try:
            self._connection.consume_input()
            while not self._connection.is_busy():
                if self._connection.get_result() is None:
                    return True
        except OperationalError as error:
            raise Doubt(f"the connection was lost: {error}") from None
        return False

    def is_open(self) -> bool:
        """Whether the server has not hung up on an idle connection."""
        if self._connection.status != pq.ConnStatus.OK:
            return False
        try:
            if not _is_ready(self._connection.socket, select.POLLIN, time.monotonic()):
                return True
            self._connection.consume_input()
        except OperationalError:
            return False
        return bool(self._connection.status == pq.ConnStatus.OK)

    def abandon(self) -> None:
        """Have whoever waits for an answer wait no longer; the one call that another thread may make, until it is closed.

        A connection that is lost already has no socket: whoever has it knows, and is about to give it back.
        """
        with suppress(OSError, OperationalError), socket.socket(fileno=os.dup(self._connection.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up. A statement under way goes on at the server: it is not cancelled."""
        self._connection.finish()

    def _connect(self, deadline: float) -> None:
        while True:
            state = self._connection.connect_poll()
            if state == pq.PollingStatus.OK:
                return
            if state == pq.PollingStatus.FAILED:
                raise Doubt(_text(self._connection.error_message))
            wanted = select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
            if not _is_ready(self._connection.socket, wanted, deadline):
                raise Late("no connection in time")

    def _send(self, deadline: float) -> None:
        while self._connection.flush():
            if not _is_ready(self._connection.socket, select.POLLIN | select.POLLOUT, deadline):
                raise Late("the server takes no statement")
            self._connection.consume_input()

    def _answer(self, deadline: float) -> list[Row]:
        """Read until the server is ready for the next statement: only then the transaction is over, whatever came before."""
        rows: list[Row] = []
        failure: Failed | None = None
        while True:
            while self._connection.is_busy():
                if not _is_ready(self._connection.socket, select.POLLIN, deadline):
                    raise Late("no answer in time")
                self._connection.consume_input()
            result = self._connection.get_result()
            if result is None:
                break
            if result.status in _WANTED:
                rows = [_row(result, number) for number in range(result.ntuples)]
            else:
                failure = Failed(_field(result, pq.DiagnosticField.SQLSTATE), _text(result.error_message))
        return self._judged(rows, failure)

    def _judged(self, rows: list[Row], failure: Failed | None) -> list[Row]:
        if self._connection.status != pq.ConnStatus.OK or (failure and failure.code.startswith(_ENDING)):
            raise Doubt(f"the server ended the connection: {failure or _text(self._connection.error_message)}")
        if failure:
            raise failure
        if self._warnings:  # whatever the language of its messages: that a wait for the standby was given up is a warning
            raise Doubt(f"the server warned: {self._warnings[0]}")
        return rows

    def _noticed(self, notice: pq.abc.PGresult) -> None:
        if _field(notice, pq.DiagnosticField.SEVERITY_NONLOCALIZED) == "WARNING":
            self._warnings.append(_field(notice, pq.DiagnosticField.MESSAGE_PRIMARY))


def _is_ready(descriptor: int, wanted: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, wanted)
    return bool(poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))))


def _row(result: pq.abc.PGresult, number: int) -> Row:
    values = (result.get_value(number, column) for column in range(result.nfields))
    return tuple(None if value is None else value.decode() for value in values)


def _field(result: pq.abc.PGresult, field: pq.DiagnosticField) -> str:
    return _text(result.error_field(field) or b"")


def _text(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").split())
