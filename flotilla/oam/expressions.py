"""The conditions of workflow steps (``if``) and the paths of inputs and outputs: the part of CUE that they are written in.

Grammar: ``||``, ``&&``, ``!``, comparisons, parentheses, strings in double quotation marks, numbers, true, false, null, and
paths such as ``status["step-1"].phase``. Nothing is called and nothing computed, so a condition can't do harm.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

ALWAYS = "always"
"""The condition under which a step runs whatever went before."""

_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_$][\w$]*)'
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!()\[\].]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Constant:
    """A literal value."""

    value: Any


@dataclass(frozen=True)
class Path:
    """A value looked up: ``status["a"].phase`` is ``("status", "a", "phase")``."""

    parts: tuple[str | int, ...]


@dataclass(frozen=True)
class Operation:
    """``!``, ``&&``, ``||`` or a comparison of its operands."""

    sign: str
    operands: tuple[Expression, ...]


Expression = Constant | Path | Operation


def parse(text: str) -> Expression:
    """Return a condition as a tree; raises ValueError saying what is wrong and at which column."""
    reader = _Reader(text)
    try:
        tree = reader.any_of()
    except RecursionError:
        raise ValueError("a condition with less deep parentheses") from None
    reader.expect_end()
    return tree


def parse_path(text: str) -> tuple[str | int, ...]:
    """Return the parts of a path such as ``output.value.status["ready"]``; raises ValueError for anything else."""
    tree = parse(text)
    if not isinstance(tree, Path):
        raise ValueError('a path such as output.value.status["ready"]')
    return tree.parts


def paths(tree: Expression) -> Iterator[tuple[str | int, ...]]:
    """Return every path that a condition looks up."""
    if isinstance(tree, Path):
        yield tree.parts
    elif isinstance(tree, Operation):
        for operand in tree.operands:
            yield from paths(operand)


def holds(tree: Expression, scope: Mapping[str, Any]) -> bool:
    """Tell whether a condition is true; what is missing is null, and an order between unlike things does not hold."""
    return _value(tree, scope) is True


def _value(tree: Expression, scope: Mapping[str, Any]) -> Any:
    match tree:
        case Constant(value):
            return value
        case Path(parts):
            return look_up(scope, parts)
        case Operation("!", (operand,)):
            return not holds(operand, scope)
        case Operation("&&", operands):
            return all(holds(operand, scope) for operand in operands)
        case Operation("||", operands):
            return any(holds(operand, scope) for operand in operands)
        case Operation(sign, (left, right)):
            return _compared(sign, _value(left, scope), _value(right, scope))
    raise AssertionError(tree)


def _compared(sign: str, left: Any, right: Any) -> bool:
    alike = isinstance(left, bool) == isinstance(right, bool)  # Python's True == 1, CUE's true != 1
    if sign in ("==", "!="):
        return (alike and left == right) == (sign == "==")
    try:
        return alike and _COMPARE[sign](left, right)
    except TypeError:
        return False


def look_up(value: Any, parts: tuple[str | int, ...]) -> Any:
    """Return what a JSON value holds at a path; None where there is nothing."""
    for part in parts:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            return None
    return value


class _Reader:
    """Reads a condition from left to right; each method reads one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._next, position = 0, 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if not match:
                raise ValueError(f"a condition without {text[position:].lstrip()[0]!r} at column {position + 1}")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind], match.start(kind) + 1))
            position = match.end()
        self._tokens.append(("end", "the end", len(text) + 1))

    def any_of(self) -> Expression:
        """Read ``all || all || ...``."""
        operands = [self._all_of()]
        while self._take("||"):
            operands.append(self._all_of())
        return operands[0] if len(operands) == 1 else Operation("||", tuple(operands))

    def _all_of(self) -> Expression:
        operands = [self._comparison()]
        while self._take("&&"):
            operands.append(self._comparison())
        return operands[0] if len(operands) == 1 else Operation("&&", tuple(operands))

    def _comparison(self) -> Expression:
        left = self._operand()
        if self._tokens[self._next][1] in _COMPARE and self._tokens[self._next][0] == "sign":
            sign = self._advance()[1]
            return Operation(sign, (left, self._operand()))
        return left

    def _operand(self) -> Expression:
        kind, text, column = self._advance()
        if text == "!" and kind == "sign":
            return Operation("!", (self._operand(),))
        if text == "(" and kind == "sign":
            inner = self.any_of()
            self._expect(")")
            return inner
        if kind == "string":
            return Constant(json.loads(text))
        if kind == "number":
            return Constant(json.loads(text))
        if kind == "name":
            return Constant(_WORDS[text]) if text in _WORDS else self._path(text)
        raise ValueError(f"a value or a path instead of {text!r} at column {column}")

    def _path(self, root: str) -> Path:
        parts: list[str | int] = [root]
        while True:
            if self._take("."):
                kind, text, column = self._advance()
                if kind != "name":
                    raise ValueError(f'a name after "." instead of {text!r} at column {column}; write ["{text}"]')
                parts.append(text)
            elif self._take("["):
                parts.append(self._index())
                self._expect("]")
            else:
                return Path(tuple(parts))

    def _index(self) -> str | int:
        kind, text, column = self._advance()
        if kind == "string" or (kind == "number" and text.isdigit()):
            index: str | int = json.loads(text)
            return index
        raise ValueError(f"a string or a number in [] instead of {text!r} at column {column}")

    def _advance(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _take(self, sign: str) -> bool:
        kind, text, _ = self._tokens[self._next]
        taken = kind == "sign" and text == sign
        self._next += taken
        return taken

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            _, text, column = self._tokens[self._next]
            raise ValueError(f"{sign!r} instead of {text!r} at column {column}")

    def expect_end(self) -> None:
        """Raise ValueError if anything is left."""
        kind, text, column = self._tokens[self._next]
        if kind != "end":
            raise ValueError(f"nothing after the condition; found {text!r} at column {column}")


def _condition(text: str) -> str:
    if text.strip() != ALWAYS:
        parse(text)
    return text.strip()


def _path_text(text: str) -> str:
    parse_path(text)
    return text


Condition = Annotated[str, AfterValidator(_condition)]
"""A model's field that holds a condition."""

PathText = Annotated[str, AfterValidator(_path_text)]
"""A model's field that holds a path."""
