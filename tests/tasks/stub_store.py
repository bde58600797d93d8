"""A store that answers what a test wants: for the faults that a real one does not make when asked to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Said = tuple[int, str, bytes]
"""Status, media type, body."""


def success(result: Any, kind: str = "vector", **more: Any) -> Said:
    return (
        200,
        "application/json",
        json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode(),
    )


def one(value: str = "1", at: float = 100.0, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [at, value]}


@contextmanager
def store(answer: Callable[[str, dict[str, str]], Said], headers: list[dict[str, str]] | None = None) -> Iterator[str]:
    """Yield the address of a store that answers a path and its parameters."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def _answer(self, query: str) -> None:
            if headers is not None:
                headers.append(dict(self.headers))
            status, media, body = answer(urlsplit(self.path).path, dict(parse_qsl(query)))
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
