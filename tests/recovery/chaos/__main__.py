"""`make chaos`: every runbook struck at every step, or the part of that table that is chosen; the lab has to be there.

python -m tests.recovery.chaos [--runbook switchover] [--step drain] [--moment during] [--fault target-killed]
                               [--sample 12 --seed 7] [--rate 30] [--list]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lab
from flotilla.recovery.steps import Kind
from tests.recovery.chaos.cells import RUNBOOKS, Cell, cells, sample
from tests.recovery.chaos.report import LEGEND, line, tables
from tests.recovery.chaos.striking import Result, Striking
from tests.recovery.field import opened_field
from tests.recovery.users import primaries, users


def main(words: Sequence[str]) -> int:
    """Play what is chosen; 1 if a promise was broken, or a run ended as none may."""
    asked = _asked(words)
    table = cells([Kind(one) for one in asked.runbook or RUNBOOKS], asked.step, asked.moment, asked.fault)
    chosen = sample(table, asked.sample, asked.seed) if asked.sample else table
    if asked.list:
        print("\n".join(map(str, chosen)))
        return 0
    results = _played(chosen, asked.rate)
    for one in tables(results):
        print(f"\n{one}")
    print(f"\n{LEGEND}\n\n{line(results, asked.seed)}")
    return 0 if all(one.is_good for one in results) else 1


def _asked(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.chaos", description="Recoveries struck at every step.")
    for name in ("runbook", "step", "moment", "fault"):
        parser.add_argument(f"--{name}", action="append", default=[], help="repeatable; without it all")
    parser.add_argument("--sample", type=int, default=0, help="so many cells by chance")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--rate", type=float, default=30.0, help="orders a second meanwhile")
    parser.add_argument("--list", action="store_true", help="tell what would be played")
    return parser.parse_args(words)


def _played(chosen: Sequence[Cell], rate: float) -> list[Result]:
    results = []
    with (
        tempfile.TemporaryDirectory() as folder,
        opened_field(lab.ensure(), Path(folder)) as field,
        primaries(field, os.environ) as seen,
        users(field, rate) as load,
    ):
        striking = Striking(field, load, seen)
        for number, cell in enumerate(chosen, 1):
            results.append(one := striking.played(cell))
            gates = f", asked at {', '.join(dict.fromkeys(one.gates))}" if one.gates else ""
            print(f"{number}/{len(chosen)} {cell}: {one.end}{gates} ({one.seconds:.0f} s)", flush=True)
            if not one.is_good:
                print(
                    f"    {one.told}\n    lost {one.lost[:3]}, twice {one.twice[:3]}, two primaries {one.two[:3]}", flush=True
                )
        load.stop()
        field.home()
    return results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
