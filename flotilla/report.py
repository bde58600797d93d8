"""How a rollout ended, as a value; tables and sentences are views of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """The final states of a rollout, each a stated one."""

    PLANNED = "planned"
    GOOD = "good"
    PARTIAL = "partial"
    ROLLED_BACK = "rolled back"
    STOPPED = "stopped"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True)
class ClusterReport:
    """Where one cluster ended: its revision (None: never had one) and a sentence."""

    cluster: str
    state: str
    revision: int | None = None
    message: str = ""


@dataclass(frozen=True)
class Report:
    """How a rollout ended. ``owing`` are clusters that were away: the next run or the drift schedule brings them along."""

    application: str
    revision: int
    end: End
    plan: str
    clusters: tuple[ClusterReport, ...] = ()
    owing: tuple[str, ...] = ()
    message: str = ""

    def sentence(self) -> str:
        """Return the report in one line."""
        told = f"{self.application} revision {self.revision}: {self.end}"
        if self.message:
            told += f": {self.message}"
        return told + (f"; owing: {', '.join(self.owing)}" if self.owing else "")

    def rows(self) -> list[dict[str, str]]:
        """Return the report as rows of a table."""
        return [
            {"cluster": one.cluster, "state": one.state, "revision": str(one.revision or ""), "message": one.message}
            for one in self.clusters
        ]


def ending_of(clusters: tuple[ClusterReport, ...], owing: tuple[str, ...]) -> End:
    """Return how a rollout ended that nothing stopped: good, or partial where a cluster owes or was skipped."""
    return End.PARTIAL if owing or any(one.state != "healthy" for one in clusters) else End.GOOD
