"""Samples of replication as text, so that they outlive the city: once it is gone they are all that a loss can be told by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from flotilla.recovery.facts import Lag, Sample

KEPT = 60  # samples, a minute of them: enough for rates


def to_text(samples: Iterable[Sample]) -> str:
    """Return the newest samples as JSON."""
    newest = sorted(samples, key=lambda one: one.at)[-KEPT:]
    return json.dumps([asdict(one) for one in newest], separators=(",", ":"))


def from_text(text: str) -> tuple[Sample, ...]:
    """Return the samples that a text holds; raises ValueError where it is not what ``to_text`` makes."""
    try:
        return tuple(_sample(one) for one in json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no samples of replication: {error!r}") from None


def together(copies: Iterable[Iterable[Sample]]) -> tuple[Sample, ...]:
    """Return the samples of several copies in order of time, each once."""
    return tuple(sorted({one for copy in copies for one in copy}, key=lambda one: one.at))


def _sample(data: Any) -> Sample:
    lags = tuple(Lag(str(one["site"]), int(one["flushed"]), one["seconds"]) for one in data["lags"])
    commits = None if data["commits"] is None else int(data["commits"])
    position, waits = int(data["position"]), tuple(map(str, data["sync"]))
    weakened = tuple(map(str, data.get("weakened") or ()))  # samples that an earlier Flotilla kept do not say
    return Sample(float(data["at"]), str(data["primary"]), position, lags, commits, waits, weakened)
