"""Fixtures for tests against a real API server: a namespace of one's own, and a proxy that makes faults."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from flotilla.fleet import Cluster
from tasks.clusters import Connection, connect, forget_connections
from tests.tasks.faults import FaultProxy
from tests.tasks.stage import CLUSTER, Stage


@pytest.fixture(scope="session")
def connection(fleet_lab) -> Connection:
    """Return the connection to the cluster that these tests use."""
    forget_connections()  # tests of kubeconfigs may have been here before the lab's became the current one
    return connect(fleet_lab.fleet.cluster(CLUSTER))


@pytest.fixture
def stage(connection: Connection) -> Iterator[Stage]:
    """Yield an application and a namespace of one's own; gone afterwards, with what was made in them and beside them."""
    stage = Stage(connection, f"flotilla-test-{secrets.token_hex(4)}")
    stage.open()
    yield stage
    stage.clear()


@pytest.fixture
def proxy(fleet_lab, tmp_path) -> Iterator[FaultProxy]:
    """Yield a proxy in front of the API server; ``proxy.connection`` goes through it."""
    proxy = FaultProxy(fleet_lab.kubeconfig, CLUSTER)
    file = tmp_path / "through-proxy"
    file.write_text(proxy.kubeconfig)
    cluster: Cluster = fleet_lab.fleet.cluster(CLUSTER)
    proxy.connection = connect(cluster.model_copy(update={"kubeconfig": type(cluster.kubeconfig)(file=str(file))}))
    yield proxy
    proxy.close()
