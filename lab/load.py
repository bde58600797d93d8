"""Users of the orders application, outside all sites: they know its DNS name, write, and keep a ledger of what was promised."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from flotilla.ledger import NO_ANSWER, Attempt, Verdict, judge, parse_ledger
from lab.errors import LabError

CONNECT = 1.0  # seconds for a connection
ANSWER = 4.0  # seconds for an answer; the application gives its own up after three
ASK = 0.5  # seconds for an answer of one DNS server
PAUSE = 0.1  # seconds before an order is tried again
LIFE = 15.0  # seconds for which a connection is used


@dataclass(frozen=True)
class Asked:
    """What users do: the name that they know, the DNS servers they ask (address, port), orders a second, and for how long.

    ``keeps_ttl`` False: what was resolved once is kept for good, as some runtimes do. ``after`` seconds are given, once the
    time is over, to orders that are still in doubt.
    """

    name: str
    port: int
    dns: Sequence[tuple[str, int]]
    rate: float
    seconds: float
    connections: int = 16
    keeps_ttl: bool = True
    after: float = 30.0


class Resolver:
    """A stub resolver with a cache, as an operating system has one; shared by all connections."""

    def __init__(self, name: str, servers: Sequence[tuple[str, int]], *, keeps_ttl: bool = True) -> None:
        self._name, self._servers, self._keeps_ttl = name, list(servers), keeps_ttl
        self._lock = threading.Lock()
        self._addresses: tuple[str, ...] = ()
        self._until = float("-inf")

    def addresses(self) -> tuple[str, ...]:
        """Return where the name leads; an expired answer is used on while no server gives a new one."""
        with self._lock:
            if time.monotonic() >= self._until and not (self._addresses and not self._keeps_ttl):
                self._ask()
            return self._addresses

    def _ask(self) -> None:
        """Ask the servers one after the other, from a random one, until one answers."""
        for address, port in random.sample(self._servers, len(self._servers)):
            try:
                said = dns.query.udp(dns.message.make_query(self._name, "A"), address, ASK, port)
            except (OSError, dns.exception.DNSException):
                continue
            found = [one for one in said.answer if one.rdtype == dns.rdatatype.A]
            if found:
                self._addresses = tuple(sorted(item.to_text() for one in found for item in one))
                self._until = time.monotonic() + min(one.ttl for one in found)
                return


class Ledger:
    """The file of attempts, a line each, written as soon as an attempt is over."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", buffering=1)
        self._lock = threading.Lock()
        self.attempts: list[Attempt] = []

    def add(self, attempt: Attempt) -> None:
        """Keep an attempt."""
        with self._lock:
            self._file.write(attempt.line)
            self.attempts.append(attempt)

    def close(self) -> None:
        """Have all of it in the file."""
        self._file.close()


class Load:
    """All users: ``connections`` of them, who share the orders that are due."""

    def __init__(self, asked: Asked, ledger: Ledger) -> None:
        self._asked, self._ledger = asked, ledger
        self._resolver = Resolver(asked.name, asked.dns, keeps_ttl=asked.keeps_ttl)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._run = secrets.token_hex(4)
        self._began = time.monotonic()
        self._clock = time.time() - time.monotonic()  # a clock that is set meanwhile makes no outage
        self._stopping = threading.Event()
        self._users: list[threading.Thread] = []

    def run(self) -> None:
        """Place orders for as long as was asked, and go on with those in doubt for a while."""
        self._began = time.monotonic()
        self._users = [threading.Thread(target=self._user, daemon=True) for _ in range(self._asked.connections)]
        for user in self._users:
            user.start()
        self.join()

    def join(self) -> None:
        """Wait until every user is done."""
        for user in self._users:
            user.join()

    def stop(self) -> None:
        """Place no further orders."""
        self._stopping.set()

    def _user(self) -> None:
        connection = Connection(self._resolver, self._asked.port)
        while (order := self._next()) is not None:
            give_up = time.monotonic() + self._asked.after
            while not self._place(connection, order):
                if self._is_over() and time.monotonic() > give_up:
                    break
                time.sleep(PAUSE * random.uniform(0.5, 1.5))
        connection.close()

    def _next(self) -> str | None:
        """Wait until an order is due; None once the time is over."""
        with self._lock:
            number = next(self._numbers)
        due = self._began + number / self._asked.rate
        if due > self._began + self._asked.seconds:
            return None
        return None if self._stopping.wait(max(0.0, due - time.monotonic())) else f"{self._run}-{number}"

    def _is_over(self) -> bool:
        return self._stopping.is_set() or time.monotonic() > self._began + self._asked.seconds

    def _place(self, connection: Connection, order: str) -> bool:
        """Try an order once; return whether it is acknowledged."""
        sent = time.monotonic()
        status, site = connection.post({"id": order, "sent": self._clock + sent})
        answered = None if status == NO_ANSWER else self._clock + time.monotonic()
        attempt = Attempt(order, self._clock + sent, answered, status, site)
        self._ledger.add(attempt)
        return attempt.is_acknowledged


