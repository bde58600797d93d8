"""Prefect's API, spoken to while it is busy, away, or wants credentials: faults that a quiet server does not make."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from flotilla.errors import Permanent, Transient
from tasks import prefect_api

SILENT = 0  # it waits, and then hangs up


class Busy(BaseHTTPRequestHandler):
    """Answers with one status after another, the last one for good."""

    statuses: ClassVar[list[int]] = []
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == SILENT:
            self.close_connection = True
            threading.Event().wait(1)
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Busy]]:
    Busy.statuses, Busy.asked = [200], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(prefect_api.time, "sleep", lambda seconds: None)
    yield Busy
    server.shutdown()


def test_a_server_that_is_busy_is_asked_until_it_answers(busy):
    busy.statuses = [503] * 12 + [200]

    assert 200 == prefect_api.call("GET", "/health").status_code
    assert 13 == len(busy.asked)


def test_a_server_that_waits_for_its_database_is_asked_until_it_answers(busy, monkeypatch):
    monkeypatch.setattr(prefect_api, "PATIENCE", 0.05)
    busy.statuses = [SILENT] * 8 + [503] * 3 + [200]

    assert 200 == prefect_api.call("GET", "/health").status_code
    assert 12 == len(busy.asked)


def test_a_server_that_never_answers_is_given_up(busy, monkeypatch):
    monkeypatch.setattr(prefect_api, "PATIENCE", 0.05)
    monkeypatch.setattr(prefect_api, "BUSY_WITHIN", 0)
    busy.statuses = [SILENT]

    with pytest.raises(Transient, match="does not answer: timed out"):
        prefect_api.call("GET", "/health")
    assert prefect_api.ATTEMPTS == len(busy.asked)


def test_a_server_that_stays_busy_is_given_up(busy, monkeypatch):
    busy.statuses = [503]
    monkeypatch.setattr(prefect_api, "BUSY_WITHIN", 0)

    with pytest.raises(Transient, match="does not answer: HTTP 503"):
        prefect_api.call("GET", "/health")
    assert prefect_api.ATTEMPTS == len(busy.asked)


def test_a_server_that_is_away_is_given_up_soon(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(prefect_api.time, "sleep", lambda seconds: None)

    with pytest.raises(Transient, match="is it up"):
        prefect_api.call("GET", "/health")


def test_credentials_that_are_wanted_are_asked_for_once(busy):
    busy.statuses = [401]

    with pytest.raises(Permanent, match="PREFECT_API_AUTH_STRING"):
        prefect_api.call("GET", "/health")
    assert 1 == len(busy.asked)
