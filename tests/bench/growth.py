"""How the keeper grows: more services over the lab's three clusters, more clusters of API servers alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

import lab
from tests.bench.crowd import Cost, Crowd, cost, rooms_for
from tests.bench.planes import open_rooms, planes
from tests.bench.stand import CLUSTERS, Stand

PROXY = "kube-proxy"


def print_growth(stand: Stand, sizes: Sequence[int], fleets: Sequence[int], few: int) -> None:
    """Measure every size of the lab, then ``few`` services over each fleet of bare clusters; print table and JSON."""
    found: dict[str, Cost] = {}
    load = os.getloadavg()[0]
    for services in sizes:
        found[f"{services} x {len(CLUSTERS)}"] = _told(_over_the_lab(stand, services))
    for clusters in fleets:
        found[f"{few} x {clusters} bare"] = _told(_over_bare_clusters(stand, few, clusters))
    _print(found, load)
    print(json.dumps({name: _rounded(one) for name, one in found.items()}))


def _over_the_lab(stand: Stand, services: int) -> Cost:
    with _without_proxies(), stand.rooms(rooms_for(services)) as rooms:
        crowd = Crowd(rooms, services)
        crowd.make()
        return cost(stand, crowd)


def _over_bare_clusters(stand: Stand, services: int, clusters: int) -> Cost:
    with planes(stand, clusters) as here:
        crowd = Crowd(open_rooms(here, rooms_for(services)), services)
        crowd.make()
        return cost(here, crowd)


@contextmanager
def _without_proxies() -> Iterator[None]:
    """Have no kube-proxy for a while: rules for 20,000 endpoints on three nodes would be what is measured."""
    try:
        for name in CLUSTERS:
            lab.stop(name, PROXY)
        yield
    finally:
        for name in CLUSTERS:
            lab.start(name, PROXY)


def _told(one: Cost) -> Cost:
    print(json.dumps(_rounded(one)), file=sys.stderr, flush=True)
    return one


def _rounded(one: Cost) -> dict[str, float]:
    return {key: round(value, 3) for key, value in asdict(one).items()}


def _print(found: dict[str, Cost], load: float) -> None:
    table = Table(title=f"exported services x 20 endpoints; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    columns = ("services x clusters", "slices everywhere", "settled", "writes", "memory (peak)", "CPU at rest")
    for column in (*columns, "changes/s", "lag median / p99", "behind", "CPU at churn"):
        table.add_column(column, justify="right")
    for name, one in found.items():
        lag = f"{1000 * one.lag_p50:.0f} / {1000 * one.lag_p99:.0f} ms"
        times = (f"{one.everywhere:.1f} s", f"{one.settled:.1f} s", str(one.written))
        costs = (f"{one.memory:.0f} ({one.peak:.0f}) MiB", f"{one.cpu_rest:.1%}")
        table.add_row(name, *times, *costs, f"{one.changes:.0f}", lag, str(one.behind), f"{one.cpu_churn:.0%}")
    Console(width=150).print(table)
