"""Watches against a real API server: what is listed, followed, missed and found again."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lab
from flotilla.errors import Transient
from tasks import watches
from tasks.clusters import Connection
from tasks.objects import Kind
from tasks.watches import Lifeline, NotServed, Watch
from tests.tasks.stage import Stage, config

pytestmark = pytest.mark.lab
CONFIGS = Kind("v1", "ConfigMap", "configmaps", namespaced=True)


class Notes:
    """A sink that writes down what it is told about one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.told: list[tuple[str, str]] = []
        self.lists: list[set[str]] = []
        self.reasons: list[str] = []
        self.version = 0

    def listed(self, items: Iterator[Any], began: int, version: Callable[[], int]) -> None:
        names = {body["metadata"]["name"] for body in items if body["metadata"].get("namespace") == self.namespace}
        self.version = version()
        self.lists.append(names)

    def changed(self, body: Any, version: int) -> None:
        self.note("changed", body, version)

    def gone(self, body: Any, version: int) -> None:
        self.note("gone", body, version)

    def note(self, what: str, body: Any, version: int) -> None:
        self.version = version
        if body["metadata"].get("namespace") == self.namespace:
            self.told.append((what, body["metadata"]["name"]))

    def reached(self, version: int) -> None:
        self.version = version
        self.told.append(("bookmark", ""))

    def sees(self) -> None:
        self.reasons.append("")

    def blind(self, reason: str) -> None:
        self.reasons.append(reason)


@pytest.fixture
def notes(stage: Stage) -> Notes:
    return Notes(stage.namespace)


@pytest.fixture
def follow(notes: Notes) -> Iterator[Callable[..., Watch]]:
    """Start a watch of ConfigMaps; it ends with the test."""
    started = []

    def begin(connection: Connection, find: Callable[[], Kind] = lambda: CONFIGS, **more: Any) -> Watch:
        watch = Watch(connection, find, notes, known=lambda: notes.version, **more)
        watch.start("watch-test")
        started.append(watch)
        return watch

    yield begin
    for watch in started:
        watch.stop()


def restart_server(connection: Connection) -> None:
    """Have an API server that knows no events from before now."""
    lab.stop(connection.name, "kube-apiserver")
    lab.start(connection.name, "kube-apiserver")


def write(stage: Stage, *names: str, **data: str) -> None:
    for name in names:
        stage.inside("apply", "--server-side", "-f", "-", input=config(name, **data))


def test_what_is_there_is_listed_once_and_followed(stage, connection, notes, follow):
    write(stage, "a", "b")
    follow(connection)
    stage.until(lambda: notes.reasons == [""])

    write(stage, "c")
    write(stage, "a", b="2")
    stage.inside("delete", "configmap", "b")

    stage.until(lambda: len(notes.told) == 3)
    assert [{"a", "b"}] == [one - {"kube-root-ca.crt"} for one in notes.lists]
    assert [("changed", "c"), ("changed", "a"), ("gone", "b")] == notes.told


def test_a_list_of_several_pages_is_whole(stage, connection, notes, follow, monkeypatch):
    monkeypatch.setattr(watches, "PAGE", 2)
    write(stage, *(f"c{number}" for number in range(7)))

    follow(connection)

    stage.until(lambda: notes.reasons == [""])
    assert {f"c{number}" for number in range(7)} == notes.lists[0] - {"kube-root-ca.crt"}


def test_a_watch_that_is_interrupted_goes_on_where_it_was(stage, connection, notes, follow):
    watch = follow(connection)
    stage.until(lambda: notes.reasons == [""])

    watch.interrupt()
    write(stage, "late")

    stage.until(lambda: ("changed", "late") in notes.told)
    assert len(notes.lists) == 1


def test_a_watch_that_ended_as_asked_begins_anew_at_once(stage, connection, notes, follow, monkeypatch):
    monkeypatch.setattr(watches, "LONGEST", (2, 2))
    follow(connection)

    stage.until(lambda: len(notes.reasons) >= 3)
    write(stage, "late")

    stage.until(lambda: ("changed", "late") in notes.told)
    assert {""} == set(notes.reasons)
    assert len(notes.lists) == 1


def test_bookmarks_are_asked_for_and_taken(stage, connection, notes, follow, monkeypatch):
    monkeypatch.setattr(watches, "LONGEST", (3, 3))  # the server sends one shortly before the end
    follow(connection)

    stage.until(lambda: ("bookmark", "") in notes.told)


def test_history_that_is_gone_is_listed_anew(stage, connection, notes, follow):
    write(stage, "a", "b")
    watch = follow(connection)
    stage.until(lambda: notes.reasons == [""])
    stage.inside("delete", "configmap", "b")
    stage.until(lambda: ("gone", "b") in notes.told)
    restart_server(connection)
    stage.until(lambda: notes.reasons[-1] == "")
    before = len(notes.lists)

    watch._version = 1  # as after an outage longer than the server keeps history
    watch.interrupt()

    stage.until(lambda: len(notes.lists) > before)
    assert "b" not in notes.lists[-1]
    assert "a" in notes.lists[-1]
    assert all("Expired" not in reason for reason in notes.reasons)


