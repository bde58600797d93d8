"""What the fleet file says of metrics, and what is said about what is wrong there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from flotilla.errors import InvalidInput
from flotilla.metrics.completeness import Keeps
from flotilla.metrics.config import (
    COLLECTED,
    AlertRoute,
    MemberMetrics,
    Metrics,
    PrometheusService,
    Store,
    StoreKind,
)
from flotilla.metrics.selectors import Selector
from flotilla.metrics.windows import Pace
from flotilla.validation import checked

FULL = """
store:
  kind: other
  url: https://mimir.example/
  writePath: /api/v1/push
  apiPath: /prometheus/api/v1
  headersEnv: {Authorization: STORE_AUTHORIZATION, X-Scope-OrgID: STORE_TENANT}
collect: ['up', '{__name__=~"node_.+",job="node-exporter"}']
beat: 15
overlap: 120
samplesPerSecond: 5000
alerts:
  - match: '{alertname="ClusterDown"}'
    deployment: recovery/failover
    fromLabels: {lost: cluster}
receiver: {listen: '127.0.0.1:9999', tokenEnv: ALERT_TOKEN}
"""

# What reference/monitoring.md, section 3, needs: recording rules, applications, nodes, pods.
_NEEDED = """
container_cpu_usage_seconds_total container_memory_working_set_bytes container_memory_rss container_memory_cache
container_memory_swap container_cpu_cfs_throttled_periods_total container_cpu_cfs_periods_total
container_network_receive_bytes_total container_network_transmit_bytes_total container_oom_events_total kube_pod_info
kube_pod_owner kube_replicaset_owner kube_pod_status_phase kube_pod_container_info
kube_pod_container_resource_requests kube_pod_container_resource_limits kube_pod_container_status_restarts_total
kube_pod_container_status_last_terminated_reason kube_pod_container_status_waiting_reason
kube_deployment_spec_replicas kube_deployment_status_replicas kube_deployment_status_replicas_ready
kube_deployment_status_replicas_available kube_deployment_status_replicas_unavailable
kube_deployment_status_replicas_updated kube_deployment_status_observed_generation kube_deployment_metadata_generation
kube_deployment_status_condition kube_deployment_spec_paused
kube_deployment_spec_strategy_rollingupdate_max_unavailable kube_deployment_created kube_deployment_labels
kube_deployment_owner kube_deployment_status_terminating_replicas kube_node_status_allocatable
kube_node_status_capacity kube_node_status_condition kube_node_spec_unschedulable kube_node_spec_taint kube_node_info
kube_node_role node_cpu_seconds_total node_memory_MemAvailable_bytes node_memory_MemTotal_bytes
node_filesystem_avail_bytes node_filesystem_size_bytes node_disk_io_time_seconds_total
node_network_receive_bytes_total node_network_transmit_bytes_total node_cpu_usage_seconds_total
node_memory_working_set_bytes pod_cpu_usage_seconds_total pod_memory_working_set_bytes up
prometheus_tsdb_lowest_timestamp_seconds
"""
NEEDED = _NEEDED.split()


def picked(selector: Selector, metric: str) -> bool:
    """Whether a metric is collected, of whatever other labels."""
    return all(one.meets(metric) for one in selector.matchers if one.name == "__name__")


def read(text: str) -> Metrics:
    return checked(Metrics, yaml.safe_load(text), "fleet.yaml", "metrics")


def test_nothing_said_means_the_store_beside_us_and_what_the_dashboards_need():
    metrics = read("{}")

    assert ("http://127.0.0.1:8428", StoreKind.VICTORIA_METRICS) == (metrics.store.url, metrics.store.kind)
    assert Pace(budget=3_000_000) == metrics.pace()
    assert len(COLLECTED) == len(metrics.selectors)
    assert Metrics.model_validate({"collect": COLLECTED}) == metrics


@pytest.mark.parametrize("metric", NEEDED)
def test_what_the_dashboards_need_is_collected(metric):
    assert 1 == sum(picked(selector, metric) for selector in Metrics().selectors)


@pytest.mark.parametrize("metric", ["container_blkio_device_usage_total", "kube_secret_info", "apiserver_request_total", "upx"])
def test_what_nobody_looks_at_is_not_collected(metric):
    assert not any(picked(selector, metric) for selector in Metrics().selectors)


def test_everything_can_be_said():
    metrics = read(FULL)

    assert ("https://mimir.example", "/api/v1/push", "/prometheus/api/v1") == (
        metrics.store.url,
        metrics.store.write_path,
        metrics.store.api_path,
    )
    assert {"Authorization": "STORE_AUTHORIZATION", "X-Scope-OrgID": "STORE_TENANT"} == metrics.store.headers_env
    assert Pace(overlap=120_000, budget=75_000) == metrics.pace()
    assert ['{__name__="up"}', '{__name__=~"node_.+",job="node-exporter"}'] == list(map(str, metrics.selectors))
    assert "recovery/failover" == metrics.alerts[0].deployment


def test_victoriametrics_keeps_neither_nan_nor_histograms():
    assert Keeps(nans=False, histograms=False) == Store().keeps
    assert Keeps() == Store(kind=StoreKind.PROMETHEUS).keeps


@pytest.mark.parametrize(
    ("text", "field", "allowed"),
    [
        ("collect: []", "metrics.collect", "at least 1 item"),
        ("collect: ['up', 'up[5m]']", "metrics.collect[1]", "without function, range"),
        ("collect: ['up', 'up{']", "metrics.collect[1]", ""),
        ('collect: [up, \'up{cluster="x",role="y"}\']', "metrics.collect[1]", "does not ask for cluster, role"),
        ("store: {url: 'ftp://store'}", "metrics.store.url", "an address such as"),
        ("store: {url: 'store:8428'}", "metrics.store.url", "an address such as"),
        ("store: {url: 'http://me:secret@store'}", "metrics.store.url", "without credentials"),
        ("store: {url: 'http://store?token=1'}", "metrics.store.url", "without query"),
        ("store: {writePath: api}", "metrics.store.writePath", "begins with /"),
        ("store: {headersEnv: {Authorization: 'Bearer secret'}}", "metrics.store.headersEnv", "environment variables"),
        ("store: {headersEnv: {'Bad header': X}}", "metrics.store.headersEnv", "environment variables"),
        ("store: {kind: influx}", "metrics.store.kind", "'victoria-metrics', 'prometheus' or 'other'"),
        ("store: {batchBytes: 1}", "metrics.store.batchBytes", "greater than or equal"),
        ("beat: 1", "metrics.beat", "greater than or equal to 5"),
        ("staleAfter: 60", "metrics", "staleAfter longer than beat and settle"),
        ("interval: 30", "metrics.interval", "alerts, answerBytes, backfill, beat"),
        ("alerts: [{match: '{a=', deployment: a/b}]", "metrics.alerts[0].match", ""),
        ("alerts: [{match: '{a=\"b\"}', deployment: failover}]", "metrics.alerts[0].deployment", "pattern"),
        (
            "alerts: [{match: '{a=\"b\"}', deployment: a/b, fromLabels: {x: 'a b'}}]",
            "metrics.alerts[0].fromLabels.x",
            "pattern",
        ),
        ("receiver: {tokenEnv: a b}", "metrics.receiver.tokenEnv", "pattern"),
        ("receiver: {listen: '9095'}", "metrics.receiver.listen", "HOST:PORT"),
    ],
)
def test_what_is_wrong_is_named_by_field_and_by_what_is_allowed(text, field, allowed):
    with pytest.raises(InvalidInput) as refused:
        read(text)

    (problem,) = refused.value.problems
    assert field == problem.field
    assert allowed in problem.allowed


def member(**said: Any) -> MemberMetrics:
    return checked(MemberMetrics, said, "fleet.yaml")


def test_a_clusters_prometheus_is_reached_through_its_api_server_unless_an_address_is_given():
    assert PrometheusService(namespace="monitoring", name="prometheus", port=9090, scheme="http") == member().reached
    assert "https://prometheus.example/p" == member(url="https://prometheus.example/p/").reached
    assert "web" == member(service={"name": "prometheus-k8s", "port": "web"}).reached.port


def test_of_a_pair_one_pod_is_read_and_the_label_that_tells_them_apart_goes():
    pair = member(replicas=["prometheus-k8s-0", "prometheus-k8s-1"], replicaLabel="__replica__")

    assert ("prometheus-k8s-0", "prometheus-k8s-1") == pair.replicas
    assert {"prometheus", "prometheus_replica", "__replica__"} == pair.strip


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"url": "http://a", "service": {}}, ""),
        ({"url": "http://a", "replicas": ["p-0"]}, ""),
        ({"service": {"port": 0}}, "service.port"),
        ({"service": {"port": "WEB"}}, "service.port"),
        ({"service": {"namespace": "Monitoring"}}, "service.namespace"),
        ({"service": {"scheme": "tcp"}}, "service.scheme"),
        ({"replicaLabel": "a-b"}, "replicaLabel"),
        ({"externalLabels": {"cluster": 1}}, "externalLabels.cluster"),
        ({"token": "secret"}, "token"),
    ],
)
def test_what_is_wrong_about_a_member_is_named(said, field):
    with pytest.raises(InvalidInput) as refused:
        member(**said)

    assert field in {problem.field for problem in refused.value.problems}


def test_a_route_picks_alerts_by_label_whatever_else_they_carry():
    route = AlertRoute(match='{alertname=~"Cluster.*",severity!="info"}', deployment="a/b")

    assert route.selector.picks({"alertname": "ClusterDown", "x": "y"})
    assert not route.selector.picks({"alertname": "ClusterDown", "severity": "info"})
    assert not route.selector.picks({"alertname": "MyClusterDown"})
