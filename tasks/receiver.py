"""Where alerts come in: a small web server that takes Alertmanager's webhook from whoever shows the token, and nothing else."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flotilla.errors import FlotillaError, InvalidInput, Permanent

PATH = "/alerts"
LARGEST = 4 << 20  # bytes of a body
log = logging.getLogger("flotilla.alerts")

Take = Callable[[bytes], Any]
"""Returns what is answered as JSON; an InvalidInput is the sender's fault, of another FlotillaError it is to try again."""


def open_receiver(listen: str, token: str, take: Take) -> ThreadingHTTPServer:
    """Return a server that listens (``serve_forever`` serves, ``shutdown`` ends it); raises Permanent if it can't."""
    host, _, port = listen.rpartition(":")
    handler = type("Handler", (_Handler,), {"token": token, "take": staticmethod(take)})
    try:
        server = ThreadingHTTPServer((host.strip("[]"), int(port)), handler)
    except OSError as error:
        raise Permanent(f"cannot listen on {listen}: {error.strerror or error}") from None
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    token: str
    take: Take
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Take a notification, or say in a sentence why not."""
        if self.path != PATH:
            return self._tell(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {self.path}; alerts are told at {PATH}"})
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {self.token}".encode()):
            return self._tell(HTTPStatus.UNAUTHORIZED, {"error": "the bearer token is missing or is not the one asked for"})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            return self._tell(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"a body of at most {LARGEST} bytes, with its length"}
            )
        return self._tell(*self._answer(self.rfile.read(int(length))))

    def _answer(self, body: bytes) -> tuple[HTTPStatus, Any]:
        try:
            return HTTPStatus.OK, self.take(body)
        except InvalidInput as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except FlotillaError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}

    def _tell(self, status: HTTPStatus, answer: Any) -> None:
        if status is not HTTPStatus.OK:
            log.warning("%s: %s %s", self.client_address[0], status.value, answer["error"])
            self.close_connection = True  # its body may not have been read
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing of each request."""
