"""Waiting for real workloads: until they are healthy, or can't become so, or nobody wants to wait any longer."""

from __future__ import annotations

import re
import secrets
import time

import pytest

from flotilla.health import State
from tasks.observe import look_at_health, stay_healthy, wait_until_healthy
from tests.tasks.stage import IMAGE, Stage, config, deployment, key

pytestmark = pytest.mark.lab

FOR_EVER = 280.0
PATIENTS = [
    deployment("well"),
    deployment("crashing", args=["--no-such-flag"]),
    deployment("imageless", image="localhost/no-such-image:1", imagePullPolicy="Never"),
    deployment("unpulled", image="registry.invalid/no/image:1"),
    deployment("unconfigured", envFrom=[{"configMapRef": {"name": "absent"}}]),
    deployment("homeless", spec={"progressDeadlineSeconds": 3}, resources={"requests": {"cpu": "999"}}),
    deployment("unready", readinessProbe={"httpGet": {"path": "/no-such-path", "port": 9898}, "periodSeconds": 1}),
]


@pytest.fixture(scope="module")
def ward(connection):
    """Yield a stage where all kinds of Deployments have been rolled out at once."""
    ward = Stage(connection, f"flotilla-test-{secrets.token_hex(4)}")
    ward.open()
    ward.roll(*PATIENTS)
    yield ward
    ward.clear()


def waited(ward: Stage, name: str, timeout: float = FOR_EVER):
    return wait_until_healthy(ward.connection, [key(ward.namespace, name)], timeout=timeout)


def test_a_workload_becomes_healthy(ward):
    report = waited(ward, "well")

    assert report.is_healthy
    assert "1 objects healthy" == report.summary()


HOPELESS = [
    ("imageless", "ErrImageNeverPull"),
    ("unpulled", "ErrImagePull|ImagePullBackOff"),
    ("unconfigured", 'CreateContainerConfigError: configmap "absent" not found'),
    ("homeless", "exceeded its progress deadline"),
    ("crashing", r"CrashLoopBackOff after \d restarts, last exit code \d"),
]


@pytest.mark.parametrize(("name", "told"), HOPELESS)
def test_what_cannot_recover_has_failed_long_before_the_time_is_over(ward, name, told):
    started = time.monotonic()

    report = waited(ward, name)

    assert (key(ward.namespace, name),) == report.failed
    assert State.FAILED is report.health[key(ward.namespace, name)].state
    assert re.search(told, report.summary())
    assert time.monotonic() - started < FOR_EVER


def test_what_only_takes_its_time_is_not_failed(ward):
    report = waited(ward, "unready", timeout=2)

    assert not report.is_healthy
    assert () == report.failed
    assert "Deployment.apps" in report.summary()


def test_failures_are_told_first(ward):
    waited(ward, "imageless")
    keys = [key(ward.namespace, name) for name in ("unready", "imageless", "well")]

    report = look_at_health(ward.connection, keys)

    assert report.summary().startswith(f"Deployment.apps {ward.namespace}/imageless ")


def test_a_change_that_was_not_taken_up_yet_is_not_healthy(ward):
    waited(ward, "well")
    ward.inside("patch", "deployment", "well", "-p", '{"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}}')

    report = look_at_health(ward.connection, [key(ward.namespace, "well")])

    assert not report.is_healthy
    assert waited(ward, "well").is_healthy


def test_the_old_pods_of_a_workload_do_not_fail_its_new_revision(stage):
    stage.roll(deployment(image="localhost/no-such-image:1", imagePullPolicy="Never"))
    assert not waited(stage, "web").is_healthy

    stage.roll(deployment())

    assert waited(stage, "web").is_healthy


def test_what_is_not_there_is_missing_and_waited_for(stage):
    report = waited(stage, "absent", timeout=1)

    assert f"Deployment.apps {stage.namespace}/absent is not there" == report.summary()
    assert () == report.failed


def test_what_needs_no_time_is_healthy_at_once(stage):
    stage.roll(config())

    assert wait_until_healthy(stage.connection, [key(stage.namespace, "m", "ConfigMap", "")], timeout=0).is_healthy


def test_progress_is_told_at_each_change_and_not_more_often(stage):
    told = []
    stage.roll(deployment())

    wait_until_healthy(
        stage.connection, [key(stage.namespace)], timeout=FOR_EVER, on_progress=lambda report: told.append(report.summary())
    )

    assert "1 objects healthy" == told[-1]
    assert len(told) == len(dict.fromkeys(told))


def test_a_soak_ends_with_the_first_look_that_is_not_healthy(stage):
    stage.roll(deployment())
    assert waited(stage, "web").is_healthy
    stage.inside("delete", "deployment", "web")

    started = time.monotonic()
    report = stay_healthy(stage.connection, [key(stage.namespace)], seconds=120)

    assert not report.is_healthy
    assert time.monotonic() - started < 120


def test_a_soak_lasts_as_long_as_it_is_to(stage):
    stage.roll(deployment(replicas=0))
    assert waited(stage, "web").is_healthy

    started = time.monotonic()
    assert stay_healthy(stage.connection, [key(stage.namespace)], seconds=2).is_healthy
    assert 2 <= time.monotonic() - started


def test_a_job_that_fails_has_failed(stage):
    container = {"name": "main", "image": IMAGE, "args": ["--no-such-flag"]}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    stage.roll({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": spec})

    report = wait_until_healthy(stage.connection, [key(stage.namespace, "once", "Job", "batch")], timeout=60)

    assert (key(stage.namespace, "once", "Job", "batch"),) == report.failed
    assert "BackoffLimitExceeded" in report.summary()
