"""One view of all metrics: what a beat costs, against the two usual ways to have it, on the same load in the same run.

    python -m tests.bench.metrics                  3 clusters x 100,000 series, 3 rounds of each
    python -m tests.bench.metrics --growth         more series, more clusters

Three real Prometheus scrape 100,000 series each every 15 s (two cores bear that: it takes a tenth of one). In turns, for some
beats of 30 s: the collector; a Prometheus that federates from all and pushes to a store; the members' own remote_write.

- `cycle_vs_federate`: seconds of a cycle, against the longest federating scrape of one cluster, as that Prometheus measures
  it. That flatters the peer: its three scrapes are taken as if side by side at no cost, its push to the store as free; and it
  carries one sample of a series a beat, where the collector carries all of them, and those of the last 30 s once more.
  `cycle_vs_federate_sum`: against the sum of its scrapes, which it begins one after another.
- `cycle_vs_remote_write`: CPU of all processes a beat, less what members use when nobody asks: the collector, members and
  store, and its share of the proof, against members and store. `cpu_vs_federate` likewise.
- `python_share`: the collector process' part of the CPU of a beat, without the proof; `python_of_wall`: CPU of its threads that
  read clusters, against a cycle's seconds.
- `samples_wrong`: by how many samples the counts at the clusters and at the store differ, by metric, of all that is done.
- Catching up: a cluster of 5,000 series comes back after 6 h at 30 s (3.6 million samples), beside the others. Samples a second
  are of its own part of the cycles; the fleet file's samplesPerSecond bounds what is read in a cycle, and so `catchup_s`.
- Pages: all panels of the three dashboards, six at a time as a browser asks, over all that the clusters have of the last hour.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from lab import binaries
from tests.bench.behind import CaughtUp, catch_up, lag
from tests.bench.members import Ground, members
from tests.bench.opening import Opened, open_pages
from tests.bench.report import print_report
from tests.bench.rounds import Arena, Spent, federate, idle, ours, remote_write
from tests.bench.swelling import HISTORY, Size, print_growth

Rounds = dict[str, list[Spent]]
WAYS: tuple[Callable[[Arena, int], Spent], ...] = (ours, federate, remote_write)


def main() -> None:
    """Measure, print tables and, as the last line, the figures as one JSON object."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    built = binaries.ensure(_say)
    if arguments.growth:
        sizes = [Size(series, 3) for series in arguments.sizes]
        sizes += [Size(count * arguments.few, count) for count in arguments.clusters]
        print_growth(built, sizes, scrape=arguments.scrape, beat=arguments.beat, beats=arguments.beats)
        return
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), built, arguments.scrape, arguments.beat)
        with members(ground, arguments.series) as clusters:
            ground.wait(HISTORY / ground.beat)
            rounds = _rounds(Arena(clusters, arguments.beats), arguments.rounds)
            _say("pages")
            opened = open_pages(clusters, arguments.rounds)
            _say("catching up")
            caught = catch_up(clusters, arguments.behind, arguments.hours)
    load.append(os.getloadavg()[0])
    print_report(rounds, caught, opened, load)
    print(json.dumps(figures(rounds, caught, opened) | {"load": [round(one, 1) for one in load]}))


def figures(rounds: Rounds, caught: CaughtUp, opened: Opened) -> dict[str, Any]:
    """Return what is compared: ratios of medians over rounds; then seconds, MiB and samples."""
    mine, theirs, pushed = rounds["ours"], rounds["federate"], rounds["remote_write"]
    wall, cpu = middle(one.walls for one in mine), median(one.total for one in mine)
    counts = [*(one.counted for one in mine), caught.counted]
    return {
        "cycle_vs_federate": _ratio(wall, middle(one.walls for one in theirs)),
        "cycle_vs_remote_write": _ratio(cpu, median(one.total for one in pushed)),
        "python_share": _ratio(*_python(mine)),
        "rss_mib": round(max(one.peak for one in mine)),
        "samples_wrong": sum(one.wrong for one in counts),
        "samples_counted": sum(one.samples for one in counts),
        "catchup_samples_per_s": round(caught.rate),
        "catchup_s": round(caught.seconds, 1),
        "others_lag_s": round(caught.others_lag, 1),
        "usual_lag_s": round(max(lag(one.cycles) for one in mine), 1),
        "page_s": round(max(opened.pages.values()), 2),
        "panels_unanswered": opened.unanswered,
        "cycle_s": round(wall, 3),
        "cycle_vs_federate_sum": _ratio(wall, median(one.summed for one in theirs)),
        "cpu_vs_federate": _ratio(cpu, median(one.total for one in theirs)),
        "python_of_wall": _ratio(_threads(mine), wall),
        "proof_s": round(median(one.counted.wall for one in mine), 2),
        "fill_samples_per_s": round(opened.fill_rate),
    }


def middle(walls: Iterable[Iterable[float]]) -> float:
    """Return the median over the rounds of their medians."""
    return median(median(one) for one in map(list, walls))


def _python(mine: list[Spent]) -> tuple[float, float]:
    """Return the collector's seconds of CPU a beat, and those of all that takes part in a cycle."""
    return median(one.cpu["python"] for one in mine), median(one.total - one.cpu["proof"] for one in mine)


def _threads(mine: list[Spent]) -> float:
    """Return the seconds of CPU of a cycle's threads that read clusters."""
    return median(sum(one["python"] for one in cycle["done"].values()) for spent in mine for cycle in spent.cycles)


def _ratio(value: float, of: float) -> float:
    return round(value / of, 3) if of > 0 else -1.0


def _rounds(arena: Arena, count: int) -> Rounds:
    """Hold rounds, each way once in each; the members' idle CPU is measured anew before each."""
    rounds: Rounds = {way.__name__: [] for way in WAYS}
    for number in range(1, count + 1):
        _say(f"round {number} of {count}")
        arena = replace(arena, idle=idle(arena))
        for way in WAYS[number % 3 :] + WAYS[: number % 3]:
            rounds[way.__name__].append(way(arena, number))
    return rounds


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.metrics", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--series", type=int, default=100_000, help="of each cluster")
    parser.add_argument("--rounds", type=int, default=3, help="of each way")
    parser.add_argument("--beats", type=int, default=4, help="measured in a round, after two that are not")
    parser.add_argument("--beat", type=float, default=30.0, help="seconds")
    parser.add_argument("--scrape", type=float, default=15.0, help="seconds between scrapes")
    parser.add_argument("--behind", type=int, default=5000, help="series of the cluster that catches up")
    parser.add_argument("--hours", type=float, default=6.0, help="that it was cut off")
    parser.add_argument("--growth", action="store_true", help="more series, more clusters")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="series over three clusters")
    parser.add_argument("--clusters", type=int, nargs="*", default=[3, 10, 30], help="of few series each")
    parser.add_argument("--few", type=int, default=10_000, help="series of each of those")
    return parser.parse_args()


if __name__ == "__main__":
    main()
