"""People at the gates: they agree, refuse, are silent, late or wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from flotilla.revisions import RevisionState
from tasks import orchestrator, prefect_api
from tests.flows.stories import CLUSTERS, DEPLOYMENT, NEW, OLD, asks, ended, flotilla, until

pytestmark = [pytest.mark.lab, pytest.mark.prefect]


def test_a_gate_waits_for_a_person_and_who_agreed_stands_in_every_cluster(story):
    story.write(gate=True)
    run = story.start()
    key = asks(run)

    before = story.deployment("production")
    too_short = prefect_api.answer_gate(run, "approve", "alice", "ok")
    still = prefect_api.run_of(run)["state_type"]
    taken = prefect_api.answer_gate(run, "approve", "alice", "the first wave is fine")
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

    prefect_api.answer_gate(run, "approve", "alice", "as it was shown")
    until(lambda: prefect_api.run_of(run)["state_type"] != "PAUSED", "the run to go on")
    second = asks(run)
    prefect_api.answer_gate(run, "reject", "bob", "somebody works there")
    end = ended(run)

    assert first != second
    assert "Rejected" == end["state"]["name"]
    assert OLD == story.image("same-city")


def test_a_second_rollout_of_an_application_waits_in_line(story):
    story.write(gate=True)
    first = story.start()
    asks(first)
    second = story.start(approve="auto")
    until(lambda: any("waits in line" in one["message"] for one in prefect_api.logs_of(second, 0)), "the second to wait")

    prefect_api.answer_gate(first, "approve", "alice", "go on then")
    ends = (ended(first)["state"]["name"], ended(second)["state"]["name"])

    assert ("Completed", "Completed") == ends


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

    os.kill(prefect_api.recorded()["server"]["pid"], signal.SIGKILL)
    done = orchestrator.start_all()
    assert "started again" == done["server"]
    prefect_api.answer_gate(run, "approve", "alice", "the server is back")
    end = ended(run)

    assert "Completed" == end["state"]["name"]


def test_who_rejects_after_the_first_wave_has_it_taken_back(story):
    story.write()
    assert "Completed" == ended(story.start())["state"]["name"]
    story.write(image=NEW, gate=True)
    run = story.start()
    asks(run)

    first_wave = (story.image("same-city"), story.image("production"))
    prefect_api.answer_gate(run, "reject", "bob", "errors in same-city")
    end = ended(run)

    assert (NEW, OLD) == first_wave
    assert "Rejected" == end["state"]["name"]
    assert "bob" in end["state"]["message"]
    assert {OLD} == story.images()


def test_a_webhook_is_told_that_somebody_has_to_agree(story, webhook, tmp_path):
    fleet = yaml.safe_load(Path(story.lab.fleet_file).read_text())
    fleet["approvals"]["webhookEnv"] = webhook.variable
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    story.write(gate=True)

    run = story.start(fleet=str(tmp_path / "fleet.yaml"))
    asks(run)
    prefect_api.answer_gate(run, "approve", "alice", "seen in the chat")
    ended(run)

    assert [run] == [body["run"] for body in webhook.bodies]
    assert prefect_api.ui_link(run) in webhook.bodies[0]["text"]


def test_gates_are_answered_from_the_command_line(story):
    story.write(gate=True)
    run = story.start()
    asks(run)

    listed = flotilla("waiting")
    wrong = flotilla("approve", run, "--as", "a", "--reason", "fine")
    right = flotilla("approve", run, "--as", "alice", "--reason", "fine by me")
    ended(run)
    late = flotilla("approve", run, "--as", "alice", "--reason", "fine by me")

    assert run in listed.stdout
    assert (2, True) == (wrong.returncode, "too short" in wrong.stderr)
    assert (0, True) == (right.returncode, "approved by alice" in right.stdout)
    assert (2, True) == (late.returncode, "was not taken" in late.stderr)
