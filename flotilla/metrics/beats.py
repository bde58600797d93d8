"""When the next cycle is due, how late one is, and which replica of a pair is read, or listened to.

Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flotilla.metrics.words import spoken

LATE = 1000  # ms: a beat that begins by so much later says so
PATIENCE = 30_000  # ms that a replica may lag before the other one is read: what Mimir's HA tracker waits


@dataclass(frozen=True)
class Beat:
    """One cycle: its number since 1970, when it was due, how late it began, how many were left out since the last one."""

    number: int
    due: int
    late: int
    missed: int = 0

    def __str__(self) -> str:
        late = f" began {spoken(self.late)} late" if self.late >= LATE else ""
        missed = f", {self.missed} left out before it" if self.missed else ""
        return f"beat {self.number}{late}{missed}"


def beat(now: int, every: int, last: int | None = None) -> Beat:
    """Return the cycle that begins now, ``last`` being the number of the one before.

    Beats stand on a fixed grid, so that a late one does not make all later ones late, and two collectors beat alike.
    """
    number = now // every
    return Beat(number, number * every, now - number * every, max(0, number - last - 1) if last is not None else 0)


def pause(now: int, every: int) -> int:
    """Return how long it is until the next beat."""
    return every - now % every


def replica(newest: Mapping[str, int | None], current: str | None) -> str | None:
    """Return which of a pair of Prometheus is read in this cycle; None where none answers.

    ``newest`` is the time of each one's last sample, None where it does not answer. The one that was read stays, unless it
    lags behind another by more than PATIENCE: the replicas' samples have different times, and each change costs exactness.
    """
    fresh = {name: time for name, time in newest.items() if time is not None}
    if not fresh:
        return None
    best = max(sorted(fresh), key=lambda name: fresh[name])
    is_good_enough = current in fresh and fresh[best] - fresh[current] <= PATIENCE
    return current if is_good_enough else best


def leader(current: str | None, heard: int, replica: str, now: int) -> str:
    """Return whose samples of a pair that pushes are taken, as one of the two pushes: the other ones' are left.

    ``heard`` is when the current one last pushed. Another one takes its place once it has been silent for PATIENCE.
    """
    return replica if current is None or now - heard > PATIENCE else current
