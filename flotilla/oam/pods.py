"""What the workload components have in common: a container, its volumes and probes. KubeVela: webservice.cue and its kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, StrictInt, model_validator

from flotilla.oam.places import Part

Body = dict[str, Any]
PullPolicy = Literal["Always", "Never", "IfNotPresent"]


class KeyRef(Part):
    """A key of a Secret or ConfigMap."""

    name: str
    key: str


class FieldRef(Part):
    """A field of the pod."""

    field_path: str


class ValueFrom(Part):
    """Where an environment variable's value comes from."""

    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None


class EnvVar(Part):
    """An environment variable."""

    name: str = Field(min_length=1)
    value: str | None = None
    value_from: ValueFrom | None = None


class Exec(Part):
    """A probe that runs a command."""

    command: list[str]


class Header(Part):
    """An HTTP header."""

    name: str
    value: str


class HttpGet(Part):
    """A probe that asks over HTTP."""

    path: str
    port: StrictInt
    host: str | None = None
    scheme: str | None = None
    http_headers: list[Header] | None = None


class TcpSocket(Part):
    """A probe that opens a connection."""

    port: StrictInt


class Probe(Part):
    """Exactly one way to probe, and the patience; the defaults are written out, as KubeVela does."""

    exec: Exec | None = None
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    initial_delay_seconds: StrictInt = 0
    period_seconds: StrictInt = 10
    timeout_seconds: StrictInt = 1
    success_threshold: StrictInt = 1
    failure_threshold: StrictInt = 3

    @model_validator(mode="after")
    def _one_way(self) -> Probe:
        if sum(way is not None for way in (self.exec, self.http_get, self.tcp_socket)) != 1:
            raise ValueError("exactly one of exec, httpGet, tcpSocket")
        return self


class Item(Part):
    """A key and the file that it becomes."""

    key: str
    path: str
    mode: StrictInt = 511


class Mount(Part):
    """A volume and where it is mounted."""

    name: str
    mount_path: str
    sub_path: str | None = None


class PvcMount(Mount):
    """A PersistentVolumeClaim."""

    claim_name: str


class ConfigMapMount(Mount):
    """A ConfigMap."""

    default_mode: StrictInt = 420
    cm_name: str
    items: list[Item] | None = None


class SecretMount(Mount):
    """A Secret."""

    default_mode: StrictInt = 420
    secret_name: str
    items: list[Item] | None = None


class EmptyDirMount(Mount):
    """An empty directory that lives as long as the pod."""

    medium: Literal["", "Memory"] = ""


class HostPathMount(Mount):
    """A directory of the node."""

    path: str


class VolumeMounts(Part):
    """Volumes by kind."""

    pvc: list[PvcMount] = Field(default_factory=list)
    config_map: list[ConfigMapMount] = Field(default_factory=list)
    secret: list[SecretMount] = Field(default_factory=list)
    empty_dir: list[EmptyDirMount] = Field(default_factory=list)
    host_path: list[HostPathMount] = Field(default_factory=list)

    def all(self) -> list[Mount]:
        """Every mount in KubeVela's order."""
        return [*self.pvc, *self.config_map, *self.secret, *self.empty_dir, *self.host_path]


_OF_TYPE: dict[str, type[Mount]] = {
    "emptyDir": EmptyDirMount,
    "pvc": PvcMount,
    "configMap": ConfigMapMount,
    "secret": SecretMount,
}


class Volume(Part):
    """The older way to mount, one list for all types."""

    name: str
    mount_path: str
    type: Literal["emptyDir", "pvc", "configMap", "secret"] = "emptyDir"
    claim_name: str | None = None
    cm_name: str | None = None
    secret_name: str | None = None
    default_mode: StrictInt | None = None
    items: list[Item] | None = None
    medium: Literal["", "Memory"] | None = None

    @model_validator(mode="after")
    def _fits_type(self) -> Volume:
        needed = {"pvc": "claimName", "configMap": "cmName", "secret": "secretName"}.get(self.type, "")
        given = self.model_dump(by_alias=True, exclude_none=True)
        known = {info.alias or name for name, info in _OF_TYPE[self.type].model_fields.items()} | {"type"}
        if (needed and needed not in given) or given.keys() - known:
            raise ValueError(
                f"{needed + ', and ' if needed else ''}only {', '.join(sorted(known - {'subPath'}))} for {self.type}"
            )
        return self

    def mount(self) -> Mount:
        """Return the same in the newer form."""
        given = self.model_dump(by_alias=True, exclude_none=True, exclude={"type"})
        return _OF_TYPE[self.type].model_validate(given)


