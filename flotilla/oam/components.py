"""The component types: their parameters, and the objects that they become. KubeVela: definitions/internal/component."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from flotilla.oam.places import Part
from flotilla.oam.pods import Body, Container, Probe, VolumeMounts, container_of, dumped, pod_spec

NAME, COMPONENT, REPLICA = "app.oam.dev/name", "app.oam.dev/component", "app.oam.dev/replicaKey"


@dataclass(frozen=True)
class Context:
    """What a definition knows beside its parameters (KubeVela: ``context``)."""

    app: str
    namespace: str
    component: str
    replica: str = ""

    @property
    def name(self) -> str:
        """The name of the component's objects; a replica's carries its key, as in KubeVela's replica-webservice."""
        return f"{self.component}-{self.replica}" if self.replica else self.component

    @property
    def selector(self) -> dict[str, str]:
        """The labels by which the component's pods are found."""
        return {COMPONENT: self.component} | ({REPLICA: self.replica} if self.replica else {})


@dataclass(frozen=True)
class Made:
    """An object that a component or trait renders; ``resource`` is KubeVela's name of it, "" for the workload."""

    manifest: Body
    resource: str = ""


class Port(Part):
    """A port of the container, exposed by a Service where ``expose`` says so."""

    port: StrictInt = Field(ge=1, le=65535)
    container_port: StrictInt | None = Field(default=None, ge=1, le=65535)
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    expose: StrictBool = False
    node_port: StrictInt | None = None

    @property
    def target(self) -> int:
        """The container's port."""
        return self.container_port or self.port

    @property
    def title(self) -> str:
        """The port's name: the one given, or one made of number and protocol."""
        suffix = "" if self.protocol == "TCP" else f"-{self.protocol.lower()}"
        return self.name or f"port-{self.target}{suffix}"


class Limit(Part):
    """Limits where they are not the requests."""

    cpu: str | None = None
    memory: str | None = None


class HostAlias(Part):
    """An entry of the pods' hosts file."""

    ip: str
    hostnames: list[str]


class Worker(Container):
    """KubeVela: worker.cue."""

    volume_mounts: VolumeMounts | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None


class Served(Worker):
    """What webservice, statefulset and daemon share."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    port: StrictInt | None = None
    ports: list[Port] | None = None
    expose_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    add_revision_label: Literal[False] = False
    host_aliases: list[HostAlias] | None = None


class StatefulSet(Served):
    """KubeVela: statefulset.cue."""

    args: list[str] | None = None


class WebService(StatefulSet):
    """KubeVela: webservice.cue."""

    limit: Limit | None = None


class Task(Container):
    """KubeVela: task.cue."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    count: StrictInt = Field(default=1, ge=1)
    restart: Literal["Never", "OnFailure"] = "Never"


class CronTask(Task):
    """KubeVela: cron-task.cue."""

    schedule: str
    starting_deadline_seconds: StrictInt | None = None
    suspend: StrictBool = False
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Allow"
    successful_jobs_history_limit: StrictInt = 3
    failed_jobs_history_limit: StrictInt = 1
    volume_mounts: VolumeMounts | None = None
    host_aliases: list[HostAlias] | None = None
    ttl_seconds_after_finished: StrictInt | None = None
    active_deadline_seconds: StrictInt | None = None
    backoff_limit: StrictInt = 6


class Objects(Part):
    """KubeVela: k8s-objects.cue. The first object is the one that traits change."""

    objects: list[dict[str, Any]] = Field(min_length=1)


def _pod_metadata(context: Context, given: Any) -> Body:
    labels = {**(getattr(given, "labels", None) or {}), NAME: context.app, **context.selector}
    annotations = getattr(given, "annotations", None)
    return {"labels": labels} | ({"annotations": annotations} if annotations is not None else {})


