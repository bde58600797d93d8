"""Which clusters an answer covers, and since when it lacks the others.

A cluster that is cut off does not read as zero: its series just end, and a sum over all quietly becomes a sum over some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flotilla.dashboards.answers import Answer, Reply
from flotilla.dashboards.promql import Binary, Literal, Node, Selector, children, parse, selectors

STALE_AFTER = 120.0
"""Seconds without samples after which a cluster is silent: four beats of the collector."""

COLLECTORS_OWN = "flotilla_"
"""How the collector's own series begin: they tell of a cluster and do not come from it."""

WATERMARKS = "max by (cluster) (last_over_time(flotilla_watermark_timestamp_seconds[7d]))"
"""Up to when (Unix seconds) each cluster's samples are in the store; also answered while no collector runs."""


class Freshness(StrEnum):
    """How recent what the store has of a cluster is."""

    FRESH = "fresh"
    SILENT = "silent"
    NEVER = "never seen"
    UNKNOWN = "unknown"  # no collector tells


@dataclass(frozen=True)
class ClusterState:
    """What the store has of one cluster: ``since`` is its newest complete sample in Unix seconds, None where unknown."""

    cluster: str
    freshness: Freshness
    since: float | None = None
    lag: float | None = None

    def sentence(self) -> str:
        """Return it in words."""
        if self.freshness is Freshness.NEVER:
            return "nothing of it was ever collected"
        if self.since is None or self.lag is None:
            return "how recent its samples are is not known: the store has no flotilla_watermark_timestamp_seconds"
        told = f"{in_words(self.lag)} behind"
        return f"silent, {told}" if self.freshness is Freshness.SILENT else told


@dataclass(frozen=True)
class Coverage:
    """Which clusters a picture covers, which it lacks, and which are there but have no such series."""

    covers: tuple[str, ...] = ()
    lacks: tuple[ClusterState, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether no cluster is lacking."""
        return not self.lacks


def cluster_states(expected: Sequence[str], watermarks: Mapping[str, float], end: float) -> tuple[ClusterState, ...]:
    """Return the state of each cluster as of ``end``: those expected in their order, then others that the store knows."""
    names = [*expected, *sorted(set(watermarks) - set(expected))]
    return tuple(_state(name, watermarks, end) for name in names)


def complete_until(states: Iterable[ClusterState], now: float) -> float:
    """Return up to when every cluster that is not silent has been collected: a picture to there has no ragged edge."""
    return min([now, *(one.since for one in states if one.freshness is Freshness.FRESH and one.since is not None)])


def coverage(states: Iterable[ClusterState], text: str, replies: Mapping[str, Reply]) -> Coverage:
    """Return what an expression covers; ``replies`` answer ``presence_texts``, by text. Raises NotPromql."""
    root, states = parse(text), tuple(states)
    having = {asked: clusters_in(reply) for asked, reply in replies.items()}
    present = _present(root, having)
    own = all(one.name.startswith(COLLECTORS_OWN) for one in selectors(text))
    lacks = () if own else tuple(one for one in states if one.freshness in (Freshness.SILENT, Freshness.NEVER))
    others = [one.cluster for one in states if one not in lacks]
    covers = tuple(name for name in others if present is None or name in present)
    return Coverage(covers, lacks, tuple(name for name in others if name not in covers))


def presence_texts(text: str) -> tuple[str, ...]:
    """Return the questions that tell which clusters have the series of each selector; raises NotPromql."""
    return tuple(dict.fromkeys(_presence(one) for one in selectors(text)))


def together(parts: Iterable[Coverage]) -> Coverage:
    """Return what several expressions of one picture cover together: it lacks what any of them lacks."""
    parts = list(parts)
    lacks = {state.cluster: state for part in parts for state in part.lacks}
    named = dict.fromkeys(name for part in parts for name in (*part.covers, *part.without))
    seen = {name for part in parts for name in part.covers}
    clear = [name for name in named if name not in lacks]
    covers = tuple(name for name in clear if name in seen)
    return Coverage(covers, tuple(lacks.values()), tuple(name for name in clear if name not in covers))


def clusters_in(reply: Reply) -> frozenset[str] | None:
    """Return the clusters that have series in an answer; None where nobody could say."""
    if not isinstance(reply, Answer):
        return None
    return frozenset(one.get("cluster") for one in reply.series if one.last)


def watermarks_of(reply: Reply) -> dict[str, float]:
    """Return the answer to ``WATERMARKS`` by cluster; empty where there is none."""
    answered = reply.series if isinstance(reply, Answer) else ()
    return {one.get("cluster"): one.last for one in answered if one.last is not None and one.get("cluster")}


def in_words(seconds: float) -> str:
    """Return a span as people say it: 45 s, 4 min, 3 h, 2 d."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= 90):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _state(name: str, watermarks: Mapping[str, float], end: float) -> ClusterState:
    if not watermarks:
        return ClusterState(name, Freshness.UNKNOWN)
    since = watermarks.get(name)
    if since is None:
        return ClusterState(name, Freshness.NEVER)
    lag = max(0.0, end - since)
    return ClusterState(name, Freshness.SILENT if lag > STALE_AFTER else Freshness.FRESH, since, lag)


def _presence(selector: Selector) -> str:
    quoted = (f'{one.label}{one.op}"{_escaped(one.value)}"' for one in selector.matchers if one.label != "__name__")
    named = [one for one in selector.matchers if one.label == "__name__" and one.op != "="]
    inner = ", ".join([*(f'__name__{one.op}"{_escaped(one.value)}"' for one in named), *quoted])
    return f"count by (cluster) ({selector.name}{{{inner}}})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _present(node: Node, having: Mapping[str, frozenset[str] | None]) -> frozenset[str] | None:
    """Return the clusters that have series for all that a node needs; None where it needs none, or nobody could say."""
    if isinstance(node, Selector):
        return having.get(_presence(node))
    if isinstance(node, Literal):
        return None
    found = [one for child in children(node) if (one := _present(child, having)) is not None]
    if not found:
        return None
    if isinstance(node, Binary) and node.op == "or":
        return frozenset[str]().union(*found)
    if isinstance(node, Binary) and node.op == "unless":
        return _present(node.left, having)
    return frozenset.intersection(*found)
