"""Looks that hang keep nobody waiting: above all not the other agents, which would take the site for lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from kubernetes import client

from flotilla.errors import Transient
from flotilla.traffic.records import records
from tasks import external_dns
from tasks.clusters import Connection
from tasks.external_dns import ExternalDns
from tasks.latest import Latest
from tasks.peers import PATIENCE
from tests.flotilla.trafficset import SHOP, desired


@pytest.fixture
def hung() -> Iterator[Connection]:
    """Yield a connection to an API server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = client.Configuration()
        settings.host = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield Connection("remote", client.ApiClient(settings))


def test_an_api_server_that_hangs_keeps_no_other_agent_waiting(hung: Connection) -> None:
    provider = ExternalDns(hung, "example.", "flotilla", "shop")
    for _ in range(2):
        began = time.monotonic()
        assert "unseen" in provider.seen()
        assert time.monotonic() - began < PATIENCE - 0.5


def test_a_write_to_an_api_server_that_hangs_is_given_up_soon(hung: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch is not accepted while one writes: there would be no recovery for as long."""
    monkeypatch.setattr(external_dns, "WRITE", 0.5)
    provider = ExternalDns(hung, SHOP.zone, "flotilla", "shop")
    wanted = [one.as_dict() for one in records(SHOP, desired(1), checked=False)]
    began = time.monotonic()
    with pytest.raises(Transient):
        provider.set(SHOP.zone, wanted)

    assert time.monotonic() - began < 5


def test_what_was_seen_is_told_while_a_look_hangs_and_unseen_once_that_is_old() -> None:
    answers, go = iter([{"epoch": 1}]), threading.Event()

    def look() -> dict[str, object]:
        try:
            return next(answers)
        except StopIteration:
            go.wait(30)
            return {"epoch": 2}

    latest = Latest(look, within=0.05, lasting=0.5)
    assert latest.get() == {"epoch": 1}
    assert latest.get() == {"epoch": 1}
    time.sleep(0.5)
    assert latest.get()["unseen"].startswith("unseen for 0.")
    go.set()
    time.sleep(0.1)
    assert latest.get() == {"epoch": 2}


def test_what_was_seen_before_a_change_is_not_told_after_it() -> None:
    begun, go = threading.Event(), threading.Event()
    held = [1]

    def look() -> dict[str, object]:
        found = held[0]
        begun.set()
        if found == 1:
            go.wait(30)
        return {"epoch": found}

    latest = Latest(look, within=0.01, lasting=60)
    assert "unseen" in latest.get()
    begun.wait(30)
    held[0] = 2
    latest.forget()
    go.set()

    assert latest.get() in ({"epoch": 2}, {"unseen": "unseen for 0.0 s: a look does not come to its end"})
    time.sleep(0.1)
    assert latest.get() == {"epoch": 2}


def test_a_look_that_is_a_defect_is_told() -> None:
    assert "ZeroDivisionError" in Latest(lambda: {"epoch": 1 // 0}, 5, 5).get()["unseen"]
