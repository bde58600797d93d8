"""Where things stand in a PromQL text: promql-parser's tree has no positions, and a finding without one is hard to act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
_TOKEN = re.compile(
    rf"""(?P<space>\s+|\#[^\n]*)
    |(?P<braces>\{{(?:[^"'`}}]|{_STRING})*\}})
    |(?P<steps>\[[^\]]*:[^\]]*\])
    |(?P<range>\[[^\]]*\])
    |(?P<string>{_STRING})
    |(?P<number>\.?\d[\w.]*|\$\w+|\$\{{\w+\}})
    |(?P<name>[a-zA-Z_:][\w:]*)
    |(?P<sign>==|!=|<=|>=|=~|!~|.)""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = frozenset(
    [
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "offset",
        "bool",
        "and",
        "or",
        "unless",
        "atan2",
        "inf",
        "nan",
        "fill",
    ]
)
_BINARY_WORDS = frozenset(["and", "or", "unless", "atan2"])
_BINARY_SIGNS = frozenset(["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "^"])
_LABEL_LISTS = frozenset(["by", "without", "on", "ignoring", "group_left", "group_right"])


class Kind(StrEnum):
    """What a place in an expression is."""

    SELECTOR = "selector"
    CALL = "call"  # of a function or an aggregation
    OPERATOR = "operator"
    SUBQUERY = "subquery"


@dataclass(frozen=True)
class Place:
    """A stretch of a text, ``start`` to ``end``, in characters; of a selector also the place of its braces and its range."""

    kind: Kind
    text: str
    start: int
    end: int
    braces: tuple[int, int] | None = None
    range: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_NOTHING = _Token("nothing", "", -1)


def places(text: str) -> tuple[Place, ...]:
    """Return the selectors, calls, binary operators and subqueries of a PromQL text in the order of the text."""
    tokens = list(_without_label_lists(_tokens(text)))
    return tuple(sorted(_places(tokens), key=lambda place: place.start))


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup and match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), match.start())


def _without_label_lists(tokens: Iterator[_Token]) -> Iterator[_Token]:
    """Yield the tokens, each ``by (a, b)`` or ``on (a)`` as one, so that labels are not taken for metrics."""
    waiting = list(tokens)
    while waiting:
        token = waiting.pop(0)
        if token.text.lower() not in _LABEL_LISTS or token.kind != "name":
            yield token
            continue
        if waiting and waiting[0].text == "(":
            while waiting and waiting.pop(0).text != ")":
                pass
        yield _Token("labels" if token.text.lower() in ("by", "without") else "matching", token.text, token.start)


def _places(tokens: list[_Token]) -> Iterator[Place]:
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else _NOTHING
        after = [*tokens[index + 1 : index + 3], _NOTHING, _NOTHING]
        if token.kind == "braces" and (before.kind != "name" or _is_word(before)):
            yield _selector(token, token, after[0])
        elif token.kind == "name" and not _is_word(token) and before.text != "@":
            if after[0].text == "(" or after[0].kind == "labels":
                yield Place(Kind.CALL, token.text, token.start, token.end)
            else:
                yield _selector(token, *after[:2])
        elif token.kind == "steps":
            yield Place(Kind.SUBQUERY, token.text, token.start, token.end)
        elif _is_binary(token, before):
            yield Place(Kind.OPERATOR, token.text.lower(), token.start, token.end)


def _selector(first: _Token, *after: _Token) -> Place:
    parts = [first, *after]
    braces = next((part for part in parts[:2] if part.kind == "braces"), None)
    last = braces or first
    span = parts[parts.index(last) + 1] if parts.index(last) + 1 < len(parts) else _NOTHING
    ranged = span if span.kind == "range" else None
    name = first.text if first.kind == "name" else ""
    end = (ranged or last).end
    return Place(Kind.SELECTOR, name, first.start, end, _span(braces), _span(ranged))


def _span(token: _Token | None) -> tuple[int, int] | None:
    return (token.start, token.end) if token else None


def _is_word(token: _Token) -> bool:
    return token.text.lower() in _WORDS


def _is_binary(token: _Token, before: _Token) -> bool:
    """Tell an operator between two operands from a sign before one."""
    if token.kind == "name":
        return token.text.lower() in _BINARY_WORDS
    if token.kind != "sign" or token.text not in _BINARY_SIGNS:
        return False
    is_operand = before.kind in ("braces", "range", "steps", "string", "number", "labels") or before.text == ")"
    return is_operand or (before.kind == "name" and (not _is_word(before) or before.text.lower() in ("inf", "nan")))