def _workload(kind: str, context: Context, given: Worker, container: Body, **more: Any) -> Body:
    template = {"metadata": _pod_metadata(context, given), "spec": pod_spec(container, given, **more)}
    spec = {"selector": {"matchLabels": context.selector}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": context.name}, "spec": spec}


def _container_ports(given: Served) -> list[Body] | None:
    if given.ports is not None:
        return [{"containerPort": p.target, "protocol": p.protocol, "name": p.title} for p in given.ports]
    return None if given.port is None else [{"containerPort": given.port}]


def _service_port(port: Port, kind: str) -> Body:
    body: Body = {"port": port.port, "targetPort": port.target, "name": port.title, "protocol": port.protocol}
    return body | ({"nodePort": port.node_port} if port.node_port is not None and kind == "NodePort" else {})


def _aliases(given: Any) -> list[Body] | None:
    return None if given.host_aliases is None else [dumped(alias) for alias in given.host_aliases]


def _served(kind: str, resource: str) -> Callable[[Context, Any], tuple[Made, ...]]:
    def render(context: Context, given: Served) -> tuple[Made, ...]:
        limit = getattr(given, "limit", None)
        container = container_of(context.component, given, dumped(limit) if limit else None)
        ports = _container_ports(given)
        container |= {} if ports is None else {"ports": ports}
        made = [Made(_workload(kind, context, given, container, hostAliases=_aliases(given)))]
        exposed = [_service_port(port, given.expose_type) for port in given.ports or () if port.expose]
        if exposed:
            made.append(Made(service(context.name, context.selector, exposed, given.expose_type), resource))
        return tuple(made)

    return render


def service(name: str, selector: dict[str, str], ports: Sequence[Body], kind: str | None) -> Body:
    """Return a Service."""
    spec: Body = {"selector": selector, "ports": list(ports)} | ({"type": kind} if kind else {})
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _worker(context: Context, given: Worker) -> tuple[Made, ...]:
    return (Made(_workload("Deployment", context, given, container_of(context.component, given))),)


def _job_spec(context: Context, given: Task, **more: Any) -> Body:
    spec = pod_spec(container_of(context.component, given), given, restartPolicy=given.restart, **more)
    template = {"metadata": _pod_metadata(context, given), "spec": spec}
    return {"parallelism": given.count, "completions": given.count, "template": template}


def _task(context: Context, given: Task) -> tuple[Made, ...]:
    metadata = {"name": f"{context.app}-{context.name}"}  # so since KubeVela 1.10.3; before, the component's name
    return (Made({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _job_spec(context, given)}),)


def _cron_task(context: Context, given: CronTask) -> tuple[Made, ...]:
    job = _job_spec(context, given, hostAliases=_aliases(given)) | {"backoffLimit": given.backoff_limit}
    for name, value in (
        ("ttlSecondsAfterFinished", given.ttl_seconds_after_finished),
        ("activeDeadlineSeconds", given.active_deadline_seconds),
    ):
        job |= {} if value is None else {name: value}
    spec: Body = {
        "schedule": given.schedule,
        "concurrencyPolicy": given.concurrency_policy,
        "suspend": given.suspend,
        "successfulJobsHistoryLimit": given.successful_jobs_history_limit,
        "failedJobsHistoryLimit": given.failed_jobs_history_limit,
        "jobTemplate": {"metadata": _pod_metadata(context, given), "spec": job},
    }
    if given.starting_deadline_seconds is not None:
        spec["startingDeadlineSeconds"] = given.starting_deadline_seconds
    return (Made({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": context.name}, "spec": spec}),)


@dataclass(frozen=True)
class Kind:
    """A component type: its parameters and how it renders."""

    parameters: type[Part]
    render: Callable[[Context, Any], tuple[Made, ...]]


WORKLOADS: dict[str, Kind] = {
    "webservice": Kind(WebService, _served("Deployment", "webserviceExpose")),
    "replica-webservice": Kind(WebService, _served("Deployment", "webserviceExpose")),
    "statefulset": Kind(StatefulSet, _served("StatefulSet", "statefulsetsExpose")),
    "daemon": Kind(Served, _served("DaemonSet", "webserviceExpose")),
    "worker": Kind(Worker, _worker),
    "task": Kind(Task, _task),
    "cron-task": Kind(CronTask, _cron_task),
}
"""The types that make a workload of an image. replica-webservice is the example of KubeVela's replication page; here every
type takes its replica's key into the name."""
