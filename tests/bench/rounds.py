"""Rounds: the collector, a federating Prometheus and the members' own remote_write carry the same load in turns.

None of one's processes runs in another's round. CPU is that of members, stores and whatever stands between, a beat, less what
members use when they only scrape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from tasks.doors import AtUrl
from tasks.promql import Engine
from tests.bench.counting import Counted, counted
from tests.bench.cycles import Collecting
from tests.bench.members import Ground, Members, federating_config
from tests.bench.programs import Program

WARM = 2  # beats before measuring: names are learnt, stores have made their series
INGESTED = "vm_rows_inserted_total"


@dataclass(frozen=True)
class Spent:
    """What one round took. ``walls`` are seconds of each beat; CPU is in seconds a beat, by who used it; ``rows`` a beat.

    ``peak`` is in MiB; ``summed`` are the seconds of scrapes that follow one another.
    """

    walls: tuple[float, ...] = ()
    cpu: dict[str, float] = field(default_factory=dict)
    rows: float = 0.0
    peak: float = 0.0
    cycles: tuple[dict[str, Any], ...] = ()
    counted: Counted = field(default_factory=Counted)
    summed: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of CPU a beat, of all that took part."""
        return sum(self.cpu.values())


@dataclass(frozen=True)
class Arena:
    """Where rounds are held: the clusters, how many beats are measured in a round, members' idle CPU (s a second)."""

    members: Members
    beats: int
    idle: float = 0.0

    @property
    def ground(self) -> Ground:
        """Where programs run."""
        return self.members.ground

    def measured(self, store: Program, others: dict[str, Callable[[], float]], wait: Callable[[], Any]) -> Spent:
        """Wait for some beats, and return what they took."""
        users = {"member": self.members.cpu, "store": store.cpu} | others
        before, rows, began = {name: use() for name, use in users.items()}, ingested(store), time.monotonic()
        wait()
        seconds = time.monotonic() - began
        used = {name: use() - before[name] for name, use in users.items()}
        used["member"] -= self.idle * seconds
        beats = seconds / self.ground.beat
        return Spent(cpu={name: use / beats for name, use in used.items()}, rows=(ingested(store) - rows) / beats)


def idle(arena: Arena) -> float:
    """Return how much CPU the members use that only scrape, in seconds a second."""
    before, began = arena.members.cpu(), time.monotonic()
    arena.ground.wait(arena.beats)
    return (arena.members.cpu() - before) / (time.monotonic() - began)


def ours(arena: Arena, number: int) -> Spent:
    """Return what the collector takes. What its proof costs, which is due every five minutes, is spread over the beats."""
    with arena.ground.store("store-ours") as store:
        with Collecting(arena.members.fleet_text(store), arena.ground.folder / f"ours-{number}") as collecting:
            for _ in range(WARM):
                collecting.cycle()
            cycles = list[dict[str, Any]]()
            spent = arena.measured(
                store, {"python": collecting.cpu}, lambda: cycles.extend(collecting.cycle() for _ in range(arena.beats))
            )
        found = counted(arena.members, store, collecting.state)
    cpu = spent.cpu | {"proof": found.cpu / found.seconds * arena.ground.beat}
    walls, peak = tuple(one["seconds"] for one in cycles), max(one["peak"] for one in cycles)
    return Spent(walls, cpu, spent.rows, peak, tuple(cycles), found)


def federate(arena: Arena, number: int) -> Spent:
    """Return what a Prometheus takes that federates from all and pushes to a store.

    Its scrapes are timed as it does that itself, without what it takes to push: the longest, and their sum, as it begins
    them one after another.
    """
    ground = arena.ground
    with ground.store("store-federate") as store:
        config = federating_config(ground, arena.members.each, store)
        central = ground.prometheus("central", config)
        try:
            ground.wait(WARM)
            spent = arena.measured(store, {"central": central.cpu}, lambda: ground.wait(arena.beats))
            durations = _of_scrapes(central, "scrape_duration_seconds", arena.beats * ground.beat)
            samples = _of_scrapes(central, "scrape_samples_scraped", arena.beats * ground.beat)
        finally:
            central.end()
    if len(samples) < len(arena.members.each) or not all(map(min, samples)):
        raise SystemExit(f"the federating Prometheus could not scrape within a beat of {ground.beat:g} s: {samples}")
    longest, *_ = scrapes = sorted(map(median, durations), reverse=True)
    return replace(spent, walls=(longest,), summed=sum(scrapes))


def remote_write(arena: Arena, number: int) -> Spent:
    """Return what the members' own remote_write to a store takes."""
    with arena.ground.store("store-pushed") as store, _pushing(arena.members, store):
        arena.ground.wait(WARM)
        return arena.measured(store, {}, lambda: arena.ground.wait(arena.beats))


@contextmanager
def _pushing(members: Members, store: Program) -> Iterator[None]:
    try:
        for one in members.each:
            one.push(store.url)
        yield
    finally:
        for one in members.each:
            one.push(None)


def _of_scrapes(central: Program, metric: str, seconds: float) -> list[list[float]]:
    """Return the values that a metric of scrapes had in the last seconds, by cluster."""
    engine = Engine(central.name, AtUrl(central.name, central.url))
    found = engine.query(f'{metric}{{job="federate"}}[{seconds:.0f}s]')
    return [[float(value) for _, value in one["values"]] for one in found]


def ingested(store: Program) -> float:
    """Return how many samples a store was given since it was started."""
    lines = (line for line in store.text("/metrics").splitlines() if line.startswith(INGESTED))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
