"""Plan, apply and a run without a change over three clusters: ours beside kubectl's and beside bare HTTP requests.

    python -m tests.bench.rollout                  300 mixed objects x 3 clusters, five rounds
    python -m tests.bench.rollout --growth         30, 300, 3000 objects; 3, 10, 30 clusters; memory

The contestants take turns within each round; what is told are medians over the rounds. Each has its own namespaces, so
that all of them find the same. Clusters beyond the lab's three are further connections to the same three API servers.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import lab
from flotilla.fleet import Cluster, Kubeconfig, Role, Site
from tasks.clusters import connect
from tasks.workloads import ensure_namespace
from tests.bench.contestants import Arena, Floor, Flotilla, Kubectl, peak_memory

JOBS = ("create", "plan", "apply", "no change")
FEW = 1000  # objects in all clusters; more are measured in one round only
GROWTH = ((30, 3), (300, 3), (3000, 3), (300, 10), (300, 30))
Times = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print the table and, as the last line, the ratios as one JSON object."""
    arguments = _arguments()
    if arguments.growth:
        _print_growth(arguments.rounds)
        return
    with _arena(arguments.objects, arguments.clusters) as arena:
        times = measured(arena, arguments.rounds)
    if arguments.json:
        print(json.dumps({"times": _medians(times), "memory": peak_memory()}))
        return
    _print(times, arena, arguments.rounds)
    print(json.dumps(ratios(times)))


def measured(arena: Arena, rounds: int) -> Times:
    """Return the seconds that each contestant took for each job, round by round."""
    times: Times = {job: {} for job in JOBS}
    with tempfile.TemporaryDirectory() as folder:
        ours, kubectl, floor = Flotilla(arena), Kubectl(arena, Path(folder)), Floor(arena)
        for version in range(rounds + 1):
            for other in (kubectl, floor):
                other.prepare(version)
            for job in ("create",) if version == 0 else JOBS[1:]:
                order = (ours, kubectl, floor) if version % 2 else (floor, kubectl, ours)
                for contestant in order:
                    act = getattr(contestant, {"create": "apply", "no change": "no_change"}.get(job, job))
                    times[job].setdefault(contestant.name, []).append(_seconds(act, version))
            print(f"round {version} of {rounds}", file=sys.stderr, flush=True)
    return times


def ratios(times: Times) -> dict[str, float]:
    """Return ours divided by theirs, of medians."""
    medians = _medians(times)

    def ratio(job: str, other: str) -> float:
        return round(medians[job]["flotilla"] / medians[job][other], 3)

    return {
        "plan_vs_kubectl_diff": ratio("plan", "kubectl"),
        "apply_vs_kubectl": ratio("apply", "kubectl"),
        "nochange_vs_kubectl": ratio("no change", "kubectl"),
        "apply_vs_floor": ratio("apply", "floor"),
        "plan_vs_floor": ratio("plan", "floor"),
        "create_vs_kubectl": ratio("create", "kubectl"),
        "create_vs_floor": ratio("create", "floor"),
    }


def _seconds(act: Callable[[int], object], version: int) -> float:
    started = time.perf_counter()
    act(version)
    return time.perf_counter() - started


def _medians(times: Times) -> dict[str, dict[str, float]]:
    return {job: {who: statistics.median(each) for who, each in of_job.items()} for job, of_job in times.items() if of_job}


@contextmanager
def _arena(objects: int, clusters: int) -> Iterator[Arena]:
    """Yield a place to run in: the lab, brought up if it is not, and namespaces that are gone afterwards."""
    running = lab.ensure()
    os.environ["KUBECONFIG"] = str(running.kubeconfig)
    chosen = tuple(_clusters([one.context for one in running.clusters], clusters))
    arena = Arena(chosen, secrets.token_hex(3), objects, str(Path(running.binaries) / "kubectl"), str(running.kubeconfig))
    spaces = [(cluster, arena.namespace(who.name, cluster)) for cluster in chosen for who in (Flotilla, Kubectl, Floor)]
    try:
        _each(spaces, lambda space: ensure_namespace(connect(space[0]), space[1]))
        yield arena
    finally:
        _each(spaces, lambda space: connect(space[0]).request("DELETE", f"/api/v1/namespaces/{space[1]}"))
        if not running.reused:
            lab.down()


def _clusters(contexts: list[str], count: int) -> Iterator[Cluster]:
    for number in range(count):
        access = Kubeconfig(context=contexts[number % len(contexts)])
        yield Cluster(name=f"c{number}", role=Role.REMOTE, site=Site(name="bench", city="bench"), kubeconfig=access)


def _each(spaces: Iterable[Any], act: Callable[[Any], object]) -> None:
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(act, spaces))


def _print(times: Times, arena: Arena, rounds: int) -> None:
    title = f"{arena.objects} mixed objects x {len(arena.clusters)} clusters, seconds, median of {rounds} rounds (range)"
    table = Table(title=title)
    for column in ("", "flotilla", "kubectl", "bare HTTP", "vs kubectl", "vs bare HTTP"):
        table.add_column(column, justify="left" if not column else "right")
    for job, of_job in times.items():
        ours, kubectl, floor = (of_job[name] for name in ("flotilla", "kubectl", "floor"))
        told = [_told(each) for each in (ours, kubectl, floor)]
        table.add_row(job, *told, *(f"{statistics.median(ours) / statistics.median(other):.2f}" for other in (kubectl, floor)))
    Console(width=120).print(table)


def _told(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def _print_growth(rounds: int) -> None:
    """Measure each size in a process of its own, so that its peak memory is its own too."""
    table = Table(title=f"growth: seconds, median of {rounds} rounds, of one beyond {FEW} objects; peak memory")
    for column in ("objects", "clusters", *(f"{job}: ours / kubectl / floor" for job in JOBS), "peak MiB"):
        table.add_column(column, justify="right")
    last: dict[str, Any] = {}
    for objects, clusters in GROWTH:
        found = _in_a_process(objects, clusters, rounds if objects * clusters <= FEW else 1)
        told = [" / ".join(f"{found['times'][job][who]:.2f}" for who in ("flotilla", "kubectl", "floor")) for job in JOBS]
        table.add_row(str(objects), str(clusters), *told, f"{found['memory']:.0f}")
        last[f"{objects}x{clusters}"] = found
        print(f"{objects} objects x {clusters} clusters: {json.dumps(found)}", file=sys.stderr, flush=True)
    Console(width=160).print(table)
    print(json.dumps(last))


def _in_a_process(objects: int, clusters: int, rounds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.rollout", "--json", "--objects", str(objects), "--clusters", str(clusters)]
    done = subprocess.run([*command, "--rounds", str(rounds)], stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rollout", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--objects", type=int, default=300, help="per cluster")
    parser.add_argument("--clusters", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", action="store_true", help="several sizes, one after another")
    parser.add_argument("--json", action="store_true", help="times and memory as JSON, no table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
