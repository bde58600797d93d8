"""Three agents with three real PostgreSQLs on loopback, run as PostgreSQL's own user; acts said to them by hand."""

from __future__ import annotations

import atexit
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg

from flotilla.errors import FlotillaError, Transient
from lab.databases import BINARIES, Database, give_away, prepare
from tasks.agents import Agent
from tests.metrics.programs import free_port

PATIENCE = 150.0  # seconds; below 5 is usual
SITES = ("production", "same-city", "remote")
SYNC = 'FIRST 1 ("same-city")'
USER = "postgres"


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition; what cannot be looked at does not hold yet."""
    deadline, last = time.monotonic() + PATIENCE, ""
    while True:
        try:
            if holds():
                return
            last = "no"
        except (FlotillaError, psycopg.Error) as error:
            last = str(error)
        assert time.monotonic() < deadline, f"not after {PATIENCE:.0f} s: {what}; last seen: {last}"
        time.sleep(0.1)


@dataclass
class Site:
    """One site: its agent as a process, and a client of it."""

    database: Database
    agent: Agent
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.database.site

    @property
    def log(self) -> Path:
        return self.database.folder / "agent.log"

    def start(self) -> None:
        """Have the agent answer."""
        self.launch()
        until(self.answers, f"the agent of {self.name} answers; {self.log.read_text()[-2000:]}")

    def launch(self) -> None:
        command = [str(Path(sys.executable).with_name("flotilla")), "agent", "--config", str(self.database.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[3])

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with suppress(Transient):
            return bool(self.agent.seen())
        return False

    def end(self, what: signal.Signals = signal.SIGTERM) -> None:
        """End the agent; PostgreSQL goes on."""
        if self.process:
            self.process.send_signal(what)
            self.process.wait(PATIENCE)
            self.process = None

    @property
    def server(self) -> int | None:
        """The process of its PostgreSQL."""
        with suppress(OSError, ValueError, psutil.Error, IndexError):
            pid = int((self.database.data / "postmaster.pid").read_text().split()[0])
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.database.data:
                return pid
        return None

    def crash(self) -> None:
        """Kill PostgreSQL, all of its processes at once."""
        pid = self.server
        if pid is None:
            return
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        until(lambda: not any(_lives(process) for process in family), f"PostgreSQL of {self.name} is dead")

    def connect(self, user: str = "app", **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the application does."""
        one = self.database
        return psycopg.connect(
            host=one.host, port=one.port, user=user, dbname="orders", password=one.password(user).read_text(),
            sslmode="verify-full", sslrootcert=str(one.ca), autocommit=True, connect_timeout=5, **more,
        )  # fmt: skip

    def ask(self, query: str, user: str = "observer") -> Any:
        """Return the only value of an answer."""
        with self.connect(user) as connection:
            row = connection.execute(query.encode()).fetchone()
            return row[0] if row else None

    def ask_as_app(self, query: str) -> Any:
        """Return the only value of an answer to the application."""
        return self.ask(query, "app")

    def admin(self, query: str) -> str:
        """Ask as superuser, on the node."""
        one = self.database
        command = ["psql", "-qAtX", "-h", str(one.folder / "run"), "-p", str(one.port), "-U", "postgres", "-d", "orders"]
        done = subprocess.run(
            [*command, "-v", "ON_ERROR_STOP=1", "-c", query], capture_output=True, text=True, timeout=PATIENCE, check=False,
            **as_postgres(one.home),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def shut_down(self) -> None:
        """End PostgreSQL as an administrator does."""
        one = self.database
        command = [str(BINARIES / "pg_ctl"), "-D", str(one.data), "-m", "fast", "-w", "stop"]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE, **as_postgres(one.home))

    @property
    def seen(self) -> dict[str, Any]:
        return self.agent.seen()

    @property
    def shown(self) -> dict[str, Any]:
        """What the agent shows of the database."""
        return dict(self.agent.seen()["database"])


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended may be shown for long where nobody takes leave of it."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass
class Trio:
    """Three sites under one home, and the epoch that the test acts at."""

    home: Path
    sites: dict[str, Site]
    epoch: int = 0
    run: str = "none"
    touched: bool = False
    spent: list[tuple[str, str, float]] = field(default_factory=list)

    def __getitem__(self, name: str) -> Site:
        return self.sites[name]

    def begin(self, *names: str) -> None:
        """Have sites, or all, accept the next epoch."""
        self.epoch, self.run = self.epoch + 1, f"run-{self.epoch + 1}"
        for name in names or SITES:
            self.act(name, "begin")

    def act(self, site: str, kind: str, **given: Any) -> dict[str, Any]:
        """Have an act done, to its end; a site that is busy with itself is asked again."""
        self.touched |= kind != "begin"
        began = time.monotonic()
        body = {"kind": kind, **{key.rstrip("_"): value for key, value in given.items()}}
        done = self.sites[site].agent.act(self.epoch, self.run, body)
        if "job" in done:
            done = self.sites[site].agent.finished(done["job"], 300)
        self.spent.append((site, kind, time.monotonic() - began))
        return done

    def build(self) -> None:
        """Have a primary in production, synchronous to same-city, with remote following too."""
        self.begin()
        self.act("production", "initialise")
        self.act("production", "create_slots", names=["same-city", "remote"])
        for name in ("same-city", "remote"):
            self.act(name, "reseed", upstream="production")
            self.act(name, "start", as_="standby")
            self.follows(name, "production")
        self.act("production", "set_sync", names=SYNC)
        until(lambda: self.sync_state("production", "same-city") == "sync", "same-city is synchronous")

    def restore(self) -> None:
        """Have production the primary that same-city and remote follow, every agent alive, nothing set otherwise."""
        if not self.touched and all(site.process for site in self.sites.values()):
            return
        for site in self.sites.values():
            if site.process is None:
                site.start()
        self.begin()
        self.act("production", "start", as_="primary")
        for kind in ("unfence", "undrain"):
            self.act("production", kind)
        self.act("production", "create_slots", names=["same-city", "remote"])
        for name in ("same-city", "remote"):
            self.act(name, "unfence")
            self.act(name, "start", as_="standby")
            self.act(name, "resume_replay")
            self.act(name, "follow", upstream="production")
            self.follows(name, "production")
        self.act("production", "set_sync", names=SYNC)
        until(lambda: self.sync_state("production", "same-city") == "sync", "same-city is synchronous")
        self.touched = False

    def sync_state(self, primary: str, site: str) -> str:
        return str(self[primary].ask(f"select sync_state from pg_stat_replication where application_name = '{site}'"))

    def follows(self, site: str, upstream: str) -> None:
        """Wait until a site has all that its upstream had when it was asked: the only proof that it follows."""
        wanted = self[upstream].ask("select pg_current_wal_flush_lsn()")
        until(
            lambda: self[site].ask(f"select pg_is_in_recovery() and pg_last_wal_replay_lsn() >= '{wanted}'"),
            f"{site} has {wanted} of {upstream}",
        )


