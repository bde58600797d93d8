"""Where alerts and samples come in: over a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import pytest

from flotilla.errors import InvalidInput, Permanent, Problem, Transient
from tasks.intake import LARGEST, Intake, open_intake

TOKEN = {"Authorization": "Bearer s3cret"}


class Taken:
    """Remembers what came in; raises what it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.error: Exception | None = None

    def __call__(self, who: str, body: bytes) -> Any:
        if self.error:
            raise self.error
        self.bodies.append(body)
        return {who: body.decode()}


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def port(taken: Taken) -> Iterator[int]:
    with open_intake("127.0.0.1:0", Intake("/alerts", {"s3cret": "us", "0ther": "them"}, taken)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def post(port: int, body: bytes = b"hello", path: str = "/alerts", **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, body, TOKEN | headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_who_shows_the_token_is_listened_to(port, taken):
    assert (200, {"us": "hello"}) == post(port)
    assert (200, {"them": "hello"}) == post(port, path="/alerts?x=y", Authorization="Bearer 0ther")
    assert [b"hello", b"hello"] == taken.bodies


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer \xec"])
def test_who_does_not_is_not(port, taken, shown):
    status, told = post(port, Authorization=shown)

    assert 401 == status
    assert "s3cret" not in told["error"]
    assert [] == taken.bodies


def test_what_is_wrong_with_a_body_is_told_as_the_senders_fault(port, taken):
    taken.error = InvalidInput([Problem("alert webhook", "alerts", 1, "a list")])

    assert (400, {"error": "alert webhook: alerts: 1; allowed: a list"}) == post(port)


@pytest.mark.parametrize("error", [Transient("store: does not answer"), Permanent("Prefect has no deployment a/b")])
def test_what_cannot_be_done_now_is_to_be_told_again(port, taken, error):
    taken.error = error

    assert (503, {"error": str(error)}) == post(port)


def test_other_paths_and_what_is_too_large_are_refused(port, taken):
    assert 404 == post(port, path="/")[0]
    assert 413 == post(port, **{"Content-Length": str(LARGEST + 1)})[0]
    assert 413 == post(port, **{"Content-Length": "-1"})[0]
    assert [] == taken.bodies


def test_an_address_that_is_taken_is_named(port):
    with pytest.raises(Permanent, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
        open_intake(f"127.0.0.1:{port}", Intake("/", {}, Taken()))


def test_a_hundred_at_once_wait_for_their_turn_and_none_is_turned_away(taken: Taken) -> None:
    with open_intake("127.0.0.1:0", Intake("/alerts", {"s3cret": "us"}, taken)) as server, ExitStack() as open_lines:
        there = ("127.0.0.1", int(server.server_address[1]))
        for _ in range(100):  # while nobody serves yet
            open_lines.enter_context(socket.create_connection(there, 0.9))  # who is turned away tries again after a second
