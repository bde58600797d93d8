"""A node's PostgreSQL as its agent holds it: its files, server, memory and connection; started, stopped, promoted.

Each act looks, acts if needed, and proves; it may be repeated. Whoever calls sees to it that only one goes on at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from flotilla.errors import Permanent, Transient
from flotilla.node import settings
from flotilla.node.boot import Role, may_be_primary
from flotilla.node.config import AgentConfig
from flotilla.node.controldata import ControlData, parse_controldata
from flotilla.node.database import Answers, Told
from flotilla.node.hba import ADMIN, OPERATOR, REPLICATION, REWIND, hba, ident
from tasks.node_account import account
from tasks.node_files import Recollection, keep, read_secret
from tasks.node_processes import POLL, Server, run
from tasks.sql import Line, Row

START = 60.0  # seconds for PostgreSQL to take connections; crash recovery is part of it
ACT = 5.0  # seconds for what takes milliseconds
SIGNAL = "standby.signal"
STOPS = {"fast": 30.0, "immediate": 10.0, "kill": 5.0}  # seconds
_WRITE = (
    "begin read write; set local synchronous_commit = local; "
    "update flotilla.epoch set epoch = {epoch:d}, primary_site = '{site}', at = clock_timestamp(); commit"
)


class Node:
    """One site's PostgreSQL."""

    def __init__(self, config: AgentConfig, memory: Recollection) -> None:
        self.config = config
        self.memory = memory
        self.data = config.postgres.data
        self.wal = self.data / "pg_wal"
        self.program = config.state / "program"  # the process of a long act, for whoever comes after a sudden death
        self.account = account(config.postgres.user)
        lock = config.postgres.run / f".s.PGSQL.{config.postgres.port}.lock"
        self.server = Server(self.data, settings.command(config), config.state / "postgres.log", self.account, lock)
        self.line = Line(f"PostgreSQL of {config.site}", self._local(OPERATOR))
        self._control: tuple[int, ControlData] | None = None

    def write_files(self) -> bool:
        """Have all files that PostgreSQL reads, outside PGDATA; tell whether one of them changed."""
        config, files = self.config, settings.files(self.config)
        for folder, mode in ((config.state, 0o700), (config.postgres.run, 0o755)):
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        self.account.keep_out(config.state)
        self.account.own(config.postgres.run)
        texts = {
            "postgresql.conf": settings.configuration(config),
            "pg_hba.conf": hba(config.postgres.networks, fenced=self.memory.now.fenced),
            "pg_ident.conf": ident(dict.fromkeys((self.account.agent, self.account.name))),
            "pgpass": settings.passfile({role: self.password(role) for role in (REPLICATION, REWIND)}),
        }
        return bool([name for name, text in texts.items() if keep(files[name], text, self.account)])

    def password(self, role: str) -> str:
        """Return the password of a role; raises Permanent where its file holds none."""
        return read_secret(Path(getattr(self.config.postgres.passwords, role)), f"password of {role}")

    def control(self) -> ControlData:
        """Return what pg_control says; raises Permanent where there is none."""
        file = self.data / "global" / "pg_control"
        try:
            stamp = file.stat().st_mtime_ns
        except OSError as error:
            raise Permanent(f"{file} cannot be read: {error.strerror}") from None
        if self._control is None or self._control[0] != stamp:
            told = run([self.config.postgres.bin / "pg_controldata", "-D", self.data], self.account, within=ACT)
            self._control = stamp, parse_controldata(told)
        return self._control[1]

    @property
    def signal(self) -> Path:
        """The file that makes the server a standby."""
        return self.data / SIGNAL

    def ask(self, query: str, *values: object, within: float = ACT) -> list[Row]:
        """Ask as operator; what is asked is said again where the connection turns out to be broken."""
        return self.line.ask(query, values, within=within)

    def admin(self, database: str = "postgres") -> Line:
        """Return a line as superuser, which only the node's own agent gets, and not while it is fenced."""
        return Line(f"PostgreSQL of {self.config.site}", {**self._local(ADMIN), "dbname": database})

    def runs(self) -> bool:
        """Return whether the server takes connections."""
        return self.server.state() == "running"

    def must_run(self) -> None:
        """Raise Transient unless the server takes connections."""
        state = self.server.state()
        if state != "running":
            raise Transient(f"PostgreSQL of {self.config.site} is {state}: it has to run for this")

    def in_recovery(self) -> bool:
        """Return whether the running server is a standby."""
        return bool(self.ask("select pg_is_in_recovery()")[0][0])

    def setting(self, name: str) -> str:
        """Return a setting of the running server, as its processes come to see it."""
        return str(self.ask("select setting from pg_settings where name = %s", name)[0][0])

    def alter(self, name: str, value: str | None) -> bool:
        """Have a setting set for good, None for not set; return whether that changed anything."""
        self.must_run()
        wanted = value if value is not None else self._default(name)
        if self.setting(name) == wanted:
            return False
        literal = "'" + wanted.replace("'", "''") + "'"
        self.ask(f"alter system reset {name}" if value is None else f"alter system set {name} = {literal}")
        self.server.reload()
        until(lambda: self.setting(name) == wanted, ACT, f"{name} to be {wanted!r}")
        return True

    def reload_access(self) -> bool:
        """Have the server let in whom pg_hba.conf says now, proved by trying to get in; tell whether the file changed."""
        changed = self.write_files()
        if self.runs():
            wanted = not self.memory.now.fenced
            self.server.reload()
            until(lambda: self._lets_in() == wanted, ACT, "pg_hba.conf to be read again")
        return changed

    def _lets_in(self) -> bool:
        line = self.admin(self.config.postgres.database)
        try:
            line.ask("select 1", within=ACT)
        except Transient as error:
            if "pg_hba.conf" not in str(error):
                raise
            return False
        finally:
            line.close()
        return True

    def _default(self, name: str) -> str:
        return str(self.ask("select boot_val from pg_settings where name = %s", name)[0][0])

    def _local(self, role: str) -> dict[str, object]:
        postgres = self.config.postgres
        return {"host": str(postgres.run), "port": postgres.port, "user": role, "dbname": postgres.database}


