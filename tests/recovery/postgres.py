"""Two real PostgreSQL on loopback, the one a standby of the other, for tests of what writes to them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.metrics.programs import free_port, until

PATIENCE = 30.0  # seconds
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # nobody pulls this machine's plug in a test
    "shared_buffers": "16MB",
    "max_connections": "40",
    "wal_receiver_timeout": "2s",
    "wal_retrieve_retry_interval": "100ms",
    "hot_standby": "on",
}


def programs() -> Path:
    """Return where initdb is; the test is skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "/none")]
    if not found[-1].exists():
        pytest.skip("no PostgreSQL on this machine")
    return found[-1].parent


@dataclass
class Database:
    """One instance: ended, killed and started by its own pid."""

    name: str
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=5"

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as superuser, not waiting for any standby."""
        with psycopg.connect(self.url, autocommit=True, options="-c synchronous_commit=local") as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: object) -> Any:
        return self.sql(statement, *values)[0][0]

    def start(self) -> None:
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(programs() / "postgres"), "-D", str(self.folder), "-p", str(self.port), *settings]
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            subprocess.Popen([*as_owner(), *command, "-c", f"cluster_name={self.name}"], stdout=log, stderr=log)
        until(self._answers, f"an answer of {self.name}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT fast, SIGQUIT as in a crash."""
        pid = self.pid()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            until(lambda: not _lives(pid), f"end of {self.name}")

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def pid(self) -> int | None:
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None
        return pid if _lives(pid) else None

    def follow(self, other: Database) -> None:
        """Be a standby of another one, from its next start."""
        conninfo = f"host=127.0.0.1 port={other.port} user=postgres application_name={self.name}"
        with (self.folder / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo='{conninfo}'\n")
        (self.folder / "standby.signal").touch()

    def forget_upstream(self) -> None:
        """Take WAL from nobody, from its next start."""
        with (self.folder / "postgresql.auto.conf").open("a") as settings:
            settings.write("primary_conninfo=''\n")

    def synchronous(self, names: str) -> None:
        self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.sql("SELECT pg_reload_conf()")
        until(lambda: self.one("SHOW synchronous_standby_names") == names, "the setting")

    def promote(self) -> None:
        self.sql("SELECT pg_promote(true)")
        self.synchronous("")

    def set_epoch(self, epoch: int) -> None:
        """Write the epoch as a site agent does after a promotion."""
        self.sql("CREATE SCHEMA IF NOT EXISTS flotilla")
        self.sql("CREATE TABLE IF NOT EXISTS flotilla.epoch (epoch bigint)")
        self.sql("DELETE FROM flotilla.epoch")
        self.sql("INSERT INTO flotilla.epoch VALUES (%s)", epoch)

    def _answers(self) -> bool:
        try:
            return bool(self.one("SELECT true"))
        except psycopg.OperationalError:
            return False


@dataclass
class Pair:
    """A primary, and a standby that every commit waits for."""

    first: Database
    second: Database

    def until_synchronous(self) -> None:
        def is_sync() -> bool:
            return self.first.sql("SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'") == [("second",)]

        until(is_sync, "a synchronous standby")


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a folder of the one who may own databases."""
    folder = Path(tempfile.mkdtemp(prefix="flotilla-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_template(folder: Path) -> None:
    """Have a primary of epoch 1 in a folder, cleanly ended: to be copied, since making one takes longer."""
    first = Database("first", folder / "first", free_port())
    _run(programs() / "initdb", "-D", first.folder, "-U", "postgres", "-A", "trust", "-k", "-N", "--no-locale", "-E", "UTF8")
    first.start()
    first.set_epoch(1)
    first.stop()


@contextmanager
def pair(template: Path) -> Iterator[Pair]:
    """Yield a primary of epoch 1 with its synchronous standby, both begun as copies of a template."""
    with own_folder() as folder:
        made = Pair(Database("first", folder / "first", free_port()), Database("second", folder / "second", free_port()))
        for one in (made.first, made.second):
            _run("cp", "-a", template / "first", one.folder)
        try:
            made.first.start()
            made.second.follow(made.first)
            made.second.start()
            made.first.synchronous('FIRST 1 ("second")')
            made.until_synchronous()
            yield made
        finally:
            for one in (made.second, made.first):
                one.crash()


def as_owner() -> list[str]:
    """Say how to begin a command that is to run as whoever may own a database: never root."""
    if os.geteuid():
        return []
    owner = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]


def _run(*command: str | Path) -> None:
    done = subprocess.run([*as_owner(), *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    if state == "Z":
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return False
    return True
