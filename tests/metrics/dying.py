"""A collector that dies at its n-th step, kill -9: forked for each n from a process that has nothing but one thread."""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

from flotilla.fleet import Fleet
from flows import collector as collecting
from flows.collector import Collector
from tasks.doors import AtUrl

KILLED = 9
CYCLES = 6


def main() -> None:
    """Run each collector that is asked for on standard input, and print how each ended."""
    asked = json.load(sys.stdin)
    print(json.dumps([forked(one) for one in asked]))


def forked(one: dict[str, Any]) -> int:
    """Return the exit status of a collector of its own process."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    collect(one)
    os._exit(0)


def collect(one: dict[str, Any]) -> None:
    """Collect for a few beats, unless it dies before."""
    steps = count(1)

    def before(act: Any) -> Any:
        def acting(*args: Any, **named: Any) -> Any:
            if next(steps) == one["step"]:
                os._exit(KILLED)
            return act(*args, **named)

        return acting

    collecting.now = lambda: one["time"]  # type: ignore[attr-defined]
    AtUrl.exchange = before(AtUrl.exchange)  # type: ignore[method-assign]
    Path.replace = before(Path.replace)  # type: ignore[method-assign, assignment]
    made = Collector(Fleet.model_validate(one["fleet"]), Path(one["folder"]))
    for _ in range(CYCLES):
        made.cycle()


if __name__ == "__main__":
    main()
