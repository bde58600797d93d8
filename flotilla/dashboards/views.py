"""What a page draws of a panel: the answers to its questions, as values that need no further thought."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flotilla.dashboards import topn
from flotilla.dashboards.answers import Answer, Point, Question, Reply, Series, Unanswered
from flotilla.dashboards.colours import Colour, colour_of
from flotilla.dashboards.model import (
    CLUSTER,
    Column,
    Dashboard,
    Level,
    Others,
    Panel,
    Stat,
    Table,
    Threshold,
    Timeseries,
    TopN,
)
from flotilla.dashboards.picks import Picks, filled, open_text
from flotilla.dashboards.units import Unit

Replies = Mapping[Question, Reply]
MOST_LINES = 60  # in one picture; more can be told apart by nobody
_FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_STAMPS = frozenset({"site", "role"})


@dataclass(frozen=True)
class Line:
    """A line: its name, its labels, and its points; ``remainder`` for what stands for many."""

    name: str
    labels: Mapping[str, str]
    points: tuple[Point, ...]
    colour: Colour | None = None
    remainder: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over a time range; ``more`` lines are not drawn."""

    lines: tuple[Line, ...]
    stack: bool = False
    more: int = 0


@dataclass(frozen=True)
class Bar:
    """One of the first of a Top N; ``share`` is its part of the total, 0 to 1, where there is one."""

    name: str
    labels: Mapping[str, str]
    value: float
    share: float | None
    colour: Colour | None
    level: Level | None


@dataclass(frozen=True)
class Bars:
    """A Top N: its first, what is left for the ``others_count`` others, the total, and the lines of the same series."""

    bars: tuple[Bar, ...]
    others: float | None
    others_count: int
    total: float | None
    averaged: bool
    chart: Chart | None


@dataclass(frozen=True)
class Number:
    """One number of a stat; ``of`` is the whole that it is a part of."""

    name: str
    value: float | None
    of: float | None
    level: Level | None


@dataclass(frozen=True)
class Numbers:
    """The numbers of a stat."""

    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Heading:
    """The head of a table's column; ``cluster`` where it is about one cluster only."""

    title: str
    unit: Unit
    cluster: str = ""


@dataclass(frozen=True)
class Cell:
    """A number or a text, or neither where there is none; ``unknown`` where it could be but nobody can see."""

    value: float | None = None
    text: str = ""
    level: Level | None = None
    unknown: bool = False


@dataclass(frozen=True)
class Record:
    """A row of a table: the labels that name it, and its cells."""

    labels: Mapping[str, str]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """A table; ``more`` rows are not shown."""

    by: tuple[str, ...]
    headings: tuple[Heading, ...]
    records: tuple[Record, ...]
    more: int = 0


View = Chart | Bars | Numbers | Grid | Unanswered


@dataclass(frozen=True)
class Frame:
    """A panel in its dashboard, seen with some picks; ``clusters`` are the fleet's, ``lacking`` those that cannot be seen."""

    dashboard: Dashboard
    panel: Panel
    picks: Picks
    clusters: tuple[str, ...] = ()
    lacking: frozenset[str] = frozenset()

    def text(self, expr: str) -> str:
        """Return an expression of the panel, filled in."""
        return self.fill(open_text(self.dashboard, expr))

    def fill(self, text: str) -> str:
        """Return an open text, filled in."""
        return filled(self.dashboard, text, self.picks)

    @property
    def texts(self) -> tuple[str, ...]:
        """The panel's own expressions, filled in: what its numbers come from."""
        return tuple(self.text(expr) for expr in expressions(self.panel))


def expressions(panel: Panel) -> tuple[str, ...]:
    """Return the expressions that stand in a panel, as they stand there."""
    match panel:
        case Timeseries():
            return tuple(query.expr for query in panel.queries)
        case Stat():
            return tuple(expr for expr in (panel.expr, panel.of) if expr)
        case Table():
            return tuple(column.expr for column in panel.columns)
        case TopN():
            return tuple(expr for expr in (panel.expr, panel.ranking) if expr)


def questions(frame: Frame) -> tuple[Question, ...]:
    """Return all that a store is to be asked for a panel; raises NotPromql for a Top N that is none."""
    match frame.panel:
        case Timeseries():
            return tuple(frame.picks.over(text) for text in frame.texts)
        case TopN():
            asked = _TopNQuestions(frame)
            return tuple(one for one in (asked.top, asked.total, asked.count, asked.lines, asked.all_lines) if one)
        case _:
            return tuple(frame.picks.now(text) for text in frame.texts)


