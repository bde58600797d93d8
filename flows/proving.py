"""The proof that nothing was lost: each window of five minutes is counted at the cluster and at the store, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flotilla.errors import FlotillaError, Transient
from flotilla.metrics import counting, quarantine
from flotilla.metrics.completeness import Ledger, Look, Proof, judged
from flotilla.metrics.counting import EDGE_PROBE, Edge
from flotilla.metrics.quarantine import Quarantined
from flotilla.metrics.selectors import Selector
from flotilla.metrics.spans import Span, common
from flotilla.metrics.windows import Progress
from tasks.promql import Engine

AT_ONCE = 2  # windows counted in one cycle: the newest, and one of those that are left


class Counter:
    """Counts samples at one engine: ``selectors`` are what is collected, as that engine's series carry it."""

    def __init__(self, engine: Engine, selectors: Sequence[Selector]) -> None:
        self._engine, self._selectors = engine, selectors
        self._edge: Edge | None = None

    def counted(self, window: Span) -> dict[str, int]:
        """Return how many samples there are in a window, by metric; raises Transient or Permanent."""
        names = {one: self._engine.values("__name__", one, window.lo / 1000) for one in self._selectors}
        found: dict[str, int] = {}
        for query in counting.count_queries(counting.by_metric(names), window, self._edge_of(window.hi // 1000)):
            found |= counting.counts(self._engine.query(query, counting.asked_at(window)))
        return found

    def _edge_of(self, second: int) -> Edge:
        if self._edge is None:
            (answer,) = self._engine.query(EDGE_PROBE, str(second)) or [{"value": [0, "nan"]}]
            try:
                self._edge = counting.edge_of(float(answer["value"][1]))
            except ValueError as error:
                raise Transient(f"{self._engine.name}: {error}") from None
        return self._edge


@dataclass(frozen=True)
class About:
    """What there is to know of a cluster besides its counts: ``oldest`` is the first time that it still holds, in ms."""

    cluster: str
    oldest: int | None
    set_aside: Sequence[Quarantined]


def proofs(progress: Progress, ledger: Ledger, ends: tuple[Counter, Counter], about: About) -> list[Proof]:
    """Return what the windows prove that are due: those of which all is done or lost. ``ends`` are cluster and store.

    Raises Transient or Permanent where the store cannot be asked; a cluster that cannot be asked is a proof of its own.
    """
    return [_proof(window, progress, ledger, ends, about) for window in ledger.due(progress, AT_ONCE)]


def _proof(window: Span, progress: Progress, ledger: Ledger, ends: tuple[Counter, Counter], about: About) -> Proof:
    member, store = ends
    look = Look(
        about.cluster,
        window,
        _at_member(member, window, about.oldest),
        store.counted(window),
        unkept=ledger.unkept.get(window.lo, 0),
        set_aside=quarantine.set_aside(about.set_aside, about.cluster, window),
        gaps=tuple(gap for gap in progress.gaps if common([gap.span], [window])),
        tries=ledger.tries.get(window.lo, 0),
    )
    return judged(look)


def _at_member(member: Counter, window: Span, oldest: int | None) -> dict[str, int] | None:
    if oldest is not None and oldest > window.lo:
        return None
    try:
        return member.counted(window)
    except FlotillaError:
        return None
