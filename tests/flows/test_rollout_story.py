"""The rollout as its users meet it: a real Prefect server and worker, three real clusters, people answering."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flotilla.objects import Manifest
from flotilla.revisions import Revision, RevisionState
from tasks import orchestrator
from tasks.clusters import Connection, connect
from tasks.objects import Kind, read
from tasks.planning import known_revisions
from tests.conftest import ROOT, FleetLab

pytestmark = [pytest.mark.lab, pytest.mark.prefect]

DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", namespaced=True)
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
CLUSTERS = ("production", "same-city", "remote")
OLD, NEW, ABSENT = "localhost/podinfo:6.7.0", "localhost/podinfo:6.9.2", "localhost/podinfo:0.0.0-absent"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def prefect(fleet_lab: FleetLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server with a worker of our own; every deployment of prefect.yaml registered."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FLOTILLA_HOME", str(tmp_path_factory.mktemp("prefect")))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE"):
        patch.delenv(name, raising=False)
    patch.chdir(ROOT)
    orchestrator.start_all()
    orchestrator.deploy_all()
    yield
    orchestrator.stop_all()
    patch.undo()


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
        return str(orchestrator.submit("rollout/rollout", given)["id"])

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


@pytest.fixture
def story(prefect: None, fleet_lab: FleetLab, tmp_path: Path) -> Iterator[Story]:
    one = Story(tmp_path, fleet_lab)
    yield one
    for cluster in CLUSTERS:
        one.connection(cluster).request("DELETE", NAMESPACE.path(name=one.name))


def until(there: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.3)
    return found


def ended(run: str) -> dict[str, Any]:
    """Return a run once it has ended."""

    def final() -> dict[str, Any] | None:
        found = orchestrator.run_of(run)
        return found if found["state_type"] in FINAL else None

    return until(final, f"the end of {run}", 180)


def asks(run: str) -> str:
    """Return the key of the gate at which a run waits, once it does."""

    def key() -> str:
        found = orchestrator.run_of(run)
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


def test_a_dry_run_changes_nothing(story):
    story.write()

    end = ended(story.start(dry_run=True))

    assert ("COMPLETED", None) == (end["state_type"], story.deployment("production"))
    assert "create" in end["state"]["message"]


def test_a_gate_waits_for_a_person_and_who_agreed_stands_in_every_cluster(story):
    story.write(gate=True)
    run = story.start()
    key = asks(run)

    before = story.deployment("production")
    too_short = orchestrator.answer_gate(run, "approve", "alice", "ok")
    still = orchestrator.run_of(run)["state_type"]
    taken = orchestrator.answer_gate(run, "approve", "alice", "the first wave is fine")
    end = ended(run)

    assert None is before
    assert "too short" in too_short
    assert ("PAUSED", "") == (still, taken)
    assert "Completed" == end["state"]["name"]
    assert {OLD} == story.images()
    approvals = {(a.name, a.reason, a.plan[:12]) for one in story.revisions() for a in one.approvals}
    assert {("alice", "the first wave is fine", key.rpartition("-")[2])} == approvals
    assert set(CLUSTERS) == {one.cluster for one in story.revisions() if one.state is RevisionState.GOOD}


def test_what_was_approved_is_asked_again_if_the_plan_has_changed_meanwhile(story):
    story.write()
    assert "Completed" == ended(story.start(approve="auto"))["state"]["name"]
    story.write(image=NEW, gate=True)
    run = story.start()
    first = asks(run)
    story.connection("remote").request(
        "PATCH",
        DEPLOYMENT.path(story.name, "web"),
        body={"metadata": {"annotations": {"app.oam.dev/changed": "by hand"}}, "spec": {"minReadySeconds": 1, "paused": True}},
        content_type="application/merge-patch+json",
    )
    story.connection("remote").request("DELETE", f"/api/v1/namespaces/{story.name}/services/web")

    orchestrator.answer_gate(run, "approve", "alice", "as it was shown")
    until(lambda: orchestrator.run_of(run)["state_type"] != "PAUSED", "the run to go on")
    second = asks(run)
    orchestrator.answer_gate(run, "reject", "bob", "somebody works there")
    end = ended(run)

    assert first != second
    assert "Rejected" == end["state"]["name"]
    assert OLD == story.image("same-city")


def test_a_version_that_cannot_start_is_rolled_back_on_its_own(story):
    story.write()
    assert "Completed" == ended(story.start())["state"]["name"]
    story.write(image=ABSENT)

    end = ended(story.start())

    assert "RolledBack" == end["state"]["name"]
    assert {OLD} == story.images()
    assert {2} == {one.number for one in story.revisions() if one.state is RevisionState.FAILED}


def test_a_field_that_somebody_else_owns_stops_the_rollout_before_anything_is_changed(story):
    story.write()
    assert "Completed" == ended(story.start())["state"]["name"]
    path = DEPLOYMENT.path(story.name, "web")
    image = [{"name": "web", "image": "localhost/podinfo:by-hand"}]
    taken = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": image}}},
    }
    query = {"fieldManager": "somebody", "force": "true"}
    answer = story.connection("remote").request(
        "PATCH", path, query=query, body=taken, content_type="application/apply-patch+yaml"
    )
    story.write(image=NEW)

    end = ended(story.start())

    assert 200 == answer.status, answer.message
    assert "Failed" == end["state"]["name"]
    assert "is owned by somebody" in end["state"]["message"]
    assert OLD == story.image("same-city")


def test_a_run_whose_process_is_killed_is_finished_by_the_next_one_and_nothing_is_done_twice(story):
    story.write(gate=False)
    run = story.start()
    until(lambda: story.deployment("same-city"), "the first wave")
    process_of(run).send_signal(signal.SIGKILL)
    ended(run)
    generation = story.deployment("same-city")["metadata"]["generation"]

    end = ended(story.start())

    assert "Completed" == end["state"]["name"]
    assert {OLD} == story.images()
    assert generation == story.deployment("same-city")["metadata"]["generation"]
    assert {1} == {one.number for one in story.revisions()}


def test_a_second_rollout_of_an_application_waits_in_line(story):
    story.write(gate=True)
    first = story.start()
    asks(first)
    second = story.start(approve="auto")
    until(lambda: any("waits in line" in one["message"] for one in orchestrator.logs_of(second, 0)), "the second to wait")

    orchestrator.answer_gate(first, "approve", "alice", "go on then")
    ends = (ended(first)["state"]["name"], ended(second)["state"]["name"])

    assert ("Completed", "Completed") == ends


def test_a_cluster_that_is_away_stops_no_other_and_is_brought_along_later(story, tmp_path):
    kubeconfig = yaml.safe_load(Path(story.lab.kubeconfig).read_text())
    cluster = next(one["context"]["cluster"] for one in kubeconfig["contexts"] if one["name"] == "remote")
    for one in kubeconfig["clusters"]:
        if one["name"] == cluster:
            one["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "away").write_text(yaml.safe_dump(kubeconfig))
    fleet = yaml.safe_load(Path(story.lab.fleet_file).read_text())
    for one in fleet["clusters"]:
        one["kubeconfig"] = {"file": str(tmp_path / "away")}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    story.write()

    end = ended(story.start(fleet=str(tmp_path / "fleet.yaml")))
    before = story.deployment("remote")
    later = ended(str(orchestrator.submit("drift/drift", {"fleet": story.lab.fleet_file})["id"]))

    assert ("Partial", None) == (end["state"]["name"], before)
    assert "owing: remote" in end["state"]["message"]
    assert "Completed" == later["state"]["name"]
    assert {OLD} == story.images()


def test_what_the_application_no_longer_names_is_deleted_and_many_deletes_ask_first(story):
    extra = {"name": "extra", "type": "k8s-objects", "properties": {"objects": []}}
    for number in range(3):
        extra["properties"]["objects"].append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"extra-{number}"}}
        )
    story.write(more=[extra])
    assert "Completed" == ended(story.start())["state"]["name"]
    story.write()
    run = story.start()

    assert asks(run).startswith("prune-")
    there = read(story.connection("remote"), Kind("v1", "ConfigMap", "configmaps", namespaced=True), story.name, "extra-0")
    orchestrator.answer_gate(run, "approve", "alice", "they are not needed")
    end = ended(run)
    gone = read(story.connection("remote"), Kind("v1", "ConfigMap", "configmaps", namespaced=True), story.name, "extra-0")

    assert "Completed" == end["state"]["name"]
    assert (True, None) == (there is not None, gone)


def test_an_application_is_taken_back_to_a_kept_revision_by_number(story):
    story.write()
    assert "Completed" == ended(story.start())["state"]["name"]
    story.write(image=NEW)
    assert "Completed" == ended(story.start())["state"]["name"]
    parameters = {"application": story.name, "namespace": story.name, "fleet": story.lab.fleet_file, "approve": "auto"}

    unknown = ended(str(orchestrator.submit("rollback/rollback", {**parameters, "to": 9})["id"]))
    end = ended(str(orchestrator.submit("rollback/rollback", {**parameters, "to": 1})["id"]))

    assert ("BadInput", "parameters: to: 9; allowed: one of 1, 2") == (unknown["state"]["name"], unknown["state"]["message"])
    assert "Completed" == end["state"]["name"]
    assert {OLD} == story.images()


def test_auto_is_refused_where_the_fleet_file_forbids_it(story, tmp_path):
    fleet = yaml.safe_load(Path(story.lab.fleet_file).read_text())
    fleet["approvals"]["allowAuto"] = False
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(fleet))
    story.write()

    end = ended(story.start(fleet=str(tmp_path / "strict.yaml"), approve="auto"))

    assert "BadInput" == end["state"]["name"]
    assert "allowAuto is false" in end["state"]["message"]


def test_silence_ends_as_the_fleet_file_says(story, tmp_path):
    fleet = yaml.safe_load(Path(story.lab.fleet_file).read_text())
    fleet["approvals"] |= {"timeout": 4, "onSilence": "approve"}
    (tmp_path / "hasty.yaml").write_text(yaml.safe_dump(fleet))
    story.write(gate=True)

    end = ended(story.start(fleet=str(tmp_path / "hasty.yaml")))

    assert "Completed" == end["state"]["name"]
    assert {"silence"} == {a.name for one in story.revisions() for a in one.approvals}


def test_a_gate_outlives_the_server(story):
    story.write(gate=True)
    run = story.start()
    asks(run)

    os.kill(orchestrator._recorded()["server"]["pid"], signal.SIGKILL)
    done = orchestrator.start_all()
    orchestrator.answer_gate(run, "approve", "alice", "the server is back")
    end = ended(run)

    assert "started again" == done["server"]
    assert "Completed" == end["state"]["name"]
