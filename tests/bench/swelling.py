"""How the collector grows: more series over three clusters, more clusters of few series each."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.binaries import Binaries
from tests.bench.members import NAMES, Ground, members
from tests.bench.programs import available
from tests.bench.rounds import Arena, Spent, idle, ours

MIB_PER_SERIES, MIB_PER_MEMBER = 0.012, 150.0  # of all processes together: an estimate, only to refuse what cannot fit
HISTORY = 95.0  # seconds of samples that there must be: what settles, what is read again, a little of the past


@dataclass(frozen=True)
class Size:
    """So many series over all clusters."""

    series: int
    clusters: int

    def __str__(self) -> str:
        return f"{self.series} x {self.clusters}"

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names."""
        return (*NAMES, *(f"member-{number}" for number in range(4, self.clusters + 1)))[: self.clusters]

    @property
    def mib(self) -> float:
        """The memory that all processes take, about."""
        return self.series * MIB_PER_SERIES + self.clusters * MIB_PER_MEMBER


def print_growth(binaries: Binaries, sizes: Sequence[Size], *, scrape: float, beat: float, beats: int) -> None:
    """Measure every size, or say why it cannot be; print table and JSON."""
    found: dict[str, dict[str, Any]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found[str(size)] = _measured(Ground(Path(folder), binaries, scrape, beat), size, beats)
        print(json.dumps({str(size): found[str(size)]}), file=sys.stderr, flush=True)
    _print(found)
    print(json.dumps(found))


def _measured(ground: Ground, size: Size, beats: int) -> dict[str, Any]:
    """Return the figures of a size; where there are none, ``reason`` says why."""
    if size.mib > available():
        return {"reason": f"about {size.mib:,.0f} MiB are needed, {available():,.0f} MiB are free"}
    try:
        with members(ground, size.series // size.clusters, size.names) as clusters:
            ground.wait(HISTORY / ground.beat)
            arena = Arena(clusters, beats)
            return _figures(ours(Arena(clusters, beats, idle(arena)), 0))
    except (SystemExit, OSError, MemoryError) as error:
        return {"reason": f"{type(error).__name__}: {error}"}


def _figures(spent: Spent) -> dict[str, Any]:
    last = spent.cycles[-1]["done"].values()
    return {
        "cycle_s": round(median(spent.walls), 3),
        "longest_s": round(max(spent.walls), 3),
        "rss_mib": round(spent.peak),
        "series": sum(one["series"] for one in last),
        "samples": sum(one["samples"] for one in last),
        "lag_s": round(max(one["lag"] for one in last), 1),
        "cpu_s": {name: round(used, 2) for name, used in spent.cpu.items()},
        "samples_wrong": spent.counted.wrong,
    }


def _print(found: dict[str, dict[str, Any]]) -> None:
    table = Table(title="one cycle of all clusters; CPU seconds a beat")
    for column in ("series x clusters", "cycle", "longest", "memory", "samples", "member", "Python", "store", "wrong"):
        table.add_column(column, justify="right")
    for name, one in found.items():
        if "reason" in one:
            continue
        cpu = (f"{one['cpu_s'][user]:.2f}" for user in ("member", "python", "store"))
        times = (f"{one['cycle_s']:.2f} s", f"{one['longest_s']:.2f} s", f"{one['rss_mib']} MiB", f"{one['samples']:,}")
        table.add_row(name, *times, *cpu, str(one["samples_wrong"]))
    console = Console(width=128)
    console.print(table)
    for name, one in found.items():
        if "reason" in one:
            console.print(f"{name}: not measured: {one['reason']}")
