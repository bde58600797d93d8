"""Users outside all sites and their ledger; and a look, many times a second, at who could acknowledge a write."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from flotilla.ledger import Verdict, parse_ledger
from flotilla.recovery.config import Recovery
from lab.load import judged
from tests.conftest import ROOT
from tests.recovery.field import SITES, Field, until


@dataclass
class Users:
    """A load client as a process of its own; ``port`` is where the application is asked for all ids."""

    process: subprocess.Popen[bytes]
    file: Path
    urls: list[str]

    def wait(self, more: int = 20, within: float = 90) -> None:
        """Wait until so many more orders are acknowledged."""
        before = self._acknowledged()
        until(lambda: self._acknowledged() >= before + more, "orders are acknowledged", within)

    def judged(self) -> Verdict:
        """Return what became of what was promised until now: the ledger is read first, the orders after it."""
        return judged(parse_ledger(self.file.read_text()), self.urls)

    def stop(self) -> Verdict:
        """Let them place no more orders, have those in doubt settled, and return what became of all promises."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(90)
        return self.judged()

    def _acknowledged(self) -> int:
        return sum(one.is_acknowledged for one in parse_ledger(self.file.read_text())) if self.file.exists() else 0


@contextmanager
def users(of: Field, rate: float = 50.0, *, seconds: float = 36_000, ignore_ttl: bool = False) -> Iterator[Users]:
    """Have orders placed until the end, through the DNS name."""
    number = len(list(of.folder.glob("ledger-*")))
    file = of.folder / f"ledger-{number}"
    file.touch()
    recovery = of.ground.recovery
    words = ["--rate", str(rate), "--seconds", str(seconds), *(["--ignore-ttl"] if ignore_ttl else [])]
    command = [sys.executable, "-m", "lab", "load", "--ledger", str(file), *words]
    with (of.folder / f"load-{number}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    port, hosts = recovery.traffic.port, recovery.traffic.addresses
    made = Users(process, file, [f"http://{hosts[site]}:{port}" for site in SITES])
    try:
        made.wait(5)
        yield made
    finally:
        process.kill()
        process.wait(30)


# A primary acknowledges if it waits for nobody, or if somebody whom it waits for is there.
_LOOK = """select not pg_is_in_recovery(),
    current_setting('synchronous_standby_names') = ''
    or exists (select from pg_stat_replication where sync_state in ('sync', 'quorum')),
    current_setting('default_transaction_read_only') = 'on'"""


@dataclass
class Primaries:
    """Who could acknowledge writes when: ``seen`` has the span of each unbroken time, by site; seconds, steady clock."""

    recovery: Recovery
    password: str
    seen: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    looks: int = 0
    _ending: threading.Event = field(default_factory=threading.Event)

    def watch(self, site: str) -> None:
        """Look at a site until the end."""
        spans = self.seen.setdefault(site, [])
        while not self._ending.is_set():
            try:
                with self._line(site) as line:
                    while not self._ending.wait(0.05):
                        self._look(line, spans)
            except psycopg.Error:
                self._ending.wait(0.05)

    def _look(self, line: psycopg.Connection[tuple[bool, ...]], spans: list[tuple[float, float]]) -> None:
        before = time.monotonic()
        row = line.execute(_LOOK).fetchone()
        after, self.looks = time.monotonic(), self.looks + 1
        assert row is not None
        primary, acknowledges, drained = row
        if primary and acknowledges and not drained:
            if spans and before - spans[-1][1] < 0.2:
                spans[-1] = (spans[-1][0], after)
            else:
                spans.append((before, after))

    def overlaps(self) -> list[str]:
        """Return when two sites could acknowledge at once: longer than two looks take one after the other."""
        found = []
        for index, one in enumerate(SITES):
            for other in SITES[index + 1 :]:
                for first in self.seen.get(one, []):
                    for second in self.seen.get(other, []):
                        both = min(first[1], second[1]) - max(first[0], second[0])
                        if both > 0:
                            found.append(f"{one} and {other} for {both:.2f} s")
        return found

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()

    def _line(self, site: str) -> psycopg.Connection[tuple[bool, ...]]:
        database = self.recovery.database
        return psycopg.connect(
            host=database.hosts[site], port=database.port, user=database.observer, dbname=database.name,
            password=self.password, sslmode="verify-full", sslrootcert=database.ca_file, autocommit=True,
            connect_timeout=2, tcp_user_timeout=1500, application_name="outside",
        )  # fmt: skip


@contextmanager
def primaries(of: Field, environment: Mapping[str, str]) -> Iterator[Primaries]:
    """Watch who could acknowledge writes."""
    made = Primaries(of.ground.recovery, environment["FLOTILLA_OBSERVER_PASSWORD"])
    threads = [threading.Thread(target=made.watch, args=(site,), daemon=True) for site in SITES]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stop()
        for thread in threads:
            thread.join(10)
