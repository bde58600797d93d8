"""The fleet's metrics, as Prefect has them: collected for good."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.check import read_fleet
from flows.collecting import collect_for_good
from flows.collector import Cycle
from flows.journey import say, show, table, told

TOLD_EVERY = 600.0  # seconds between two artifacts while nothing changes that people care for


@flow(name="metrics", flow_run_name="collect", persist_result=False)
@told
def collect(fleet: str = "deployments/fleet.yaml", state: str = ".flotilla/metrics") -> State[Any]:
    """Collect the samples of every cluster into the store until this run is cancelled.

    Args:
        fleet: file of the fleet.
        state: folder in which is kept what was collected, relative to where the deployments were registered.

    """
    clusters = read_fleet(fleet)
    say("collects from %s; its own log is the run's standard error", ", ".join(clusters.names))
    collect_for_good(clusters, str(Path(state)), _Teller())
    return Completed(message="the collector was asked to end")


class _Teller:
    """Publishes a cycle as an artifact, whenever something has changed that people care for, and now and then."""

    def __init__(self) -> None:
        self._before: Any = None
        self._at = float("-inf")

    def __call__(self, cycle: Cycle) -> None:
        matters = ({name: one.error for name, one in cycle.done.items()}, cycle.findings)
        if matters == self._before and time.monotonic() - self._at < TOLD_EVERY:
            return
        self._before, self._at = matters, time.monotonic()
        rows = [
            {
                "cluster": name,
                "series": f"{one.series:,}",
                "samples": f"{one.samples:,}",
                "behind": f"{one.lag:.0f} s",
                "missing": f"{one.missing:.0f} s",
                "lost": f"{one.gaps:.0f} s",
                "refused": str(one.refused),
                "note": one.error,
            }
            for name, one in cycle.done.items()
        ]
        wrong = sum(bool(one.error) for one in cycle.done.values())
        sentence = f"{len(rows) - wrong} of {len(rows)} clusters collected" + "".join(f"; {one}" for one in cycle.findings)
        show("metrics-collector", sentence, f"## {sentence}\n\n{table(rows)}")