def start(node: Node, role: Role, epoch: int, answers: Answers) -> Told:
    """Have the server run as what it is said to be; raises Permanent where it is something else, or may not be that."""
    site, is_standby = node.config.site, node.signal.exists()
    if node.memory.now.unfinished:
        raise Permanent(f"{node.memory.now.unfinished} was begun at {site} and not ended: reseed it")
    if node.runs():
        return _runs_as(node, role)
    if node.server.state() == "absent":
        raise Permanent(f"{site} has no database to start: reseed it")
    if is_standby is not (role is Role.STANDBY):
        found = "a standby" if is_standby else "no standby"
        raise Permanent(f"{site} is {found}: " + ("promote it" if is_standby else "have it follow another site first"))
    if role is Role.PRIMARY:
        allowed = may_be_primary(node.memory.now, answers())
        if allowed.role is None:
            raise Permanent(f"{site} is not started as primary: {allowed.told}")
        node.memory.change(primary_epoch=epoch)
    node.memory.change(autostart=True)
    launch(node)
    return Told(f"PostgreSQL of {site} runs as {role}", changed=True)


def _runs_as(node: Node, role: Role) -> Told:
    found = Role.STANDBY if node.in_recovery() else Role.PRIMARY
    if found is not role:
        raise Permanent(f"{node.config.site} runs as {found}, not as {role}: stop it first")
    changed = not node.memory.now.autostart
    node.memory.change(autostart=True)
    return Told(f"PostgreSQL of {node.config.site} runs as {role}", changed)


def launch(node: Node, within: float = START) -> None:
    """Have the server running with the files of now; the boot rule is the caller's."""
    node.write_files()
    node.server.start(within)


def stop(node: Node, mode: str) -> Told:
    """Have no server, and none that comes back by itself."""
    state, was = node.server.state(), node.memory.now.autostart
    node.memory.change(autostart=False)
    if state == "absent":
        return Told(f"{node.config.site} has no database", was)
    stopped = halt(node, mode)
    return Told(f"PostgreSQL of {node.config.site} is stopped: {node.control().state}", stopped or was)


def halt(node: Node, mode: str) -> bool:
    """Have no server for now; the agent starts it again where the boot rule allows it."""
    stopped = node.server.stop(mode, STOPS[mode])
    node.line.close()
    return stopped


def promote(node: Node, timeout: float, epoch: int) -> Told:
    """Have the standby be the primary, and the epoch written in it before anything else.

    The memory says so first: another agent that asks must not be told that nobody was promoted.
    """
    node.must_run()
    was_standby = node.in_recovery()
    if was_standby:
        node.memory.change(primary_epoch=epoch)
        node.ask("select pg_promote(false)")
        until(lambda: not node.in_recovery(), timeout, "the standby to be promoted")
    elif node.memory.now.primary_epoch != epoch and written_epoch(node)[0] != epoch:
        raise Permanent(f"{node.config.site} is a primary since epoch {node.memory.now.primary_epoch}: nothing to promote")
    wrote = write_epoch(node, epoch)
    timeline = int(str(node.ask("select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")[0][0]), 16)
    return Told(f"{node.config.site} is the primary of epoch {epoch} on timeline {timeline}", was_standby or wrote)


class Asked(Protocol):
    """A site's database that answers its agent."""

    @property
    def config(self) -> AgentConfig:
        """The agent's file."""

    def ask(self, query: str, *values: object, within: float = ACT) -> list[Row]:
        """Ask as operator."""


def write_epoch(node: Asked, epoch: int) -> bool:
    """Have the epoch and this site stand in the database; False where they did.

    It waits for no standby, which may not be there yet, and is written whatever the default of transactions is.
    """
    site = node.config.site
    found = written_epoch(node)
    if found == (epoch, site):
        return False
    if found[0] > epoch:
        raise Permanent(f"the database of {site} was already {found[1]}'s at epoch {found[0]}, above {epoch}")
    node.ask(_WRITE.format(epoch=epoch, site=site))
    if written_epoch(node) != (epoch, site):
        raise Transient(f"epoch {epoch} is not written in the database of {site}")
    return True


def written_epoch(node: Asked) -> tuple[int, str]:
    """Return the epoch that stands in the database, and whose."""
    rows = node.ask("select epoch, primary_site from flotilla.epoch")
    if len(rows) != 1:
        raise Permanent(f"flotilla.epoch at {node.config.site} has {len(rows)} rows: expected one, made by initialise")
    return int(rows[0][0]), str(rows[0][1])


def until(holds: Callable[[], bool], within: float, what: str, every: float = POLL) -> None:
    """Wait for something to be so, looking ``every`` so many seconds.

    Raises Transient that names it, with what it saw last where that was an error.
    """
    deadline, last = time.monotonic() + within, ""
    while True:
        try:
            if holds():
                return
        except Transient as error:
            last = f": {error}"
        if time.monotonic() > deadline:
            raise Transient(f"waited {within:.0f} s for {what}{last}")
        time.sleep(every)
