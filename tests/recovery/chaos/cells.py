"""The table: which runbook is struck at which step, when, by what; and a fair sample of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from flotilla.recovery.journal import Wrote
from flotilla.recovery.planning import Terms, plan_for
from flotilla.recovery.refusals import Asked
from flotilla.recovery.steps import Kind, Mode, Plan
from tests.flotilla.recovery.modelled import P, S, fleet
from tests.flotilla.recovery.test_interruptions import lost, returned
from tests.flotilla.recovery.walked import LAYOUT, Walk, failover, switchover
from tests.recovery.chaos.faults import FAULTS, LOST, ORCHESTRATOR, RETURNS
from tests.recovery.chaos.runner import Moment

RUNBOOKS = (Kind.SWITCHOVER, Kind.FAILOVER, Kind.REPROTECT, Kind.FAILBACK)
OF_THE_LOST = (Kind.REPROTECT, Kind.FAILBACK)  # played at a site that was lost, towards the one that took over
_STANDS_AT = {
    "before": (Wrote.INTENDED, Wrote.WAITED),
    "during": (Wrote.INTENDED,),
    "after": (Wrote.TOLD, Wrote.FAILED),
}


@dataclass(frozen=True)
class Cell:
    """One thing that goes wrong."""

    runbook: Kind
    step: str
    moment: Moment
    fault: str

    def __str__(self) -> str:
        return f"{self.runbook}: {self.fault} {self.moment} {self.step}"


def steps_of(runbook: Kind) -> tuple[str, ...]:
    """Return the steps of a runbook between the two sites of the city, by the plan that it would be."""
    mode = Mode.UNGRACEFUL if runbook is Kind.FAILOVER else Mode.GRACEFUL
    found = plan_for(Asked(runbook, S, mode=mode), fleet().world(), LAYOUT, Terms(stable=5))
    assert isinstance(found, Plan), found
    return tuple(step.key for step in found.steps)


def step_at(step: str, origin: str, target: str) -> str:
    """Return a step's key with sites as they are: the table names them as they are planned, from production to same-city."""
    for planned, site in ((P, origin), (S, target)):
        if step.endswith(planned):
            return step.removesuffix(planned) + site
    return step


def faults_of(runbook: Kind) -> tuple[str, ...]:
    """Return what can go wrong in a runbook: the origin of a failover is lost already, and may come back too early."""
    at_sites = tuple(name for name, (role, _) in FAULTS.items() if runbook is not Kind.FAILOVER or role == "target")
    more = {Kind.FAILOVER: (RETURNS,), Kind.SWITCHOVER: (LOST,)}.get(runbook, ())
    return (ORCHESTRATOR, *at_sites, *more)


def strikes(cell: Cell) -> bool:
    """Tell whether the run comes by the step at all, by the model: where nothing is to be done nothing can be struck."""
    steps, sites = steps_of(cell.runbook), (S, P) if cell.runbook in OF_THE_LOST else (P, S)
    if cell.fault == LOST and steps.index(cell.step) > steps.index("promote"):
        return False  # who is lost once the other one is primary is owed, and waited for
    written = _written(cell.runbook)
    return any((step_at(cell.step, *sites), kind) in written for kind in _STANDS_AT[cell.moment])


@cache
def _written(runbook: Kind) -> frozenset[tuple[str, Wrote]]:
    """Return what a run that nothing disturbs writes down, by step."""
    worlds = {Kind.SWITCHOVER: (fleet, switchover(S)), Kind.FAILOVER: (lambda: lost(P), failover(S))}
    made, asked = worlds.get(runbook, (returned, Asked(runbook, P, run="run-2")))
    walk = Walk.begin(made(), asked)
    walk.to_the_end()
    return frozenset((entry.step, entry.kind) for entry in walk.journal.entries)


def cells(
    runbooks: Iterable[Kind] = RUNBOOKS, steps: Sequence[str] = (), moments: Sequence[str] = (), faults: Sequence[str] = ()
) -> list[Cell]:
    """Return the table, or the part of it that is chosen."""
    return [
        Cell(runbook, step, moment, fault)
        for runbook in runbooks
        for step, moment, fault in product(steps_of(runbook), Moment, faults_of(runbook))
        if (not steps or step in steps) and (not moments or moment in moments) and (not faults or fault in faults)
    ]


def sample(table: Sequence[Cell], number: int, seed: int) -> list[Cell]:
    """Return some cells that can strike, by chance: the runbooks in turn, and no fault again before each was there."""
    chance, by_runbook, used = random.Random(seed), dict[Kind, list[Cell]](), dict[str, int]()
    for cell in filter(strikes, table):
        by_runbook.setdefault(cell.runbook, []).append(cell)
    for found in by_runbook.values():
        chance.shuffle(found)
    chosen: list[Cell] = []
    while len(chosen) < number and any(by_runbook.values()):
        for found in by_runbook.values():
            if found and len(chosen) < number:
                rarest = min(found, key=lambda cell: used.get(cell.fault, 0))
                found.remove(rarest)
                used[rarest.fault] = used.get(rarest.fault, 0) + 1
                chosen.append(rarest)
    return sorted(chosen, key=lambda cell: RUNBOOKS.index(cell.runbook))
