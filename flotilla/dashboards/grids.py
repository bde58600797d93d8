"""Tables: rows named by labels, columns of one expression each, some of them spread over clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flotilla.dashboards.answers import Series
from flotilla.dashboards.frames import Frame
from flotilla.dashboards.levels import level_of
from flotilla.dashboards.model import CLUSTER, Column, Table
from flotilla.dashboards.views import Cell, Grid, Heading, Record

Key = tuple[str, ...]
"""The values of the labels that name a row."""


def grid(frame: Frame, panel: Table, answers: Sequence[Sequence[Series]]) -> Grid:
    """Return a table of the answers to its columns; its rows are those that the first column has."""
    keys = list(dict.fromkeys(one.key(panel.by) for one in answers[0] if one.last is not None))
    pairs = list(zip(panel.columns, answers, strict=True))
    spread = [
        (column, value, _held(panel, column, found)) for column, found in pairs for value in _values(frame, column, found)
    ]
    rows = {
        key: tuple(_cell(frame, column, value, held.get((key, value), ())) for column, value, held in spread) for key in keys
    }
    ordered = sorted(keys, key=lambda key: _order(panel, key, rows[key], _sorting(panel, [column for column, *_ in spread])))
    records = tuple(Record(dict(zip(panel.by, key, strict=True)), rows[key]) for key in ordered[: panel.limit])
    headings = tuple(_heading(column, value) for column, value, _ in spread)
    return Grid(panel.by, headings, records, max(0, len(ordered) - panel.limit))


def _values(frame: Frame, column: Column, found: Iterable[Series]) -> list[str]:
    """Return the values that a column is spread over, one empty one where it is not; of clusters all that were picked."""
    if not column.spread:
        return [""]
    seen = {one.get(column.spread) for one in found}
    if column.spread != CLUSTER:
        return sorted(seen)
    picked = frame.picks.values.get(CLUSTER) or frame.clusters
    return [*(name for name in frame.clusters if name in picked), *sorted(seen - set(frame.clusters))]


def _held(panel: Table, column: Column, found: Iterable[Series]) -> Mapping[tuple[Key, str], list[Series]]:
    held: dict[tuple[Key, str], list[Series]] = {}
    for one in found:
        held.setdefault((one.key(panel.by), one.get(column.spread) if column.spread else ""), []).append(one)
    return held


def _heading(column: Column, value: str) -> Heading:
    group, cluster = (column.title if column.spread else ""), (value if column.spread == CLUSTER else "")
    return Heading(value or column.title, column.unit, column.show is not None, group, cluster)


def _cell(frame: Frame, column: Column, value: str, found: Sequence[Series]) -> Cell:
    unknown = column.spread == CLUSTER and value in frame.lacking
    values = [one.last for one in found if one.last is not None]
    if column.show:
        text = ", ".join(sorted({one.get(column.show) for one in found if one.last is not None}))
        return Cell(text=text, unknown=unknown)
    number = sum(values) if values else None
    return Cell(number, level=level_of(number, column.thresholds), unknown=unknown)


def _sorting(panel: Table, columns: Sequence[Column]) -> int | None:
    return next((index for index, column in enumerate(columns) if column.title == panel.sort), None)


def _order(panel: Table, key: Key, cells: Sequence[Cell], sorting: int | None) -> tuple[object, ...]:
    if sorting is None:
        return (key,)
    value = cells[sorting].value
    return (value is None, (value or 0.0) * (1 if panel.ascending else -1), cells[sorting].text, key)
