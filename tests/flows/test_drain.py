"""A rollout under load through a service of two clusters loses no request: each cluster is drained while it is changed."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tasks import prefect_api
from tasks.clusters import connect
from tests.conftest import ROOT, FleetLab
from tests.flows.stories import CLUSTERS, NEW, OLD, ended, until

pytestmark = [pytest.mark.lab, pytest.mark.prefect, pytest.mark.timeout(600)]

APPLICATION = ROOT / "deployments" / "apps" / "services-two-sources.yaml"
NAME = "two-sources"


class Load:
    """New connections to the service, one after another, from a pod in same-city."""

    def __init__(self, lab: FleetLab, name: str) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.errors: list[str] = []
        self.stop = threading.Event()
        self._connection = connect(lab.fleet.cluster("same-city"))
        self._path = f"/api/v1/namespaces/{name}/services/frontend:8080/proxy/dial"
        host = f"backend.{name}.svc.clusterset.local"
        self._query = {"host": host, "port": "9898", "protocol": "http", "request": "api/info", "tries": "4"}

    def once(self) -> bool:
        """Ask four times; return whether all were answered."""
        body = self._connection.request("GET", self._path, query=self._query).body
        told = body if isinstance(body, dict) else json.loads(body)
        for answer in told.get("responses") or ():
            found = json.loads(answer)
            self.answers[found["message"], found["version"]] += 1
        self.errors += told.get("errors") or []
        return not told.get("errors")

    def run(self) -> None:
        while not self.stop.wait(0.05):
            self.once()


@pytest.fixture
def application(prefect: None, fleet_lab: FleetLab, tmp_path) -> Iterator[str]:
    """The example under a name of its own, so that the demo's stays as it is."""
    name = f"{NAME}-{tmp_path.name[-4:].strip('_')}".lower()
    file = tmp_path / "application.yaml"
    file.write_text(APPLICATION.read_text().replace(NAME, name))
    keeper = prefect_api.ensure_running("services/keep-wired")
    yield str(file)
    for cluster in CLUSTERS:
        connect(fleet_lab.fleet.cluster(cluster)).request("DELETE", f"/api/v1/namespaces/{name}")
    if keeper == "started":
        body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}, "name": {"like_": "keep-wired"}}}
        for run in prefect_api.call("POST", "/flow_runs/filter", body).json():
            prefect_api.call("POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})


def test_an_upgrade_under_load_loses_no_request(application, fleet_lab):
    given = {"application": application, "fleet": fleet_lab.fleet_file, "approve": "auto"}
    first = ended(str(prefect_api.submit("rollout/rollout", given)["id"]))
    name = yaml.safe_load(Path(application).read_text())["metadata"]["name"]
    load = Load(fleet_lab, name)
    until(load.once, "an answer through the clusterset name")
    load.errors.clear()
    client = threading.Thread(target=load.run)
    client.start()

    upgraded = ended(str(prefect_api.submit("rollout/rollout", given | {"images": {"backend": NEW}})["id"]), 300)
    both = [(f"hello from {cluster}", version(NEW)) for cluster in ("production", "remote")]
    until(lambda: all(load.answers[one] for one in both), "answers of the new version out of both clusters")
    load.stop.set()
    client.join()
    drained = [one["message"] for one in prefect_api.logs_of(upgraded["id"], 0) if "drained; idles" in one["message"]]

    assert ("Completed", "Completed") == (first["state"]["name"], upgraded["state"]["name"]), upgraded["state"]["message"]
    assert [] == load.errors
    assert 2 == len(drained), drained
    clusters = {(cluster, seen) for (cluster, seen), count in load.answers.items() if count}
    assert {(f"hello from {c}", version(i)) for c in ("production", "remote") for i in (OLD, NEW)} == clusters


def version(image: str) -> str:
    return image.rpartition(":")[2]
