"""What a cluster's targets expose, as text: the series that dashboards and rules read, in the proportions of a real cluster.

A node has 50 pods, of which every other one has a sidecar; five pods make a Deployment, ten Deployments a namespace. That is
some 2,200 series a node, of which two in five change from scrape to scrape; with the target's own, a series has 7 to 13 labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

PODS, REPLICAS, DEPLOYMENTS, CPUS = 50, 5, 10, 16  # on a node, of a Deployment, in a namespace, of a node
PER_NODE = 2194  # series
WIDTH = 16  # characters of a value that changes
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")


class Series(NamedTuple):
    """One series: its name and labels as text, its first value, and what is added to that in each scrape."""

    name: str
    labels: str
    value: float
    step: float = 0.0


class Target(NamedTuple):
    """One scrape target: its job, the node that it is about ("" for kube-state-metrics), and its series."""

    job: str
    node: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Pod:
    """A pod of a cluster, by its number there; ``nodes`` is how many nodes there are."""

    cluster: str
    number: int
    nodes: int

    @property
    def deployment(self) -> str:
        """The Deployment's name: the same in every cluster."""
        return f"app-{self.number // REPLICAS}"

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return f"team-{self.number // REPLICAS // DEPLOYMENTS}"

    @property
    def replicaset(self) -> str:
        """The ReplicaSet's name: another one in every cluster."""
        return f"{self.deployment}-{_hash(self.cluster, self.deployment)[:9]}"

    @property
    def node(self) -> str:
        """Where it runs."""
        return f"node-{self.number % self.nodes}"

    @property
    def labels(self) -> str:
        """The labels that kube-state-metrics tells a pod by, without its uid."""
        return f'namespace="{self.namespace}",pod="{self.replicaset}-{_hash(self.cluster, str(self.number))[:5]}"'

    @property
    def uid(self) -> str:
        """Its uid."""
        text = _hash(self.cluster, self.replicaset, str(self.number))
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    @property
    def containers(self) -> tuple[str, ...]:
        """Its containers' names."""
        return ("app", "proxy") if self.number % 2 else ("app",)


def targets(cluster: str, nodes: int) -> Iterator[Target]:
    """Yield all that a cluster of so many nodes exposes: kube-state-metrics, and three targets of each node."""
    pods = [Pod(cluster, number, nodes) for number in range(nodes * PODS)]
    names = [f"node-{number}" for number in range(nodes)]
    state = [one for pod in pods for one in (*_state_of_pod(pod), *_state_of_deployment(pod))]
    yield Target("kube-state-metrics", "", (*state, *(one for name in names for one in _state_of_node(name))))
    for name in names:
        here = [pod for pod in pods if pod.node == name]
        yield Target("cadvisor", name, tuple(one for pod in here for one in _cadvisor(pod)))
        yield Target("resource", name, (*_resource_of_node(), *(one for pod in here for one in _resource(pod))))
        yield Target("node-exporter", name, tuple(_node_exporter()))


def nodes_for(series: int) -> int:
    """Return how many nodes have about so many series."""
    return max(1, round(series / PER_NODE))


class Body:
    """A target's answer to a scrape: text made once, in which only the values that change are put anew."""

    def __init__(self, series: tuple[Series, ...]) -> None:
        self._text, self._changing, self._scrapes = bytearray(), list[tuple[int, float, float]](), 0
        for one in series:
            self._text += f"{one.name}{{{one.labels}}} ".encode()
            if one.step:
                self._changing.append((len(self._text), one.value, one.step))
            self._text += _fixed(one.value) if one.step else f"{one.value:g}".encode()
            self._text += b"\n"

    def scraped(self) -> bytes:
        """Return the text of the next scrape."""
        self._scrapes += 1
        for at, value, step in self._changing:
            self._text[at : at + WIDTH] = _fixed(value + step * self._scrapes)
        return bytes(self._text)


