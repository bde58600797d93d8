"""Recoveries under load: how long nobody can write, and what of that is ours.

    python -m tests.bench.recovery                        20 switchovers, 6 bare ones, 3 failovers, 1 to remote
    python -m tests.bench.recovery --switchovers 4 --floors 2 --failovers 1

A client outside all sites writes orders by the DNS name that users know, and notes what is acknowledged. An outage is the
longest time between two acknowledged writes around a move. The floor is the same acts at the same agents in the same run, by
warm connections, without a look, a plan, a journal or a lease between two of them; our own share is what a switchover takes
longer than that, of medians. The lab is this checkout's, or one of our own that is gone afterwards.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import lab
from flotilla.ledger import Verdict
from tests.bench.dying import Died, failover, to_remote
from tests.bench.moving import Moved, moves
from tests.recovery.field import Field, opened_field
from tests.recovery.users import users

Moves = dict[str, list[Moved]]


def main() -> None:
    """Measure, print the table and, as the last line, the figures as one JSON object."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    running = lab.ensure()
    if running.without_databases:
        sys.exit(f"the lab has no databases: {running.without_databases}")
    load = [os.getloadavg()[0]]
    try:
        with tempfile.TemporaryDirectory() as folder, opened_field(running, Path(folder)) as field:
            moved, verdict = _moved(field, arguments)
            died = [_said(failover(field, arguments.rate), "failover") for _ in range(arguments.failovers)]
            remote = [_said(to_remote(field, arguments.rate), "to remote") for _ in range(arguments.remote)]
    finally:
        if not running.reused:
            lab.down()
    load.append(os.getloadavg()[0])
    _print(moved, died, remote, load)
    print(json.dumps(figures(moved, verdict, died, remote) | {"load": [round(one, 1) for one in load]}))


def figures(moved: Moves, verdict: Verdict, died: list[Died], remote: list[Died]) -> dict[str, Any]:
    """Return what is compared; seconds. What remote lost is counted apart: it may lose what its statement says."""
    ours, floor = ([one.outage for one in moved.get(name, ())] for name in ("ours", "floor"))
    share = statistics.median(ours) - statistics.median(floor) if ours and floor else None
    city = [verdict, *(one.verdict for one in died)]
    every = [*city, *(one.verdict for one in remote)]
    return {
        "switchover_p95_s": _rounded(p95(ours) if ours else None),
        "own_share_s": _rounded(share),
        "failover_s": _rounded(statistics.median(one.seconds for one in died) if died else None),
        "remote_after_approval_s": _rounded(statistics.median(one.seconds for one in remote) if remote else None),
        "acknowledged_lost": sum(len(one.lost) for one in city),
        "duplicated": sum(len(one.duplicated) for one in every),
        "switchover_p50_s": _rounded(statistics.median(ours) if ours else None),
        "floor_p50_s": _rounded(statistics.median(floor) if floor else None),
        "lost_to_remote": sum(len(one.verdict.lost) for one in remote),
        "acknowledged": sum(one.acknowledged for one in every),
    }


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile by nearest rank: of 20 the second largest."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def _moved(field: Field, arguments: argparse.Namespace) -> tuple[Moves, Verdict]:
    found: Moves = {"ours": [], "floor": []}
    with users(field, arguments.rate) as load:
        for who, one in moves(field, load, arguments.switchovers, arguments.floors):
            found[who].append(one)
            print(f"{who} {len(found[who])}: {one.outage:.2f} s without writes", file=sys.stderr, flush=True)
        verdict = load.stop()
    return found, verdict


def _said(one: Died, what: str) -> Died:
    print(f"{what}: {one.seconds:.2f} s; {one.verdict}", file=sys.stderr, flush=True)
    return one


def _print(moved: Moves, died: list[Died], remote: list[Died], load: list[float]) -> None:
    title = f"seconds while nobody can write, medians (range); load average {load[0]:.1f} before, {load[1]:.1f} after"
    table = Table(title=title)
    for column in ("", "flotilla", "bare acts", "ours"):
        table.add_column(column, justify="right" if column else "left")
    ours, floor = moved["ours"], moved["floor"]
    for phase in ours[0].phases if ours else ():
        _row(table, phase, [one.phases[phase] for one in ours], [one.phases.get(phase, 0.0) for one in floor])
    _row(table, f"without writes, {len(ours)} and {len(floor)}", [one.outage for one in ours], [one.outage for one in floor])
    _row(table, f"site killed -> first write, {len(died)}", [one.seconds for one in died], [])
    _row(table, f"second approval -> first write at remote, {len(remote)}", [one.seconds for one in remote], [])
    Console(width=128).print(table)


def _row(table: Table, name: str, ours: list[float], floor: list[float]) -> None:
    share = f"{statistics.median(ours) - statistics.median(floor):+.2f}" if ours and floor else ""
    table.add_row(name, _told(ours), _told(floor), share)


def _told(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else ""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--switchovers", type=int, default=20, help="there and back in turns")
    parser.add_argument("--floors", type=int, default=6, help="bare ones among them")
    parser.add_argument("--failovers", type=int, default=3, help="by the watcher, each with the way home")
    parser.add_argument("--remote", type=int, default=1, help="failovers to remote that two people agree to")
    parser.add_argument("--rate", type=float, default=100.0, help="orders a second")
    return parser.parse_args()


if __name__ == "__main__":
    main()
