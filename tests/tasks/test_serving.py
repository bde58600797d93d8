"""Whether a site serves users, asked of a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flotilla.errors import Transient
from flotilla.recovery.facts import ServingSeen
from tasks import serving
from tests.metrics.programs import free_port


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.send_header("Location", "/200")
        self.end_headers()
        self.wfile.write(b'{"reason": "first is\\n a standby"}' + b"x" * 1000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_site_serves_while_it_answers_200_and_says_else_why_not(url: str) -> None:
    assert serving.seen("here", f"{url}/200") == ServingSeen("here")
    for code in (204, 302, 404, 500, 503):
        said = serving.seen("here", f"{url}/{code}")
        assert said.obstacle.startswith(f"{url}/{code} answers {code}:")
    assert '{"reason": "first is\\n a standby"}' in said.obstacle
    assert len(said.obstacle) < 300


def test_where_nothing_answers_nobody_knows() -> None:
    port = free_port()
    with pytest.raises(Transient, match=f"^here: no answer at http://127.0.0.1:{port}/: "):
        serving.seen("here", f"http://127.0.0.1:{port}/")