def _state_of_pod(pod: Pod) -> Iterator[Series]:
    known = f'{pod.labels},uid="{pod.uid}"'
    owner = f'{known},{{0}}_kind="ReplicaSet",{{0}}_name="{pod.replicaset}"'.format
    yield Series("kube_pod_info", f'{owner("created_by")},node="{pod.node}",host_ip="10.0.0.1",pod_ip="10.1.0.1"', 1)
    yield Series("kube_pod_owner", f'{owner("owner")},owner_is_controller="true"', 1)
    for phase in PHASES:
        yield Series("kube_pod_status_phase", f'{known},phase="{phase}"', phase == "Running")
    for container in pod.containers:
        yield from _state_of_container(pod, f'{known},container="{container}"', container)


def _state_of_container(pod: Pod, known: str, container: str) -> Iterator[Series]:
    image = f'image="registry.example/{container}:1.{pod.number % 3}",image_id="sha256:{_hash(container)}"'
    yield Series("kube_pod_container_info", f'{known},{image},container_id="containerd://{_hash(known)}"', 1)
    yield Series("kube_pod_container_status_ready", known, 1)
    yield Series("kube_pod_container_status_restarts_total", known, pod.number % 4, pod.number % 50 == 0)
    for what, share in (("requests", 1.0), ("limits", 2.0)):
        name, on = f"kube_pod_container_resource_{what}", f'{known},node="{pod.node}"'
        yield Series(name, f'{on},resource="cpu",unit="core"', 0.25 * share)
        yield Series(name, f'{on},resource="memory",unit="byte"', 2**28 * share)
    if pod.number % 100 == 0:
        yield Series("kube_pod_container_status_waiting_reason", f'{known},reason="CrashLoopBackOff"', 1)
        yield Series("kube_pod_container_status_last_terminated_reason", f'{known},reason="OOMKilled"', 1)


def _state_of_deployment(pod: Pod) -> Iterator[Series]:
    """Yield what is told of a Deployment, with its first pod."""
    if pod.number % REPLICAS:
        return
    known = f'namespace="{pod.namespace}",deployment="{pod.deployment}"'
    for what in ("spec_replicas", "status_replicas", "status_replicas_ready", "status_replicas_updated"):
        yield Series(f"kube_deployment_{what}", known, REPLICAS)
    yield Series("kube_deployment_status_replicas_available", known, REPLICAS - (pod.number % 100 == 0))
    yield Series("kube_deployment_status_replicas_unavailable", known, pod.number % 100 == 0)
    for what in ("metadata_generation", "status_observed_generation", "created"):
        yield Series(f"kube_deployment_{what}", known, 3)
    yield Series("kube_deployment_spec_paused", known, 0)
    for condition in ("Available", "Progressing"):
        for status in ("true", "false", "unknown"):
            on = f'{known},condition="{condition}",status="{status}",reason="MinimumReplicasAvailable"'
            yield Series("kube_deployment_status_condition", on, status == "true")
    owned = f'owner_kind="Deployment",owner_name="{pod.deployment}",owner_is_controller="true"'
    for age in range(3):
        replicaset = f'namespace="{pod.namespace}",replicaset="{pod.replicaset}{age or ""}"'
        yield Series("kube_replicaset_owner", f"{replicaset},{owned}", 1)


def _state_of_node(name: str) -> Iterator[Series]:
    known = f'node="{name}"'
    yield Series("kube_node_info", f'{known},kubelet_version="v1.37.2",os_image="Debian 13",internal_ip="10.0.0.1"', 1)
    yield Series("kube_node_spec_unschedulable", known, 0)
    for what in ("allocatable", "capacity"):
        for resource, unit, value in (("cpu", "core", CPUS), ("memory", "byte", 2**36), ("pods", "integer", 110)):
            yield Series(f"kube_node_status_{what}", f'{known},resource="{resource}",unit="{unit}"', value)
    for condition in ("Ready", "DiskPressure", "MemoryPressure", "PIDPressure"):
        for status in ("true", "false", "unknown"):
            holds = status == ("true" if condition == "Ready" else "false")
            yield Series("kube_node_status_condition", f'{known},condition="{condition}",status="{status}"', holds)


