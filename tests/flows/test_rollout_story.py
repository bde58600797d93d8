"""The rollout as its users meet it: out, back, killed, away, pruned."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import yaml

from flotilla.revisions import RevisionState
from tasks import prefect_api
from tasks.objects import Kind, read
from tests.flows.stories import ABSENT, DEPLOYMENT, NEW, OLD, asks, ended, process_of, until

pytestmark = [pytest.mark.lab, pytest.mark.prefect]


def test_a_dry_run_changes_nothing(story):
    story.write()

    end = ended(story.start(dry_run=True))

    assert ("COMPLETED", None) == (end["state_type"], story.deployment("production"))
    assert "create" in end["state"]["message"]


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


@pytest.fixture
def fleet_through(fleet_lab, tmp_path):
    """Return a fleet file whose clusters are reached through a kubeconfig of its own, and a switch to lose one of them."""
    kubeconfig = yaml.safe_load(Path(fleet_lab.kubeconfig).read_text())
    fleet = yaml.safe_load(Path(fleet_lab.fleet_file).read_text())
    for one in fleet["clusters"]:
        one["kubeconfig"] = {"file": str(tmp_path / "kubeconfig")}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))

    def lose(name: str = "") -> str:
        lost = next((one["context"]["cluster"] for one in kubeconfig["contexts"] if one["name"] == name), "")
        clusters = [
            {**one, "cluster": {**one["cluster"], "server": "https://127.0.0.1:1"}} if one["name"] == lost else one
            for one in kubeconfig["clusters"]
        ]
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump({**kubeconfig, "clusters": clusters}))
        return str(tmp_path / "fleet.yaml")

    return lose


def drift(story) -> dict:
    return ended(str(prefect_api.submit("drift/drift", {"fleet": story.lab.fleet_file})["id"]))


def test_a_cluster_that_is_away_stops_no_other_and_is_brought_along_later(story, fleet_through):
    story.write()

    end = ended(story.start(fleet=fleet_through("remote")))
    before = story.deployment("remote")
    later = drift(story)

    assert ("Partial", None) == (end["state"]["name"], before)
    assert "owing: remote" in end["state"]["message"]
    assert "Completed" == later["state"]["name"]
    assert {OLD} == story.images()


def test_a_cluster_that_was_away_on_the_way_back_is_taken_back_when_it_returns(story, fleet_through):
    story.write()
    assert "Completed" == ended(story.start())["state"]["name"]
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}
    more = [{"name": "extra", "type": "k8s-objects", "properties": {"objects": [extra]}}]
    story.write(image=NEW, gate=True, more=more)
    run = story.start(fleet=fleet_through())
    asks(run)
    fleet_through("same-city")

    prefect_api.answer_gate(run, "reject", "bob", "errors in same-city")
    end = ended(run)
    left = story.image("same-city")
    drift(story)
    configmap = Kind("v1", "ConfigMap", "configmaps", namespaced=True)

    assert ("Rejected", NEW) == (end["state"]["name"], left)
    assert "owing: same-city" in end["state"]["message"]
    assert {OLD} == story.images()
    assert None is read(story.connection("same-city"), configmap, story.name, "extra")
    assert {RevisionState.FAILED} == {one.state for one in story.revisions() if one.number == 2}


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
    prefect_api.answer_gate(run, "approve", "alice", "they are not needed")
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

    unknown = ended(str(prefect_api.submit("rollback/rollback", {**parameters, "to": 9})["id"]))
    end = ended(str(prefect_api.submit("rollback/rollback", {**parameters, "to": 1})["id"]))

    assert ("BadInput", "parameters: to: 9; allowed: one of 1, 2") == (unknown["state"]["name"], unknown["state"]["message"])
    assert "Completed" == end["state"]["name"]
    assert {OLD} == story.images()
