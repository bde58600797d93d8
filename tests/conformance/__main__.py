"""Upstream's conformance suite against the lab and the keeper: a table of all specs and, last, one line of JSON.

    python -m tests.conformance --suite FILE                  exit code 0 only if all 27 specs passed
    python -m tests.conformance --suite FILE --focus REGEX    some of them, to look into one; the exit code is 1

FILE is the suite's compiled test program. A keeper that leads is taken as it is; else one runs for the time of the suite.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import lab
from flotilla.fleet import Fleet, parse_fleet
from lab.errors import LabError
from tasks.clusters import Connection, connect
from tests.bench.stand import holder
from tests.conformance import standins, suite
from tests.conformance.report import complaint, figures, rows, table
from tests.conftest import ROOT
from tests.tasks.fleetset import Process

FLEET = ROOT / "deployments" / "fleet.yaml"


def main() -> None:
    """Run the suite, print what came of it, and end with 1 unless every spec passed."""
    arguments = _arguments()
    program = suite.checked(arguments.suite)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = os.getloadavg()[0]
    with _lab() as fleet:
        connections = [connect(cluster) for cluster in fleet.clusters]
        standins.ensure(_say)
        suite.sweep(connections)
        with _keeper(connections) as kept:
            report = suite.run(program, os.environ["KUBECONFIG"], arguments.focus)
        suite.sweep(connections)
    told = figures(report) | {"suite": suite.fingerprint(program), "keeper": kept}
    sys.exit(_print(report, told | {"load": [round(one, 1) for one in (began, os.getloadavg()[0])]}))


@contextmanager
def _lab() -> Iterator[Fleet]:
    """Yield the lab's fleet, brought up if it is not."""
    try:
        running = lab.ensure(say=_say)
    except LabError as error:
        raise SystemExit(str(error)) from None
    try:
        if running.bridge is None:
            raise SystemExit("this lab has simulated nodes only: the suite sends traffic, so real nodes are needed")
        os.environ["KUBECONFIG"] = str(running.kubeconfig)
        yield parse_fleet(FLEET.read_text(), str(FLEET))
    finally:
        if not running.reused:
            lab.down()


@contextmanager
def _keeper(connections: Sequence[Connection]) -> Iterator[str]:
    """Have a keeper that leads; yield whose it is."""
    leaders = {holder(connection) for connection in connections} - {""}
    if leaders:
        _say(f"keeper: {', '.join(sorted(leaders))} leads, taken as it is")
        yield "found"
        return
    with tempfile.TemporaryDirectory() as folder:
        process = Process(Path(folder), yaml.safe_load(FLEET.read_text()))
        try:
            process.start().leading(60)
            _say("keeper: started for this run")
            yield "own"
        finally:
            process.end()
            sys.stderr.write(process.log)


def _print(report: Any, told: dict[str, Any]) -> int:
    reason = complaint(report)
    console = Console(width=128)
    console.print(table(rows(report)))
    console.print(reason or "all passed", markup=False)
    print(json.dumps(told))
    return 1 if reason else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default=os.environ.get("SUITE", ""), metavar="FILE", help="by default SUITE")
    parser.add_argument("--focus", default="", metavar="REGEX", help="only specs whose text matches")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
