"""A cluster's own Prometheus, as it is: read by remote_read and PromQL, through the API server's service proxy or at a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.metrics import clocks, wire
from flotilla.metrics.clocks import Reading
from flotilla.metrics.selectors import Selector
from tasks.answers import RETRIABLE, Reply

READ_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
TOO_MUCH = "exceeded sample limit"  # --storage.remote.read-sample-limit, answered with 400


class Door(Protocol):
    """A way to a Prometheus; raises Transient or Permanent where no answer came."""

    def exchange(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str], timeout: float
    ) -> Reply:
        """Return what is answered, whatever the status."""


class TooMuch(Transient):
    """A span holds more than one answer may: a shorter one is to be asked for."""


@dataclass(frozen=True)
class Member:
    """The Prometheus of a cluster. Times are milliseconds since 1970, by the cluster's clock."""

    cluster: str
    door: Door
    path: str = ""

    def read(self, lo: int, hi: int, selectors: Sequence[Selector], timeout: float = 60.0) -> tuple[bytes, Reply]:
        """Return the ReadResponse, no longer compressed, with the samples of lo <= t < hi.

        Raises TooMuch, Transient (try again) or Permanent (it is no Prometheus, or does not let us).
        """
        body = wire.read_request(lo, hi, selectors)
        reply = self.door.exchange("POST", f"{self.path}/api/v1/read", content=body, headers=READ_HEADERS, timeout=timeout)
        if reply.status == 400 and TOO_MUCH in reply.text:
            raise TooMuch(f"{self.cluster}: {reply.text}")
        self._check(reply, "remote_read")
        return wire.uncompressed(reply.content, reply.headers.get("Content-Type", "")), reply

    def query(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return the samples of an instant query, as the HTTP API has them, at seconds since 1970 or now."""
        fields = {"query": promql} | ({"time": f"{at:.3f}"} if at is not None else {})
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = self.door.exchange(
            "POST", f"{self.path}/api/v1/query", content=urlencode(fields).encode(), headers=form, timeout=30.0
        )
        self._check(reply, "a query")
        found = self._json(reply)["data"]["result"]
        return list(found)

    def clock(self) -> Reading | None:
        """Return what the cluster's clock says, None where nothing in the answer tells."""
        reply = self.door.exchange("GET", f"{self.path}/-/ready", headers={}, timeout=10.0)
        return clocks.reading(reply.headers.get("Date", ""), reply.sent, reply.received)

    def keeps_since(self) -> int | None:
        """Return the time of the oldest sample that it holds, None where it holds none or does not say."""
        found = self.query("prometheus_tsdb_lowest_timestamp_seconds")
        values = [float(one["value"][1]) for one in found]
        return int(1000 * min(values)) if values and min(values) < 1e11 else None

    def external_labels(self) -> dict[str, str]:
        """Return the labels that it adds to what it sends."""
        reply = self.door.exchange("GET", f"{self.path}/api/v1/status/config", headers={}, timeout=10.0)
        self._check(reply, "its configuration")
        return _external(self._json(reply)["data"]["yaml"])

    def _check(self, reply: Reply, what: str) -> None:
        if reply.status == 200:
            return
        text = f"{self.cluster}: its Prometheus did not answer {what}: {reply.text or 'nothing'} (HTTP {reply.status})"
        raise Transient(text) if reply.status in RETRIABLE else Permanent(text)

    def _json(self, reply: Reply) -> Any:
        try:
            return json.loads(reply.content)
        except ValueError:
            raise Transient(f"{self.cluster}: expected JSON of a Prometheus, got {reply.text!r}") from None


def why(error: FlotillaError, cluster: str) -> str:
    """Return an error's text without the cluster's name before it."""
    return str(error).removeprefix(f"{cluster}: ")


def _external(text: str) -> dict[str, str]:
    import yaml

    document = yaml.safe_load(text) or {}
    labels = (document.get("global") or {}).get("external_labels") or {}
    return {str(name): str(value) for name, value in labels.items()}
