"""Would a site hold the business' pods? Placed one by one on nodes, by what is requested, as the scheduler would have to.

A lower bound of what is refused: requests, node selectors, taints are looked at; affinity, spread and quotas may refuse more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal


@dataclass(frozen=True)
class Space:
    """What a node that would take the pods can still give: CPU in cores, memory in bytes, and a number of pods."""

    node: str
    cpu: Decimal
    memory: Decimal
    pods: int


@dataclass(frozen=True)
class Need:
    """What the pods of a Deployment ask for that are wanted and not there yet: each so much, and where they may run."""

    deployment: str
    copies: int
    cpu: Decimal
    memory: Decimal
    nodes: frozenset[str]


def homeless(spaces: Sequence[Space], needs: Sequence[Need]) -> tuple[str, ...]:
    """Return for each Deployment whose pods find no node how many do not; the largest are placed first, on the fullest node."""
    free, told = {one.node: one for one in spaces}, list[str]()
    for need in sorted(needs, key=lambda one: (one.memory, one.cpu), reverse=True):
        placed = 0
        while placed < need.copies and (node := _home(need, free)) is not None:
            free[node.node] = replace(node, cpu=node.cpu - need.cpu, memory=node.memory - need.memory, pods=node.pods - 1)
            placed += 1
        if placed < need.copies:
            asked = f"{need.cpu.normalize():f} cores, {need.memory / 1024**2:.0f} MiB each"
            told.append(f"{need.copies - placed} of {need.copies} more pods of {need.deployment} would find no node ({asked})")
    return tuple(told)


def _home(need: Need, free: dict[str, Space]) -> Space | None:
    fitting = [
        one
        for one in free.values()
        if one.node in need.nodes and one.pods > 0 and one.cpu >= need.cpu and one.memory >= need.memory
    ]
    return min(fitting, key=lambda one: (one.memory, one.cpu), default=None)
