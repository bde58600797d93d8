"""A Prefect server with a worker for the tests of the stories, and applications of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks import orchestrator
from tests.conftest import ROOT, FleetLab
from tests.flows.stories import CLUSTERS, NAMESPACE, Story, hold_schedules

WEBHOOK = "FLOTILLA_TEST_WEBHOOK"


@dataclass
class Told:
    """What a webhook was told, and the variable that holds its address."""

    variable: str = WEBHOOK
    bodies: list[dict[str, Any]] = field(default_factory=list)


TOLD = Told()


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        TOLD.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def webhook(prefect: None) -> Told:
    TOLD.bodies.clear()
    return TOLD


@pytest.fixture(scope="session")
def prefect(fleet_lab: FleetLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server with a worker of our own; every deployment of prefect.yaml registered."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FLOTILLA_HOME", str(tmp_path_factory.mktemp("prefect")))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE"):
        patch.delenv(name, raising=False)
    patch.chdir(ROOT)
    server = HTTPServer(("127.0.0.1", 0), _Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    patch.setenv(WEBHOOK, f"http://127.0.0.1:{server.server_port}/hooks/people")
    orchestrator.start_all()
    orchestrator.deploy_all()
    hold_schedules()
    yield
    orchestrator.stop_all()
    server.shutdown()
    patch.undo()


@pytest.fixture
def story(prefect: None, fleet_lab: FleetLab, tmp_path: Path) -> Iterator[Story]:
    one = Story(tmp_path, fleet_lab)
    yield one
    for cluster in CLUSTERS:
        one.connection(cluster).request("DELETE", NAMESPACE.path(name=one.name))
