"""A small web server for one's own machine: files that never change, and answers made when asked for. Reads only."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flotilla.errors import FlotillaError, InvalidInput, Permanent

FILES = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})

Asked = Mapping[str, tuple[str, ...]]
"""The parameters of a request, by name."""

Route = Callable[[Asked], Any]
"""Returns what is told as JSON; a FlotillaError that it raises is told in words."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """What is served: files by path, and routes by path; ``hosts`` are further names by which a browser may ask for it."""

    routes: Mapping[str, Route]
    files: Mapping[str, tuple[str, bytes]]
    hosts: frozenset[str] = frozenset()


def files_of_page(folder: Path = FILES) -> dict[str, tuple[str, bytes]]:
    """Return the page's own files by the path that they are asked for, with their media types."""
    found = {f"/{file.name}": (_TYPES[file.suffix], file.read_bytes()) for file in folder.iterdir() if file.suffix in _TYPES}
    return found | {"/": found["/index.html"]}


def open_server(site: Site, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that listens (``serve_forever`` serves, ``server_close`` ends it); raises Permanent if it can't."""
    handler = type("Handler", (_Handler,), {"site": site})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise Permanent(f"cannot listen on {host}:{port}: {error.strerror or error}; another --port may be free") from None
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Answer with a file, with what a route returns, or with a sentence on why not."""
        split = urlsplit(self.path)
        if not self._asks_for_us():
            self._tell(HTTPStatus.MISDIRECTED_REQUEST, {"error": "this page is not served by that name; see --host"})
        elif split.path in self.site.files:
            media, content = self.site.files[split.path]
            self._send(HTTPStatus.OK, media, content)
        elif split.path in self.site.routes:
            asked = {name: tuple(values) for name, values in parse_qs(split.query, keep_blank_values=True).items()}
            self._tell(*_answer(self.site.routes[split.path], asked))
        else:
            self._tell(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {split.path}"})

    def _asks_for_us(self) -> bool:
        """Tell whether a browser was sent here by our own name: another one would be a foreign page reading through DNS."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        return host in _LOCAL or host in self.site.hosts

    def _tell(self, status: HTTPStatus, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body, allow_nan=False, separators=(",", ":")).encode())

    def _send(self, status: HTTPStatus, media: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{media}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep requests out of the terminal unless somebody wants to see them."""
        log.debug(format, *args)


def _answer(route: Route, asked: Asked) -> tuple[HTTPStatus, Any]:
    try:
        return HTTPStatus.OK, route(asked)
    except InvalidInput as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error)}
    except FlotillaError as error:
        return HTTPStatus.BAD_GATEWAY, {"error": str(error)}
    except Exception:
        log.exception("a request could not be answered")
        return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "a defect of the page itself; its log says more"}
