"""A pair of Prometheus in one cluster: one is read, the other takes over, and no scrape counts twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from flotilla.fleet import Fleet
from flotilla.metrics.config import MemberMetrics, Metrics
from flows.collector import Collector
from lab.layout import Hub
from tasks.clusters import Connection, connect
from tasks.doors import now
from tests.conftest import FleetLab
from tests.flows.hubset import opened, shown

pytestmark = pytest.mark.lab

PODS = "/api/v1/namespaces/monitoring/pods"
MAPS = "/api/v1/namespaces/monitoring/configmaps"
PAIR = ("prometheus-a", "prometheus-b")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with opened(tmp_path / "hub", "victoria-metrics") as one:
        yield one


@pytest.fixture
def connection(fleet_lab: FleetLab) -> Connection:
    return connect(fleet_lab.fleet.cluster("remote"))


@pytest.fixture
def pair(connection: Connection) -> Iterator[None]:
    """Two Prometheus that scrape the same, as the lab's own does, each by its own clock."""
    config = connection.request("GET", f"{MAPS}/prometheus").body["data"]["prometheus.yml"]
    data = {"prometheus.yml": config.replace("scrape_interval: 15s", "scrape_interval: 3s")}
    connection.request("POST", MAPS, body={"metadata": {"name": "prometheus-pair"}, "data": data})
    pod = connection.request("GET", f"{PODS}/prometheus-0").body
    spec = {name: value for name, value in pod["spec"].items() if name not in ("hostname", "subdomain", "nodeName")}
    ours = {"data": {"emptyDir": {}}, "config": {"configMap": {"name": "prometheus-pair"}}}
    volumes = [{"name": one["name"], **ours[one["name"]]} if one["name"] in ours else one for one in spec["volumes"]]
    for number, name in enumerate(PAIR):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec | {"volumes": volumes}}
        connection.request("POST", PODS, body=body)
        time.sleep(1.5 * (1 - number))
    yield
    for name in PAIR:
        connection.request("DELETE", f"{PODS}/{name}", body={"gracePeriodSeconds": 0})
    connection.request("DELETE", f"{MAPS}/prometheus-pair")


@pytest.fixture
def collector(fleet_lab: FleetLab, hub: Hub, tmp_path: Path) -> Collector:
    metrics = Metrics.model_validate({"store": {"url": hub.store}, "settle": 2, "overlap": 5, "backfill": 60, "beat": 5})
    cluster = fleet_lab.fleet.cluster("remote").model_copy(update={"metrics": MemberMetrics(replicas=PAIR)})
    fleet = Fleet.model_construct(**{**dict(fleet_lab.fleet), "clusters": (cluster,), "metrics": metrics})
    return Collector(fleet, tmp_path / "state")


def collected(collector: Collector, scrapes: int) -> None:
    """Collect until so many scrapes of the kubelet are at the store."""
    deadline = time.monotonic() + 150
    while True:
        collector.cycle()
        time.sleep(1)
        found = collector.store.engine.query('count_over_time(up{job="kubelet"}[10m])')
        if found and float(found[0]["value"][1]) >= scrapes:
            return
        assert time.monotonic() < deadline, found


def test_when_the_one_that_is_read_is_lost_the_other_is_read_and_no_scrape_counts_twice(pair, collector, connection):
    collected(collector, 6)
    reader = collector.readers["remote"]
    first = reader.kept.replica
    connection.request("DELETE", f"{PODS}/{first}", body={"gracePeriodSeconds": 0})
    collected(collector, 16)

    assert {first, reader.kept.replica} == set(PAIR)
    (found,) = shown(collector.store, 'up{job="kubelet"}[10m]')
    times = [float(time) for time, _ in found["values"]]
    gaps = [after - before for before, after in pairwise(times)]
    assert "prometheus_replica" not in found["metric"]
    assert sum(gap < 2.5 for gap in gaps) <= 1, gaps  # one where the other took over, its clock being another
    assert now() / 1000 - times[-1] < 60
