"""Room in a real cluster: what its nodes give, less what runs there, for as many pods as would be wanted."""

from __future__ import annotations

from typing import Any

import pytest

from flotilla.errors import Permanent
from flotilla.recovery.config import Application
from tasks.business import KIND
from tasks.capacity import wanting
from tests.tasks.stage import IMAGE, Stage

pytestmark = pytest.mark.lab


def wanted(stage: Stage, name: str, **pod: Any) -> Application:
    container = {"name": "main", "image": IMAGE, "resources": {"requests": pod.pop("requests", {})}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **pod}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    assert stage.connection.request("POST", KIND.path(stage.namespace), body=body).status == 201
    return Application(namespace=stage.namespace, deployments=(name,), replicas=2)


def test_what_asks_for_little_has_room_and_what_asks_for_more_than_a_node_has_none(stage: Stage) -> None:
    small = wanted(stage, "small", requests={"cpu": "1m", "memory": "1Mi"})
    large = wanted(stage, "large", requests={"cpu": "900", "memory": "1Mi"})

    assert () == wanting(stage.connection, small)
    assert ("2 of 2 more pods of large would find no node (900 cores, 1 MiB each)",) == wanting(stage.connection, large)


def test_where_no_node_is_as_it_is_asked_for_there_is_no_room(stage: Stage) -> None:
    assert wanting(stage.connection, wanted(stage, "picky", nodeSelector={"disk": "made-of-gold"}))


def test_of_what_is_not_rolled_out_nobody_can_say(stage: Stage) -> None:
    with pytest.raises(Permanent, match="nobody"):
        wanting(stage.connection, Application(namespace=stage.namespace, deployments=("nobody",)))