def view(frame: Frame, replies: Replies) -> View:
    """Return what is to be drawn; Unanswered with the store's reason where a question was not answered."""
    for question in questions(frame):
        reply = replies.get(question, Unanswered("was not asked"))
        if isinstance(reply, Unanswered):
            return reply
    match frame.panel:
        case Timeseries():
            return _chart(frame, frame.panel, replies)
        case Stat():
            return _numbers(frame, frame.panel, replies)
        case Table():
            return _grid(frame, frame.panel, replies)
        case TopN():
            return _bars(frame, frame.panel, replies)


def name_of(one: Series, legend: str, instead: str = "") -> str:
    """Return how a series is called: its legend filled in, else its labels' values, else ``instead``."""
    if legend:
        return _FIELD.sub(lambda found: one.get(found[1]), legend).strip()
    return " / ".join(value for label, value in one.labels if label not in _STAMPS) or instead


def level_of(value: float | None, thresholds: Iterable[Threshold]) -> Level | None:
    """Return the worst level that a number has; None where no threshold speaks of it."""
    order = list(Level)
    found = [one.level for one in thresholds if value is not None and one.holds(value)]
    return max(found, key=order.index, default=None)


def _series(replies: Replies, question: Question) -> tuple[Series, ...]:
    reply = replies[question]
    return reply.series if isinstance(reply, Answer) else ()


def _chart(frame: Frame, panel: Timeseries, replies: Replies) -> Chart:
    lines = [
        Line(name_of(one, query.legend, panel.title), dict(one.labels), one.points, colour_of(one, frame.clusters))
        for query, text in zip(panel.queries, frame.texts, strict=True)
        for one in _series(replies, frame.picks.over(text))
    ]
    largest = sorted(lines, key=lambda line: -max((abs(value) for _, value in line.points), default=0.0))[:MOST_LINES]
    kept = sorted(largest, key=lambda line: line.name)
    return Chart(tuple(kept), panel.stack, len(lines) - len(kept))


def _numbers(frame: Frame, panel: Stat, replies: Replies) -> Numbers:
    value, *whole = (_series(replies, frame.picks.now(text)) for text in frame.texts)
    wholes = {one.labels: one.last for one in whole[0]} if whole else {}
    only = next(iter(wholes.values()), None) if len(wholes) == 1 else None
    found = sorted(value, key=lambda one: _place(one, frame.clusters))
    numbers = [
        Number(name_of(one, panel.legend), one.last, wholes.get(one.labels, only), level_of(one.last, panel.thresholds))
        for one in found
    ]
    return Numbers(tuple(numbers) or (Number("", None, only, None),))


def _place(one: Series, clusters: Sequence[str]) -> tuple[int, tuple[tuple[str, str], ...]]:
    cluster = one.get(CLUSTER)
    return (clusters.index(cluster) if cluster in clusters else len(clusters)), one.labels


class _TopNQuestions:
    """The questions of a Top N, filled in."""

    def __init__(self, frame: Frame) -> None:
        panel = frame.panel
        assert isinstance(panel, TopN)
        expr = open_text(frame.dashboard, panel.expr)
        ranking = open_text(frame.dashboard, panel.ranking) if panel.ranking else topn.ranking_text(panel, expr)
        summed = "" if panel.others is Others.NONE else "sum" if panel.others is Others.SUM else "avg"

        def now(text: str) -> Question:
            return frame.picks.now(frame.fill(text))

        self.top = now(topn.top_text(panel, ranking))
        self.total = now(f"{summed}({ranking})") if summed else None
        self.count = now(f"count({ranking})")
        lines = topn.lines_text(panel, expr, ranking) if panel.lines else ""
        self.lines = frame.picks.over(frame.fill(lines)) if lines else None
        self.all_lines = frame.picks.over(frame.fill(f"sum({expr})")) if lines and summed == "sum" else None


def _bars(frame: Frame, panel: TopN, replies: Replies) -> Bars:
    asked = _TopNQuestions(frame)
    top = _series(replies, asked.top)
    total = _first(_series(replies, asked.total)) if asked.total else None
    ranking = topn.rank(panel, top, total, round(_first(_series(replies, asked.count)) or 0))
    by_key = {one.key(panel.by): one for one in top}
    whole = ranking.total if panel.others is Others.SUM else None
    bars = [_bar(by_key[key], value, whole, frame) for key, value in ranking.top]
    chart = _lines(frame, panel, asked, replies) if asked.lines else None
    return Bars(tuple(bars), ranking.others, ranking.others_count, ranking.total, panel.others is Others.AVERAGE, chart)


