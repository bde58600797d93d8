"""Dashboards for Grafana, as JSON to provision: built by Grafana's own library, so that its schema is theirs to keep."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from flotilla.dashboards import topn
from flotilla.dashboards.coverage import STALE_AFTER, WATERMARKS
from flotilla.dashboards.grafana_tables import TableQuery, table_queries
from flotilla.dashboards.levels import level_of
from flotilla.dashboards.model import Dashboard, Level, Link, Panel, Query, Stat, Table, Threshold, Timeseries, TopN, Variable
from flotilla.dashboards.picks import open_text
from flotilla.dashboards.units import WORDINGS, Unit

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS = 24  # of Grafana's page
_HEIGHTS = {"stat": 5, "timeseries": 9, "table": 10, "topN": 10}
_COLOURS = {None: "text", Level.GOOD: "green", Level.WARNING: "orange", Level.BAD: "red"}
_LAST = common.ReduceDataOptions().calcs(["lastNotNull"])
_LACKS = f"Over {STALE_AFTER:.0f} s: the cluster is silent, and every number below lacks it from then on."
_FRESHNESS = Stat(
    kind="stat",
    title="Seconds behind, by cluster",
    description=_LACKS,
    width=12,
    unit=Unit.SECONDS,
    expr=f"time() - {WATERMARKS}",
    legend="{{cluster}}",
    thresholds=(Threshold(level=Level.WARNING, above=60), Threshold(level=Level.BAD, above=STALE_AFTER)),
)


def grafana_json(page: Dashboard, clusters: tuple[str, ...]) -> str:
    """Return a dashboard as Grafana provisions it; ``clusters`` are those that tables have a column for."""
    built = dashboard.Dashboard(page.title).uid(f"flotilla-{page.name}").description(page.description).tags(["flotilla"])
    built = built.time(f"now-{page.range}s", "now").refresh(f"{page.refresh}s").tooltip(models.DashboardCursorSync.CROSSHAIR)
    built = built.with_variable(dashboard.DatasourceVariable("datasource").label("Store").type("prometheus"))
    for variable in page.variables:
        built = built.with_variable(_variable(variable))
    below, number = 0, itertools.count(1)
    for title, panels in [("Clusters in these pictures", (_FRESHNESS,)), *((row.title, row.panels) for row in page.rows)]:
        built = built.with_row(dashboard.Row(title).id(next(number)).grid_pos(models.GridPos(x=0, y=below, w=COLUMNS, h=1)))
        drawn = [(builder, panel) for panel in panels for builder in _panels(page, panel, clusters)]
        below += 1
        for builder, place in _placed(drawn, below):
            built = built.with_panel(builder.id(next(number)).grid_pos(place))
            below = max(below, place.y + place.h)
    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _placed(drawn: Iterable[tuple[Any, Panel]], top: int) -> Iterator[tuple[Any, models.GridPos]]:
    """Yield where panels stand: from left to right, in a new line where one would not fit."""
    left, tall = 0, 0
    for builder, panel in drawn:
        width, height = panel.width * 2, _HEIGHTS[panel.kind]
        if left + width > COLUMNS:
            left, top, tall = 0, top + tall, 0
        yield builder, models.GridPos(x=left, y=top, w=width, h=height)
        left, tall = left + width, max(tall, height)


def _variable(variable: Variable) -> dashboard.QueryVariable:
    query: dict[str, object] = {"query": f"label_values({variable.metric}, {variable.of_label})", "refId": variable.name}
    every = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.heading)
        .query(query)
        .datasource(SOURCE)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(every)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _panels(page: Dashboard, panel: Panel, clusters: tuple[str, ...]) -> Iterator[Any]:
    match panel:
        case Timeseries():
            queries = [Query(expr=open_text(page, one.expr), legend=one.legend) for one in panel.queries]
            yield _lines(panel, panel.title, queries, panel.stack)
        case Stat():
            yield _stat(page, panel)
        case Table():
            yield _table(panel, table_queries(page, panel, clusters))
        case TopN():
            yield from _top(page, panel)


def _lines(panel: Panel, title: str, queries: Iterable[Query], stack: bool) -> Any:
    built = _common(timeseries.Panel(), panel, title)
    for index, query in enumerate(queries):
        built = built.with_target(_target(query.expr, index).range().legend_format(query.legend or "__auto"))
    mode = common_models.StackingMode.NORMAL if stack else common_models.StackingMode.NONE
    return built.stacking(common.StackingConfig().mode(mode)).fill_opacity(30 if stack else 0)


def _stat(page: Dashboard, panel: Stat) -> Any:
    built = _common(stat.Panel(), panel, panel.title).text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
    built = built.reduce_options(_LAST)
    built = built.with_target(_target(open_text(page, panel.expr), 0).instant().legend_format(panel.legend or panel.title))
    return built.with_target(_target(open_text(page, panel.of), 1).instant().legend_format("of")) if panel.of else built


def _top(page: Dashboard, panel: TopN) -> Iterator[Any]:
    """Yield the bars of a Top N with its remainder and, where it has them, the lines of the same series."""
    expr = open_text(page, panel.expr)
    ranking = topn.ranking_text(panel, expr)
    legend = " / ".join(f"{{{{{label}}}}}" for label in panel.by)
    built = _common(bargauge.Panel(), panel, panel.title).orientation(common_models.VizOrientation.HORIZONTAL)
    built = built.display_mode(common_models.BarGaugeDisplayMode.BASIC).reduce_options(_LAST)
    built = built.with_target(_target(f"sort_desc({topn.top_text(panel, ranking)})", 0).instant().legend_format(legend))
    if rest := topn.rest_text(panel, ranking):
        built = built.with_target(_target(rest, 1).instant().legend_format(f"others ({panel.others.value})"))
    yield built
    if panel.lines:
        line = Query(expr=topn.lines_text(panel, expr, ranking), legend=legend)
        yield _lines(panel, f"{panel.title}, over the range", [line], stack=False)


def _table(panel: Table, queries: tuple[TableQuery, ...]) -> Any:
    built = _common(table.Panel(), panel, panel.title)
    hidden, names = {"Time": True}, dict[str, str]()
    for index, query in enumerate(queries):
        built = built.with_target(_target(query.expr, index).instant().format(PromQueryFormat.TABLE))
        value = f"Value #{_letter(index)}"
        hidden |= {value: True} if query.text else {}
        names |= {query.field: query.title} if query.text else {value: query.title}
        built = built.override_by_name(query.title, _column_config(query))
    organised: dict[str, object] = {"excludeByName": hidden, "renameByName": names}
    built = built.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    return built.with_transformation(models.DataTransformerConfig(id_val="organize", options=organised))


def _column_config(query: TableQuery) -> list[models.DynamicConfigValue]:
    config = [models.DynamicConfigValue("unit", WORDINGS[query.unit].grafana)]
    if query.thresholds:
        config.append(models.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": _steps(query.thresholds)}))
        config.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}))
    return config


def _common(builder: Any, panel: Panel, title: str) -> Any:
    """Return a panel's builder with what every panel has."""
    built = builder.title(title).description(panel.description).datasource(SOURCE).unit(WORDINGS[panel.unit].grafana)
    thresholds = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(_steps(panel.thresholds))
    return built.thresholds(thresholds).data_links([_link(one, panel) for one in panel.links])


def _steps(thresholds: tuple[Threshold, ...]) -> list[models.Threshold]:
    """Return Grafana's steps: the colour from each bound on, the first one from minus infinity."""
    bounds = sorted({one.above if one.above is not None else one.below or 0.0 for one in thresholds})
    inside = (
        [low + (high - low) / 2 for low, high in zip([bounds[0] - 1, *bounds], [*bounds, bounds[-1] + 1], strict=False)]
        if bounds
        else [0.0]
    )
    colours = [_COLOURS[level_of(value, thresholds)] for value in inside]
    return [models.Threshold(value=bound, color=colour) for bound, colour in zip([None, *bounds], colours, strict=True)]


def _link(link: Link, panel: Panel) -> dashboard.DashboardLink:
    field = "__data.fields" if isinstance(panel, Table) else "__field.labels"
    carried = "".join(f"&var-{label}=${{{field}.{label}}}" for label in link.carry)
    return dashboard.DashboardLink(link.title).url(link.url or f"/d/flotilla-{link.dashboard}?${{__url_time_range}}{carried}")


def _target(expr: str, index: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).ref_id(_letter(index)).datasource(SOURCE)


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"A{_letter(index - 26)}"
