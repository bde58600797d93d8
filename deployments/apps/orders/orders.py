"""Orders over HTTP, kept in the one PostgreSQL of several sites that may be written.

    POST /orders {"id": "...", ...}   201 committed now, 200 it was there already, 400 no order, 503 not written or in
                                      doubt: try again with the same id
    GET  /orders/ID                   200, 404; /orders/ids streams all ids, a line each (?since=SECONDS: those placed since)
    GET  /dr/serving                  200 while orders can be written here, else 503 with the reason
    GET  /healthz /readyz /metrics

Environment: ORDERS_DATABASES=NAME=HOST:PORT,... and libpq's own PGDATABASE, PGUSER, PGPASSWORD, PGSSLMODE, PGSSLROOTCERT;
ORDERS_SITE, ORDERS_LISTEN (:8080; ORDERS_PORT is what Kubernetes sets for a Service of that name), ORDERS_CONNECTIONS (8),
ORDERS_PATIENCE (3 s for one order).
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pool import Unwritable
from primary import Primary
from session import Doubt, Failed, Session

LARGEST = 65_536  # bytes of an order
PAGE = 5_000  # ids that are read at once
STATEMENT = 10.0  # seconds for a statement that is no order
IDLE = 60.0  # seconds for which a connection of a user may be silent
FAILED = 70  # exit code where a thread failed
LATEST = 1e11  # seconds since 1970: of the year 5138
_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")
_ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON says it; a backslash of the text itself stands there twice
log = logging.getLogger("orders")

# What is there already is written again, by one more than before: only a transaction that writes waits for the standby. A plain
# DO NOTHING would acknowledge a row that an earlier, doubtful commit has left on this one machine.
_PLACE = """INSERT INTO orders (id, body) VALUES ($1, $2::jsonb)
            ON CONFLICT (id) DO UPDATE SET asked = orders.asked + 1 RETURNING asked"""
_BEAT = "INSERT INTO orders_beat (site) VALUES ($1) ON CONFLICT (site) DO UPDATE SET at = clock_timestamp()"
_ONE = "SELECT body::text, extract(epoch FROM at)::text FROM orders WHERE id = $1"
_IDS = "SELECT id FROM orders WHERE id > $1 AND at >= to_timestamp($2::float8) ORDER BY id LIMIT $3::int"
_IS_THERE = "SELECT to_regclass('orders_beat') IS NOT NULL"
_TABLES = """DO $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('orders'));
    CREATE TABLE IF NOT EXISTS orders (id text COLLATE "C" PRIMARY KEY, body jsonb NOT NULL, asked int NOT NULL DEFAULT 1,
                                       at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE IF NOT EXISTS orders_beat (site text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
END $$"""


class NoOrder(Exception):
    """What was sent is no order; the text says why."""


class Orders:
    """The application: orders by id, in whatever database is the primary."""

    def __init__(self, hosts: Mapping[str, dict[str, object]], site: str, connections: int, patience: float) -> None:
        self.site, self._patience = site, patience
        self.primary = Primary(hosts, connections, prepare=migrated, beat=self._beat)
        self.answers: Counter[tuple[str, int]] = Counter()

    def place(self, order: str, body: str) -> bool:
        """Have an order committed; return whether it is new. Raises Unwritable, Failed or Doubt."""
        with self.primary.session(self._patience) as session:
            ((asked,),) = session.ask(_PLACE, [order, body], patience=self._patience)
        return asked == "1"

    def order(self, order: str) -> dict[str, Any] | None:
        """Return an order as it was placed, with the time of that."""
        with self.primary.session(self._patience) as session:
            rows = session.ask(_ONE, [order], patience=STATEMENT)
        return {"id": order, "order": json.loads(rows[0][0] or ""), "at": float(rows[0][1] or 0)} if rows else None

    def page(self, after: str, since: float) -> list[str]:
        """Return the next ids after one, in order."""
        with self.primary.session(self._patience) as session:
            return [str(row[0]) for row in session.ask(_IDS, [after, str(since), str(PAGE)], patience=STATEMENT)]

    def metrics(self) -> str:
        """Return the numbers for Prometheus."""
        choice = self.primary.choice
        lines = [f'orders_answers_total{{path="{path}",code="{code}"}} {n}' for (path, code), n in sorted(self.answers.items())]
        lines += [f'orders_connections{{state="{state}"}} {n}' for state, n in self.primary.counts().items()]
        lines += [f"orders_epoch {choice.epoch}", f"orders_writable {int(not self.primary.obstacle)}"]
        return "\n".join(lines) + "\n"

    def _beat(self, session: Session) -> None:
        session.ask(_BEAT, [self.site], patience=1.0)


def migrated(session: Session) -> None:
    """Have the tables, on the primary that the session is with."""
    if session.ask(_IS_THERE, patience=STATEMENT) != [("t",)]:
        session.ask(_TABLES, patience=STATEMENT)


def parse_order(raw: bytes) -> tuple[str, str]:
    """Return id and body of an order; raises NoOrder."""
    try:
        body = json.loads(raw)
        text = json.dumps(body, allow_nan=False)
        json.dumps(body, ensure_ascii=False).encode()
    except RecursionError:
        raise NoOrder("the body is nested too deeply") from None
    except ValueError as error:  # NaN, a number beyond all, half of a surrogate pair: Python reads them, PostgreSQL does not
        raise NoOrder(f"the body is not JSON: {error}") from None
    order = body.get("id") if isinstance(body, dict) else None
    if not isinstance(order, str) or not _ID.fullmatch(order) or order == "ids":
        raise NoOrder('an object with an "id" of 1 to 80 letters, digits and . _ : - is needed, which is not "ids"')
    if _ZERO.search(text):
        raise NoOrder("PostgreSQL keeps no text with a zero character in it")
    return order, text


class Handler(BaseHTTPRequestHandler):
    """One user's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one packet
    timeout = IDLE
    orders: Orders

    def do_POST(self) -> None:
        """Take an order."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.close_connection = True
            return self._say(HTTPStatus.BAD_REQUEST, {"error": f"a Content-Length of at most {LARGEST} is needed"})
        raw = self.rfile.read(int(length))
        if urlsplit(self.path).path != "/orders":
            return self._say(HTTPStatus.NOT_FOUND, {"error": "POST /orders"})
        try:
            order, body = parse_order(raw)
            new = self.orders.place(order, body)
        except NoOrder as error:
            return self._say(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except (Unwritable, Failed, Doubt) as error:
            return self._sorry(error)
        return self._say(HTTPStatus.CREATED if new else HTTPStatus.OK, {"id": order})

    def do_GET(self) -> None:
        """Answer what is so."""
        parts = urlsplit(self.path)
        try:
            if parts.path == "/orders/ids":
                self._stream(parse_qs(parts.query).get("since", ["0"])[0])
            elif parts.path.startswith("/orders/"):
                order = unquote(parts.path.removeprefix("/orders/"))
                found = self.orders.order(order) if _ID.fullmatch(order) else None
                self._say(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, found or {"error": "no such order"})
            else:
                self._about(parts.path)
        except (Unwritable, Failed, Doubt) as error:
            self._sorry(error)

    def _about(self, path: str) -> None:
        obstacle, choice = self.orders.primary.obstacle, self.orders.primary.choice
        if path == "/dr/serving":
            body = {"site": self.orders.site, "epoch": choice.epoch, "database": choice.host}
            self._say(
                HTTPStatus.SERVICE_UNAVAILABLE if obstacle else HTTPStatus.OK, body | ({"reason": obstacle} if obstacle else {})
            )
        elif path in ("/healthz", "/readyz"):  # that no database can be written is not this process's illness
            self._say(HTTPStatus.OK, {"site": self.orders.site})
        elif path == "/metrics":
            self._say(HTTPStatus.OK, self.orders.metrics())
        else:
            self._say(HTTPStatus.NOT_FOUND, {"error": "see POST /orders, GET /orders/ids, /dr/serving"})

    def _stream(self, since: str) -> None:
        """Send all ids in pages; where it breaks off, the connection ends without the end that HTTP asks for."""
        try:
            from_ = float(since)
        except ValueError:
            from_ = math.nan
        if not abs(from_) < LATEST:
            return self._say(HTTPStatus.BAD_REQUEST, {"error": f"since={since!r} is no number of seconds since 1970"})
        page = self.orders.page("", from_)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while page:
                text = "".join(f"{order}\n" for order in page).encode()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(text), text))
                page = self.orders.page(page[-1], from_) if len(page) == PAGE else []
        except (Unwritable, Failed, Doubt) as error:
            log.warning("the list of ids broke off: %s", error)
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
        return None

    def _sorry(self, error: Exception) -> None:
        """Answer that nothing is promised; the user is to ask for the address again, so the connection ends."""
        doubt = isinstance(error, Doubt)
        self.close_connection = True
        self._say(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error), "inDoubt": doubt})

    def _say(self, status: HTTPStatus, body: Mapping[str, Any] | str) -> None:
        raw = (body if isinstance(body, str) else json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)
        path = urlsplit(self.path).path
        self.orders.answers["/orders/" if path.startswith("/orders/") else path, status.value] += 1

    def log_message(self, *_: object) -> None:
        """Keep quiet: the numbers are in /metrics."""


class Server(ThreadingHTTPServer):
    """Takes many users at once, and ends without waiting for idle ones."""

    request_queue_size = 256
    daemon_threads = True


def parse_databases(text: str) -> dict[str, dict[str, object]]:
    """Return libpq's options by name of each database."""
    found: dict[str, dict[str, object]] = {}
    for one in filter(None, text.split(",")):
        name, _, place = one.strip().partition("=")
        host, _, port = place.rpartition(":")
        if not name or not host or not port.isdecimal():
            raise SystemExit(f"ORDERS_DATABASES: {one!r} is not NAME=HOST:PORT")
        found[name] = {
            "host": host,
            "port": port,
            "application_name": f"orders-{os.environ.get('ORDERS_SITE', 'unknown')}",
            "tcp_user_timeout": 3000,  # ms after which a host that takes no packets is given up
            "options": "-c lock_timeout=2s -c synchronous_commit=on",
        }
    if not found:
        raise SystemExit("ORDERS_DATABASES is empty: NAME=HOST:PORT,... is needed")
    return found


def _end(failed: threading.ExceptHookArgs) -> None:
    """End the process, to be started anew: without a thread that looks or writes it would live on and serve nobody."""
    exception = failed.exc_value or failed.exc_type()
    log.critical("%s failed", failed.thread.name if failed.thread else "a thread", exc_info=exception)
    os._exit(FAILED)


def main() -> None:
    """Serve until SIGTERM; then answer what was asked, and hang up."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    threading.excepthook = _end
    read = os.environ.get
    hosts = parse_databases(read("ORDERS_DATABASES", ""))
    orders = Orders(
        hosts, read("ORDERS_SITE", "unknown"), int(read("ORDERS_CONNECTIONS", "8")), float(read("ORDERS_PATIENCE", "3"))
    )
    address, _, port = read("ORDERS_LISTEN", ":8080").rpartition(":")
    with Server((address, int(port)), type("Bound", (Handler,), {"orders": orders})) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        orders.primary.start()
        log.info("orders of %s at port %d, databases %s", orders.site, server.server_port, ", ".join(hosts))
        server.serve_forever(poll_interval=0.1)
    orders.primary.stop()


if __name__ == "__main__":
    main()
