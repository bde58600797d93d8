"""The collector as a process of its own, each of whose cycles is told as a line of JSON.

python -m tests.bench.cycles FLEET_FILE STATE_FOLDER
"""

from __future__ import annotations

import json
import logging
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flotilla.fleet import parse_fleet
from flows.collector import Collector, Cycle
from tasks.doors import now
from tests.bench.programs import cpu_of, end, python
from tests.conftest import ROOT


def main() -> None:
    """Collect until ended."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    file, folder = map(Path, sys.argv[1:])
    collector = Collector(parse_fleet(file.read_text(), str(file)), folder)
    signal.signal(signal.SIGTERM, lambda *_: collector.stop())
    collector.run(lambda cycle: print(json.dumps(told(cycle)), flush=True))


def told(cycle: Cycle) -> dict[str, Any]:
    """Return a cycle as plain values: when it ended (ms), its seconds, the process' CPU (s) and peak memory (MiB) so far."""
    keys = ("series", "samples", "seen", "lag", "missing", "error", "under_way")
    done = {name: {key: getattr(one, key) for key in keys} | asdict(one.cost) for name, one in cycle.done.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ended": now(), "seconds": cycle.seconds, "cpu": time.process_time(), "peak": peak, "done": done}


class Collecting:
    """A collector at work; ``folder`` is where it keeps what it has done."""

    def __init__(self, fleet_text: str, folder: Path, patience: float = 600.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fleet.yaml").write_text(fleet_text)
        self.folder, self._patience = folder, patience
        self._told: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            python("tests.bench.cycles", folder / "fleet.yaml", folder / "state"), cwd=ROOT, stdout=subprocess.PIPE
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Collecting:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)

    @property
    def state(self) -> Path:
        """Where it keeps what it has done of each cluster."""
        return self.folder / "state"

    def cycle(self, *, catching_up: bool = False) -> dict[str, Any]:
        """Return the next cycle, as `told`; ends the program where none comes, or a cluster could not be read.

        One that catches up may be read for longer than a beat.
        """
        try:
            line = self._told.get(timeout=self._patience)
        except queue.Empty:
            line = ""
        if not line:
            raise SystemExit(f"the collector told of no cycle within {self._patience:.0f} s, or ended")
        cycle: dict[str, Any] = json.loads(line)
        read = {name: one for name, one in cycle["done"].items() if not (catching_up and one["under_way"])}
        if failed := {name: one["error"] for name, one in read.items() if one["error"]}:
            raise SystemExit(f"the collector could not read {failed}")
        return cycle

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        return cpu_of(self.process.pid)

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._told.put(line.decode())
        self._told.put("")


if __name__ == "__main__":
    main()