@contextmanager
def built(**changes: Any) -> Iterator[Trio]:
    """Give three sites that were built by a trio's acts, once for all tests: a copy of what that left, ended cleanly."""
    with trio(copied=_built_once(), **changes) as made:
        made.epoch, made.run = 1, "run-1"
        until(lambda: made["production"].shown["process"] == "running", "production runs")
        for name in ("same-city", "remote"):
            made.follows(name, "production")
        until(lambda: made.sync_state("production", "same-city") == "sync", "same-city is synchronous")
        yield made


@cache
def _built_once() -> Path:
    home = new_home()
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    with trio() as made:
        made.build()
        for site in made.sites.values():
            site.end()
            site.shut_down()
        subprocess.run(["cp", "-a", f"{made.home}/.", str(home)], check=True)
    (home / "was").write_text(json.dumps([str(made.home), *(site.database.port for site in made.sites.values())]))
    return home


def _copy(template: Path, databases: Sequence[Database]) -> None:
    """Have what a trio left at a home of its own: its addresses are told anew, its logs and locks begin anew."""
    home = databases[0].home
    subprocess.run(["cp", "-a", "--reflink=auto", f"{template}/.", str(home)], check=True)
    was = json.loads((home / "was").read_text())
    told = dict(zip(map(str, was), map(str, (home, *(one.port for one in databases))), strict=True))
    for one in databases:
        settings = one.data / "postgresql.auto.conf"
        settings.write_text(re.sub("|".join(map(re.escape, told)), lambda found: told[found[0]], settings.read_text()))
        one.folder.joinpath("agent.log").unlink()
        for file in one.folder.joinpath("state").iterdir():
            if file.name != "memory.json":
                file.unlink()