class Connection:
    """A user's connection: kept while it serves, to another address after a failure, renewed after a while."""

    def __init__(self, resolver: Resolver, port: int) -> None:
        self._resolver, self._port = resolver, port
        self._http: http.client.HTTPConnection | None = None
        self._site, self._failed, self._until = "", "", 0.0

    def post(self, order: dict[str, object]) -> tuple[int, str]:
        """Send an order; return the status (0 for no answer) and the address that was asked."""
        try:
            link = self._link()
            link.request("POST", "/orders", json.dumps(order), {"Content-Type": "application/json"})
            answer = link.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._drop()
            return NO_ANSWER, self._site
        if answer.status >= 500 or answer.will_close:
            self._drop()
        return answer.status, self._site

    def close(self) -> None:
        """Hang up."""
        if self._http:
            self._http.close()
        self._http = None

    def _drop(self) -> None:
        self._failed = self._site
        self.close()

    def _link(self) -> http.client.HTTPConnection:
        if self._http and time.monotonic() > self._until:
            self.close()
        if self._http is None:
            self._site = self._chosen()
            link = http.client.HTTPConnection(self._site, self._port, timeout=CONNECT)
            link.connect()
            if link.sock:
                link.sock.settimeout(ANSWER)
            self._http, self._until = link, time.monotonic() + LIFE
        return self._http

    def _chosen(self) -> str:
        """Choose an address at random, another than the one that has just failed if there is one."""
        found = self._resolver.addresses()
        if not found:
            raise OSError("the name leads nowhere")
        return random.choice([one for one in found if one != self._failed] or list(found))


def run(asked: Asked, file: Path, say: Callable[[str], None]) -> list[Attempt]:
    """Have users place orders; the ledger is appended to a file. Returns the attempts of this run."""
    ledger = Ledger(file)
    load = Load(asked, ledger)
    say(f"{asked.rate:g} orders a second to {asked.name} port {asked.port} for {asked.seconds:g} s, ledger {file}")
    try:
        load.run()
    except KeyboardInterrupt:
        load.stop()
        load.join()  # orders that are on their way may still be acknowledged: that has to be noted
    finally:
        ledger.close()
    return ledger.attempts


def compare(file: Path, urls: Sequence[str]) -> Verdict:
    """Return what became of a ledger's promises, by the ids at the first of the applications that tells all of them."""
    return judged(parse_ledger(file.read_text()), urls)


def judged(attempts: list[Attempt], urls: Sequence[str]) -> Verdict:
    """Return what became of some attempts' promises; raises LabError where no application tells all of its ids."""
    problems = []
    for url in urls:
        try:
            return judge(attempts, ids_at(url))
        except (OSError, http.client.HTTPException) as error:
            problems.append(f"{url}: {error!r}")
    raise LabError(f"no application tells which orders there are: {'; '.join(problems)}")


def ids_at(url: str) -> list[str]:
    """Return the ids of all orders there; raises OSError or HTTPException where the list is not whole."""
    place = urlsplit(url)
    link = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=60)
    try:
        link.request("GET", "/orders/ids")
        answer = link.getresponse()
        text = answer.read().decode()
    finally:
        link.close()
    if answer.status != http.HTTPStatus.OK:
        raise OSError(f"it answers {answer.status}: {text[:200]}")
    return text.split()
