"""Dashboards for vmui, VictoriaMetrics' own page (-vmui.customDashboardsPath).

It draws line charts only, of 20 series each, and has no variables, tables or stats (v1.110): all clusters are shown,
tables and stats become lines, and Top N uses MetricsQL, which ranks on the range by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from flotilla.dashboards.coverage import WATERMARKS
from flotilla.dashboards.model import Column, Dashboard, Others, Panel, Rank, Stat, Table, Timeseries, TopN
from flotilla.dashboards.picks import Picks, filled, open_text
from flotilla.dashboards.units import WORDINGS, Unit

MOST_SERIES = 20  # that vmui draws in one panel
_PICKS = Picks(0, 3600)  # stands in for what vmui does not tell an expression: an hour, every cluster
_RANKS = {Rank.MEAN: "topk_avg", Rank.MAX: "topk_max", Rank.LAST: "topk_last", Rank.WINDOW: "topk_avg"}


@dataclass
class _Lines:
    """One chart: expressions of one unit, each with what its lines are called."""

    title: str
    unit: Unit
    width: int
    description: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)


def vmui_dashboard(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as vmui reads it from a JSON file.

    Its first panel, in the row that vmui unfolds by itself, tells how recent each cluster's samples are.
    """
    freshness = _Lines("Seconds behind, by cluster", Unit.SECONDS, 12, _LACKS, [(f"time() - {WATERMARKS}", "{{cluster}}")])
    rows = [(row.title, [chart for panel in row.panels for chart in _charts(dashboard, panel)]) for row in dashboard.rows]
    rows[0][1].insert(0, freshness)
    told = [{"title": title, "panels": [_panel(chart) for chart in charts]} for title, charts in rows]
    return {"title": f"{dashboard.title} (all clusters)", "rows": told}


_LACKS = "Over 120 s: a cluster is silent, and every number below lacks it from then on."


def _panel(chart: _Lines) -> dict[str, Any]:
    wording = WORDINGS[chart.unit]
    scaled = [expr if wording.divisor == 1 else f"({expr}) / {wording.divisor:.10g}" for expr, _ in chart.lines]
    return {
        "title": chart.title,
        "description": chart.description,
        "unit": wording.suffix,
        "expr": scaled,
        "alias": [alias for _, alias in chart.lines],
        "showLegend": True,
        "width": chart.width,
    }


def _charts(dashboard: Dashboard, panel: Panel) -> Iterator[_Lines]:
    def text(expr: str) -> str:
        return filled(dashboard, open_text(dashboard, expr), _PICKS)

    match panel:
        case Timeseries():
            lines = [(_few(text(query.expr)), query.legend) for query in panel.queries]
            yield _Lines(panel.title, panel.unit, panel.width, panel.description, lines)
        case Stat():
            whole = [(text(panel.of), "of")] if panel.of else []
            lines = [(_few(text(panel.expr)), panel.legend or panel.title), *whole]
            yield _Lines(panel.title, panel.unit, max(3, panel.width), panel.description, lines)
        case TopN():
            line = (_top(panel, text(panel.expr)), _alias(panel.by))
            yield _Lines(panel.title, panel.unit, panel.width, panel.description, [line])
        case Table():
            for unit, columns in groupby((one for one in panel.columns if not one.show), key=lambda one: one.unit):
                yield _columns(panel, unit, [(one, text(one.expr)) for one in columns])


def _columns(panel: Table, unit: Unit, columns: Iterable[tuple[Column, str]]) -> _Lines:
    """Return the columns of a table that have one unit as lines, those of the largest rows."""
    columns = list(columns)
    by = (*panel.by, *(one for column, _ in columns if (one := column.spread)))
    lines = [(_few(expr), f"{column.title}: {_alias(dict.fromkeys(by))}") for column, expr in columns]
    titles = ", ".join(column.title.lower() for column, _ in columns)
    return _Lines(f"{panel.title}: {titles}", unit, panel.width, panel.description, lines)


def _top(panel: TopN, expr: str) -> str:
    others = f', "{panel.by[-1]}=others"' if panel.others is Others.SUM else ""
    return f"{_RANKS[panel.rank]}({panel.k}, {expr}{others})"


def _few(expr: str) -> str:
    return f"topk_last({MOST_SERIES}, {expr})"


def _alias(by: Iterable[str]) -> str:
    return " / ".join(f"{{{{{label}}}}}" for label in by)