def _bar(one: Series, value: float, whole: float | None, frame: Frame) -> Bar:
    panel = frame.panel
    assert isinstance(panel, TopN)
    share = value / whole if whole and whole > 0 else None
    level = level_of(value, panel.thresholds)
    return Bar(_named(one, panel), dict(one.labels), value, share, colour_of(one, frame.clusters), level)


def _named(one: Series, panel: TopN) -> str:
    return " / ".join(value for value in one.key(panel.by) if value)


def _lines(frame: Frame, panel: TopN, asked: _TopNQuestions, replies: Replies) -> Chart:
    assert asked.lines
    shown = sorted(_series(replies, asked.lines), key=lambda one: _named(one, panel))
    lines = [Line(_named(one, panel), dict(one.labels), one.points, colour_of(one, frame.clusters)) for one in shown]
    if asked.all_lines and (totals := _series(replies, asked.all_lines)):
        rest = topn.remainder(dict(totals[0].points), shown)
        lines.append(Line("others", {}, tuple(sorted(rest.items())), remainder=True))
    return Chart(tuple(lines), stack=panel.others is Others.SUM)


def _first(found: Sequence[Series]) -> float | None:
    return found[0].last if found else None


def _grid(frame: Frame, panel: Table, replies: Replies) -> Grid:
    answers = [_series(replies, frame.picks.now(text)) for text in frame.texts]
    keys = list(dict.fromkeys(one.key(panel.by) for one in answers[0]))
    spreads = [_spread(column, found, frame) for column, found in zip(panel.columns, answers, strict=True)]
    headings = [
        Heading(value or column.title, column.unit, value if column.spread == CLUSTER else "")
        for column, values in zip(panel.columns, spreads, strict=True)
        for value in values
    ]
    cells = {key: list[Cell]() for key in keys}
    for column, values, found in zip(panel.columns, spreads, answers, strict=True):
        held = _held(panel, column, found)
        for key in keys:
            cells[key] += [_cell(column, held.get((key, value), ()), value in frame.lacking) for value in values]
    first = next((sum(map(len, spreads[:i])) for i, column in enumerate(panel.columns) if column.title == panel.sort), None)
    ordered = sorted(keys, key=lambda key: _order(cells[key], first, panel, key))
    records = [Record(dict(zip(panel.by, key, strict=True)), tuple(cells[key])) for key in ordered[: panel.limit]]
    return Grid(panel.by, tuple(headings), tuple(records), max(0, len(ordered) - panel.limit))


def _spread(column: Column, found: Iterable[Series], frame: Frame) -> list[str]:
    """Return the values that a column is spread over; one empty one where it is not. Of clusters: all that were picked."""
    if not column.spread:
        return [""]
    seen = {one.get(column.spread) for one in found}
    if column.spread != CLUSTER:
        return sorted(seen)
    picked = frame.picks.values.get(CLUSTER) or frame.clusters
    return [*(name for name in frame.clusters if name in picked), *sorted(seen - set(frame.clusters))]


def _held(panel: Table, column: Column, found: Iterable[Series]) -> dict[tuple[tuple[str, ...], str], list[Series]]:
    held: dict[tuple[tuple[str, ...], str], list[Series]] = {}
    for one in found:
        held.setdefault((one.key(panel.by), one.get(column.spread) if column.spread else ""), []).append(one)
    return held


def _cell(column: Column, found: Sequence[Series], lacking: bool) -> Cell:
    if column.show:
        text = ", ".join(sorted({one.get(column.show) for one in found if one.last is not None}))
        return Cell(text=text, unknown=lacking)
    values = [one.last for one in found if one.last is not None]
    value = sum(values) if values else None
    return Cell(value, level=level_of(value, column.thresholds), unknown=lacking)


def _order(cells: Sequence[Cell], first: int | None, panel: Table, key: tuple[str, ...]) -> tuple[object, ...]:
    if first is None:
        return (key,)
    value = cells[first].value
    sign = 1 if panel.ascending else -1
    return (value is None, sign * (value or 0.0), cells[first].text, key)
