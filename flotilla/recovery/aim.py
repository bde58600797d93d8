"""On whose behalf an act is judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """The run and its epoch, how many sites there are, and what people let pass: ``waived`` are names of guards.

    ``glass``: a majority could not be had, and two people broke the glass. ``promoting``: the site at which a promotion that
    the run asked for, and takes back, may be under way. ``begun``: the sites that were asked to accept the epoch, and may
    have, whether they answered or not.
    """

    run: str
    epoch: int
    sites: int = 3
    glass: bool = False
    waived: frozenset[str] = frozenset()
    promoting: str = ""
    begun: frozenset[str] = frozenset()

    @property
    def majority(self) -> int:
        """How many sites are more than half."""
        return self.sites // 2 + 1

    @property
    def needed(self) -> int:
        """How many agents have to have accepted the epoch."""
        return 1 if self.glass else self.majority