class Container(Part):
    """The parameters that every workload component shares."""

    image: str = Field(min_length=1)
    image_pull_policy: PullPolicy | None = None
    image_pull_secrets: list[str] | None = None
    cmd: list[str] | None = None
    env: list[EnvVar] | None = None
    cpu: str | None = None
    memory: str | None = None
    volumes: list[Volume] | None = None


def dumped(part: Part) -> Body:
    """Return a part as it is written in a manifest."""
    return part.model_dump(by_alias=True, exclude_none=True)


def container_of(name: str, given: Container, limits: Body | None = None) -> Body:
    """Return the container of a component; ``limits`` where they differ from the requests."""
    body: Body = {"name": name, "image": given.image}
    optional = {
        "imagePullPolicy": given.image_pull_policy,
        "command": given.cmd,
        "args": getattr(given, "args", None),
        "env": None if given.env is None else [dumped(variable) for variable in given.env],
        "resources": _resources(given, limits or {}),
        "volumeMounts": [_mounted(mount) for mount in mounts_of(given)] or None,
        **{name: probe and dumped(probe) for name, probe in _probes(given)},
    }
    return body | {key: value for key, value in optional.items() if value is not None}


def _probes(given: Container) -> list[tuple[str, Probe | None]]:
    return [
        ("livenessProbe", getattr(given, "liveness_probe", None)),
        ("readinessProbe", getattr(given, "readiness_probe", None)),
    ]


def _resources(given: Container, limits: Body) -> Body | None:
    requests = {key: value for key, value in (("cpu", given.cpu), ("memory", given.memory)) if value is not None}
    return (
        {"requests": requests, "limits": {key: limits.get(key, value) for key, value in requests.items()}} if requests else None
    )


def mounts_of(given: Container) -> list[Mount]:
    """Return what is mounted; volumeMounts wins over the older volumes."""
    newer: VolumeMounts | None = getattr(given, "volume_mounts", None)
    return newer.all() if newer is not None else [volume.mount() for volume in given.volumes or ()]


def _mounted(mount: Mount) -> Body:
    body = {"name": mount.name, "mountPath": mount.mount_path}
    return body if mount.sub_path is None else body | {"subPath": mount.sub_path}


def _volume(mount: Mount) -> Body:
    match mount:
        case PvcMount():
            source: Body = {"persistentVolumeClaim": {"claimName": mount.claim_name}}
        case ConfigMapMount():
            source = {"configMap": {"defaultMode": mount.default_mode, "name": mount.cm_name, **_items(mount.items)}}
        case SecretMount():
            source = {"secret": {"defaultMode": mount.default_mode, "secretName": mount.secret_name, **_items(mount.items)}}
        case EmptyDirMount():
            source = {"emptyDir": {"medium": mount.medium}}
        case HostPathMount():
            source = {"hostPath": {"path": mount.path}}
        case _:
            raise AssertionError(mount)
    return {"name": mount.name, **source}


def _items(items: Sequence[Item] | None) -> Body:
    return {} if items is None else {"items": [dumped(item) for item in items]}


def pod_spec(container: Body, given: Container, **more: Any) -> Body:
    """Return a pod's spec around a container; each volume stands once, however often it is mounted."""
    volumes = {mount.name: _volume(mount) for mount in reversed(mounts_of(given))}
    optional = {
        "imagePullSecrets": None if given.image_pull_secrets is None else [{"name": name} for name in given.image_pull_secrets],
        "volumes": list(reversed(volumes.values())) or None,
        **more,
    }
    return {"containers": [container]} | {key: value for key, value in optional.items() if value is not None}
