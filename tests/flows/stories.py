"""An application whose story a test tells, and words to tell it with: a real Prefect, three real clusters."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from flotilla.objects import Manifest
from flotilla.revisions import Revision
from tasks import prefect_api
from tasks.clusters import Connection, connect
from tasks.objects import Kind, read
from tasks.planning import known_revisions
from tests.conftest import ROOT, FleetLab

DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", namespaced=True)
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
CLUSTERS = ("production", "same-city", "remote")
OLD, NEW, ABSENT = "localhost/podinfo:6.7.0", "localhost/podinfo:6.9.2", "localhost/podinfo:0.0.0-absent"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Story:
    """An application of a name and namespace of its own, and what has become of it."""

    def __init__(self, folder: Path, lab: FleetLab) -> None:
        self.folder = folder
        self.lab = lab
        self.name = f"story-{secrets.token_hex(3)}"

    def write(self, *, image: str = OLD, gate: bool = False, more: list[dict[str, Any]] | None = None) -> str:
        """Write the application's file: one wave in same-city, then one in production and remote."""
        web = {
            "name": "web",
            "type": "webservice",
            "properties": {
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"port": 9898, "expose": True}],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9898}, "periodSeconds": 1},
            },
        }
        topologies = {"first": ["same-city"], "rest": ["production", "remote"]}
        document = {
            "apiVersion": "core.oam.dev/v1beta1",
            "kind": "Application",
            "metadata": {"name": self.name, "namespace": self.name},
            "spec": {
                "components": [web, *(more or [])],
                "policies": [
                    {"name": name, "type": "topology", "properties": {"clusters": clusters}}
                    for name, clusters in topologies.items()
                ],
                "workflow": {
                    "steps": [
                        {"name": "one", "type": "deploy", "properties": {"policies": ["first"]}},
                        {"name": "two", "type": "deploy", "properties": {"policies": ["rest"], "auto": not gate}},
                    ]
                },
            },
        }
        path = self.folder / "application.yaml"
        path.write_text(yaml.safe_dump(document))
        return str(path)

    def start(self, fleet: str = "", **parameters: Any) -> str:
        """Start a rollout and return its run's id."""
        given = {"application": str(self.folder / "application.yaml"), "fleet": fleet or self.lab.fleet_file, **parameters}
        return str(prefect_api.submit("rollout/rollout", given)["id"])

    def connection(self, cluster: str) -> Connection:
        return connect(self.lab.fleet.cluster(cluster))

    def deployment(self, cluster: str) -> Manifest | None:
        return read(self.connection(cluster), DEPLOYMENT, self.name, "web")

    def image(self, cluster: str) -> str:
        live = self.deployment(cluster)
        return live["spec"]["template"]["spec"]["containers"][0]["image"] if live else ""

    def images(self) -> set[str]:
        return {self.image(cluster) for cluster in CLUSTERS}

    def revisions(self) -> list[Revision]:
        return list(known_revisions(self.lab.fleet, self.name, self.name)[0])


def until(there: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.3)
    return found


def ended(run: str, seconds: float = 180) -> dict[str, Any]:
    """Return a run once it has ended."""

    def final() -> dict[str, Any] | None:
        found = prefect_api.run_of(run)
        return found if found["state_type"] in FINAL else None

    return until(final, f"the end of {run}", seconds)


def asks(run: str) -> str:
    """Return the key of the gate at which a run waits, once it does."""

    def key() -> str:
        found = prefect_api.run_of(run)
        assert found["state_type"] not in FINAL, found["state"]
        return (found["state"]["state_details"].get("pause_key") or "") if found["state_type"] == "PAUSED" else ""

    return str(until(key, f"{run} to ask"))


def process_of(run: str) -> psutil.Process:
    """Return the process that walks a run, once there is one."""

    def found() -> psutil.Process | None:
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run.replace("-", ""):
                return process
        return None

    return until(found, f"the process of {run}")


def flotilla(*words: str) -> subprocess.CompletedProcess[str]:
    """Return what the command line said and how it ended."""
    program = str(ROOT / ".venv" / "bin" / "flotilla")
    return subprocess.run([program, *words], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def hold_schedules(but: str = "") -> None:
    """Have nothing run on its own, but when a test says so, and one deployment."""
    held = ("drift/drift", "services/keep-wired", "services/audit", "metrics/collect", "metrics/receive-alerts")
    for name in {*held, "recovery/watch", "recovery/watch-too", "recovery/check"} - {but}:
        found = prefect_api.call("GET", f"/deployments/name/{name}").json()
        for schedule in found["schedules"]:
            path = f"/deployments/{found['id']}/schedules/{schedule['id']}"
            answer = prefect_api.call("PATCH", path, {"active": False})
            assert answer.is_success, answer.text
