"""What a dashboard is: rows of panels that ask PromQL questions. One model, of which every view is made.

Expressions may hold ``$NAME`` of a variable within strings, ``${NAME}`` of a part anywhere, and the durations of ``promql``.
The picked clusters are asked for in every selector that does not name a cluster itself, so nobody has to write it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from flotilla.dashboards.units import Seconds, Unit
from flotilla.fleet import DnsLabel
from flotilla.validation import Strict

CLUSTER = "cluster"
_PART = re.compile(r"\$\{(\w+)\}")
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*$")]
Promql = Annotated[str, Field(min_length=1)]
Item = TypeVar("Item")


def _some(value: tuple[Item, ...]) -> tuple[Item, ...]:
    if not value:
        raise ValueError("at least one")
    return value


Some = Annotated[tuple[Item, ...], AfterValidator(_some)]
"""At least one; checked after the items, whose own problems come first."""


class Level(StrEnum):
    """How a number is to be read; shown by a word and a sign, never by colour alone."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Threshold(Strict):
    """From ``above`` on (or, with ``below``, beneath it) a number is of this level; the worst level that holds counts."""

    level: Level
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Threshold:
        if (self.above is None) == (self.below is None):
            raise ValueError("above or below, exactly one of them")
        return self

    def holds(self, value: float) -> bool:
        """Tell whether a number is of this level."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)


class Link(Strict):
    """Where to look further: another dashboard, with variables set from the labels of the row, or an address."""

    title: str = Field(min_length=1)
    dashboard: DnsLabel | None = None
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    carry: tuple[LabelName, ...] = ()

    @model_validator(mode="after")
    def _one_target(self) -> Link:
        if (self.dashboard is None) == (self.url is None):
            raise ValueError("dashboard or url, exactly one of them")
        return self


class Variable(Strict):
    """What a reader picks: values of ``label`` among the series of ``metric``; nothing picked means all of them."""

    name: LabelName
    metric: str = Field(min_length=1)
    title: str = ""
    label: LabelName | None = None

    @property
    def of_label(self) -> str:
        """The label whose values are picked."""
        return self.label or self.name

    @property
    def heading(self) -> str:
        """Its title, or its name."""
        return self.title or self.name


class Query(Strict):
    """An expression and how its series are called: ``{{label}}`` in ``legend`` stands for a label's value."""

    expr: Promql
    legend: str = ""


class _Panel(Strict):
    """What every panel has. ``width`` is in twelfths of the page."""

    title: str = Field(min_length=1)
    description: str = ""
    width: int = Field(default=6, ge=1, le=12)
    unit: Unit = Unit.COUNT
    thresholds: tuple[Threshold, ...] = ()
    links: tuple[Link, ...] = ()


class Timeseries(_Panel):
    """Lines over the range; ``stack`` puts them on top of one another."""

    kind: Literal["timeseries"]
    queries: Some[Query]
    stack: bool = False


class Stat(_Panel):
    """One number as of the end of the range, one for each series where there are several; ``of`` is what it is a part of."""

    kind: Literal["stat"]
    width: int = Field(default=3, ge=1, le=12)
    expr: Promql
    of: Promql | None = None
    legend: str = ""


class Column(Strict):
    """A column of a table: the value of ``expr``, or the value of its label ``show``.

    ``spread`` makes one column of each value of a label, such as one for each cluster.
    """

    title: str = Field(min_length=1)
    expr: Promql
    unit: Unit = Unit.COUNT
    show: LabelName | None = None
    spread: LabelName | None = None
    thresholds: tuple[Threshold, ...] = ()


class Table(_Panel):
    """Rows named by the labels ``by``, as of the end of the range; only rows that the first column has.

    Sorted by the column ``sort``, the largest first (``ascending``: the smallest); rows over ``limit`` are only counted.
    """

    kind: Literal["table"]
    width: int = Field(default=12, ge=1, le=12)
    by: Some[LabelName]
    columns: Some[Column]
    sort: str = ""
    ascending: bool = False
    limit: int = Field(default=50, ge=1, le=1000)

    @model_validator(mode="after")
    def _sorted_by_a_column(self) -> Table:
        titles = [column.title for column in self.columns]
        if self.sort and self.sort not in titles:
            raise ValueError(f"sort: one of {', '.join(titles)}")
        return self


class Rank(StrEnum):
    """What the order of a Top N is made by, always on the whole range.

    ``mean`` and ``max``: of the expression's values over the range; ``last``: its value at the end; ``window``: the
    expression with ``$__rate_interval`` widened to the range, which is cheap, and right where series do not come and go
    within a sum.
    """

    MEAN = "mean"
    MAX = "max"
    LAST = "last"
    WINDOW = "window"


class Others(StrEnum):
    """What is told of the series that are not among the first: their sum, so that totals add up, their average, or nothing."""

    SUM = "sum"
    AVERAGE = "average"
    NONE = "none"


class TopN(_Panel):
    """The ``k`` largest series named by the labels ``by``, ranked on the range; ``lines`` also draws them over the range."""

    kind: Literal["topN"]
    by: Some[LabelName]
    expr: Promql
    k: int = Field(default=10, ge=1, le=50)
    rank: Rank = Rank.MEAN
    others: Others = Others.SUM
    lines: bool = True

    @model_validator(mode="after")
    def _rank_fits(self) -> TopN:
        if "cluster" not in self.by:
            raise ValueError("by: labels that include cluster, else things of one name in two clusters would be one")
        return self


Panel = Timeseries | Stat | Table | TopN
KINDS: dict[str, type[Panel]] = {"timeseries": Timeseries, "stat": Stat, "table": Table, "topN": TopN}


class Row(Strict):
    """Panels under one heading."""

    title: str = Field(min_length=1)
    panels: Some[Annotated[Panel, Field(discriminator="kind")]]


class Dashboard(Strict):
    """A page of panels. ``parts`` are pieces of expressions by name; ``range`` and ``refresh`` are seconds."""

    name: DnsLabel
    title: str = Field(min_length=1)
    description: str = ""
    order: int = 100
    range: Seconds = Field(default=3600, ge=60)
    refresh: Seconds = Field(default=30, ge=5)
    variables: tuple[Variable, ...] = ()
    parts: dict[LabelName, Promql] = Field(default_factory=dict)
    rows: Some[Row]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Its panels in the order of the page."""
        return tuple(panel for row in self.rows for panel in row.panels)

    def expanded(self, expr: str) -> str:
        """Return an expression with the parts it names put in, in parentheses; unknown names stay for the lint to find."""
        for _ in range(5):  # parts may name parts; deeper than this they go in circles
            if not any(name in self.parts for name in _PART.findall(expr)):
                break
            expr = _PART.sub(lambda found: f"({self.parts[found[1]].strip()})" if found[1] in self.parts else found[0], expr)
        return expr.strip()
