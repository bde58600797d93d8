"""The properties of the workflow step types. KubeVela: vela-templates/definitions/internal/workflowstep."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from flotilla.fleet import DnsLabel
from flotilla.intent import OnUnreachable
from flotilla.oam.durations import Duration
from flotilla.oam.places import Part


class Drained(Part):
    """Ours: exported services of a cluster take no traffic from others while it is changed."""

    idle: Duration = Field(default=5.0, ge=0)
    within: Duration = Field(default=60.0, gt=0)


class Wave(Part):
    """Ours: how a deploy step is watched. Durations as Go writes them; ``maxFailures`` counts clusters."""

    health_timeout: Duration = Field(default=300.0, gt=0)
    soak: Duration = 0.0
    max_failures: StrictInt = Field(default=0, ge=0)
    on_unreachable: OnUnreachable = OnUnreachable.GO_ON
    drain: Drained | None = None


class Deploy(Part):
    """KubeVela: deploy.cue; ``flotilla`` is an extension of ours."""

    policies: list[str] = Field(default_factory=list)
    auto: StrictBool = True
    parallelism: StrictInt = Field(default=5, ge=1)
    ignore_terraform_component: Literal[True] = True
    flotilla: Wave = Wave.model_validate({})


class ApplyComponent(Part):
    """KubeVela: apply-component.cue."""

    component: str
    cluster: str = ""
    namespace: DnsLabel | Literal[""] = ""


class ApplyObject(Part):
    """KubeVela: apply-object.cue."""

    value: dict[str, Any]
    cluster: str = ""


class Suspend(Part):
    """KubeVela: suspend.cue."""

    duration: Duration | None = None
    message: str = ""


class Nothing(Part):
    """No properties at all: step-group."""


class SecretKey(Part):
    """A key of a Secret in the application's namespace."""

    name: str
    key: str


class EnvName(Part):
    """Ours: an environment variable of the process that sends."""

    env: str = Field(min_length=1)


class Url(Part):
    """An address, or where it is kept. KubeVela: value or secretRef; ``flotilla: {env: NAME}`` is ours."""

    value: str | None = None
    secret_ref: SecretKey | None = None
    flotilla: EnvName | None = None

    @model_validator(mode="after")
    def _one(self) -> Url:
        if sum(one is not None for one in (self.value, self.secret_ref, self.flotilla)) != 1:
            raise ValueError("exactly one of value, secretRef, flotilla")
        return self


class Channel(Part):
    """A message and where it goes."""

    url: Url
    message: dict[str, Any] = Field(default_factory=dict)


class Notification(Part):
    """KubeVela: notification.cue, without email: Flotilla sends to webhooks only."""

    slack: Channel | None = None
    dingding: Channel | None = None
    lark: Channel | None = None

    @model_validator(mode="after")
    def _some(self) -> Notification:
        if not (self.slack or self.dingding or self.lark):
            raise ValueError("at least one of slack, dingding, lark")
        return self


class WebhookStep(Part):
    """KubeVela: webhook.cue."""

    url: Url
    data: dict[str, Any] | None = None


class ReadObject(Part):
    """KubeVela: read-object.cue."""

    api_version: str = "core.oam.dev/v1beta1"
    kind: str = "Application"
    name: str
    namespace: str = "default"
    cluster: str = ""

    @model_validator(mode="after")
    def _in_a_cluster(self) -> ReadObject:
        if self.api_version.startswith("core.oam.dev/"):
            raise ValueError("apiVersion and kind of an object in a cluster: Applications are files here")
        return self


MODELS: dict[str, type[Part]] = {
    "deploy": Deploy,
    "apply-component": ApplyComponent,
    "apply-object": ApplyObject,
    "suspend": Suspend,
    "step-group": Nothing,
    "notification": Notification,
    "webhook": WebhookStep,
    "read-object": ReadObject,
}
"""The properties of each type of step."""
