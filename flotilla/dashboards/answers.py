"""What a store answered: series as facts, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Point = tuple[float, float]
"""Unix seconds and a value."""


@dataclass(frozen=True)
class Series:
    """One series: its labels, without the metric's name, and its points in the order of time."""

    labels: tuple[tuple[str, str], ...]
    points: tuple[Point, ...]

    def get(self, label: str) -> str:
        """Return a label's value; empty where it has none, as in PromQL."""
        return dict(self.labels).get(label, "")

    def key(self, by: Iterable[str]) -> tuple[str, ...]:
        """Return the values of some labels, which name the series among others."""
        labels = dict(self.labels)
        return tuple(labels.get(label, "") for label in by)

    @property
    def last(self) -> float | None:
        """Its last value; None where it has none that is a number."""
        return next((value for _, value in reversed(self.points) if math.isfinite(value)), None)


@dataclass(frozen=True)
class Answer:
    """The series that answer a question, and what the store warned of: that parts of it did not answer, for one."""

    series: tuple[Series, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unanswered:
    """The store could not say; ``reason`` is the sentence to show."""

    reason: str


Reply = Answer | Unanswered


@dataclass(frozen=True)
class Question:
    """An expression asked of a store: at ``end``, or from ``start`` to ``end`` each ``step`` seconds where that is not 0."""

    expr: str
    end: float
    start: float = 0.0
    step: float = 0.0


def series(labels: Mapping[str, str], points: Iterable[Point]) -> Series:
    """Return a series of labels in any order."""
    return Series(tuple(sorted((k, v) for k, v in labels.items() if k != "__name__")), tuple(points))
