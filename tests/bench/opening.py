"""The dashboards' pages over a full store: seconds from the first question to the last panel's data."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from flotilla.dashboards.parsing import parse_dashboards
from flotilla.fleet import Fleet
from flows.dashboards import FILES, Desk, open_desk
from tasks.manifests import read_texts
from tasks.promql import engine_at
from tests.bench.counting import done
from tests.bench.cycles import Collecting
from tests.bench.members import Members
from tests.conftest import ROOT

PAGES = ("applications", "nodes", "pods")
CONNECTIONS = 6  # a browser's to one server
LONGEST = 3600  # seconds that a page shows
UNLIMITED = 10_000_000  # samples a second
CAUGHT_UP = 90.0


@dataclass(frozen=True)
class Opened:
    """What opening pages took: seconds by page (median) and its slowest panel, panels without an answer, their range (s)."""

    pages: dict[str, float] = field(default_factory=dict)
    slowest: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0
    range: float = 0.0
    fill_rate: float = 0.0


def open_pages(members: Members, times: int) -> Opened:
    """Fill a store with all that the members hold, and open each page some times, each time without anything remembered."""
    with members.ground.store("store-pages") as store:
        text = members.fleet_text(store, backfill=LONGEST, samplesPerSecond=UNLIMITED)
        with Collecting(text, members.ground.folder / "pages") as collecting:
            cycles = _filled(collecting)
        fleet, end = members.fleet(store), min(one["seen"] for one in cycles[-1]["done"].values()) / 1000
        begin = max(done(collecting.state, one.name).lo for one in members.each) / 1000
        seconds, slowest, unanswered = dict[str, float](), dict[str, str](), 0
        for page in PAGES:
            opened = [_open(fleet, store.url, page, (begin, end - number)) for number in range(times)]
            seconds[page] = median(one[0] for one in opened)
            slowest[page] = opened[-1][1]
            unanswered += max(one[2] for one in opened)
    return Opened(seconds, slowest, unanswered, end - begin, _rate(cycles))


def _filled(collecting: Collecting) -> list[dict[str, Any]]:
    """Return the cycles until nothing of the past is missing."""
    cycles = [collecting.cycle(catching_up=True)]
    while max(one["missing"] for one in cycles[-1]["done"].values()) > CAUGHT_UP:
        cycles.append(collecting.cycle(catching_up=True))
    return cycles


def _rate(cycles: list[dict[str, Any]]) -> float:
    """Return samples a second of all clusters side by side, while there was something to do."""
    samples = sum(one["samples"] for cycle in cycles for one in cycle["done"].values())
    return samples / sum(cycle["seconds"] for cycle in cycles)


def _open(fleet: Fleet, url: str, page: str, span: tuple[float, float]) -> tuple[float, str, int]:
    """Return how long a page took, its slowest panel, and how many panels have no answer."""
    dashboards = parse_dashboards(read_texts([str(ROOT / FILES)]))
    desk = open_desk(dashboards, fleet, engine_at(url))
    panels = desk.dashboards[page].panels
    began = time.monotonic()
    with closing(desk.asker), ThreadPoolExecutor(CONNECTIONS) as pool:
        told = list(pool.map(lambda number: _panel(desk, page, number, span), range(len(panels))))
    seconds = time.monotonic() - began
    slowest = max(range(len(panels)), key=lambda number: float(told[number]["seconds"]))
    unanswered = sum(one["view"]["shape"] == "unanswered" for one in told)
    return seconds, f"{panels[slowest].title} {told[slowest]['seconds']:.1f} s", unanswered


def _panel(desk: Desk, page: str, number: int, span: tuple[float, float]) -> Any:
    start, end = map(str, span)
    return desk.told_panel({"dashboard": (page,), "panel": (str(number),), "start": (start,), "end": (end,)})
