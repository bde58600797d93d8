"""Spans of time and sets of them. Milliseconds since 1970; half-open: lo <= t < hi, so that neighbours share nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """A time and the one that ends it."""

    lo: int
    hi: int

    @property
    def length(self) -> int:
        """How long it is, in ms."""
        return self.hi - self.lo


NOWHEN = Span(0, 0)


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same set as few spans, in order: empty ones left out, those that touch made one."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.hi > span.lo):
        if merged and span.lo <= merged[-1].hi:
            merged[-1] = Span(merged[-1].lo, max(merged[-1].hi, span.hi))
        else:
            merged.append(Span(*span))
    return tuple(merged)


def without(spans: Iterable[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """Return what of some spans is in none of others."""
    left = list(union(spans))
    for gone in union(taken):
        left = [part for span in left for part in _cut(span, gone)]
    return tuple(left)


def common(spans: Iterable[Span], others: Iterable[Span]) -> tuple[Span, ...]:
    """Return what is in both sets."""
    ours = union(spans)
    return without(ours, without(ours, others))


def covers(spans: Iterable[Span], span: Span) -> bool:
    """Tell whether a span is wholly in a set."""
    return not without([span], spans)


def _cut(span: Span, gone: Span) -> list[Span]:
    if gone.hi <= span.lo or span.hi <= gone.lo:
        return [span]
    parts = Span(span.lo, gone.lo), Span(gone.hi, span.hi)
    return [part for part in parts if part.hi > part.lo]
