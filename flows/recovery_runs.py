"""The runs that journals tell of, from all clusters that answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from flotilla.errors import FlotillaError, Permanent
from flotilla.fleet import Fleet
from flotilla.metrics.words import moment
from flotilla.recovery.journal import Journal, Wrote, broken, merged
from tasks.clusters import connect
from tasks.fanout import side_by_side
from tasks.step_journal import journals

log = logging.getLogger("flotilla.recovery")


def known_runs(fleet: Fleet) -> tuple[Journal, ...]:
    """Return the journals that clusters keep, oldest run first; of several copies the longest that is whole.

    Raises Permanent where no cluster answers.
    """
    found = side_by_side(fleet.names, lambda name: journals(connect(fleet.cluster(name))))
    if all(isinstance(one, FlotillaError) for one in found.values()):
        raise Permanent("no cluster tells of runs: " + "; ".join(map(str, found.values())))
    runs: dict[str, Journal] = {}
    for copies in found.values():
        for one in copies if not isinstance(copies, FlotillaError) else ():
            runs[one.run] = _longer(runs[one.run], one) if one.run in runs else one
    return tuple(sorted(runs.values(), key=lambda one: one.entries[0].at if one.entries else 0.0))


def _longer(one: Journal, other: Journal) -> Journal:
    """Return the copy that counts; of two that contradict each other the longer: who walks that run is told, nobody else."""
    try:
        return merged(one, other)
    except Permanent as error:
        log.warning("%s", error)
        return max(one, other, key=lambda copy: len(copy.entries))


def known_run(fleet: Fleet, run: str) -> Journal:
    """Return the journal of a run; raises Permanent where there is none, or its chain is broken."""
    found = [one for one in known_runs(fleet) if one.run == run]
    if not found:
        raise Permanent(f"there is no run {run}: flotilla recover runs lists those there are")
    if why := broken(found[0]):
        raise Permanent(f"the journal of {run} was tampered with: {why}")
    return found[0]


def run_rows(found: Iterable[Journal]) -> list[dict[str, str]]:
    """Return a row for each run: when it began, who started it, how it stands."""
    return [_row(one) for one in found if one.entries]


def _row(one: Journal) -> dict[str, str]:
    first, last = one.entries[0], one.entries[-1]
    return {
        "run": one.run,
        "began": moment(round(1000 * first.at)),
        "by": str(first.said.get("initiator", "")),
        "plan": str(first.said.get("hash", ""))[:12],
        "stands": str(last.said.get("outcome", "")) if last.kind is Wrote.ENDED else f"{last.kind} {last.step}",
        "took": f"{last.at - first.at:.1f} s",
    }
