"""How a number is to be read."""

from __future__ import annotations

from collections.abc import Iterable

from flotilla.dashboards.model import Level, Threshold


def level_of(value: float | None, thresholds: Iterable[Threshold]) -> Level | None:
    """Return the worst level that a number has; None where no threshold speaks of it."""
    order = list(Level)
    found = [one.level for one in thresholds if value is not None and one.holds(value)]
    return max(found, key=order.index, default=None)
