"""What chaos found: a table of steps and faults for each runbook, and one line of JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from flotilla.markdown import table
from tests.recovery.chaos.runner import Moment
from tests.recovery.chaos.striking import End, Result

_SIGNS = {End.VERIFIED: "v", End.TAKEN_BACK: "b", End.AT_GATE: "g", End.PASSED_BY: "-", End.FAILED: "X"}
LEGEND = (
    "before, during and after a step: v verified, b taken back, g ended at a named gate, - nothing was to be done there, "
    "X failed, . not played; * a promise broken"
)


def tables(results: Sequence[Result]) -> Iterable[str]:
    """Yield a table for each runbook: a row for each step, a column for each fault."""
    for runbook in dict.fromkeys(one.cell.runbook for one in results):
        of_it = [one for one in results if one.cell.runbook is runbook]
        faults = dict.fromkeys(one.cell.fault for one in of_it)
        rows = [
            {runbook: step, **{fault: _cell(step, fault, of_it) for fault in faults}}
            for step in dict.fromkeys(one.cell.step for one in of_it)
        ]
        yield table(rows)


def _cell(step: str, fault: str, results: Iterable[Result]) -> str:
    found = {one.cell.moment: one for one in results if (one.cell.step, one.cell.fault) == (step, fault)}
    return "".join(_sign(found.get(moment)) for moment in Moment)


def _sign(one: Result | None) -> str:
    if one is None:
        return "."
    return _SIGNS[one.end] + ("*" if one.lost or one.twice or one.two else "")


def line(results: Sequence[Result], seed: int) -> str:
    """Return what counts as one line of JSON."""
    ends = Counter(one.end for one in results)
    gates = Counter(gate for one in results for gate in one.gates)
    return json.dumps(
        {
            "cells": len(results),
            "struck": sum(one.end is not End.PASSED_BY for one in results),
            **{end.replace(" ", "_"): ends[end] for end in End},
            "gates": dict(gates),
            "acknowledged": max((one.acknowledged for one in results), default=0),
            "acknowledged_lost": len({lost for one in results for lost in one.lost}),
            "duplicated": len({twice for one in results for twice in one.twice}),
            "two_primaries": sum(len(one.two) for one in results),
            "not_good": [str(one.cell) for one in results if not one.is_good],
            "seconds": round(sum(one.seconds for one in results)),
            "seed": seed,
        }
    )
