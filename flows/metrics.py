"""The fleet's metrics, as Prefect has them: collected for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flotilla.metrics.alerts import Leave
from flotilla.metrics.words import moment
from flows.alerts import Decision
from flows.check import read_fleet
from flows.collecting import collect_for_good, log_to_stderr
from flows.collector import Cycle
from flows.journey import say, show, table, told
from flows.receiving import receive_for_good

ROWS = 200  # alerts in the artifact
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


@flow(name="metrics", flow_run_name="receive-alerts", persist_result=False)
@told
def receive(fleet: str = "deployments/fleet.yaml") -> State[Any]:
    """Take alerts by Alertmanager's webhook, and start what the fleet file says they start, until this run is cancelled.

    Args:
        fleet: file of the fleet.

    """
    clusters = read_fleet(fleet)
    log_to_stderr()
    say("alerts are taken; the log is the run's standard error")
    decided, here = _Decided(), copy_context()
    receive_for_good(clusters, lambda decisions: here.copy().run(decided, decisions))
    return Completed(message="the receiver was asked to end")


class _Decided:
    """Publishes what alerts have started, or why they have not, as an artifact: the newest of each alert."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, str]] = {}

    def __call__(self, decisions: Sequence[Decision]) -> None:
        with self._lock:
            fresh = {one.alert.key: _row_of(one) for one in decisions}
            is_news = {**self._rows, **fresh} != self._rows
            self._rows = dict(list({**self._rows, **fresh}.items())[-ROWS:])
            rows = list(reversed(self._rows.values()))
        if is_news:
            show("metrics-alerts", f"{len(rows)} alerts", f"## Alerts, the newest first\n\n{table(rows)}")


def _row_of(decision: Decision) -> dict[str, str]:
    alert = decision.alert
    about = {"alert": alert.name, "cluster": alert.cluster or "", "since": moment(alert.started)}
    if isinstance(decision, Leave):
        started = decision.why.endswith("started for it already")
        return about | {"starts": "started" if started else "nothing", "why": decision.why}
    return about | {"starts": decision.deployment, "why": alert.annotations.get("summary", "")}


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
