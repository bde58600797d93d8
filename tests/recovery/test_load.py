"""Users of orders: what they do when they are refused, not answered, or sent elsewhere, and what their ledger says of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flotilla.ledger import parse_ledger
from flotilla.traffic.service import pinned
from lab import load
from lab.errors import LabError
from lab.load import Asked, Resolver
from tests.metrics.programs import until
from tests.recovery.nameservers import ADDRESSES, Stand, city, three_servers

pytestmark = [pytest.mark.programs, pytest.mark.timeout(120)]


@contextmanager
def serving(port: int, address: str, answer: Callable[[str, int], int]) -> Iterator[list[str]]:
    """Serve orders at an address; ``answer`` gives the status for an id and how often it came, 0 to hang up."""
    there: list[str] = []
    times: dict[str, int] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"]
            with lock:
                times[order] = times.get(order, 0) + 1
                status = answer(order, times[order])
                if status == 201:
                    there.append(order)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            text = "".join(f"{order}\n" for order in there).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with three_servers(tmp_path / "dns") as made:
        made.publish(city(1, pinned("production")))
        yield made


def asked(stand: Stand, port: int, **more: object) -> Asked:
    servers = [(one.address, one.port) for one in stand.asked]
    return Asked(stand.service.name, port, servers, rate=50, seconds=1, connections=4, **more)  # type: ignore[arg-type]


def test_whatever_is_not_acknowledged_is_tried_again_with_the_same_id(stand: Stand, tmp_path: Path) -> None:
    statuses = {1: 503, 2: 0, 3: 201}
    port = stand.sites.port + 1
    with serving(port, ADDRESSES["production"], lambda order, times: statuses[times]) as there:
        attempts = load.run(asked(stand, port), tmp_path / "ledger", print)
        verdict = load.compare(tmp_path / "ledger", [f"http://{ADDRESSES['production']}:{port}"])

    assert attempts == parse_ledger((tmp_path / "ledger").read_text())
    assert {one.status for one in attempts} == {503, 0, 201}
    assert verdict.is_clean
    assert verdict.acknowledged == len(set(there)) == len(attempts) / 3


def test_a_promise_that_was_not_kept_is_found(stand: Stand, tmp_path: Path) -> None:
    port = stand.sites.port + 1
    with serving(port, ADDRESSES["production"], lambda order, times: 201) as there:
        load.run(asked(stand, port), tmp_path / "ledger", print)
        lost, again = there.pop(), there[0]
        there.append(again)
        verdict = load.compare(tmp_path / "ledger", [f"http://{ADDRESSES['production']}:{port}"])

    assert verdict.lost == (lost,)
    assert verdict.duplicated == (again,)


def test_no_list_of_orders_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("")

    with pytest.raises(LabError, match="no application tells which orders there are"):
        load.compare(tmp_path / "ledger", ["http://127.0.0.1:9"])


def test_users_go_where_dns_sends_them_once_their_answer_has_expired(stand: Stand) -> None:
    """And those who never ask again do not: the reason why an old site must refuse, and not only leave DNS."""
    servers = [(one.address, one.port) for one in stand.asked]
    good, stubborn = Resolver(stand.service.name, servers), Resolver(stand.service.name, servers, keeps_ttl=False)
    assert good.addresses() == stubborn.addresses() == (ADDRESSES["production"],)

    stand.publish(city(2, pinned("same-city")))

    until(lambda: good.addresses() == (ADDRESSES["same-city"],), "sent elsewhere")
    assert stubborn.addresses() == (ADDRESSES["production"],)


def test_an_expired_answer_is_better_than_none(stand: Stand) -> None:
    servers = [(one.address, one.port) for one in stand.asked]
    resolver = Resolver(stand.service.name, servers)
    assert resolver.addresses() == (ADDRESSES["production"],)
    for server in stand.servers.values():
        server.kill()
    resolver._until = float("-inf")

    assert resolver.addresses() == (ADDRESSES["production"],)