def _cadvisor(pod: Pod) -> Iterator[Series]:
    within = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod.uid.replace('-', '_')}.slice"
    for container in pod.containers:
        name = _hash(pod.cluster, str(pod.number), container)
        image = f'image="registry.example/{container}:1.{pod.number % 3}",name="{name}"'
        known = f'{pod.labels},container="{container}",id="{within}/cri-containerd-{name}.scope",{image}'
        yield Series("container_cpu_usage_seconds_total", f'{known},cpu="total"', pod.number, 0.1 + pod.number % 37 / 10)
        yield Series("container_cpu_cfs_periods_total", known, 10 * pod.number, 150)
        yield Series("container_cpu_cfs_throttled_periods_total", known, pod.number, 1 + pod.number % 7)
        yield Series("container_memory_working_set_bytes", known, 2**26 + 4096 * (pod.number % 997), 4096)
        yield Series("container_memory_rss", known, 2**25, 4096)
        for what in ("container_memory_cache", "container_memory_swap", "container_oom_events_total"):
            yield Series(what, known, 0)
    for way in ("receive", "transmit"):
        known = f'{pod.labels},id="{within}",image="registry.example/pause:3.10",interface="eth0"'
        yield Series(f"container_network_{way}_bytes_total", known, 1000, 1500 * (1 + pod.number % 91))


def _resource(pod: Pod) -> Iterator[Series]:
    yield Series("pod_cpu_usage_seconds_total", pod.labels, pod.number, 0.1 + pod.number % 37 / 10)
    yield Series("pod_memory_working_set_bytes", pod.labels, 2**26, 4096)
    for container in pod.containers:
        known = f'{pod.labels},container="{container}"'
        yield Series("container_cpu_usage_seconds_total", known, pod.number, 0.1 + pod.number % 37 / 10)
        yield Series("container_memory_working_set_bytes", known, 2**26 + 4096 * (pod.number % 997), 4096)


def _resource_of_node() -> Iterator[Series]:
    yield Series("node_cpu_usage_seconds_total", "", 1000, 75)
    yield Series("node_memory_working_set_bytes", "", 2**34, 2**16)


def _node_exporter() -> Iterator[Series]:
    for cpu in range(CPUS):
        for mode in ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"):
            yield Series("node_cpu_seconds_total", f'cpu="{cpu}",mode="{mode}"', cpu, 10 if mode == "idle" else 0.5)
    for what in ("MemTotal", "MemAvailable", "MemFree", "Cached", "Buffers", "Slab"):
        yield Series(f"node_memory_{what}_bytes", "", 2**36 if what == "MemTotal" else 2**34, 4096 * (what != "MemTotal"))
    for device, mount in (("sda1", "/"), ("sda2", "/var"), ("sdb1", "/data")):
        known = f'device="/dev/{device}",fstype="ext4",mountpoint="{mount}"'
        yield Series("node_filesystem_avail_bytes", known, 2**38, -4096)
        yield Series("node_filesystem_size_bytes", known, 2**39)
    for device in ("sda", "sdb"):
        for what in ("io_time_seconds", "read_bytes", "written_bytes"):
            yield Series(f"node_disk_{what}_total", f'device="{device}"', 1, 0.75 if what == "io_time_seconds" else 2**20)
    for device in ("eth0", "eth1", "lo", "cni0"):
        for way in ("receive", "transmit"):
            yield Series(f"node_network_{way}_bytes_total", f'device="{device}"', 1000, 2**20)
    yield Series("node_load1", "", 2.5)
    yield Series("node_uname_info", 'machine="x86_64",nodename="node",release="6.12",sysname="Linux"', 1)


def _fixed(value: float) -> bytes:
    return b"%0*.3f" % (WIDTH, value)


def _hash(*words: str) -> str:
    return hashlib.blake2b("/".join(words).encode(), digest_size=16).hexdigest()
