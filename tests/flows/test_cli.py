"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.flows.stories import ABSENT, NEW, OLD, flotilla

pytestmark = [pytest.mark.lab, pytest.mark.prefect]


def test_check_reaches_every_cluster(fleet_lab):
    done = flotilla("check", "--json")

    assert (0, "") == (done.returncode, done.stderr)
    assert {("production", True), ("same-city", True), ("remote", True)} == {
        (one["cluster"], one["ok"]) for one in json.loads(done.stdout)
    }


def test_check_names_the_cluster_that_does_not_answer(fleet_lab, tmp_path):
    kubeconfig = yaml.safe_load(Path(fleet_lab.kubeconfig).read_text())
    kubeconfig["clusters"][1]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "away").write_text(yaml.safe_dump(kubeconfig))
    fleet = yaml.safe_load(Path(fleet_lab.fleet_file).read_text())
    for one in fleet["clusters"]:
        one["kubeconfig"] = {"file": str(tmp_path / "away")}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))

    done = flotilla("check", "--fleet", str(tmp_path / "fleet.yaml"), "--json")

    away = kubeconfig["contexts"][1]["name"]
    assert 1 == done.returncode
    assert {away} == {one["cluster"] for one in json.loads(done.stdout) if not one["ok"]}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("role: remote", "role: production", "clusters[2].role: 'production'; allowed: same-city or remote"),
        ("pruneGuard:", "pruneGard:", "approvals.pruneGard: 5; allowed: one of the fields"),
        ("clusters:", "clusters: [", "allowed: well-formed YAML"),
    ],
)
def test_a_bad_fleet_file_is_told_with_its_place(fleet_lab, tmp_path, old, new, told):
    text = Path(fleet_lab.fleet_file).read_text()
    bad = tmp_path / "fleet.yaml"
    bad.write_text(text.replace(old, new, 1))

    done = flotilla("check", "--fleet", str(bad))

    assert text != bad.read_text()
    assert 2 == done.returncode
    assert f"{bad}" in done.stderr
    assert told in done.stderr


def test_a_rollout_is_followed_to_its_end_and_ends_with_its_code(story):
    story.write()
    file = str(story.folder / "application.yaml")

    planned = flotilla("plan", file)
    out = flotilla("rollout", file, "--yes")
    again = flotilla("plan", file)
    bad = flotilla("rollout", file, "--yes", "--image", f"web={ABSENT}")
    kept = flotilla("revisions", story.name, "-n", story.name, "--json")
    gone = flotilla("rollback", story.name, "-n", story.name, "--to", "7")

    assert (0, True) == (planned.returncode, "create" in planned.stdout)
    assert (0, True) == (out.returncode, "Completed" in out.stdout)
    assert (0, True) == (again.returncode, "remote: 2 unchanged" in again.stdout)
    assert (1, True) == (bad.returncode, "RolledBack" in bad.stdout)
    assert {"1", "2"} == {one["revision"] for one in json.loads(kept.stdout)}
    assert (2, True) == (gone.returncode, "allowed: one of" in gone.stdout)
    assert {OLD} == story.images()


def test_an_image_for_a_component_that_is_not_there_is_bad_input(story):
    story.write()

    done = flotilla("rollout", str(story.folder / "application.yaml"), "--image", f"wbe={NEW}")

    assert 2 == done.returncode
    assert "wbe" in done.stdout + done.stderr
    assert None is story.deployment("production")