def new_home() -> Path:
    """Return a new folder that PostgreSQL's user may pass through."""
    home = Path(tempfile.mkdtemp(prefix="flotilla-", dir="/tmp" if Path("/tmp").is_dir() else None))
    home.chmod(0o755)
    return home


@contextmanager
def trio(copied: Path | None = None, **changes: Any) -> Iterator[Trio]:
    """Give three sites whose agents answer, bare or with what another trio left; nothing of them is left."""
    home = new_home()
    databases = [Database(name, home, "127.0.0.1", free_port(), free_port()) for name in SITES]
    if copied:
        _copy(copied, databases)
    prepare(databases, ["127.0.0.1/32"], **changes)
    if os.geteuid() == 0:
        give_away(home, USER)
    token = databases[0].token.read_text()
    made = Trio(home, {one.site: Site(one, Agent(one.site, one.agent, token, one.ca)) for one in databases})
    try:
        for site in made.sites.values():
            site.launch()
        for site in made.sites.values():
            until(site.answers, f"the agent of {site.name} answers")
        yield made
    finally:
        for site in made.sites.values():
            site.end(signal.SIGKILL)
            site.crash()
            site.agent.close()
        shutil.rmtree(home, ignore_errors=True)


def as_postgres(home: Path) -> dict[str, Any]:
    """Say how a program is run as PostgreSQL's user: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam(USER)
    env = {**os.environ, "HOME": str(home), "LOGNAME": USER, "USER": USER}
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": [], "env": env}


_WRITE = b"insert into ledger select %s where not exists (select from ledger where seq = %s)"


@dataclass
class Ledger:
    """A client that writes without end, wherever it can, and keeps what was acknowledged to it."""

    sites: Sequence[Site]
    acknowledged: list[int] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    longest: float = 0.0

    def __enter__(self) -> Ledger:
        with self.sites[0].connect() as connection:
            connection.execute(b"create table if not exists ledger (seq bigint)")
            connection.execute(b"create index if not exists ledger_seq on ledger (seq)")
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._ending.set()
        if self._thread:
            self._thread.join(PATIENCE)

    def wait(self, more: int = 20) -> None:
        """Wait for so many more acknowledgements."""
        wanted = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= wanted, f"{more} more writes are acknowledged")

    def _write(self) -> None:
        sequence, last = 0, time.monotonic()
        while not self._ending.is_set():
            for site in self.sites:
                with suppress(psycopg.Error), site.connect(target_session_attrs="read-write", tcp_user_timeout=2000) as line:
                    while not self._ending.is_set():
                        line.execute(_WRITE, (sequence, sequence))
                        self.acknowledged.append(sequence)
                        now = time.monotonic()
                        self.longest, last = max(self.longest, now - last), now
                        sequence += 1
                if self._ending.is_set():
                    return
            time.sleep(0.01)

    def lost(self, site: Site) -> set[int]:
        """Return what was acknowledged and is not there."""
        return set(self.acknowledged) - set(self._there(site))

    def duplicated(self, site: Site) -> int:
        """Return how many are there more than once."""
        there = self._there(site)
        return len(there) - len(set(there))

    def _there(self, site: Site) -> list[int]:
        with site.connect() as connection:
            return [int(row[0]) for row in connection.execute(b"select seq from ledger").fetchall()]
