"""Which clusters a part of the report covers, and of which nobody can say anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flotilla.dashboards.answers import Answer, Reply, Series
from flotilla.dashboards.coverage import ClusterState, Freshness

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sight:
    """The clusters that a number comes from, and why the others are unknown, by cluster; both in the fleet's order."""

    covers: tuple[str, ...]
    unknown: Mapping[str, str]

    def sentence(self) -> str:
        """Return it in words."""
        known = f"Covers {listed(self.covers)}." if self.covers else "Covers no cluster."
        reasons = "; ".join(f"{name} ({reason})" for name, reason in self.unknown.items())
        return f"{known} {UNKNOWN.capitalize()}: {reasons}." if reasons else known


def silent(states: Iterable[ClusterState]) -> dict[str, str]:
    """Return of each cluster why its samples are too old to go by; empty where they are not."""
    lacking = (Freshness.SILENT, Freshness.NEVER)
    return {one.cluster: one.sentence() if one.freshness in lacking else "" for one in states}


def sight(reasons: Mapping[str, str], present: Collection[str], what: str) -> Sight:
    """Return what can be seen of the clusters that ``reasons`` names, with why one is unknown, if it is.

    ``present`` are the clusters that answers tell of, ``what`` they are answers about.
    """
    nothing = f"the store has nothing of {what}"
    unknown = {name: reason or ("" if name in present else nothing) for name, reason in reasons.items()}
    return Sight(tuple(name for name in unknown if not unknown[name]), {name: why for name, why in unknown.items() if why})


def series_of(reply: Reply) -> tuple[Series, ...]:
    """Return the series of an answer; none where there is no answer."""
    return reply.series if isinstance(reply, Answer) else ()


def clusters_of(*replies: Reply) -> set[str]:
    """Return the clusters of which there is a number in every one of some answers."""
    each = [{one.get("cluster") for one in series_of(reply) if one.last is not None} for reply in replies]
    return set.intersection(*each) if each else set()


def by_cluster(reply: Reply) -> dict[str, float]:
    """Return an answer of one number a cluster."""
    return {one.get("cluster"): one.last for one in series_of(reply) if one.last is not None}


def listed(names: Sequence[str]) -> str:
    """Return names as people list them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
