"""Times and lengths of time as people say them. Milliseconds since 1970 and of length; UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from flotilla.metrics.spans import Span

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms"))


def spoken(length: float) -> str:
    """Return a length of time in its two largest units: "1 d 2 h", "4 min", "30 s"."""
    left, said = abs(round(length)), list[str]()
    for size, unit in _UNITS:
        if left >= size and len(said) < 2 and (unit != "ms" or not said):
            said.append(f"{left // size} {unit}")
            left %= size
        elif said:
            break
    return " ".join(said) or "0 s"


def moment(time: int) -> str:
    """Return a time as 2026-11-23 10:00:05."""
    return _at(time).strftime("%Y-%m-%d %H:%M:%S")


def clocked(span: Span) -> str:
    """Return a span by the clock, 10:00-10:05, with seconds where it has some and with the day where it ends on another."""
    begin, end = _at(span.lo), _at(span.hi)
    form = "%H:%M" if span.lo % 60_000 == span.hi % 60_000 == 0 else "%H:%M:%S"
    is_one_day = _at(span.hi - 1).date() == begin.date()
    return f"{begin.strftime(form)}-{end.strftime(form if is_one_day else '%Y-%m-%d ' + form)}"


def dated(span: Span) -> str:
    """Return a span by day and clock: 2026-11-23 10:00-10:05."""
    return f"{_at(span.lo).date()} {clocked(span)}"


def _at(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC)
