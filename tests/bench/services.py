"""Services across clusters: from a change in production to what is so in same-city, and what a loss costs.

    python -m tests.bench.services                 200 slice changes, 10 pods, 30 exports, 3 losses
    python -m tests.bench.services --growth        many services x 20 endpoints; 3, 10, 30 clusters

A keeper runs as a process of its own, as `flotilla keep` does. Changes and what comes of them are timed by watches of the
measuring process. The floor is a change of a slice in same-city and its watch event there, in turns with what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.growth import print_growth
from tests.bench.losing import Loss, losses
from tests.bench.stand import p50, p99, stand
from tests.bench.wiring import Times, exports, ready_pods, slice_changes

ROWS = {
    "floor": "bare slice patched -> its watch event, same-city",
    "slice": "native slice in production -> imported slice in same-city",
    "patch": "the same, since the patch was sent",
    "kubernetes": "pod ready -> native slice, production (Kubernetes' own part)",
    "ready": "pod ready in production -> slice in same-city",
    "name": "export -> its name resolves in same-city",
    "export": "export -> first answered request in same-city",
    "no name": "unexport -> its name is gone",
    "unexport": "unexport -> first refused request",
}


def main() -> None:
    """Measure, print the table and, as the last line, the figures as one JSON object."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with stand(arguments.keep) as here:
        if arguments.growth:
            print_growth(here, arguments.services, arguments.clusters, arguments.few)
            return
        load = [os.getloadavg()[0]]
        with here.keeper():
            times = slice_changes(here, arguments.changes)
            times |= ready_pods(here, arguments.pods)
            times |= exports(here, arguments.exports)
            lost = losses(here, arguments.losses)
        load.append(os.getloadavg()[0])
    _print(times, lost, load)
    print(json.dumps(figures(times, lost) | {"load": [round(one, 1) for one in load]}))


def figures(times: Times, lost: list[Loss]) -> dict[str, Any]:
    """Return what is compared: ratios of medians, milliseconds, and of the losses the worst in seconds."""
    told = {
        "slice_p50_vs_watch": round(p50(times["slice"]) / p50(times["floor"]), 2),
        "slice_p99_ms": _ms(p99(times["slice"])),
        "export_to_answer_p50_ms": _ms(p50(times["export"])),
        "loss_to_clean_s": round(max((one.last_ended for one in lost), default=0.0), 2),
        "patch_p50_vs_watch": round(p50(times["patch"]) / p50(times["floor"]), 2),
        "slice_p50_ms": _ms(p50(times["slice"])),
        "watch_p50_ms": _ms(p50(times["floor"])),
        "watch_p99_ms": _ms(p99(times["floor"])),
    }
    return told | {
        "ready_to_slice_p50_ms": _ms(p50(times["ready"])),
        "export_to_answer_p99_ms": _ms(p99(times["export"])),
        "unexport_to_refused_p50_ms": _ms(p50(times["unexport"])),
        "loss_failed": max((one.failed for one in lost), default=0),
        "loss_to_clean_p50_s": round(p50([one.last_ended for one in lost] or [0.0]), 2),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _print(times: Times, lost: list[Loss], load: list[float]) -> None:
    table = Table(title=f"milliseconds; load average {load[0]:.1f} before, {load[1]:.1f} after")
    for column in ("", "median", "p99", "range", "of", "vs watch event"):
        table.add_column(column, justify="left" if not column else "right")
    for key, what in ROWS.items():
        of = times[key]
        spread = f"{1000 * min(of):.0f}-{1000 * max(of):.0f}"
        ratio = f"{p50(of) / p50(times['floor']):.2f}"
        table.add_row(what, f"{1000 * p50(of):.1f}", f"{1000 * p99(of):.1f}", spread, str(len(of)), ratio)
    console = Console(width=128)
    console.print(table)
    table = Table(title="production is cut off; a client in same-city opens a new connection every 20 ms, 1 s patience")
    for column in ("last failing request begun / ended after", "failed", "of", "failed before", "healed -> answers again"):
        table.add_column(column, justify="right")
    for one in lost:
        last = f"{one.last_begun:.2f} s / {one.last_ended:.2f} s"
        table.add_row(last, str(one.failed), str(one.requests), str(one.failed_before), f"{one.back:.1f} s")
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.services", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--changes", type=int, default=200, help="of slices")
    parser.add_argument("--pods", type=int, default=10, help="added one after another")
    parser.add_argument("--exports", type=int, default=30, help="one after another")
    parser.add_argument("--losses", type=int, default=3, help="of production")
    parser.add_argument("--growth", action="store_true", help="many services, more clusters")
    parser.add_argument("--services", type=int, nargs="*", default=[250, 1000, 2000], help="over the lab's three clusters")
    parser.add_argument("--clusters", type=int, nargs="*", default=[3, 10, 30], help="without nodes and controllers")
    parser.add_argument("--keep", default="", metavar="FOLDER", help="leave the keepers' logs there")
    parser.add_argument("--few", type=int, default=100, help="services over those clusters")
    return parser.parse_args()


if __name__ == "__main__":
    main()
