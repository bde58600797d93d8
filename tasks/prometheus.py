"""A cluster's own Prometheus, as it is: read by remote_read and asked by PromQL. Times are ms of the cluster's clock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from flotilla.errors import FlotillaError, Transient
from flotilla.metrics import clocks, wire
from flotilla.metrics.clocks import Reading
from flotilla.metrics.selectors import Selector
from tasks.answers import Reply, check
from tasks.doors import Door
from tasks.promql import Engine

READ_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
LOWEST = "prometheus_tsdb_lowest_timestamp_seconds"
_LOWEST = re.compile(rb"^%b (\S+)$" % LOWEST.encode(), re.MULTILINE)


@dataclass(frozen=True)
class Read:
    """An answer to remote_read: series as they were encoded, the size of the answer before compression, seconds it took."""

    series: Iterator[bytes]
    size: int
    seconds: float


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


def short(error: FlotillaError, name: str) -> str:
    """Return an error's text without the name before it."""
    return str(error).removeprefix(f"{name}: ")
