"""The way back of one workload in a real cluster: what the bad version left behind does not fail the good one."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.observe import HealthReport, look_at_health, wait_until_healthy
from tests.tasks.stage import IMAGE, Stage, deployment, key

pytestmark = pytest.mark.lab

BAD = "localhost/nobody-has-this:1"


def workload(kind: str, image: str = IMAGE) -> dict[str, Any]:
    """Return a Deployment, or a DaemonSet of the same pods."""
    one = deployment(image=image)
    if kind == "DaemonSet":
        del one["spec"]["replicas"]
    return one | {"kind": kind}


def rolled(stage: Stage, manifest: dict[str, Any]) -> HealthReport:
    stage.roll(manifest)
    return wait_until_healthy(stage.connection, [key(stage.namespace, kind=manifest["kind"])], timeout=90)


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_a_good_version_is_healthy_again_after_a_bad_one(stage, kind):
    assert rolled(stage, workload(kind)).is_healthy
    assert "ErrImage" in rolled(stage, workload(kind, BAD)).summary().replace("ImagePullBackOff", "ErrImage")

    report = rolled(stage, workload(kind))

    assert report.is_healthy, report.summary()


def test_health_is_looked_up_by_kind_and_not_by_object(stage, proxy):
    names = [f"web{number}" for number in range(5)]
    stage.roll(*(deployment(name, replicas=0) for name in names))
    proxy.seen.clear()

    look_at_health(proxy.connection, [key(stage.namespace, name) for name in names])

    assert 1 == sum("/deployments" in path for _, path, _ in proxy.seen)
