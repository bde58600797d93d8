"""What Alertmanager tells: the body of its webhook, version 4, read strictly and once.

See https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Times are milliseconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.metrics.words import moment
from flotilla.validation import checked

HISTORICAL = "flotilla_historical"  # the label, "true", of what a rule would have said had late samples been there in time
WEBHOOK = "alert webhook"
_OF_RULE = frozenset(
    {"alertname", "alertgroup", "severity", "verdict", HISTORICAL}
)  # labels that say nothing of what it is about
_Text = Annotated[str, Field(max_length=16_384)]
_Labels = Annotated[dict[Annotated[str, Field(max_length=1024)], _Text], Field(max_length=256)]


@dataclass(frozen=True)
class Alert:
    """An alert as Alertmanager tells it. ``fingerprint`` is the hash of its labels, ``ended`` None while it fires."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    started: int
    ended: int | None
    is_firing: bool
    fingerprint: str

    @property
    def name(self) -> str:
        """Its name, as rules give it."""
        return self.labels.get("alertname", "")

    @property
    def cluster(self) -> str | None:
        """The cluster that it is about, if it is about one."""
        return self.labels.get("cluster") or None

    @property
    def about(self) -> str:
        """What it is about: the labels that tell it from others of its name, the cluster first."""
        named = {name: value for name, value in self.labels.items() if name not in _OF_RULE}
        first = [named.pop("cluster")] if "cluster" in named else []
        return ", ".join([*first, *(f"{name}={value}" for name, value in sorted(named.items()))])

    @property
    def key(self) -> str:
        """What is the same however often it is told: one outbreak of one alert, which starts a deployment once."""
        return f"alert-{self.fingerprint}-{self.started}"

    @property
    def is_historical(self) -> bool:
        """Whether it was found out afterwards: it would have fired."""
        return self.labels.get(HISTORICAL) == "true"

    def __str__(self) -> str:
        about = f" of {self.cluster}" if self.cluster else ""
        verb = "would have fired at" if self.is_historical else "since"
        return f"{self.name}{about} {verb} {moment(self.started)}"


class _Alert(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    status: Literal["firing", "resolved"]
    labels: _Labels
    annotations: _Labels = Field(default_factory=dict)
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]


class _Webhook(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    version: Literal["4"]
    receiver: _Text = ""
    alerts: Annotated[list[_Alert], Field(max_length=10_000)]
    truncated_alerts: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Notification:
    """What Alertmanager told at once; ``left_out`` alerts of the group did not come with it."""

    alerts: tuple[Alert, ...]
    left_out: int = 0


def parse_webhook(body: bytes | str) -> Notification:
    """Return what a webhook's body tells; raises InvalidInput naming everything that is wrong with it."""
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput(
            [Problem(WEBHOOK, "", phrase("is not JSON"), "the body of Alertmanager's webhook, version 4")]
        ) from None
    parsed = checked(_Webhook, told, WEBHOOK)
    return Notification(tuple(map(_alert, parsed.alerts)), parsed.truncated_alerts)


def _alert(told: _Alert) -> Alert:
    ended = _milliseconds(told.ends_at)
    return Alert(
        labels=told.labels,
        annotations=told.annotations,
        started=_milliseconds(told.starts_at),
        ended=ended if ended > 0 and told.status == "resolved" else None,  # Go's zero time, or a guess, while it fires
        is_firing=told.status == "firing",
        fingerprint=told.fingerprint,
    )


def historical(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an alert that would have fired, as it is noted."""
    return {**labels, HISTORICAL: "true"}


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
