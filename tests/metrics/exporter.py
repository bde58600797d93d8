"""An exporter whose exposition a test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Exporter:
    """What is scraped at ``address``: ``text`` returns the exposition, given how often it was scraped before."""

    address: str
    text: Callable[[int], str]
    scrapes: int = 0


@contextmanager
def exporter(text: Callable[[int], str]) -> Iterator[Exporter]:
    """Yield a running exporter."""
    made = Exporter("", text)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.text(made.scrapes).encode()
            made.scrapes += 1
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
