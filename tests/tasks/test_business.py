"""The business' Deployments in a real cluster: how they stand, and wanted or not by whoever acts at the latest epoch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flotilla.errors import Permanent, Transient
from flotilla.recovery.config import Application
from flotilla.recovery.replicas import EPOCH
from tasks.business import KIND, scale, seen
from tests.tasks.faults import FaultProxy
from tests.tasks.stage import IMAGE, Stage

pytestmark = pytest.mark.lab


def deploy(stage: Stage, name: str, replicas: int) -> None:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["./podinfo"]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    answer = stage.connection.request("POST", KIND.path(stage.namespace), body=body)
    assert answer.status == 201, answer.message


def live(stage: Stage, name: str) -> dict[str, Any]:
    return dict(stage.connection.request("GET", KIND.path(stage.namespace, name)).body)


def application(stage: Stage, *names: str) -> Application:
    return Application(namespace=stage.namespace, deployments=names, replicas=2)


def test_it_is_ready_once_all_that_is_wanted_now_is_ready(stage: Stage) -> None:
    deploy(stage, "orders", 1)
    one = application(stage, "orders")
    stage.until(lambda: seen(stage.connection, one).is_ready, 60)
    found = seen(stage.connection, one)
    scale(stage.connection, one, 2, 5)
    after = seen(stage.connection, one)

    assert ("remote", 1, 1, (IMAGE,)) == (found.site, found.wanted, found.ready, found.images)
    assert (2, False) == (after.wanted, after.is_ready)
    stage.until(lambda: seen(stage.connection, one).is_ready, 60)
    assert "5" == live(stage, "orders")["metadata"]["annotations"][EPOCH]


def test_where_one_of_its_deployments_is_scaled_down_it_is_not_wanted(stage: Stage) -> None:
    deploy(stage, "orders", 1)
    deploy(stage, "worker", 0)

    assert 0 == seen(stage.connection, application(stage, "orders", "worker")).wanted


def test_what_a_later_epoch_decided_stays(stage: Stage) -> None:
    deploy(stage, "orders", 0)
    one = application(stage, "orders")
    scale(stage.connection, one, 1, 7)
    scale(stage.connection, one, 1, 7)
    with pytest.raises(Permanent, match="scaled at epoch 7: 6 is stale"):
        scale(stage.connection, one, 0, 6)

    assert 1 == live(stage, "orders")["spec"]["replicas"]


def test_whoever_read_before_another_scaled_writes_nothing(stage: Stage, proxy: FaultProxy) -> None:
    deploy(stage, "orders", 0)
    one = application(stage, "orders")
    proxy.make(method="PATCH", path="deployments", delay=1.0)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(scale, proxy.connection, one, 0, 6)
        stage.until(lambda: bool(proxy.requests("PATCH", "deployments")))
        scale(stage.connection, one, 1, 7)
        with pytest.raises(Transient, match="changed while it was scaled"):
            late.result()

    assert 1 == live(stage, "orders")["spec"]["replicas"]


def test_what_is_not_there_or_not_seen_is_told_and_not_taken_for_scaled_down(stage: Stage, proxy: FaultProxy) -> None:
    one = application(stage, "orders")
    with pytest.raises(Permanent, match="there is no Deployment .*/orders: roll the application out there first"):
        seen(stage.connection, one)
    proxy.make(method="GET", path="deployments", status=503, times=5)
    with pytest.raises(Transient):
        seen(proxy.connection, one)
