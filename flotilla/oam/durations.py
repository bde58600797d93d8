"""Durations as Go writes them (time.ParseDuration): "30s", "1m30s", "1.5h"."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_ALLOWED = 'a duration as Go writes it, such as "30s", "1m30s" or "2h"'


def seconds(text: str) -> float:
    """Return a Go duration in seconds; raises ValueError for other text and for negative durations."""
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for match in _PART.finditer(text):
        if match.start() != end:
            break
        total, end = total + float(match[1]) * _SECONDS[match[2]], match.end()
    if not text or end != len(text):
        raise ValueError(_ALLOWED)
    return total


def _read(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(_ALLOWED)
    return seconds(value)


Duration = Annotated[float, BeforeValidator(_read)]
"""A model's field that is written as a Go duration and read in seconds."""
