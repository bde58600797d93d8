"""What members scrape: one small process with the targets of all clusters, at /CLUSTER/JOB/NODE.

python -m tests.bench.exporter PORT NODES CLUSTER...
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bench.exposition import Body, targets


def main() -> None:
    """Serve until ended."""
    port, nodes, *clusters = sys.argv[1:]
    Handler.bodies = {
        f"/{cluster}/{target.job}/{target.node}": Body(target.series)
        for cluster in clusters
        for target in targets(cluster, int(nodes))
    }
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


class Handler(BaseHTTPRequestHandler):
    """Answers scrapes; each target has one scraper, so that a body is used by one thread at a time."""

    bodies: dict[str, Body]
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.bodies.get(self.path)
        content = body.scraped() if body else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    main()
