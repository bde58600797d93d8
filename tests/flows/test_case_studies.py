"""Every multi-cluster Application of KubeVela's case-study page, as it stands there but for images and cluster names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import prefect_api
from tasks.clusters import connect
from tasks.objects import read
from tests.conftest import FleetLab
from tests.flows.stories import CLUSTERS, DEPLOYMENT, FINAL, NEW, OLD, until

pytestmark = [pytest.mark.lab, pytest.mark.prefect, pytest.mark.timeout(900)]

PAGE = Path(__file__).parent.parent / "flotilla" / "data" / "kubevela"
BY_REFERENCE = PAGE / "make-release-in-hangzhou.yaml"
APPLICATIONS = {path for path in PAGE.glob("*.yaml") if path.name not in (BY_REFERENCE.name, "read-object.yaml")}
LOCAL = ("production", "examples-alternative")
HANGZHOU = (("production", "examples"), ("same-city", "examples"))
EXPECTED = {
    "nginx-basic": dict.fromkeys(HANGZHOU, (1, NEW)),
    "nginx-label-selector": dict.fromkeys(HANGZHOU, (1, NEW)),
    "nginx-local-ns": {LOCAL: (1, NEW)},
    "nginx-deploy-workflowstep": {LOCAL: (1, NEW), **dict.fromkeys(HANGZHOU, (1, NEW))},
    "nginx-deploy-concurrently": {LOCAL: (1, NEW), **dict.fromkeys(HANGZHOU, (1, NEW))},
    "nginx-with-override": {LOCAL: (1, NEW), **dict.fromkeys(HANGZHOU, (3, OLD))},
    "nginx-advance-override-legacy": {LOCAL: (1, OLD)},
    "nginx-advance-override-latest": dict.fromkeys(HANGZHOU, (1, NEW)),
    "nginx-advance-override-stable": dict.fromkeys(HANGZHOU, (1, NEW)),
    "nginx-external-policies-and-workflow": dict.fromkeys(HANGZHOU, (3, NEW)),
    "nginx-stable-ultra": dict.fromkeys(HANGZHOU, (5, NEW)),
}
"""Deployment -> cluster and namespace -> ready replicas and image, as the page's text tells them."""


@pytest.fixture
def page(prefect: None, fleet_lab: FleetLab) -> Iterator[FleetLab]:
    yield fleet_lab
    for cluster in CLUSTERS:
        for name in ("examples", "examples-alternative"):
            connect(fleet_lab.fleet.cluster(cluster)).request("DELETE", f"/api/v1/namespaces/{name}")


def test_the_page_runs_as_it_is_printed(page):
    runs = {path.name: start(path, page.fleet_file) for path in APPLICATIONS}

    ends = until(lambda: ended_all(runs), "the ends of all", 600)
    seen = {name: held(page, name) for name in EXPECTED}

    assert dict.fromkeys(runs, "Completed") == ends
    assert EXPECTED == seen


def start(path: Path, fleet: str) -> str:
    also = [str(BY_REFERENCE)] if "ref: make-release" in path.read_text() else []
    return str(prefect_api.submit("rollout/rollout", {"application": str(path), "also": also, "fleet": fleet})["id"])


def ended_all(runs: dict[str, str]) -> dict[str, str]:
    """Return how all runs ended, once they have; gates are answered on the way."""
    found = {name: prefect_api.run_of(run) for name, run in runs.items()}
    for run in found.values():
        if run["state_type"] == "PAUSED":
            prefect_api.answer_gate(run["id"], "approve", "alice", "as on the page")
    done = all(run["state_type"] in FINAL for run in found.values())
    return {name: run["state"]["name"] for name, run in found.items()} if done else {}


def held(page: FleetLab, name: str) -> dict[tuple[str, str], tuple[int, str]]:
    found = {}
    for cluster in CLUSTERS:
        for namespace in ("examples", "examples-alternative"):
            live = read(connect(page.fleet.cluster(cluster)), DEPLOYMENT, namespace, name)
            if live:
                image = live["spec"]["template"]["spec"]["containers"][0]["image"]
                found[cluster, namespace] = (live["status"].get("readyReplicas", 0), image)
    return found
