"""Where alerts and samples come in: a small web server that takes what is posted by those who show a token, nothing else."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flotilla.errors import FlotillaError, InvalidInput, Permanent

LARGEST = 32 << 20  # bytes of a body
log = logging.getLogger("flotilla.intake")


@dataclass(frozen=True)
class Intake:
    """What is taken at a path: ``tokens`` gives who shows each, ``take`` gets who it was and the body.

    ``take`` returns what is answered as JSON. An InvalidInput is the sender's fault, what else it raises is to be tried again.
    """

    path: str
    tokens: Mapping[str, str]
    take: Callable[[str, bytes], Any]

    def who(self, authorization: str) -> str | None:
        """Return who shows a token, None where nobody has that one; takes as long for each."""
        shown = authorization.encode()
        found = [who for token, who in self.tokens.items() if hmac.compare_digest(shown, f"Bearer {token}".encode())]
        return found[0] if found else None


def open_intake(listen: str, intake: Intake) -> ThreadingHTTPServer:
    """Return a server that listens (``serve_forever`` serves, ``shutdown`` ends it); raises Permanent if it can't."""
    host, _, port = listen.rpartition(":")
    handler = type("Handler", (_Handler,), {"intake": intake})
    try:
        return _Server((host.strip("[]"), int(port)), handler)
    except OSError as error:
        raise Permanent(f"cannot listen on {listen}: {error.strerror or error}") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # who comes while it is busy waits; of a storm on the usual 5 some were reset


class _Handler(BaseHTTPRequestHandler):
    intake: Intake
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Take what is posted, or say in a sentence why not."""
        if self.path.partition("?")[0] != self.intake.path:
            return self._tell(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {self.path}; post to {self.intake.path}"})
        who = self.intake.who(self.headers.get("Authorization", ""))
        if who is None:
            return self._tell(HTTPStatus.UNAUTHORIZED, {"error": "the bearer token is missing or is not the one asked for"})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            return self._tell(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"a body of at most {LARGEST} bytes, with its length"}
            )
        return self._tell(*self._answer(who, self.rfile.read(int(length))))

    def _answer(self, who: str, body: bytes) -> tuple[HTTPStatus, Any]:
        try:
            return HTTPStatus.OK, self.intake.take(who, body)
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