def test_a_kind_that_is_not_served_is_told_with_the_reason_and_found_when_it_is(stage, connection, notes, follow):
    kinds = itertools.chain([Kind("v1", "Nothing", "nothings", namespaced=True)] * 2, itertools.repeat(CONFIGS))

    follow(connection, lambda: next(kinds))

    stage.until(lambda: bool(notes.reasons))
    assert "serves no Nothing in v1" in notes.reasons[0]
    stage.until(lambda: notes.reasons[-1] == "")


def test_of_an_optional_kind_that_is_not_served_there_is_none(stage, connection, notes, follow):
    def none() -> Kind:
        raise NotServed("remote: no such definition")

    follow(connection, none, optional=True)

    stage.until(lambda: notes.reasons == [""])
    assert [set()] == notes.lists


def test_what_the_account_may_not_read_is_told_with_the_right_that_lacks(stage, connection, notes, follow):
    stage.inside("create", "serviceaccount", "nobody")
    token = stage.inside("create", "token", "nobody").strip()
    api = type(connection.api)(type(connection.api.configuration)())
    settings = connection.api.configuration
    api.configuration.host, api.configuration.ssl_ca_cert = settings.host, settings.ssl_ca_cert
    api.configuration.api_key = {"authorization": f"Bearer {token}"}
    poor = Connection(connection.name, type(connection.api)(api.configuration))

    follow(poor)

    stage.until(lambda: bool(notes.reasons))
    assert "cannot list resource" in notes.reasons[0]
    assert "give the account this right" in notes.reasons[0]


def test_a_server_that_is_away_is_told_after_a_while_and_found_again(stage, connection, notes, follow, monkeypatch):
    monkeypatch.setattr(watches, "PATIENCE", 0.5)
    relay = Relay(connection.api.configuration.host)
    through = relayed(connection, relay)
    follow(through)
    stage.until(lambda: notes.reasons == [""])

    relay.close()
    stage.until(lambda: len(notes.reasons) > 1)
    write(stage, "missed")
    relay.open()

    stage.until(lambda: ("changed", "missed") in notes.told)
    assert "does not answer" in notes.reasons[1]
    assert len(notes.lists) == 1


def test_a_link_that_is_cut_is_noticed_within_seconds_and_the_watch_found_again(stage, connection, notes, follow):
    relay = Relay(connection.api.configuration.host)
    through = relayed(connection, relay)
    watch = follow(through)
    lifeline = Lifeline(through, watch.interrupt)
    lifeline.start()
    stage.until(lambda: notes.reasons == [""])

    relay.silent = True
    began = time.monotonic()
    stage.until(lambda: bool(lifeline.reason), 10)
    noticed = time.monotonic() - began
    write(stage, "missed")
    relay.silent = False
    stage.until(lambda: ("changed", "missed") in notes.told)
    stage.until(lambda: not lifeline.reason)
    lifeline.stop()

    assert noticed < 6.0
    assert len(notes.lists) == 1


def test_a_stream_that_is_closed_ends_for_who_reads_it(connection):
    stream = connection.stream("/api/v1/configmaps", query={"watch": "1"}, timeout=30)
    ended = threading.Event()
    threading.Thread(target=lambda: (list(stream), ended.set()), daemon=True).start()
    time.sleep(0.3)

    stream.close()

    assert ended.wait(2.0)


def test_nothing_is_read_of_a_stream_after_it_was_closed(connection):
    stream = connection.stream("/api/v1/configmaps", query={"watch": "1"}, timeout=30)  # begins with all there is
    lines = iter(stream)
    json.loads(next(lines))

    stream.close()

    assert [] == list(lines)


def test_a_stream_that_is_silent_for_too_long_is_an_error(connection):
    version = connection.request("GET", "/api/v1/configmaps", query={"limit": "1"}).body["metadata"]["resourceVersion"]
    stream = connection.stream(
        "/api/v1/configmaps",
        query={"watch": "1", "resourceVersion": version, "fieldSelector": "metadata.name=none"},
        timeout=0.5,
    )

    with pytest.raises(Transient, match="does not answer"):
        list(stream)


def test_what_is_refused_is_an_answer_and_no_stream(connection):
    answer = connection.stream("/api/v1/nothings", query={"watch": "1"}, timeout=5)

    assert 404 == answer.status
    assert "could not find" in json.dumps(answer.body)


class Relay:
    """A TCP relay on loopback that can be closed, or pass nothing on while it stays open, as a cut link does."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("https://").rpartition(":")
        self.target = (host, int(port))
        self.silent = False
        self.port = 0
        self.open()

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in self._pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self.target)
            except OSError:  # the API server is away: so is what is behind the relay
                client.close()
                continue
            self._pairs += [client, upstream]
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self.silent:
                    time.sleep(0.05)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()


def relayed(connection: Connection, relay: Relay) -> Connection:
    """Return the same connection through a relay."""
    settings = connection.api.configuration
    other = type(settings)()
    for name in ("ssl_ca_cert", "cert_file", "key_file", "api_key", "verify_ssl"):
        setattr(other, name, getattr(settings, name))
    other.host = f"https://127.0.0.1:{relay.port}"
    other.retries = settings.retries
    return Connection(connection.name, type(connection.api)(other))
