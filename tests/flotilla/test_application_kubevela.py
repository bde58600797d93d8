"""The measure: every Application of KubeVela's page on multi-cluster applications, and what the page says becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flotilla.application import read_application
from flotilla.errors import InvalidInput
from flotilla.intent import Intent, Mode, ObjectRef, Output, StepKind
from flotilla.workflow import Outcome, Phase, ready
from tests.flotilla.applications import FLEET, summary

DATA = Path(__file__).parent / "data" / "kubevela"
APPS = Path(__file__).parents[2] / "deployments" / "apps"
LIBRARY = "make-release-in-hangzhou"


def read(*names: str) -> Intent:
    return read_application({name: (DATA / f"{name}.yaml").read_text() for name in names}, FLEET)


EXPECTED = {
    ("basic-topology",): [
        (
            "deploy-topology-hangzhou-clusters",
            [
                ("production", "examples", ["Deployment/nginx-basic", "Service/nginx-basic"]),
                ("same-city", "examples", ["Deployment/nginx-basic", "Service/nginx-basic"]),
            ],
        )
    ],
    ("label-selector-topology",): [
        (
            "deploy-topology-hangzhou-clusters",
            [
                ("production", "examples", ["Deployment/nginx-label-selector"]),
                ("same-city", "examples", ["Deployment/nginx-label-selector"]),
            ],
        )
    ],
    ("local-ns-topology",): [
        ("deploy-topology-local", [("production", "examples-alternative", ["Deployment/nginx-local-ns"])])
    ],
    ("deploy-workflowstep",): [
        ("deploy-local", [("production", "examples-alternative", ["Deployment/nginx-deploy-workflowstep"])]),
        (
            "deploy-hangzhou",
            [
                ("production", "examples", ["Deployment/nginx-deploy-workflowstep"]),
                ("same-city", "examples", ["Deployment/nginx-deploy-workflowstep"]),
            ],
        ),
    ],
    ("deploy-concurrently",): [
        (
            "deploy-all",
            [
                ("production", "examples-alternative", ["Deployment/nginx-deploy-concurrently"]),
                ("production", "examples", ["Deployment/nginx-deploy-concurrently"]),
                ("same-city", "examples", ["Deployment/nginx-deploy-concurrently"]),
            ],
        )
    ],
    ("advance-override",): [
        ("deploy-local", [("production", "examples-alternative", ["Deployment/nginx-advance-override-legacy"])]),
        (
            "deploy-hangzhou",
            [
                (cluster, "examples", ["Deployment/nginx-advance-override-latest", "Deployment/nginx-advance-override-stable"])
                for cluster in ("production", "same-city")
            ],
        ),
    ],
    ("read-object",): [
        ("deploy-01", [("production", "default", ["Job/deploy-with-override-mytask"])]),
        ("read-object", []),
        ("deploy-02", [("production", "prod", ["Job/deploy-with-override-mytask"])]),
    ],
}


@pytest.mark.parametrize("names", EXPECTED, ids="+".join)
def test_the_page_runs_as_it_says(names: tuple[str, ...]) -> None:
    assert EXPECTED[names] == summary(read(*names))


def test_overrides_change_image_and_replicas_in_their_step_only() -> None:
    intent = read("deploy-with-override")
    seen = [
        (d.cluster, spec["template"]["spec"]["containers"][0]["image"], spec.get("replicas"))
        for d in intent.deliveries
        for spec in [d.objects[0].manifest["spec"]]
    ]
    assert [
        ("production", "localhost/podinfo:6.9.2", None),
        ("production", "localhost/podinfo:6.7.0", 3),
        ("same-city", "localhost/podinfo:6.7.0", 3),
    ] == seen


@pytest.mark.parametrize(("name", "replicas"), [("external-policies-and-workflow", 3), ("nginx-stable-ultra", 5)])
def test_policies_and_workflow_come_from_other_documents_and_internal_ones_first(name: str, replicas: int) -> None:
    intent = read(name, LIBRARY)
    assert (["deploy-hangzhou"], True) == ([step.name for step in intent.steps], intent.steps[0].gate)
    assert {replicas} == {d.objects[0].manifest["spec"]["replicas"] for d in intent.deliveries}


def test_a_missing_workflow_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"spec\.workflow\.ref: 'make-release-in-hangzhou'.* namespace examples"):
        read("nginx-stable-ultra")


def test_the_gate_stands_before_hangzhou_only() -> None:
    intent = read("deploy-workflowstep")
    assert [False, True] == [step.gate for step in intent.steps]
    assert intent.steps[1].message == 'Waiting approval to the deploy step "deploy-hangzhou"'


def test_the_job_is_read_by_its_components_name_and_its_annotation_differs_by_step() -> None:
    intent = read("read-object")
    reading = intent.steps[1]
    assert reading.read == ObjectRef("production", "batch/v1", "Job", "default", "deploy-with-override-mytask")
    assert reading.outputs == (Output("ready", ("status", "ready")),)
    jobs = [d.objects[0].manifest for d in intent.deliveries]
    assert ["01 cron task - 1", "02 cron task - 2"] == [job["metadata"]["annotations"]["description"] for job in jobs]
    assert jobs[0]["spec"]["template"]["spec"]["containers"][0]["command"] == ["echo", "hello world"]
    assert (1, 1, "Never") == (
        jobs[0]["spec"]["parallelism"],
        jobs[0]["spec"]["completions"],
        jobs[0]["spec"]["template"]["spec"]["restartPolicy"],
    )


@pytest.mark.parametrize(("value", "runs"), [(0, True), (1, False), (None, False)])
def test_the_second_deploy_hangs_on_what_was_read(value: int | None, runs: bool) -> None:
    done = {"deploy-01": Outcome(Phase.SUCCEEDED), "read-object": Outcome(Phase.SUCCEEDED, values={"ready": value})}
    now = ready(read("read-object"), done)
    assert (["deploy-02"] if runs else []) == [step.name for step in now.run]
    assert ([] if runs else ["deploy-02"]) == [step.name for step, _ in now.skip]


def shipped(name: str) -> Intent:
    return read_application({name: (APPS / name).read_text()}, FLEET)


def test_podinfo_differs_by_cluster() -> None:
    intent = shipped("podinfo.yaml")
    seen = {}
    for delivery in intent.deliveries:
        spec = delivery.objects[0].manifest["spec"]
        container = spec["template"]["spec"]["containers"][0]
        seen[delivery.cluster] = (spec["replicas"], container["env"][0]["value"], container["resources"]["limits"]["memory"])
    assert {
        "same-city": (2, "hello from same-city", "64Mi"),
        "production": (3, "hello from production", "128Mi"),
        "remote": (1, "hello from remote", "64Mi"),
    } == seen
    assert [("canary", False), ("main", True), ("standby", False)] == [(step.name, step.gate) for step in intent.steps]
    assert (intent.mode, intent.steps[0].wave.soak, intent.steps[0].timeout) == (Mode.STEP_BY_STEP, 5.0, 600.0)


def test_ack_ones_demo_takes_its_deployment_from_beside_the_application() -> None:
    intent = shipped("ack-one-demo.yaml")
    assert [("remote", 3), ("production", 5)] == [
        (d.cluster, d.objects[0].manifest["spec"]["replicas"]) for d in intent.deliveries
    ]
    manifest = intent.deliveries[0].objects[0].manifest
    assert manifest["metadata"]["labels"]["app"] == "demo"
    assert "annotations" not in manifest["metadata"]


def test_kubevelas_override_application_is_shipped() -> None:
    assert [StepKind.DEPLOY, StepKind.DEPLOY] == [one.kind for one in shipped("kubevela-deploy-with-override.yaml").steps]
