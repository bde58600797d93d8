"""A PromQL expression as a tree with positions: parsed by promql-parser, placed by ``tokens``."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

from flotilla.dashboards.tokens import Kind, Place, places

RANGE, RATE_INTERVAL, INTERVAL = "$__range", "$__rate_interval", "$__interval"
"""Durations that whoever draws a picture fills in, by Grafana's names: its span, a good span for a rate, its step."""

_DURATION = re.compile(r"\$(?:__(range|rate_interval|interval)\b|\{__(range|rate_interval|interval)\})")
_RATES = frozenset(["rate", "irate", "increase"])
KEEPING = frozenset(["topk", "bottomk", "limitk", "limit_ratio"])
"""Aggregations that pick series and keep their labels."""


class NotPromql(ValueError):
    """A text that is no PromQL; the message is the parser's own."""


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector: ``label op value``, with op one of = != =~ !~."""

    label: str
    op: str
    value: str


@dataclass(frozen=True)
class Selector:
    """Series by name and labels; ``range`` is the text in its brackets, empty for an instant; pinned by ``@``."""

    name: str
    matchers: tuple[Matcher, ...]
    range: str
    pinned: bool
    at: int


@dataclass(frozen=True)
class Call:
    """A function and its arguments."""

    function: str
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True)
class Aggregate:
    """An aggregation: ``by`` its labels, or ``without`` them; both None where neither is written."""

    op: str
    by: frozenset[str] | None
    without: frozenset[str] | None
    parameter: Node | None
    operand: Node
    at: int


@dataclass(frozen=True)
class Binary:
    """Two operands; ``on`` and ``ignoring`` are None where not written, ``many`` the side with more series, or empty."""

    op: str
    left: Node
    right: Node
    on: frozenset[str] | None
    ignoring: frozenset[str] | None
    many: str
    included: frozenset[str]
    at: int


@dataclass(frozen=True)
class Subquery:
    """An expression evaluated at steps over a range; ``range`` is the text in the brackets."""

    operand: Node
    range: str
    pinned: bool
    at: int


@dataclass(frozen=True)
class Literal:
    """A number or a string."""

    value: float | str


Node = Selector | Call | Aggregate | Binary | Subquery | Literal


def parse(text: str) -> Node:
    """Return the tree of a PromQL text, which may hold the duration variables above; raises NotPromql."""
    try:
        root = promql_parser.parse(_DURATION.sub("1h", text))
    except ValueError as error:
        raise NotPromql(_unknown_variable(text) or str(error)) from None
    return _Builder(text).build(root)


def children(node: Node) -> tuple[Node, ...]:
    """Return the operands and arguments of a node, in the order of the text."""
    match node:
        case Call():
            return node.arguments
        case Aggregate():
            return (node.parameter, node.operand) if node.parameter else (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Subquery():
            return (node.operand,)
        case _:
            return ()


def walk(node: Node, above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Yield every node with those above it, outermost first."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def selectors(text: str) -> tuple[Selector, ...]:
    """Return the selectors of a text in its order; raises NotPromql."""
    return tuple(node for node, _ in walk(parse(text)) if isinstance(node, Selector))


def rates(node: Node) -> bool:
    """Tell whether a node is a rate of a counter."""
    return isinstance(node, Call) and node.function in _RATES


def with_durations(text: str, durations: Mapping[str, str]) -> str:
    """Return a text with duration variables, named with their ``$``, filled in; others stay."""

    def filled(found: re.Match[str]) -> str:
        return durations.get(f"$__{found[1] or found[2]}", found[0])

    return _DURATION.sub(filled, text)


def with_matcher(text: str, label: str, condition: str) -> str:
    """Return a text in which each selector that says nothing of ``label`` also has a condition: ``cluster=~"a|b"``."""
    mention = re.compile(rf"[{{,]\s*{re.escape(label)}\s*[=!]")

    def matched(place: Place) -> str:
        first, last = place.braces or (place.end, place.end)
        inner = text[first + 1 : last - 1].strip().rstrip(",")
        if place.kind is not Kind.SELECTOR or mention.search("{" + inner):
            return text[place.start : place.end]
        rest = text[place.range[0] : place.range[1]] if place.range else ""
        return f"{place.text}{{{inner}{', ' if inner else ''}{condition}}}{rest}"

    return rewritten(text, matched)


def pinned_to_end(text: str) -> str:
    """Return a text that looks at the end of the picture at each of its steps: ``@ end()``; raises NotPromql."""
    pinned = set(_to_be_pinned(parse(text)))

    def fixed(place: Place) -> str:
        return text[place.start : place.end] + (" @ end()" if place.start in pinned else "")

    return rewritten(text, fixed)


def _to_be_pinned(node: Node) -> Iterator[int]:
    """Yield where the selectors and the outermost subqueries stand that are not pinned yet."""
    if isinstance(node, Selector | Subquery) and not node.pinned:
        yield node.at
    for child in () if isinstance(node, Subquery) else children(node):
        yield from _to_be_pinned(child)


def rewritten(text: str, change: Callable[[Place], str]) -> str:
    """Return a text with its selectors and subqueries changed."""
    parts, done = [], 0
    for place in places(text):
        if place.kind in (Kind.SELECTOR, Kind.SUBQUERY):
            parts += [text[done : place.start], change(place)]
            done = place.end
    return "".join([*parts, text[done:]])


def _unknown_variable(text: str) -> str:
    rest = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", "", _DURATION.sub("", text))
    found = re.search(r"\$\{?\w*\}?", rest)
    return f"{found[0]} stands outside a string; only {RANGE}, {RATE_INTERVAL} and {INTERVAL} may" if found else ""


class _Builder:
    """Builds the tree; each kind of place is used up in the order of the text, which is the order of the walk."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._places = {kind: deque(place for place in places(text) if place.kind is kind) for kind in Kind}

    def build(self, node: Any) -> Node:
        name = type(node).__name__
        if name in ("ParenExpr", "UnaryExpr"):
            return self.build(node.expr)
        if name in ("NumberLiteral", "StringLiteral"):
            return Literal(node.val)
        return getattr(self, f"_{name}")(node)  # type: ignore[no-any-return]

    def _next(self, kind: Kind) -> Place:
        return self._places[kind].popleft() if self._places[kind] else Place(kind, "", 0, 0)

    def _VectorSelector(self, node: Any) -> Selector:  # noqa: N802 - promql-parser's names
        place = self._next(Kind.SELECTOR)
        within = self._text[place.range[0] + 1 : place.range[1] - 1].strip() if place.range else ""
        matchers = tuple(_matcher(one) for one in node.matchers.matchers)
        named = next((one.value for one in matchers if one.label == "__name__" and one.op == "="), "")
        return Selector(node.name or named, matchers, within, node.at is not None, place.start)

    def _MatrixSelector(self, node: Any) -> Node:  # noqa: N802
        return self.build(node.vector_selector)

    def _Call(self, node: Any) -> Call:  # noqa: N802
        place = self._next(Kind.CALL)
        return Call(node.func.name, tuple(self.build(one) for one in node.args), place.start)

    def _AggregateExpr(self, node: Any) -> Aggregate:  # noqa: N802
        place, labels = self._next(Kind.CALL), frozenset(node.modifier.labels) if node.modifier else None
        by = labels if node.modifier and _last_word(node.modifier.type) == "By" else None
        without = labels if by is None else None
        parameter = self.build(node.param) if node.param is not None else None
        return Aggregate(str(node.op), by, without, parameter, self.build(node.expr), place.start)

    def _BinaryExpr(self, node: Any) -> Binary:  # noqa: N802
        left, place, right = self.build(node.lhs), self._next(Kind.OPERATOR), self.build(node.rhs)
        on, ignoring = _matching(node.modifier)
        many = {"ManyToOne": "left", "OneToMany": "right"}.get(_last_word(node.modifier.card), "") if node.modifier else ""
        included = frozenset(node.modifier.group_labels or ()) if node.modifier else frozenset[str]()
        return Binary(str(node.op), left, right, on, ignoring, many, included, place.start)

    def _SubqueryExpr(self, node: Any) -> Subquery:  # noqa: N802
        operand, place = self.build(node.expr), self._next(Kind.SUBQUERY)
        return Subquery(operand, place.text[1:-1].strip(), node.at is not None, place.start)


def _matcher(one: Any) -> Matcher:
    op = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[_last_word(one.op)]
    return Matcher(one.name, op, one.value)


def _matching(modifier: Any) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """Return the labels of ``on`` and those of ``ignoring``; None where it is not written."""
    if modifier is None or modifier.matching is None:
        return None, None
    labels = frozenset(modifier.matching.labels)
    return (labels, None) if _last_word(modifier.matching.type) == "Include" else (None, labels)


def _last_word(value: object) -> str:
    return str(value).rpartition(".")[2]
