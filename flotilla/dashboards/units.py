"""What numbers count, and how each view writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator

_DURATION = re.compile(r"(\d+)(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Unit(StrEnum):
    """What a number counts. A ratio is 0 to 1 and shown as a percentage; a time is Unix seconds."""

    COUNT = "count"
    CORES = "cores"
    BYTES = "bytes"
    BYTES_PER_SECOND = "bytesPerSecond"
    PER_SECOND = "perSecond"
    RATIO = "ratio"
    SECONDS = "seconds"
    TIME = "time"


@dataclass(frozen=True)
class Wording:
    """How Grafana names a unit; how vmui, which writes plain numbers, has it divided and what stands behind the number."""

    grafana: str
    divisor: float = 1
    suffix: str = ""


WORDINGS = {
    Unit.COUNT: Wording("short"),
    Unit.CORES: Wording("suffix: cores", suffix=" cores"),
    Unit.BYTES: Wording("bytes", 2**20, " MiB"),
    Unit.BYTES_PER_SECOND: Wording("binBps", 2**10, " KiB/s"),
    Unit.PER_SECOND: Wording("suffix: /s", suffix="/s"),
    Unit.RATIO: Wording("percentunit", 0.01, " %"),
    Unit.SECONDS: Wording("s", suffix=" s"),
    Unit.TIME: Wording("dateTimeFromNow", suffix=" (Unix time)"),
}


def seconds_of(text: str) -> int:
    """Return the seconds of a duration such as 90s, 5m, 1h30m, 7d; raises ValueError."""
    if not text or _DURATION.sub("", text):
        raise ValueError("a duration such as 30s, 5m, 1h30m or 7d")
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def duration_of(seconds: float) -> str:
    """Return seconds as PromQL writes a duration, in its largest whole unit: 300 is 5m."""
    whole = max(1, round(seconds))
    unit = next(unit for unit in ("w", "d", "h", "m", "s") if whole % _SECONDS[unit] == 0)
    return f"{whole // _SECONDS[unit]}{unit}"


def _seconds(value: Any) -> Any:
    return seconds_of(value) if isinstance(value, str) else value


Seconds = Annotated[int, BeforeValidator(_seconds)]
"""Seconds, written as a duration in a file."""
