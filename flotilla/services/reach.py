"""Who reached whom: what became of trying to get from a pod in each cluster to a pod in each other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flotilla.errors import FlotillaError


@dataclass(frozen=True)
class Reach:
    """Whether a pod of ``source`` reached a pod of ``target`` at ``address``; None where nobody could try.

    ``detail`` is what was said in place of an answer, or why nobody could try.
    """

    source: str
    target: str
    reached: bool | None
    address: str = ""
    detail: str = ""


def every_pair(
    names: Sequence[str],
    targets: Mapping[str, str | FlotillaError],
    tried: Mapping[str, tuple[Reach, ...] | FlotillaError],
) -> tuple[Reach, ...]:
    """Return a Reach for each ordered pair of clusters, those included that nobody could try.

    ``targets`` are the addresses of the pods that answer, by cluster, or why there is none; ``tried`` is what each
    cluster's own pod found, or why it could not run.
    """
    found = {(one.source, one.target): one for told in tried.values() if isinstance(told, tuple) for one in told}

    def pair(source: str, target: str) -> Reach:
        for error in (targets.get(source), targets.get(target), tried.get(source)):
            if isinstance(error, FlotillaError):
                return Reach(source, target, None, detail=str(error))
        return found.get((source, target)) or Reach(source, target, None, detail="nobody tried")

    return tuple(pair(source, target) for source in names for target in names if source != target)
