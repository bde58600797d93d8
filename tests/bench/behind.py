"""Catching up: a cluster of few series comes back after hours, beside others that go on as usual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from flotilla.metrics.windows import Progress
from tasks.doors import now
from tasks.progress import Kept, write_kept
from tests.bench.counting import Counted, counted
from tests.bench.cycles import Collecting
from tests.bench.exposition import nodes_for
from tests.bench.history import write_history
from tests.bench.members import Ground, Member, Members, member_config
from tests.bench.programs import Program, python

NAME = "returned"
STEP = 30_000  # ms between two samples of its past
CAUGHT_UP = 90.0  # seconds that may be missing of it: what settles, what is read once more, a beat
MOST_CYCLES = 200
SHORT = 60_000  # ms of the past that the others lack


@dataclass(frozen=True)
class CaughtUp:
    """How a cluster caught up: samples a second while it was read, seconds until all was there, the others' worst lag (s)."""

    rate: float
    seconds: float
    others_lag: float
    counted: Counted


def catch_up(others: Members, series: int, hours: float) -> CaughtUp:
    """Return how a cluster of so many series catches up after a cut of so many hours, beside others that were not cut off."""
    ground, missing = others.ground, round(hours * 3_600_000)
    with _returned(ground, series, missing) as member, ground.store("store-catch-up") as store:
        members = replace(others, each=[*others.each, member])
        folder = ground.folder / "catch-up"
        for one in members.each:
            _seed(folder, one.name, missing if one.name == NAME else SHORT)
        with Collecting(members.fleet_text(store), folder) as collecting:
            cycles = list(_until_caught_up(collecting))
        return _judged(cycles, counted(members, store, collecting.state))


def lag(cycles: Sequence[dict[str, Any]], but: str = "") -> float:
    """Return how old, in seconds, what the store had of a cluster ever was, just before the next cycle's end brought more."""
    ages = [
        later["ended"] - one["seen"]
        for before, later in pairwise(cycles)
        for name, one in before["done"].items()
        if name != but and one["seen"]
    ]
    return max(ages, default=0) / 1000


def _judged(cycles: Sequence[dict[str, Any]], found: Counted) -> CaughtUp:
    *behind, _ = cycles  # the last one is as usual
    samples, busy = (sum(one["done"][NAME][key] for one in behind) for key in ("samples", "wall"))
    seconds = (behind[-1]["ended"] - behind[0]["ended"]) / 1000 + behind[0]["seconds"]
    return CaughtUp(samples / busy, seconds, lag(cycles, but=NAME), found)


def _until_caught_up(collecting: Collecting) -> Iterator[dict[str, Any]]:
    """Yield the cycles until nothing of the past is missing, and one more."""
    for _ in range(MOST_CYCLES):
        cycle = collecting.cycle(catching_up=True)
        yield cycle
        if cycle["done"][NAME]["missing"] <= CAUGHT_UP:
            yield collecting.cycle()
            return
    raise SystemExit(f"not caught up within {MOST_CYCLES} cycles: {cycle['done'][NAME]['missing']:.0f} s are missing")


def _seed(folder: Path, name: str, missing: int) -> None:
    """Have a collector know of a cluster, and that so many ms of its past are missing."""
    write_kept(folder / "state", name, Kept(Progress(now() - missing)))


@contextmanager
def _returned(ground: Ground, series: int, missing: int) -> Iterator[Member]:
    """Yield a Prometheus that has a past, and goes on from it."""
    nodes, exporter = nodes_for(series), Program(f"exporter-{NAME}", ground.folder)
    scraping = member_config(ground, NAME, exporter, nodes)
    program = ground.prometheus(NAME, scraping | {"scrape_configs": []}, "--web.enable-remote-write-receiver")
    try:
        exporter.start(python("tests.bench.exporter", exporter.port, nodes, NAME), "/")
        end = now()
        write_history(program.url, NAME, nodes, scraping, range(end - missing, end, STEP))
        member = Member(NAME, program, scraping)
        member.reload(scraping)
        yield member
    finally:
        program.end()
        exporter.end()
