"""The parameters of the trait types. KubeVela: vela-templates/definitions/internal/trait."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, RootModel, StrictBool, StrictInt, model_validator

from flotilla.oam.places import Part
from flotilla.oam.pods import EnvVar, Probe, PullPolicy


class Scaler(Part):
    """KubeVela: scaler.cue."""

    replicas: StrictInt = Field(default=1, ge=0)


class ExposedPort(Part):
    """A port of the Service that expose adds."""

    port: StrictInt = Field(ge=1, le=65535)
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    node_port: StrictInt | None = None


class Expose(Part):
    """KubeVela: expose.cue. ExternalName is left out: there is no field for the external name."""

    port: list[StrictInt] | None = None
    ports: list[ExposedPort] | None = None
    annotations: dict[str, str] | None = None
    match_labels: dict[str, str] | None = None
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"

    @model_validator(mode="after")
    def _some_port(self) -> Expose:
        if not self.port and not self.ports:
            raise ValueError("port or ports, with at least one")
        return self


class KeysAndValues(RootModel[dict[str, str | None]]):
    """The properties of labels and annotations; null takes a key away."""


class FreeForm(RootModel[dict[str, Any]]):
    """The properties of json-merge-patch: the patch itself."""


class ContainerEnv(Part):
    """Environment variables of one container."""

    container_name: str = ""
    replace: StrictBool = False
    env: dict[str, str] = Field(default_factory=dict)
    unset: list[str] = Field(default_factory=list)


class Env(ContainerEnv):
    """KubeVela: env.cue."""

    containers: list[ContainerEnv] | None = None


class ContainerCommand(Part):
    """Command and arguments of one container."""

    container_name: str = ""
    command: list[str] | None = None
    args: list[str] | None = None
    add_args: list[str] | None = None
    del_args: list[str] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ContainerCommand:
        if self.args is not None and (self.add_args is not None or self.del_args is not None):
            raise ValueError("args, or addArgs and delArgs")
        return self


class Command(ContainerCommand):
    """KubeVela: command.cue."""

    containers: list[ContainerCommand] | None = None


class ContainerImage(Part):
    """Image of one container."""

    container_name: str = ""
    image: str = ""
    image_pull_policy: PullPolicy | None = None


class Image(ContainerImage):
    """KubeVela: container-image.cue."""

    containers: list[ContainerImage] | None = None

    @model_validator(mode="after")
    def _some_image(self) -> Image:
        if not (self.image if self.containers is None else all(one.image for one in self.containers)):
            raise ValueError("an image")
        return self


def _quantity(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Cpu = Annotated[str, BeforeValidator(_quantity)]
Memory = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,63})(E|P|T|G|M|K|Ei|Pi|Ti|Gi|Mi|Ki)$")]


class Amounts(Part):
    """Processor and memory, with KubeVela's defaults."""

    cpu: Cpu = "1"
    memory: Memory = "2048Mi"


class Resource(Part):
    """KubeVela: resource.cue. It ignores cpu without memory; here that is refused."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    requests: Amounts | None = None
    limits: Amounts | None = None

    @model_validator(mode="after")
    def _complete(self) -> Resource:
        short, long = (self.cpu, self.memory), (self.requests, self.limits)
        if long == (None, None) and None in short:
            raise ValueError("cpu and memory together, or else requests and limits")
        return self


class SidecarVolume(Part):
    """A volume that the sidecar shares."""

    name: str
    path: str


class Sidecar(Part):
    """KubeVela: sidecar.cue."""

    name: str
    image: str
    cmd: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    volumes: list[SidecarVolume] | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None


class JsonPatch(Part):
    """KubeVela: json-patch.cue."""

    operations: list[dict[str, Any]] = Field(min_length=1)


def _count(value: Any) -> Any:
    """Return "2" as a number: Kubernetes takes numbers and percentages here, and text only for percentages."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


IntOrPercent = Annotated[StrictInt | Annotated[str, Field(pattern=r"^\d+%$")], BeforeValidator(_count)]


class Rolling(Part):
    """How many pods are replaced at a time."""

    max_surge: IntOrPercent = "25%"
    max_unavailable: IntOrPercent = "25%"
    partition: StrictInt = 0


class Strategy(Part):
    """How pods are replaced."""

    type: Literal["RollingUpdate", "Recreate", "OnDelete"] = "RollingUpdate"
    rolling_strategy: Rolling | None = None

    @model_validator(mode="after")
    def _complete(self) -> Strategy:
        if (self.type == "RollingUpdate") != (self.rolling_strategy is not None):
            raise ValueError("rollingStrategy with type RollingUpdate, and only with it")
        return self


class UpdateStrategy(Part):
    """KubeVela: k8s-update-strategy.cue."""

    target_api_version: Literal["apps/v1"] = Field(default="apps/v1", alias="targetAPIVersion")
    target_kind: Literal["Deployment", "StatefulSet", "DaemonSet"] = "Deployment"
    strategy: Strategy


class Gateway(Part):
    """KubeVela: gateway.cue."""

    domain: str | None = None
    http: dict[str, StrictInt] = Field(min_length=1)
    ingress_class: str = Field(default="nginx", alias="class")
    class_in_spec: StrictBool = False
    secret_name: str | None = None
    gateway_host: str | None = None
    name: str | None = None
    path_type: Literal["ImplementationSpecific", "Prefix", "Exact"] = "ImplementationSpecific"
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    existing_service_name: str | None = None


class CpuScaler(Part):
    """KubeVela: cpuscaler.cue."""

    min: StrictInt = 1
    max: StrictInt = 10
    cpu_util: StrictInt = 50
    target_api_version: str = Field(default="apps/v1", alias="targetAPIVersion")
    target_kind: str = "Deployment"


class Metric(Part):
    """A metric of the pods and its target."""

    type: Literal["Utilization", "AverageValue"] = "Utilization"
    value: StrictInt = 50


class PodMetric(Part):
    """A custom metric."""

    name: str
    value: str


class Hpa(Part):
    """KubeVela: hpa.cue."""

    min: StrictInt = 1
    max: StrictInt = 10
    cpu: Metric = Metric.model_validate({})
    mem: Metric | None = None
    pod_custom_metrics: list[PodMetric] = Field(default_factory=list)
    target_api_version: str = Field(default="apps/v1", alias="targetAPIVersion")
    target_kind: str = "Deployment"
