"""The server by which an agent is reached: JSON over HTTPS, connections that stay open, one bearer token."""

from __future__ import annotations

import hmac
import json
import logging
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flotilla.errors import FlotillaError, Permanent
from flotilla.node.config import AgentConfig
from flotilla.node.requests import parse_request
from flotilla.node.traffic import Traffic
from flows.agent import SiteAgent, Verify, nobody
from flows.agent_answers import status_of
from flows.agent_jobs import Job
from flows.agent_watch import Supervisor

LARGEST = 1 << 20  # bytes of a body
IDLE = 300.0  # seconds that a silent connection is kept
HANDSHAKE = 5.0  # seconds
log = logging.getLogger("flotilla.agent")


def serve_for_good(config: AgentConfig, traffic: Traffic | None = None, verify: Verify = nobody) -> None:
    """Be a site's agent until SIGTERM or SIGINT; raises Permanent where another agent is, or the server can't be."""
    agent = SiteAgent(config, traffic, verify)
    server = open_server(config, agent)
    supervisor = Supervisor(agent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    agent.begin()
    supervisor.start()
    log.info("site=%s agent at https://%s, epoch %d", config.site, config.listen, agent.memory.now.epoch)
    with server:
        server.serve_forever(poll_interval=0.1)
    supervisor.stop()
    log.info("site=%s ended: %s", config.site, agent.end())


def open_server(config: AgentConfig, agent: SiteAgent) -> ThreadingHTTPServer:
    """Return a server that listens; raises Permanent where it can't, or where its certificate can't be read."""
    host, _, port = config.listen.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls.cert, config.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise Permanent(f"the certificate {config.tls.cert} with its key {config.tls.key} cannot be used: {error}") from None
    handler = type("Handler", (_Handler,), {"agent": agent, "context": context})
    try:
        server = _Server((host.strip("[]"), int(port)), handler)
    except OSError as error:
        raise Permanent(f"cannot listen on {config.listen}: {error.strerror or error}") from None
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the base class has it
        """Tell in a line who could not be served: a stranger's handshake, a connection that broke."""
        log.warning("%s was not served: %s", client_address[0], sys.exception())


class _Handler(BaseHTTPRequestHandler):
    agent: SiteAgent
    context: ssl.SSLContext
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer leaves in one piece
    timeout = IDLE

    def setup(self) -> None:
        """Shake hands in the connection's own thread: whoever does not, holds up nobody."""
        self.request.settimeout(HANDSHAKE)
        self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        """Answer until the other side goes away, which it may at any time."""
        try:
            super().handle()
        except (OSError, ssl.SSLError) as error:
            log.debug("%s went away: %s", self.client_address[0], error)

    def do_GET(self) -> None:
        """Tell what is seen, or how a job stands."""
        if self._is_known():
            path = self.path.partition("?")[0]
            if path == "/v1/seen":
                return self._answer(lambda: (HTTPStatus.OK, self.agent.seen()))
            job = self.agent.jobs.get(path.removeprefix("/v1/jobs/"))
            if job:
                return self._tell(HTTPStatus.OK, job.shown())
            self._tell(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {path}; jobs are known until the agent ends"})
        return None

    def do_POST(self) -> None:
        """Do what is asked."""
        if not self._is_known():
            return None
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.close_connection = True  # its body was not read
            return self._tell(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"a body of at most {LARGEST} bytes, with its length"}
            )
        body = self.rfile.read(int(length))
        if self.path != "/v1/act":
            return self._tell(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {self.path}; acts are posted to /v1/act"})
        return self._answer(lambda: self._acted(body))

    def _acted(self, body: bytes) -> tuple[HTTPStatus, Any]:
        done = self.agent.act(parse_request(body))
        if isinstance(done, Job):
            return HTTPStatus.ACCEPTED, {"job": done.id, "told": f"{done.kind} is under way", "seen": self.agent.seen()}
        return HTTPStatus.OK, {"told": done.text, "changed": done.changed, "seen": self.agent.seen()}

    def _answer(self, work: Callable[[], tuple[HTTPStatus, Any]]) -> None:
        try:
            return self._tell(*work())
        except FlotillaError as error:
            return self._tell(status_of(error), {"error": str(error)})
        except Exception as error:  # whoever asks is told, and the agent goes on
            log.exception("site=%s %s failed", self.agent.config.site, self.path)
            return self._tell(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"a defect: {error!r}"})

    def _is_known(self) -> bool:
        shown = self.headers.get("Authorization", "").encode()
        if hmac.compare_digest(shown, f"Bearer {self.agent.token}".encode()):
            return True
        log.warning("%s shows no token, or a wrong one", self.client_address[0])
        self.close_connection = True
        self._tell(HTTPStatus.UNAUTHORIZED, {"error": "the bearer token is missing or is not the one asked for"})
        return False

    def _tell(self, status: HTTPStatus, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing of each request."""
