"""The orders application as a process on loopback, and a user of it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.metrics.programs import free_port, until
from tests.recovery.postgres import Database

APPLICATION = ROOT / "deployments" / "apps" / "orders"
CONNECTIONS = 4


@dataclass
class Shop:
    """A running application."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and body; a body that is bytes is sent as it is."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body))
            answer = link.getresponse()
            text = answer.read().decode()
        finally:
            link.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def place(self, order: str, **more: object) -> int:
        return self.ask("POST", "/orders", {"id": order, **more})[0]

    def ids(self, query: str = "") -> list[str]:
        status, text = self.ask("GET", f"/orders/ids{query}")
        assert status == 200, text
        return str(text).split()

    @property
    def serving(self) -> bool:
        return self.ask("GET", "/dr/serving")[0] == 200

    @property
    def obstacle(self) -> str:
        return str(self.ask("GET", "/dr/serving")[1].get("reason", ""))


@contextmanager
def shop(folder: Path, databases: list[Database], patience: float = 1) -> Iterator[Shop]:
    """Yield an application that knows these databases; ``patience`` in seconds for an order."""
    places = ",".join(f"{one.name}=127.0.0.1:{one.port}" for one in databases)
    own = {
        "ORDERS_DATABASES": places,
        "ORDERS_SITE": "here",
        "ORDERS_CONNECTIONS": str(CONNECTIONS),
        "ORDERS_PATIENCE": str(patience),
    }
    libpq = {"PGDATABASE": "postgres", "PGUSER": "postgres", "PGSSLMODE": "disable"}
    port, log = free_port(), folder / "orders.log"
    env = dict(os.environ) | own | libpq | {"ORDERS_LISTEN": f"127.0.0.1:{port}"}
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, str(APPLICATION / "orders.py")], env=env, stdout=out, stderr=out)
    made = Shop(port, process, log)
    try:
        until(lambda: _answers(made), "an answer of the application")
        yield made
    finally:
        process.terminate()
        process.wait(30)


def _answers(made: Shop) -> bool:
    assert made.process.poll() is None, made.log.read_text()[-2000:]
    try:
        return made.ask("GET", "/healthz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False
