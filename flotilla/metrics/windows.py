"""What of a cluster's samples was collected, and which slices of time are read next.

A watermark is not one number: after a cut the newest slice is read first, so that it is seen, and then the oldest ones, so
that the past is completed. What was collected is a set of spans; all else since ``origin`` is still missing or a gap.

A read at a time t goes up to t - settle: samples carry the start of their scrape and are there at its end. Its last ``overlap``
is not done yet and is read once more by the next one, for what came even later. Nothing else is read twice, unless nobody
confirmed that it was written. All times are milliseconds of the cluster's clock; a `Progress` is changed by copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flotilla.errors import Permanent
from flotilla.metrics.spans import NOWHEN, Span, common, union, without

MOST_SLICES = 60  # in one cycle, however little is in them
SAMPLE = 18  # bytes of one in an answer: its value, its time, and what tells them apart


class Unreadable(Permanent):
    """A progress that was kept cannot be read: it is begun anew, which costs reading again, not samples."""


@dataclass(frozen=True)
class Pace:
    """How a cluster is read: times in ms, ``budget`` in samples per cycle, ``answer`` in bytes before compression.

    Slices are of ``shortest`` to ``longest``, such that the largest answer stays below ``answer``, unless it is mostly labels.
    One that cannot be read when it is of the shortest length is tried ``tries`` times.
    """

    settle: int = 30_000
    overlap: int = 30_000
    budget: int = 3_000_000
    longest: int = 300_000
    shortest: int = 15_000
    answer: int = 30_000_000
    tries: int = 5


@dataclass(frozen=True)
class Slice:
    """A span that is read at once; ``newest`` where it ends with what is there now."""

    span: Span
    newest: bool = False


@dataclass(frozen=True)
class Gap:
    """A span that cannot be had any more, why, and when that was noted (ms)."""

    span: Span
    why: str
    noted: int


@dataclass(frozen=True)
class Answer:
    """What a slice brought: samples in all, the size of the largest answer in bytes before compression, and its samples."""

    samples: int
    largest: int
    in_largest: int


@dataclass(frozen=True)
class Progress:
    """What of one cluster since ``origin`` was written to the store and confirmed, and what never will be.

    ``tail`` was seen last and is to be read once more. ``length`` is how long slices are at present, in ms, ``rate`` how many
    samples a ms brings, if that is known, ``stuck`` where the slice begins that cannot be read, and how often that was tried.
    """

    origin: int
    done: tuple[Span, ...] = ()
    gaps: tuple[Gap, ...] = ()
    tail: Span = NOWHEN
    length: int = 60_000
    rate: float | None = None
    stuck: tuple[int, int] = (0, 0)

    @property
    def seen(self) -> int:
        """Up to where samples of the cluster are at the store, whatever of the past is missing."""
        return max([self.tail.hi, *(span.hi for span in self.done)])

    def missing(self, until: int) -> tuple[Span, ...]:
        """Return what is neither done nor a gap, up to a time."""
        return without([Span(self.origin, until)], (*self.done, *(gap.span for gap in self.gaps)))

    def complete(self, until: int) -> int:
        """Return up to where nothing is missing, at most a time."""
        left = self.missing(until)
        return left[0].lo if left else until

    def planned(self, now: int, pace: Pace) -> tuple[Slice, ...]:
        """Return the slices to read in a cycle, in order: the newest first, then the oldest ones as far as the budget goes.

        There is always one of the past, if any is missing, however small the budget is; and only one until the rate is known.
        """
        until = now - pace.settle
        missing = self.missing(until)
        slices = [self._newest(missing[-1])] if missing and missing[-1].hi == until else []
        left = pace.budget - sum(self._samples(one.span) for one in slices)
        past = [Slice(span) for span in _cut(without(missing, [one.span for one in slices]), self.length)]
        for number, one in enumerate(past[:MOST_SLICES]):
            left -= self._samples(one.span)
            if number and (left < 0 or self.rate is None):
                break
            slices.append(one)
        return tuple(slices)

    def firm(self, one: Slice, now: int, pace: Pace) -> Span:
        """Return what of a slice is done once it is read, at a time; it may be empty. Every moment is firm exactly once."""
        return Span(one.span.lo, min(one.span.hi, now - pace.settle - pace.overlap))

    def read(self, one: Slice, answer: Answer, now: int, pace: Pace) -> Progress:
        """Return the progress once a slice, planned at a time, was read, written and confirmed."""
        firm = self.firm(one, now, pace)
        rate = answer.samples / one.span.length
        return replace(
            self,
            done=union([*self.done, firm]),
            tail=Span(max(firm.lo, firm.hi), one.span.hi) if one.newest else self.tail,
            length=self._fitting(one, answer, pace),
            rate=rate if self.rate is None else (self.rate + rate) / 2,
            stuck=(0, 0) if one.span.lo == self.stuck[0] else self.stuck,
        )

    def shortened(self, one: Slice, pace: Pace) -> Progress:
        """Return the progress with shorter slices, after one that could not be read: less may come in time, or come at all."""
        return replace(self, length=max(pace.shortest, min(self.length, one.span.length) // 2))

    def failed(self, one: Slice, why: str, now: int, pace: Pace) -> Progress:
        """Return the progress after a cluster refused to answer for a slice, which holds too much.

        Slices get shorter. One of the past that fails however short it is becomes a gap, so that it does not block the rest.
        """
        shorter = self.shortened(one, pace)
        if one.newest or one.span.length > pace.shortest:
            return shorter
        tries = self.stuck[1] + 1 if self.stuck[0] == one.span.lo else 1
        if tries < pace.tries:
            return replace(shorter, stuck=(one.span.lo, tries))
        return replace(shorter.lost([one.span], f"cannot be read: {why}", now), stuck=(0, 0))

    def kept_since(self, oldest: int | None, now: int) -> Progress:
        """Return the progress knowing since when the cluster keeps samples: what is missing before that is a gap.

        None where it holds nothing at all, which says nothing about what it has held.
        """
        if oldest is None or oldest > now:
            return self
        return self.lost([Span(self.origin, oldest)], "older than what the cluster keeps", now)

    def lost(self, spans: Sequence[Span], why: str, now: int) -> Progress:
        """Return the progress with what is missing of some spans noted as a gap."""
        horizon = max((span.hi for span in spans), default=self.origin)
        noted = [Gap(span, why, now) for span in common(spans, self.missing(horizon))]
        return replace(self, gaps=_gathered([*self.gaps, *noted]))

    def again(self, span: Span) -> Progress:
        """Return the progress with a span to be read again: its counts differ, or somebody asked for it."""
        gaps = [replace(gap, span=part) for gap in self.gaps for part in without([gap.span], [span])]
        return replace(self, done=without(self.done, [span]), gaps=tuple(gaps), origin=min(self.origin, span.lo))

    def sealed(self) -> Progress:
        """Return the progress with the tail as done: before another replica is read, whose samples have other times."""
        return replace(self, done=union([*self.done, self.tail]))

    def merged(self, other: Progress) -> Progress:
        """Return what two collectors of one cluster have done together."""
        done = union([*self.done, *other.done])
        gaps = [replace(gap, span=part) for gap in (*self.gaps, *other.gaps) for part in without([gap.span], done)]
        newer = self if self.tail.hi >= other.tail.hi else other
        return replace(newer, origin=min(self.origin, other.origin), done=done, gaps=_gathered(gaps))

    def _newest(self, last: Span) -> Slice:
        return Slice(Span(max(last.lo, last.hi - self.length), last.hi), newest=True)

    def _samples(self, span: Span) -> float:
        return (self.rate or 0.0) * span.length

    def _fitting(self, one: Slice, answer: Answer, pace: Pace) -> int:
        """Return how long slices are from now on: half where an answer was too large, double where that would have fitted.

        Only its samples get fewer, or more. Where most of an answer is labels, shorter slices would ask for them more often.
        """
        of_samples = SAMPLE * answer.in_largest
        if answer.largest > pace.answer and 2 * of_samples > answer.largest:
            return max(pace.shortest, min(self.length, one.span.length) // 2)
        if answer.largest + 2 * of_samples < pace.answer and one.span.length >= self.length:
            return min(pace.longest, self.length * 2)
        return min(self.length, pace.longest)


def to_json(progress: Progress) -> dict[str, Any]:
    """Return a progress as plain values that JSON can hold."""
    return asdict(progress) | {"gaps": [{"span": gap.span, "why": gap.why, "noted": gap.noted} for gap in progress.gaps]}


def from_json(kept: Mapping[str, Any]) -> Progress:
    """Return the progress that plain values say; raises Unreadable where they say none."""
    try:
        found = dict(kept)
        done, tail = tuple(_span(span) for span in found.pop("done")), _span(found.pop("tail"))
        gaps = tuple(Gap(_span(gap["span"]), str(gap["why"]), int(gap["noted"])) for gap in found.pop("gaps"))
        lo, tries = found.pop("stuck")
        progress = Progress(done=union(done), tail=tail, gaps=gaps, stuck=(int(lo), int(tries)), **found)
        numbers = progress.origin, progress.length, 0 if progress.rate is None else progress.rate
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"no progress of a collector: {type(error).__name__}: {error}") from None
    if not all(isinstance(number, int | float) for number in numbers) or progress.length <= 0:
        raise Unreadable(f"no progress of a collector: origin, length, rate are {numbers}")
    return progress


def _span(kept: Any) -> Span:
    lo, hi = kept
    return Span(int(lo), int(hi))


def _cut(spans: Iterable[Span], length: int) -> Iterator[Span]:
    """Yield spans in parts of at most a length."""
    for lo, hi in spans:
        yield from (Span(begin, min(begin + length, hi)) for begin in range(lo, hi, length))


def _gathered(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return the gaps in order; those that touch, for one reason, are one."""
    gathered: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: gap.span):
        last = gathered[-1] if gathered else None
        if last and last.why == gap.why and gap.span.lo <= last.span.hi:
            span = Span(last.span.lo, max(last.span.hi, gap.span.hi))
            gathered[-1] = Gap(span, gap.why, min(last.noted, gap.noted))
        else:
            gathered.append(gap)
    return tuple(gathered)
