"""`flotilla collect`: the collector as a plain process: signals and log lines."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path

from flotilla.fleet import Fleet
from flows.collector import Collector, Cycle
from flows.logs import log_to_stderr
from tasks.progress import alone_in

log = logging.getLogger("flotilla.collector")


def collect_for_good(fleet: Fleet, folder: str, tell: Callable[[Cycle], None] | None = None) -> None:
    """Collect until SIGTERM or SIGINT; ``tell`` is called with each cycle."""
    log_to_stderr()
    with alone_in(Path(folder)):
        collector = Collector(fleet, Path(folder))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: collector.stop())
        collector.run(tell or (lambda _: None))
    log.info("ended")
