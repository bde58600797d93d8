"""A table's columns as queries whose answers Grafana can merge: it joins rows by the labels that they share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flotilla.dashboards.model import CLUSTER, Column, Dashboard, Table, Threshold
from flotilla.dashboards.picks import open_text
from flotilla.dashboards.promql import with_matcher
from flotilla.dashboards.units import Unit


@dataclass(frozen=True)
class TableQuery:
    """A column: ``text`` where the value of the label ``field`` is shown, not a number."""

    expr: str
    title: str
    unit: Unit
    thresholds: tuple[Threshold, ...]
    text: bool = False
    field: str = ""


def table_queries(page: Dashboard, panel: Table, clusters: tuple[str, ...]) -> tuple[TableQuery, ...]:
    """Return the queries of a table. A column spread over clusters is one for each of them, else one for all values."""
    return tuple(query for column in panel.columns for query in _of_column(page, panel, column, clusters))


def _of_column(page: Dashboard, panel: Table, column: Column, clusters: tuple[str, ...]) -> Iterator[TableQuery]:
    if column.spread != CLUSTER:
        yield _query(panel, column, open_text(page, column.expr), column.title)
        return
    for name in clusters:
        text = with_matcher(page.expanded(column.expr), CLUSTER, f'{CLUSTER}="{name}"')
        yield _query(panel, column, text, f"{column.title} {name}")


def _query(panel: Table, column: Column, text: str, title: str) -> TableQuery:
    by = ", ".join(panel.by)
    if not column.show:
        return TableQuery(f"sum by ({by}) ({text})", title, column.unit, column.thresholds)
    field = re.sub(r"\W", "_", title)
    shown = f'label_replace({text}, "{field}", "$1", "{column.show}", "(.*)")'
    return TableQuery(f"group by ({by}, {field}) ({shown})", title, column.unit, (), True, field)
