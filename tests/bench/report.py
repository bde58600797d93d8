"""The tables of the benchmark of metrics."""

from __future__ import annotations

from statistics import median

from rich.console import Console
from rich.table import Table

from tests.bench.behind import CaughtUp
from tests.bench.opening import Opened
from tests.bench.rounds import Spent

USERS = ("member", "python", "central", "store", "proof")
STAGES = ("member", "python", "store", "wall")


def print_report(rounds: dict[str, list[Spent]], caught: CaughtUp, opened: Opened, load: list[float]) -> None:
    """Print what each way took, the parts of our cycle, the catching up and the pages."""
    console = Console(width=128)
    console.print(_ways(rounds, load))
    console.print(_stages(rounds["ours"]))
    console.print(_pages(opened))
    console.print(
        f"caught up in {caught.seconds:.0f} s at {caught.rate:,.0f} samples/s; others at most {caught.others_lag:.0f} s old; "
        f"a store filled at {opened.fill_rate:,.0f} samples/s"
    )


def _ways(rounds: dict[str, list[Spent]], load: list[float]) -> Table:
    title = f"CPU seconds a beat over idle, medians; load average {load[0]:.1f} before, {load[1]:.1f} after"
    table = Table(title=title)
    for column in ("", *USERS, "all", "seconds", "samples a beat"):
        table.add_column(column, justify="right" if column else "left")
    for way, spent in rounds.items():
        used = [median(one.cpu.get(user, 0.0) for one in spent) for user in USERS]
        walls = [wall for one in spent for wall in one.walls]
        wall = f"{median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f})" if walls else "-"
        total, rows = median(one.total for one in spent), median(one.rows for one in spent)
        table.add_row(way.replace("_", " "), *(f"{one:.2f}" for one in used), f"{total:.2f}", wall, f"{rows:,.0f}")
    return table


def _stages(mine: list[Spent]) -> Table:
    table = Table(title="our cycle by cluster: median seconds waited for each; python is its thread's CPU")
    for column in ("", *STAGES, "samples"):
        table.add_column(column, justify="right" if column else "left")
    cycles = [cycle["done"] for spent in mine for cycle in spent.cycles]
    for name in cycles[0]:
        stages = (f"{median(one[name][stage] for one in cycles):.3f}" for stage in STAGES)
        table.add_row(name, *stages, f"{median(one[name]['samples'] for one in cycles):,.0f}")
    return table


def _pages(opened: Opened) -> Table:
    table = Table(title=f"pages over {opened.range / 60:.0f} min; {opened.unanswered} panels without an answer")
    for column in ("page", "seconds", "slowest panel"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for page, seconds in opened.pages.items():
        table.add_row(page, f"{seconds:.2f}", opened.slowest[page])
    return table
