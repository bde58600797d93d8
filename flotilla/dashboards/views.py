"""What a page draws of a panel: values that need no further thought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flotilla.dashboards.answers import Point, Unanswered
from flotilla.dashboards.colours import Colour
from flotilla.dashboards.model import Level
from flotilla.dashboards.units import Unit


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
    share: float | None = None
    colour: Colour | None = None
    level: Level | None = None


@dataclass(frozen=True)
class Bars:
    """A Top N: its first, what is told of the ``others_count`` others, the total, and the lines of the same series.

    ``averaged``: the others' number is their average, and there is no total.
    """

    bars: tuple[Bar, ...]
    others: float | None = None
    others_count: int = 0
    total: float | None = None
    averaged: bool = False
    chart: Chart | None = None


@dataclass(frozen=True)
class Number:
    """One number of a stat; ``of`` is the whole that it is a part of."""

    name: str
    value: float | None
    of: float | None = None
    level: Level | None = None


@dataclass(frozen=True)
class Numbers:
    """The numbers of a stat."""

    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Heading:
    """The head of a table's column; ``group`` stands over columns spread from one, ``cluster`` where it is of one only."""

    title: str
    unit: Unit
    text: bool = False
    group: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class Cell:
    """A number or a text, or neither where there is none; ``unknown`` where there may be one but nobody can see."""

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
