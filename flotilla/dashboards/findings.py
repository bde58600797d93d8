"""What a check of expressions has found: where it stands and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """What can be wrong with an expression."""

    PARSE = "does-not-parse"
    FORGETS_CLUSTER = "forgets-cluster"
    RATE_OF_GAUGE = "rate-of-gauge"
    COUNTER_WITHOUT_RATE = "counter-without-rate"
    TOPK_PER_STEP = "topk-per-step"
    SHORT_RANGE = "short-range"
    UNKNOWN_METRIC = "unknown-metric"
    UNKNOWN_LABEL = "unknown-label"
    UNKNOWN_VARIABLE = "unknown-variable"
    IGNORES_STALENESS = "ignores-staleness"
    EXPENSIVE = "expensive"
    FAILS = "fails-on-store"


@dataclass(frozen=True)
class Place:
    """Where an expression stands: its file, and the panel, rule or alert there."""

    file: str
    panel: str


@dataclass(frozen=True)
class Finding:
    """One thing wrong: ``at`` is its offset in ``expression``, in characters; ``says`` what is so and what to do."""

    rule: Rule
    place: Place
    expression: str
    at: int
    says: str

    @property
    def line(self) -> int:
        """The line of the expression, from 1."""
        return self.expression.count("\n", 0, self.at) + 1

    @property
    def column(self) -> int:
        """The column in that line, from 1."""
        return self.at - (self.expression.rfind("\n", 0, self.at) + 1) + 1

    def __str__(self) -> str:
        here = " ".join(self.expression[self.at : self.at + 60].split())
        return f"{self.place.file}: {self.place.panel}: {self.rule} at {self.line}:{self.column} «{here}»: {self.says}"
