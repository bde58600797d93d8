"""The proof that nothing was lost: per cluster and window, what the cluster holds and what the store holds are counted.

A window is five minutes, half-open, lo <= t < hi, on a grid since 1970; it is counted, as `counting` says, once all of it is
done or lost. VictoriaMetrics keeps neither native histograms nor NaN that are no stale markers (lib/storage/storage.go: "Skip
NaNs other than Prometheus staleness marker"): those are counted on their way there, and expected to be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from flotilla.metrics.spans import Span, union, without
from flotilla.metrics.windows import Gap, Progress, Unreadable
from flotilla.metrics.words import clocked

WINDOW = 300_000  # ms
TRIES = 3  # readings after which what still differs is a recorded difference


class Outcome(StrEnum):
    """What the counts of a window say."""

    EQUAL = "equal"
    MORE = "more"  # than the cluster holds now: nothing is missing
    AGAIN = "to be read again"
    SHORT = "short"  # however often it was read
    GAP = "gap"
    UNCOUNTED = "uncounted"


@dataclass(frozen=True)
class Keeps:
    """What a store keeps besides floats. Prometheus keeps both, VictoriaMetrics none."""

    nans: bool = True
    histograms: bool = True


@dataclass(frozen=True)
class Look:
    """What was seen of a window: samples by metric at the cluster and at the store, and what is expected to be missing.

    ``unkept`` are samples of kinds that the store does not keep, ``set_aside`` those in quarantine, ``tries`` how often it was
    read again already. ``member`` is None where the cluster cannot be asked, or no longer holds all of the window.
    """

    cluster: str
    window: Span
    member: Mapping[str, int] | None
    store: Mapping[str, int]
    unkept: int = 0
    set_aside: int = 0
    gaps: tuple[Gap, ...] = ()
    tries: int = 0


@dataclass(frozen=True)
class Proof:
    """What is known of a window: how many samples the store holds of those that the cluster holds.

    ``missing`` are those that nothing explains, ``worst`` the metrics that lack most, with both their counts.
    """

    look: Look
    outcome: Outcome
    missing: int = 0
    worst: tuple[tuple[str, int, int], ...] = ()

    @property
    def member(self) -> int:
        """Samples at the cluster."""
        return sum((self.look.member or {}).values())

    @property
    def store(self) -> int:
        """Samples at the store."""
        return sum(self.look.store.values())

    def __str__(self) -> str:
        look = self.look
        notes = [f"{clocked(gap.span)} is lost: {gap.why}" for gap in look.gaps]
        if look.member is None:
            return "; ".join([f"{look.cluster} {clocked(look.window)}: {self.store:,}, not counted at the cluster", *notes])
        if self.missing:
            name, member, store = self.worst[0]
            notes.append(f"{self.missing:,} are missing, most of {name}: {store:,} of {member:,}")
            notes.append("will be read again" if self.outcome is Outcome.AGAIN else f"after {look.tries + 1} readings")
        notes += [f"{look.unkept:,} of kinds that the store does not keep"] if look.unkept else []
        notes += [f"{look.set_aside:,} in quarantine"] if look.set_aside else []
        return "; ".join([f"{look.cluster} {clocked(look.window)}: {self.store:,} of {self.member:,}", *notes])


def judged(look: Look) -> Proof:
    """Return what a look at a window proves. Metrics are compared one by one, so that more of one hides nothing of another."""
    if look.member is None:
        return Proof(look, Outcome.GAP if look.gaps else Outcome.UNCOUNTED)
    lacking = {name: (count, look.store.get(name, 0)) for name, count in look.member.items() if look.store.get(name, 0) < count}
    short = sum(member - store for member, store in lacking.values())
    missing = max(0, short - look.unkept - look.set_aside)
    worst = sorted(((name, *both) for name, both in lacking.items()), key=lambda one: one[2] - one[1])[:5]
    return Proof(look, _outcome(look, missing), missing, tuple(worst))


def _outcome(look: Look, missing: int) -> Outcome:
    if missing:
        return Outcome.AGAIN if look.tries + 1 < TRIES else Outcome.SHORT
    if look.gaps:
        return Outcome.GAP
    is_more = any(count > (look.member or {}).get(name, 0) for name, count in look.store.items())
    return Outcome.MORE if is_more else Outcome.EQUAL


@dataclass(frozen=True)
class Ledger:
    """Which windows of a cluster were judged, for good, and what is noted of those that were not: by the window's begin in ms.

    ``tries`` is how often one was read again, ``unkept`` how many samples were read of kinds that the store does not keep.
    """

    judged: tuple[Span, ...] = ()
    tries: Mapping[int, int] = field(default_factory=dict)
    unkept: Mapping[int, int] = field(default_factory=dict)

    def due(self, progress: Progress, most: int = 4) -> tuple[Span, ...]:
        """Return the windows to count now: the newest that is all done or lost, then the oldest ones."""
        known = union([*progress.done, *(gap.span for gap in progress.gaps)])
        windows = [window for span in known for window in _whole_windows(without([span], self.judged))]
        return tuple([*windows[-1:], *windows[:-1]][:most])

    def noted(self, proof: Proof) -> Ledger:
        """Return the ledger with a proof noted; a window that is read again begins anew."""
        lo = proof.look.window.lo
        tries = {key: value for key, value in self.tries.items() if key != lo}
        unkept = {key: value for key, value in self.unkept.items() if key != lo}
        if proof.outcome is Outcome.AGAIN:
            return replace(self, tries=tries | {lo: proof.look.tries + 1}, unkept=unkept)
        return Ledger(union([*self.judged, proof.look.window]), tries, unkept)

    def tallied(self, times: Mapping[int, int], firm: Span) -> Ledger:
        """Return the ledger with samples counted, by their times in ms, that the store does not keep.

        Of a slice only what is firm counts, which every moment is exactly once: see `Progress.firm`.
        """
        windows = Counter(self.unkept)
        for time, count in times.items():
            if firm.lo <= time < firm.hi:
                windows[time - time % WINDOW] += count
        return replace(self, unkept=dict(windows))


def unkept(nans: Mapping[int, int], histograms: Mapping[int, int], keeps: Keeps) -> Counter[int]:
    """Return how many samples a store will not keep, by time in ms, of what `Seen` tells."""
    return Counter({} if keeps.nans else nans) + Counter({} if keeps.histograms else histograms)


def _whole_windows(spans: Iterable[Span]) -> Iterator[Span]:
    for lo, hi in spans:
        first = -(-lo // WINDOW) * WINDOW
        yield from (Span(begin, begin + WINDOW) for begin in range(first, hi - WINDOW + 1, WINDOW))


def to_json(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger as plain values that JSON can hold."""
    listed = {name: sorted(getattr(ledger, name).items()) for name in ("tries", "unkept")}
    return {"judged": ledger.judged, **listed}


def from_json(kept: Mapping[str, Any]) -> Ledger:
    """Return the ledger that plain values say; raises Unreadable where they say none."""
    try:
        spans = [Span(int(lo), int(hi)) for lo, hi in kept["judged"]]
        tries, unkept = ({int(lo): int(count) for lo, count in kept[name]} for name in ("tries", "unkept"))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"no ledger of counted windows: {type(error).__name__}: {error}") from None
    return Ledger(union(spans), tries, unkept)
