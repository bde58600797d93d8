"""Which series are meant: PromQL vector selectors, as text, as remote_read matchers and narrowed to a metric or a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import promql_parser

NAME = "__name__"
PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")  # what PromQL takes unquoted before Prometheus 3
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Op(IntEnum):
    """How a label is compared; the numbers are prometheus.LabelMatcher.Type of prompb/types.proto."""

    EQ = 0
    NEQ = 1
    RE = 2
    NRE = 3

    @property
    def symbol(self) -> str:
        """The operator as PromQL writes it."""
        return ("=", "!=", "=~", "!~")[self]


_OPS = {"MatchOp.Equal": Op.EQ, "MatchOp.NotEqual": Op.NEQ, "MatchOp.Re": Op.RE, "MatchOp.NotRe": Op.NRE}


class Matcher(NamedTuple):
    """One condition on one label."""

    name: str
    op: Op
    value: str

    def meets(self, value: str) -> bool:
        """Tell whether a value meets it; a label that is missing has the empty value. RE2 is taken for Python's expressions."""
        equals = self.value == value if self.op < Op.RE else re.fullmatch(self.value, value, re.DOTALL) is not None
        return equals is (self.op in (Op.EQ, Op.RE))

    def __str__(self) -> str:
        name = self.name if PLAIN_NAME.fullmatch(self.name) else quoted(self.name)
        return f"{name}{self.op.symbol}{quoted(self.value)}"


@dataclass(frozen=True)
class Selector:
    """Series that meet every one of some conditions."""

    matchers: tuple[Matcher, ...]

    def __str__(self) -> str:
        return "{" + ",".join(map(str, self.matchers)) + "}"

    @property
    def metric(self) -> str | None:
        """The one metric that is meant, if it is named."""
        return next((one.value for one in self.matchers if one.name == NAME and one.op is Op.EQ), None)

    def picks(self, labels: Mapping[str, str]) -> bool:
        """Tell whether it picks a series, or an alert, of some labels."""
        return all(one.meets(labels.get(one.name, "")) for one in self.matchers)

    def of_metric(self, metric: str) -> Selector:
        """Return this, narrowed to one of the metrics that it selects."""
        others = (one for one in self.matchers if one.name != NAME)
        return Selector((Matcher(NAME, Op.EQ, metric), *others))

    def with_label(self, name: str, value: str) -> Selector:
        """Return this, narrowed to series with a label: at the store, ``with_label("cluster", "remote")``."""
        return Selector((*self.matchers, Matcher(name, Op.EQ, value)))


def matchers_of(found: promql_parser.VectorSelector) -> tuple[Matcher, ...]:
    """Return the conditions of a selector of the parser, its name among them."""
    matchers = tuple(Matcher(one.name, _OPS[str(one.op)], one.value) for one in found.matchers.matchers)
    return (Matcher(NAME, Op.EQ, found.name), *matchers) if found.name else matchers


def parse_selector(text: str) -> Selector:
    """Return the selector that a text writes; raises ValueError saying why it is none.

    Neither ranges nor offset, @ and ``or`` are taken: what is collected is the same series at every time.
    """
    tree = promql_parser.parse(text)
    if not isinstance(tree, promql_parser.VectorSelector) or tree.offset is not None or tree.at is not None:
        raise ValueError('a selector such as up{job="node-exporter"}, without function, range, offset or @')
    if tree.matchers.or_matchers:
        raise ValueError("two selectors instead of one with or")
    return Selector(matchers_of(tree))


def quoted(value: str) -> str:
    """Return a text as a PromQL string literal."""
    return f'"{value.translate(_ESCAPES)}"'
