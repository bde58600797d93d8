"""Which of the databases may be written, and the few connections to it.

Every database is looked at all the time, side by side, over connections that stay open: after a switchover the new primary is
known at once, however long another host stays silent. A primary that is of a lower epoch than the highest ever seen here is an
old one, whatever it says of itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pool import Pool, Unwritable
from session import Doubt, Failed, Session

BEAT = 0.2  # seconds between two looks at a database
UNASKED = "was not asked yet"
FRESH = 1.5  # seconds for which a look counts
LOOK = 1.0  # seconds that a look may take
CONNECT = 2.0  # seconds that a connection may take
_NO_TABLE = {"42P01", "3F000"}  # SQLSTATE: no such table, no such schema: no recovery has ever been here
_STATE = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')"
_EPOCH = "SELECT epoch FROM flotilla.epoch"
log = logging.getLogger("orders")


@dataclass(frozen=True)
class View:
    """What one database said of itself, and when (monotonic seconds); ``fault`` where it could not be asked."""

    at: float
    fault: str = UNASKED
    recovers: bool = True
    read_only: bool = True
    epoch: int = 0


@dataclass(frozen=True)
class Choice:
    """The database to write to, "" if there is none for the reason given, and the epoch it is of."""

    host: str
    epoch: int
    reason: str = ""


def choose(views: Mapping[str, View], before: Choice, now: float) -> Choice:
    """Return where to write. ``before`` carries the highest epoch ever seen; of two that claim it, the one in use stays."""
    epoch = max([before.epoch, *(view.epoch for view in views.values() if not view.fault)])
    objections = {host: _objection(view, epoch, now) for host, view in views.items()}
    fit = [host for host, objection in objections.items() if not objection]
    if before.host in fit:
        return Choice(before.host, epoch)
    all_asked = all(view.fault != UNASKED for view in views.values())  # else another one may be of a higher epoch
    if len(fit) == 1 and all_asked:
        return Choice(fit[0], epoch)
    if len(fit) > 1:
        return Choice("", epoch, f"{' and '.join(fit)} both claim to be the primary of epoch {epoch}")
    return Choice("", epoch, "; ".join(f"{host} {objection}" for host, objection in objections.items() if objection))


def _objection(view: View, epoch: int, now: float) -> str:
    if view.fault or now - view.at > FRESH:
        return view.fault or f"has not answered for {now - view.at:.1f} s"
    if view.recovers:
        return "is a standby"
    if view.read_only:
        return "is read-only"
    return f"is a primary of epoch {view.epoch}; {epoch} was seen" if view.epoch < epoch else ""


class Primary:
    """The database to write to, followed wherever it goes.

    ``hosts`` are libpq's options by the name of each database. ``prepare`` is called with a connection to a new primary,
    and ``beat`` with one every second: while both end well, orders can be written.
    """

    def __init__(
        self,
        hosts: Mapping[str, dict[str, object]],
        size: int,
        *,
        prepare: Callable[[Session], None],
        beat: Callable[[Session], None],
    ) -> None:
        self._hosts, self._size = hosts, size
        self._prepare, self._beat = prepare, beat
        self._views = {name: View(time.monotonic()) for name in hosts}
        self._choice = Choice("", 0, "no database was asked yet")
        self._orders, self._beats = Pool(self._nowhere, 0), Pool(self._nowhere, 0)
        self._fault = "not written to yet"
        self._beaten = self._beats, float("-inf")  # over which connections a beat was committed last, and when
        self._lock = threading.RLock()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to look at the databases, each in a thread of its own."""
        for name in self._hosts:
            threading.Thread(target=self._watch, args=(name,), name=f"watch-{name}", daemon=True).start()
        threading.Thread(target=self._pulse, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Hang up everywhere."""
        self._stopping.set()
        for pool in (self._orders, self._beats):
            pool.close()

    @property
    def choice(self) -> Choice:
        """Where to write now."""
        return self._choice

    @property
    def views(self) -> Mapping[str, View]:
        """What each database said last."""
        return dict(self._views)

    def counts(self) -> dict[str, int]:
        """Return how many connections for orders are idle, lent and late."""
        return self._orders.counts()

    @property
    def obstacle(self) -> str:
        """Why orders can't be written here, "" if they can: the last beat was committed a moment ago."""
        choice = self._choice
        if not choice.host:
            return choice.reason
        pool, at = self._beaten
        if pool is not self._beats:
            return f"{choice.host}: {self._fault}"
        since = time.monotonic() - at
        return "" if since < 2 * FRESH else f"{choice.host}: no write was committed for {since:.1f} s: {self._fault}"

    @contextmanager
    def session(self, patience: float) -> Iterator[Session]:
        """Give a connection to the primary; raises Unwritable where there is none."""
        choice, pool = self._choice, self._orders
        if not choice.host:
            raise Unwritable(choice.reason)
        with pool.lend(patience) as session:
            yield session

    def _watch(self, name: str) -> None:
        """Look at one database for as long as we live."""
        session: Session | None = None
        while not self._stopping.is_set():
            try:
                session = session or Session(self._hosts[name], CONNECT)
                view = _looked(session)
            except (Doubt, Failed) as error:
                view = replace(self._views[name], fault=f"does not answer: {error}")
                if session:
                    session.close()
                session = None
            with self._lock:
                self._views[name] = view
                self._decide()
            self._stopping.wait(BEAT)

    def _decide(self) -> None:
        before, after = self._choice, choose(self._views, self._choice, time.monotonic())
        self._choice = after
        if (before.host, before.epoch) == (after.host, after.epoch):
            return
        log.warning("epoch %d: %s", after.epoch, f"writes to {after.host}" if after.host else f"cannot write: {after.reason}")
        for pool in (self._orders, self._beats):
            pool.close()
        connect = self._connector(after.host) if after.host else self._nowhere
        self._orders, self._beats, self._fault = Pool(connect, self._size), Pool(connect, 1), "not written to yet"

    def _pulse(self) -> None:
        """Write a little every second, so that it is known that orders can be written."""
        prepared: Pool | None = None
        while not self._stopping.wait(BEAT):
            with self._lock:
                choice, orders, pool = self._choice, self._orders, self._beats
            orders.settle()
            pool.settle()
            beaten, at = self._beaten
            if not choice.host or (beaten is pool and not self._fault and time.monotonic() - at < 1.0):
                continue
            try:
                with pool.lend(0) as session:
                    if prepared is not pool:
                        self._prepare(session)
                        prepared = pool
                    self._beat(session)
                self._fault, self._beaten = "", (pool, time.monotonic())
            except (Doubt, Failed, Unwritable) as error:
                self._fault = str(error)

    def _connector(self, host: str) -> Callable[[], Session]:
        return lambda: Session(self._hosts[host], CONNECT)

    @staticmethod
    def _nowhere() -> Session:
        raise Doubt("there is no primary")


def _looked(session: Session) -> View:
    ((recovers, read_only),) = session.ask(_STATE, patience=LOOK)
    try:
        rows = session.ask(_EPOCH, patience=LOOK)
        epoch = int(rows[0][0] or 0) if rows else 0
    except Failed as error:
        if error.code not in _NO_TABLE:
            raise
        epoch = 0
    return View(time.monotonic(), "", recovers == "t", read_only == "on", epoch)
