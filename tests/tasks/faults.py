"""A real HTTP proxy in front of a real API server that answers slowly, with errors, or not at all, when it is told to."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tasks.clusters import Connection


@dataclass
class Fault:
    """What happens to the next ``times`` requests of a method whose path contains some text.

    ``status`` answers instead of the server, ``delay`` seconds pass before, ``cut`` closes the connection: "before" the
    server sees the request, or "after" it has acted.
    """

    method: str = ""
    path: str = ""
    status: int = 0
    message: str = "made by the test"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: str = ""
    times: int = 1

    def meets(self, method: str, path: str) -> bool:
        """Tell whether a request is meant."""
        return self.times > 0 and self.method in ("", method) and self.path in path


class FaultProxy:
    """Forwards plain HTTP to an API server with the kubeconfig's client certificate."""

    connection: Connection

    def __init__(self, kubeconfig: str, context: str) -> None:
        self.host, self.tls = target(kubeconfig, context)
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str, float]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def kubeconfig(self) -> str:
        """A kubeconfig whose only context leads through this proxy."""
        server = f"http://127.0.0.1:{self._server.server_port}"
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "contexts": [{"name": "remote", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {}}],
            }
        )

    def make(self, **fault: Any) -> None:
        """Let something go wrong from now on."""
        self.faults.append(Fault(**fault))

    def requests(self, method: str = "", path: str = "") -> list[float]:
        """Return when requests came, in seconds of the monotonic clock."""
        return [at for seen, where, at in self.seen if method in ("", seen) and path in where]

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()

    def taken(self, method: str, path: str) -> Fault | None:
        """Note a request and return what is to happen to it."""
        with self._lock:
            self.seen.append((method, path, time.monotonic()))
            fault = next((one for one in self.faults if one.meets(method, path)), None)
            if fault:
                fault.times -= 1
            return fault


def of_context(kubeconfig: str, context: str) -> dict[str, Any]:
    """Return a kubeconfig with one context, one cluster and one user."""
    document = yaml.safe_load(Path(kubeconfig).read_text())
    names = next(one["context"] for one in document["contexts"] if one["name"] == context)
    return {
        **document,
        "contexts": [{"name": context, "context": names}],
        "clusters": [one for one in document["clusters"] if one["name"] == names["cluster"]],
        "users": [one for one in document["users"] if one["name"] == names["user"]],
    }


def target(kubeconfig: str, context: str) -> tuple[str, ssl.SSLContext]:
    """Return host:port of a context's API server and the TLS settings with its client certificate."""
    document = of_context(kubeconfig, context)
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    tls = ssl.create_default_context(cadata=held(kubeconfig, cluster, "certificate-authority").decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(held(kubeconfig, user, "client-certificate") + b"\n" + held(kubeconfig, user, "client-key"))
        pair.flush()
        tls.load_cert_chain(pair.name)
    return urlsplit(cluster["server"]).netloc, tls


def held(kubeconfig: str, entry: Mapping[str, str], name: str) -> bytes:
    """Return what a kubeconfig holds itself or names as a file."""
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return (Path(kubeconfig).parent / entry[name]).read_bytes()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.taken(self.command, self.path) or Fault()
            time.sleep(fault.delay)
            if fault.cut == "before":
                return self.cut()
            if fault.status:
                status = {"kind": "Status", "apiVersion": "v1", "message": fault.message, "code": fault.status}
                return self.answer(fault.status, json.dumps(status).encode(), fault.headers)
            upstream = http.client.HTTPSConnection(proxy.host, context=proxy.tls, timeout=60)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            upstream.request(self.command, self.path, body or None, kept)
            response = upstream.getresponse()
            content = response.read()
            upstream.close()
            if fault.cut == "after":
                return self.cut()
            return self.answer(response.status, content, {"Content-Type": response.headers.get("Content-Type", "")})

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - the names that http.server calls

        def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    return Handler
