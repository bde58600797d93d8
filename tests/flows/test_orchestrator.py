"""The local Prefect: it asks for credentials where told to, keeps to loopback, and ends with all that it started."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from flotilla.errors import Permanent
from tasks import orchestrator, prefect_api
from tasks.clusters import connect
from tests.conftest import ROOT, FleetLab
from tests.flows.stories import ended, hold_schedules, until

pytestmark = [pytest.mark.lab, pytest.mark.prefect]


@pytest.fixture(scope="module")
def place(fleet_lab: FleetLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Prefect that wants a name and a password, on which nothing but drift is planned."""
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("guarded")
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        patch.delenv(name, raising=False)
    patch.setenv("FLOTILLA_HOME", str(folder))
    patch.setenv("PREFECT_SERVER_API_AUTH_STRING", "crew:s3cret")
    patch.chdir(ROOT)
    orchestrator.start_all()
    orchestrator.deploy_all()
    hold_schedules(but="drift/drift")
    yield folder
    orchestrator.stop_all()
    patch.undo()


@pytest.fixture
def guarded(place: Path) -> Path:
    """The same, whatever a test before has done to it."""
    orchestrator.start_all()
    return place


def test_a_guarded_server_runs_flows_for_those_who_know_the_password_only(guarded, fleet_lab, monkeypatch):
    given = {"application": "deployments/apps/podinfo.yaml", "fleet": fleet_lab.fleet_file, "dry_run": True}

    bare = httpx.get(f"{prefect_api.api_url()}/flow_runs/count")
    end = ended(str(prefect_api.submit("rollout/rollout", given)["id"]))
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "crew:wrong")

    assert 401 == bare.status_code
    assert "COMPLETED" == end["state_type"]
    with pytest.raises(Permanent, match="wants a name and password"):
        prefect_api.waiting()
    logs = (guarded / "worker.log").read_text() + (guarded / "server.log").read_text()
    assert "s3cret" not in logs


def test_a_worker_that_keeps_other_settings_than_the_callers_is_told_of(guarded, monkeypatch):
    monkeypatch.setenv("FLOTILLA_RECOVERY", "")  # not set and empty are one
    same = orchestrator.handed_otherwise()
    monkeypatch.setenv("FLOTILLA_RECOVERY", "elsewhere.yaml")
    monkeypatch.setenv("KUBECONFIG", "another")

    assert () == same
    assert ("FLOTILLA_RECOVERY", "KUBECONFIG") == orchestrator.handed_otherwise()


def test_what_is_scheduled_is_planned_by_the_server(guarded):
    body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "deployments": {"name": {"any_": ["drift"]}}}

    planned = until(lambda: prefect_api.call("POST", "/flow_runs/filter", body).json(), "runs of drift to be planned")

    assert all(one["auto_scheduled"] for one in planned)


def test_what_a_crash_of_the_machine_left_is_started_again(guarded):
    recorded = json.loads((guarded / "state.json").read_text())
    dead = [psutil.Process(recorded[part]["pid"]) for part in ("worker", "server")]
    for one in dead:
        one.kill()
    psutil.wait_procs(dead, timeout=10)

    done = orchestrator.start_all()

    assert {"server": "started again", "worker": "started again"} == done
    assert {"server": True, "worker": True} == orchestrator.parts()


def test_a_server_whose_port_was_taken_meanwhile_takes_its_worker_along(guarded, fleet_lab):
    recorded = json.loads((guarded / "state.json").read_text())
    server = psutil.Process(recorded["server"]["pid"])
    server.kill()
    server.wait(timeout=10)
    given = {"application": "deployments/apps/podinfo.yaml", "fleet": fleet_lab.fleet_file, "dry_run": True}

    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", recorded["port"]))
        stranger.listen()
        orchestrator.start_all()
    end = ended(str(prefect_api.submit("rollout/rollout", given)["id"]))

    assert recorded["port"] != json.loads((guarded / "state.json").read_text())["port"]
    assert "COMPLETED" == end["state_type"]


SOAKS = """
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: soaks, namespace: soaks}
spec:
  components:
    - {name: one, type: k8s-objects, properties: {objects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: one}}]}}
  policies:
    - {name: remote, type: topology, properties: {clusters: [remote]}}
  workflow:
    steps:
      - {name: deploy, type: deploy, properties: {policies: [remote], flotilla: {soak: 10m}}}
"""


def test_a_run_that_went_with_its_worker_is_crashed_and_not_under_way_for_ever(guarded, fleet_lab):
    (guarded / "soaks.yaml").write_text(SOAKS)
    given = {"application": str(guarded / "soaks.yaml"), "fleet": fleet_lab.fleet_file}
    run = str(prefect_api.submit("rollout/rollout", given)["id"])
    until(lambda: any("soaks for" in one["message"] for one in prefect_api.logs_of(run, 0)), "the soak")

    orchestrator.stop_all()
    orchestrator.start_all()
    end = ended(run)
    connect(fleet_lab.fleet.cluster("remote")).request("DELETE", "/api/v1/namespaces/soaks")

    assert "CRASHED" == end["state_type"]


def test_all_of_it_ends_and_it_listened_on_loopback_only(guarded):
    recorded = json.loads((guarded / "state.json").read_text())
    server = psutil.Process(recorded["server"]["pid"])
    family = [server, *server.children(recursive=True), psutil.Process(recorded["worker"]["pid"])]
    listens = {c.laddr.ip for one in family for c in one.net_connections() if c.status == psutil.CONN_LISTEN}

    again = orchestrator.start_all()
    done = orchestrator.stop_all()

    assert {"127.0.0.1"} == listens
    assert {"server": "runs", "worker": "runs"} == again
    assert {"server": "ended", "worker": "ended"} == done
    assert [] == [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
