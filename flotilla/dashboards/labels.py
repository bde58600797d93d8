"""Which labels the series of an expression carry, as far as the text and a list of known metrics tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flotilla.dashboards.promql import KEEPING, Aggregate, Binary, Call, Literal, Node, Selector, Subquery

STAMPED = frozenset({"cluster", "site", "role"})
"""Labels that every series of the store has: the collector stamps them."""

Known = Mapping[str, frozenset[str]]
"""Metric -> its labels."""

SETS = frozenset(["and", "or", "unless"])
_NO_SERIES = frozenset(["vector", "time", "scalar", "pi"])
_ABSENT = frozenset(["absent", "absent_over_time"])


@dataclass(frozen=True)
class Labels:
    """The labels of an answer. ``open``: there may be others; ``scalar``: it is a number, not series."""

    names: frozenset[str] = frozenset()
    open: bool = False
    scalar: bool = False
    gone: frozenset[str] = field(default=frozenset())

    def may_have(self, label: str) -> bool:
        """Tell whether series of the answer may carry a label."""
        return label in self.names or (self.open and label not in self.gone)

    @property
    def has_cluster(self) -> bool:
        """Whether series of different clusters stay apart."""
        return "cluster" in self.names

    def only(self, names: frozenset[str]) -> Labels:
        """Return those of them that are named."""
        return Labels(frozenset(name for name in names if self.may_have(name)))

    def without(self, names: frozenset[str]) -> Labels:
        """Return them without those that are named."""
        return Labels(self.names - names, self.open, gone=self.gone | names)

    def plus(self, names: frozenset[str]) -> Labels:
        """Return them and some more."""
        return Labels(self.names | names, self.open, gone=self.gone - names)


SCALAR = Labels(scalar=True)


def labels_of(node: Node, known: Known) -> Labels:
    """Return the labels that the series of an expression carry."""
    match node:
        case Selector():
            return _of_selector(node, known)
        case Call():
            return _of_call(node, known)
        case Aggregate():
            return _of_aggregate(node, known)
        case Binary():
            return _of_binary(node, known)
        case Subquery():
            return labels_of(node.operand, known)
        case Literal():
            return SCALAR


def _of_selector(node: Selector, known: Known) -> Labels:
    labels = known.get(node.name)
    return Labels(STAMPED, open=True) if labels is None else Labels(labels)


def _of_call(node: Call, known: Known) -> Labels:
    operands = [labels for one in node.arguments if not (labels := labels_of(one, known)).scalar]
    if node.function in _NO_SERIES or not operands:
        return Labels(scalar=node.function != "vector")
    if node.function in _ABSENT:
        return Labels(_equalities(node.arguments[0]))
    if node.function in ("label_replace", "label_join") and isinstance(added := node.arguments[1], Literal):
        return operands[0].plus(frozenset({str(added.value)}))
    return operands[-1].without(frozenset({"le"})) if node.function == "histogram_quantile" else operands[-1]


def _equalities(node: Node) -> frozenset[str]:
    """Return the labels that ``absent`` gives its answer: those a selector asks to be equal to something."""
    matchers = node.matchers if isinstance(node, Selector) else ()
    return frozenset(one.label for one in matchers if one.op == "=")


def _of_aggregate(node: Aggregate, known: Known) -> Labels:
    inner = labels_of(node.operand, known)
    if node.op in KEEPING:
        return inner
    kept = Labels() if node.by is None and node.without is None else inner.only(node.by) if node.by is not None else None
    outer = inner.without(node.without or frozenset()) if kept is None else kept
    if node.op == "count_values" and isinstance(node.parameter, Literal):
        return outer.plus(frozenset({str(node.parameter.value)}))
    return outer


def _of_binary(node: Binary, known: Known) -> Labels:
    left, right = labels_of(node.left, known), labels_of(node.right, known)
    if left.scalar or right.scalar:
        return left if right.scalar else right
    if node.op in SETS:
        return Labels(left.names | right.names, left.open or right.open) if node.op == "or" else left
    if node.many:
        return (left if node.many == "left" else right).plus(node.included)
    if node.on is not None:
        return left.only(node.on)
    return left.without(node.ignoring or frozenset())
