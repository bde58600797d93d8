"""A cluster's own Prometheus, as it is: read by remote_read and asked by PromQL. Times are ms of the cluster's clock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import yaml

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.metrics import clocks, wire
from flotilla.metrics.answers import Said, advice, read_said
from flotilla.metrics.clocks import Reading
from flotilla.metrics.selectors import Selector
from tasks.answers import Reply
from tasks.doors import Door

READ_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
LOWEST = "prometheus_tsdb_lowest_timestamp_seconds"
_LOWEST = re.compile(rb"^%b (\S+)$" % LOWEST.encode(), re.MULTILINE)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class TooMuch(Transient):
    """An answer would hold more than is allowed: a shorter span is to be asked for."""


@dataclass(frozen=True)
class Read:
    """An answer to remote_read: series as they were encoded, the size of the answer before compression, seconds it took."""

    series: Iterator[bytes]
    size: int
    seconds: float


@dataclass(frozen=True)
class Engine:
    """What answers PromQL behind a door; ``api`` is where its HTTP API begins."""

    name: str
    door: Door
    api: str = "/api/v1"

    def query(self, promql: str, at: str = "") -> list[dict[str, Any]]:
        """Return ``data.result`` of an instant query, at a time as the API takes it, or now."""
        return self._asked("query", {"query": promql, "nocache": "1"} | ({"time": at} if at else {}))

    def query_range(self, promql: str, begin: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return ``data.result`` of a range query; times in seconds."""
        times = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return self._asked("query_range", {"query": promql, "nocache": "1"} | times)

    def values(self, label: str, selector: Selector, begin: float) -> list[str]:
        """Return the values that a label has in some series, those that ended before a time in seconds perhaps left out.

        No end is given: before it Prometheus does not find what only came out of order (prometheus/prometheus#19739).
        """
        fields = {"match[]": str(selector), "start": f"{begin:.3f}"}
        reply = self.door.exchange("GET", f"{self.api}/label/{label}/values?{urlencode(fields)}", headers={}, timeout=30.0)
        return self._listed(reply, f"the values of {label}", "data")

    def _asked(self, what: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        reply = self.door.exchange("POST", f"{self.api}/{what}", content=urlencode(fields).encode(), headers=FORM, timeout=60.0)
        return self._listed(reply, f"{what} {fields['query'][:200]}", "data", "result")

    def _listed(self, reply: Reply, what: str, *keys: str) -> list[Any]:
        found = answered(self.name, reply, what, *keys)
        if not isinstance(found, list):
            raise unexpected(self.name, reply, what)
        return found


@dataclass(frozen=True)
class Member:
    """The Prometheus of a cluster; ``prefix`` is its route prefix, without a slash at its end."""

    cluster: str
    door: Door
    prefix: str = ""

    @property
    def engine(self) -> Engine:
        """What answers PromQL there."""
        return Engine(self.cluster, self.door, f"{self.prefix}/api/v1")

    def read(self, lo: int, hi: int, selectors: Sequence[Selector], timeout: float = 60.0) -> Read:
        """Return the samples of lo <= t < hi.

        Raises TooMuch, Transient (again, later) or Permanent (it is no Prometheus, or does not let us).
        """
        body = wire.read_request(lo, hi, selectors)
        reply = self.door.exchange("POST", f"{self.prefix}/api/v1/read", content=body, headers=READ_HEADERS, timeout=timeout)
        check(self.cluster, reply, "remote_read")
        raw = wire.uncompressed(reply.content, reply.headers.get("Content-Type", ""))
        return Read(wire.split(raw), len(raw), (reply.received - reply.sent) / 1000)

    def clock(self) -> Reading | None:
        """Return what the cluster's clock says, None where its answer does not tell."""
        reply = self.door.exchange("GET", f"{self.prefix}/-/ready", headers={}, timeout=10.0)
        return clocks.reading(reply.headers.get("Date", ""), reply.sent, reply.received)

    def newest(self) -> int | None:
        """Return the time in ms of its last scrape, None where it does not answer or scrapes nothing."""
        try:
            found = self.engine.query("max(timestamp(up))")
        except FlotillaError:
            return None
        return int(1000 * float(found[0]["value"][1])) if found else None

    def keeps_since(self) -> int | None:
        """Return the time of the oldest sample that it holds, None where it holds none or does not say.

        Asked of itself: what it has scraped is of a while ago, and of every other Prometheus that it scrapes, as those of a
        pair do each other. Where nobody may read its own metrics, the oldest of those is taken.
        """
        reply = self.door.exchange("GET", f"{self.prefix}/metrics", headers={}, timeout=10.0)
        said = _LOWEST.search(reply.content) if reply.status == 200 else None
        found = [] if said else self.engine.query(LOWEST)
        values = [float(said[1])] if said else [float(one["value"][1]) for one in found]
        return int(1000 * min(values)) if values and min(values) < 1e11 else None

    def external_labels(self) -> dict[str, str]:
        """Return the labels that it adds to all that it sends."""
        reply = self.door.exchange("GET", f"{self.prefix}/api/v1/status/config", headers={}, timeout=10.0)
        text = answered(self.cluster, reply, "its configuration", "data", "yaml")
        try:
            labels = (yaml.safe_load(text).get("global") or {}).get("external_labels") or {}
            return {str(name): str(value) for name, value in labels.items()}
        except (AttributeError, yaml.YAMLError):
            raise unexpected(self.cluster, reply, "its configuration") from None


def answered(name: str, reply: Reply, what: str, *keys: str) -> Any:
    """Return what an answer in JSON holds under keys one in another; raises Transient or Permanent where there is none."""
    check(name, reply, what)
    try:
        found = json.loads(reply.content)
        for key in keys:
            found = found[key]
    except (ValueError, KeyError, TypeError):
        raise unexpected(name, reply, what) from None
    return found


def unexpected(name: str, reply: Reply, what: str) -> Transient:
    """Return the error for an answer that is none of Prometheus'."""
    return Transient(f"{name}: expected Prometheus' JSON for {what}, got {reply.text[:100]!r}")


def check(name: str, reply: Reply, what: str) -> None:
    """Raise the error that an answer stands for, unless it is one to go on with."""
    said = read_said(reply.status, reply.text)
    if said is Said.DONE:
        return
    text = f"{name}: {what}: {reply.text or 'no words'} (HTTP {reply.status})"
    if said is Said.TOO_LARGE:
        raise TooMuch(text)
    raise Transient(text) if said is Said.LATER else Permanent(f"{text}; {advice(reply.status, reply.text)}")


def short(error: FlotillaError, name: str) -> str:
    """Return an error's text without the name before it."""
    return str(error).removeprefix(f"{name}: ")
