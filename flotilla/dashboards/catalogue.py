"""The metrics that we know, with their labels: what the usual exporters and our own collector give.

Sources: kube-state-metrics docs/metrics (2.15), cadvisor and the kubelet's /metrics/resource (Kubernetes 1.37), node-exporter
1.12, podinfo 6.9. Only what dashboards and rules use; a metric that is not here is asked of the store, or reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from flotilla.dashboards.labels import STAMPED, Known

_TARGET = STAMPED | {"job", "instance"}
_POD = ("namespace", "pod", "uid")
_CONTAINER = (*_POD, "container")
_CADVISOR = ("node", "namespace", "pod", "container", "id", "image", "name")
_DEPLOYMENT = ("namespace", "deployment")

_KUBE_STATE = {
    "kube_deployment_spec_replicas kube_deployment_spec_paused kube_deployment_metadata_generation": _DEPLOYMENT,
    "kube_deployment_status_replicas kube_deployment_status_replicas_ready": _DEPLOYMENT,
    "kube_deployment_status_replicas_available kube_deployment_status_replicas_unavailable": _DEPLOYMENT,
    "kube_deployment_status_replicas_updated kube_deployment_status_observed_generation": _DEPLOYMENT,
    "kube_deployment_status_condition": (*_DEPLOYMENT, "condition", "status", "reason"),
    "kube_replicaset_owner": ("namespace", "replicaset", "owner_kind", "owner_name", "owner_is_controller"),
    "kube_pod_info": (
        *_POD,
        "node",
        "host_ip",
        "pod_ip",
        "created_by_kind",
        "created_by_name",
        "priority_class",
        "host_network",
    ),
    "kube_pod_owner": (*_POD, "owner_kind", "owner_name", "owner_is_controller"),
    "kube_pod_container_info": (*_CONTAINER, "image", "image_spec", "image_id", "container_id"),
    "kube_pod_container_resource_requests kube_pod_container_resource_limits": (*_CONTAINER, "node", "resource", "unit"),
    "kube_pod_container_status_restarts_total": _CONTAINER,
    "kube_pod_container_status_waiting_reason kube_pod_container_status_last_terminated_reason": (*_CONTAINER, "reason"),
    "kube_pod_status_phase": (*_POD, "phase"),
    "kube_pod_status_ready": (*_POD, "condition"),
    "kube_node_info": ("node", "kubelet_version", "kernel_version", "os_image", "container_runtime_version", "internal_ip"),
    "kube_node_status_allocatable kube_node_status_capacity": ("node", "resource", "unit"),
    "kube_node_status_condition": ("node", "condition", "status"),
    "kube_node_spec_unschedulable": ("node",),
    "kube_node_spec_taint": ("node", "key", "value", "effect"),
    "kube_namespace_created": ("namespace",),
}
_KUBELET = {
    "container_cpu_usage_seconds_total": (*_CADVISOR, "cpu"),
    "container_memory_working_set_bytes container_memory_rss container_memory_cache container_memory_swap": _CADVISOR,
    "container_cpu_cfs_periods_total container_cpu_cfs_throttled_periods_total": _CADVISOR,
    "container_network_receive_bytes_total container_network_transmit_bytes_total": (*_CADVISOR, "interface"),
    "container_fs_usage_bytes container_fs_limit_bytes": (*_CADVISOR, "device"),
    "node_cpu_usage_seconds_total node_memory_working_set_bytes": ("node",),
    "pod_cpu_usage_seconds_total pod_memory_working_set_bytes": ("node", "namespace", "pod"),
}
_NODE_EXPORTER = {
    "node_cpu_seconds_total": ("node", "cpu", "mode"),
    "node_memory_MemTotal_bytes node_memory_MemAvailable_bytes node_load1": ("node",),
    "node_filesystem_avail_bytes node_filesystem_size_bytes": ("node", "device", "fstype", "mountpoint"),
    "node_disk_io_time_seconds_total": ("node", "device"),
    "node_network_receive_bytes_total node_network_transmit_bytes_total": ("node", "device"),
}
_PODINFO = {
    "http_requests_total": ("namespace", "pod", "node", "status"),
    "http_request_duration_seconds_bucket": ("namespace", "pod", "node", "method", "path", "status", "le"),
    "http_request_duration_seconds_count http_request_duration_seconds_sum": (
        "namespace",
        "pod",
        "node",
        "method",
        "path",
        "status",
    ),
}
_COLLECTOR = {
    "flotilla_cluster_up flotilla_watermark_timestamp_seconds flotilla_lag_seconds flotilla_backfilled_samples": (),
    "flotilla_gap_seconds flotilla_missing_seconds flotilla_collected_samples flotilla_clock_skew_seconds": (),
    "flotilla_quarantined_series flotilla_completeness_ratio": (),
    "flotilla_cycle_seconds": ("stage",),
}
_PROMETHEUS = {"up": ("namespace", "pod", "node"), "ALERTS": ("alertname", "alertstate", "severity", "verdict")}


def _named(table: dict[str, tuple[str, ...]], scraped: frozenset[str] = _TARGET) -> Iterator[tuple[str, frozenset[str]]]:
    for names, labels in table.items():
        for name in names.split():
            yield name, frozenset(labels) | scraped


_SCRAPED = (_KUBE_STATE, _KUBELET, _NODE_EXPORTER, _PODINFO, _PROMETHEUS)
CATALOGUE: Known = dict(
    [*(pair for table in _SCRAPED for pair in _named(table)), *_named(_COLLECTOR, frozenset({"cluster"}))],
)
"""Metric -> its labels, with those that the collector stamps."""


def looks_counted(name: str) -> bool:
    """Tell whether a metric, by its name, only ever goes up: a counter, or a part of a histogram or summary."""
    return ":" not in name and name.endswith(("_total", "_count", "_sum", "_bucket"))
