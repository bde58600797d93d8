"""`flotilla dashboards` on the command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from flotilla.errors import InvalidInput
from flows.cli_dashboards import register
from tests.flotilla.deployed import page

ROOT = Path(__file__).parent.parent.parent
PAGE = "{kind: topN, title: Pods, by: [cluster, pod], expr: sum by (pod) (kube_pod_info)}"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(ROOT)


def flotilla(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["dashboards", *arguments])


def test_what_is_deployed_has_nothing_to_find_fault_with():
    done = flotilla("lint")

    assert (0, "nothing to find fault with\n") == (done.exit_code, done.stdout)


def test_findings_are_told_with_their_place_and_the_code_says_so(tmp_path):
    (tmp_path / "mine.yaml").write_text(page(PAGE))

    done = flotilla("lint", str(tmp_path))
    told = json.loads(flotilla("lint", str(tmp_path), "--json").stdout)

    assert 1 == done.exit_code
    assert f"{tmp_path}/mine.yaml: Pods: forgets-cluster at 1:1 «sum by (pod) (kube_pod_info)»" in done.stdout
    assert {"forgets-cluster", "unknown-label"} == {one["rule"] for one in told["findings"]}
    assert (1, 1) == (told["findings"][0]["line"], told["findings"][0]["column"])


def test_a_metric_that_we_do_not_know_may_be_taken_for_known(tmp_path):
    (tmp_path / "mine.yaml").write_text(page("{kind: stat, title: A, expr: sum(ours)}"))

    assert 1 == flotilla("lint", str(tmp_path)).exit_code
    assert 0 == flotilla("lint", str(tmp_path), "--any-metric").exit_code


@pytest.mark.parametrize("form", ["grafana", "vmui"])
def test_dashboards_are_written_and_named(form, tmp_path):
    done = flotilla("export", "--format", form, "--to", str(tmp_path))

    assert 0 == done.exit_code
    assert {"applications.json", "nodes.json", "pods.json", "fleet.json", "example.json"} == {
        one.name for one in tmp_path.iterdir()
    }
    assert set(done.stdout.split()) == {str(one) for one in tmp_path.iterdir()}


def test_a_file_that_is_wrong_is_bad_input(tmp_path):
    (tmp_path / "mine.yaml").write_text(page("{kind: stat, title: A}"))

    done = flotilla("lint", str(tmp_path))

    assert isinstance(done.exception, InvalidInput)
    assert "rows[0].panels[0].expr: is missing" in str(done.exception)
