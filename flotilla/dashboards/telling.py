"""Views as a browser takes them: plain values of JSON, without a number that JSON lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from flotilla.dashboards.coverage import ClusterState, Coverage
from flotilla.dashboards.model import Dashboard, Row
from flotilla.dashboards.views import View


def plain(value: Any) -> Any:
    """Return a value of ours as JSON has it; numbers that are none become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def told_dashboard(dashboard: Dashboard) -> dict[str, Any]:
    """Return what a page must know to lay a dashboard out."""
    return {
        "name": dashboard.name,
        "title": dashboard.title,
        "description": dashboard.description,
        "range": dashboard.range,
        "refresh": dashboard.refresh,
        "variables": [{"name": one.name, "title": one.heading} for one in dashboard.variables],
        "rows": [_row(row) for row in dashboard.rows],
    }


def told_state(state: ClusterState) -> dict[str, Any]:
    """Return what is known of a cluster, with its sentence."""
    return {**plain(state), "sentence": state.sentence()}


def told_coverage(covered: Coverage) -> dict[str, Any]:
    """Return what a picture covers."""
    return {**plain(covered), "lacks": [told_state(one) for one in covered.lacks]}


def told_view(view: View) -> dict[str, Any]:
    """Return what is to be drawn."""
    return {"shape": type(view).__name__.lower(), **plain(view)}


def _row(row: Row) -> dict[str, Any]:
    wanted = {"kind", "title", "description", "width", "unit", "links", "thresholds"}
    return {"title": row.title, "panels": [panel.model_dump(mode="json", include=wanted) for panel in row.panels]}
