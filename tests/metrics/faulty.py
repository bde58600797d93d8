"""A proxy in front of a Prometheus or a store, on a real socket, that makes the faults that a test asks for."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import cramjam

from tests.flotilla.prompb import ReadRequest, ReadResponse

LOWEST = re.compile(rb"^(prometheus_tsdb_lowest_timestamp_seconds )(\S+)$", re.MULTILINE)
PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Who are you?</body></html>"


@dataclass(frozen=True)
class Request:
    """What was asked: ``path`` with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def spans(self) -> list[tuple[int, int]]:
        """Return the closed spans that a remote_read asks for, in ms."""
        asked = ReadRequest.FromString(bytes(cramjam.snappy.decompress_raw(self.body)))
        return [(one.start_timestamp_ms, one.end_timestamp_ms) for one in asked.queries]

    def shifted(self, by: int) -> Request:
        """Return what asks the same of a time so many ms later."""
        parts = urlsplit(self.path)
        path = f"{parts.path}?{_later(parts.query, by)}"
        if not parts.path.endswith("/read"):
            return replace(self, path=path, body=_later(self.body.decode(), by).encode())
        asked = ReadRequest.FromString(bytes(cramjam.snappy.decompress_raw(self.body)))
        for one in asked.queries:
            one.start_timestamp_ms += by
            one.end_timestamp_ms += by
        return replace(self, body=bytes(cramjam.snappy.compress_raw(asked.SerializeToString())))


def _later(fields: str, by: int) -> str:
    """Return a query or a form with the times in it later by so many ms."""
    times = ("time", "start", "end")
    pairs = parse_qsl(fields)
    return urlencode([(name, f"{float(value) + by / 1000:.3f}" if name in times else value) for name, value in pairs])


@dataclass(frozen=True)
class Answer:
    """What is answered. After ``cut`` bytes the connection is closed; ``framed`` says before how many there should be."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    framed: bool = True
    pause: float = 0.0


Forward = Callable[..., Answer]
Fault = Callable[[Request, Forward], Answer]


class Closed(Exception):
    """The connection is closed without an answer."""


def none(request: Request, forward: Forward) -> Answer:
    return forward()


def says(status: int, body: bytes = b"made by the test", **headers: str) -> Fault:
    named = {"Content-Type": "text/plain", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda request, forward: Answer(status, body, named)


def page(status: int = 200) -> Fault:
    return says(status, PAGE, Content_Type="text/html; charset=utf-8")


def half(*, framed: bool = True) -> Fault:
    """Answers are cut half way; ``framed`` ones said before how long they are."""

    def fault(request: Request, forward: Forward) -> Answer:
        answer = forward()
        return replace(answer, cut=len(answer.body) // 2, framed=framed)

    return fault


def closes(request: Request, forward: Forward) -> Answer:
    raise Closed


def acts_and_closes(request: Request, forward: Forward) -> Answer:
    """What is asked happens, and nobody hears of it."""
    forward()
    raise Closed


def drips(seconds: float) -> Fault:
    """Answers come byte by byte, each after a pause."""
    return lambda request, forward: replace(forward(), pause=seconds)


def needs(header: str, value: str, status: int = 401) -> Fault:
    def fault(request: Request, forward: Forward) -> Answer:
        return forward() if request.headers.get(header) == value else Answer(status, b"who are you?")

    return fault


def at(path: str, fault: Fault) -> Fault:
    """Make a fault only where a path ends so."""
    return lambda request, forward: fault(request, forward) if urlsplit(request.path).path.endswith(path) else forward()


def first(times: int, fault: Fault) -> Fault:
    """Make a fault so many times, then no more."""
    left = iter(range(times))
    return lambda request, forward: fault(request, forward) if next(left, None) is not None else forward()


def dated(by: int) -> Fault:
    """Let what is behind have a clock that is so many ms ahead: all times that it takes and gives are shifted."""

    def fault(request: Request, forward: Forward) -> Answer:
        plain = {name: value for name, value in request.headers.items() if name.lower() != "accept-encoding"}
        answer = forward(replace(request.shifted(-by), headers=plain))
        headers = dict(answer.headers)
        headers["Date"] = formatdate(time.time() + by / 1000, usegmt=True)
        body = answer.body
        if urlsplit(request.path).path.endswith("/read") and answer.status == 200:
            found = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(body)))
            for one in (series for result in found.results for series in result.timeseries):
                for sample in one.samples:
                    sample.timestamp += by
            body = bytes(cramjam.snappy.compress_raw(found.SerializeToString()))
        body = LOWEST.sub(lambda found: b"%s%f" % (found[1], float(found[2]) + by / 1000), body)
        return replace(answer, body=body, headers=headers)

    return fault


class FaultyProxy:
    """Forwards what is asked, but for what ``fault`` makes of it. ``asked`` is what came."""

    def __init__(self, target: str) -> None:
        self.target, self.fault = target, none
        self.asked: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forwarded(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=60)
        kept = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        try:
            kept.pop("Content-Length", None)
            connection.request(request.method, request.path, request.body or None, kept)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return Answer(502, b"nothing behind")
        finally:
            connection.close()
        passed = ("Content-Type", "Content-Encoding", "Date")
        return Answer(answer.status, body, {name: answer.headers[name] for name in passed if name in answer.headers})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def proxied(target: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            proxy.asked.append(request)
            try:
                self.answer(proxy.fault(request, lambda other=request: proxy.forwarded(other)))
            except Closed:
                self.cut()

        do_GET = do_POST = take  # noqa: N815 - the names that http.server calls

        def answer(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            headers = dict(answer.headers)
            headers.setdefault("Date", self.date_time_string())
            for name, value in headers.items():
                self.send_header(name, value)
            if answer.framed:
                self.send_header("Content-Length", str(len(answer.body)))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if answer.pause:
                self.drip(answer)
            else:
                self.wfile.write(answer.body[: answer.cut])
            if answer.cut is not None:
                self.wfile.flush()
                self.cut()

        def drip(self, answer: Answer) -> None:
            for byte in answer.body:
                time.sleep(answer.pause)
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:
                    return

        def cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    return Handler
