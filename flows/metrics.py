"""The fleet's metrics, as Prefect has them: collected for good, alerts taken, what was refused sent again, a report a day."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flotilla.daily.asked import period_of
from flotilla.daily.picture import picture
from flotilla.daily.text import markdown, title
from flotilla.errors import Transient
from flotilla.markdown import table
from flotilla.metrics.alerts import Leave
from flotilla.metrics.resending import rows, told_sums
from flotilla.metrics.words import moment
from flows.alerts import Decision
from flows.check import read_fleet
from flows.collecting import collect_for_good
from flows.collector import Cycle
from flows.journey import aside, once, say, show, show_picture, told
from flows.logs import log_to_stderr
from flows.receiving import receive_for_good
from flows.reporting import fleet_report
from flows.resending import pick_of, planned, quarantine_in, send_again

ROWS = 200  # alerts or records in an artifact
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
    tell = aside(_Teller())
    return once("collect", lambda: collect_for_good(clusters, str(Path(state)), tell), "the collector was asked to end")


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
    return once("receive-alerts", lambda: receive_for_good(clusters, aside(_Decided())), "the receiver was asked to end")


@flow(name="metrics", flow_run_name="send-again", persist_result=False)
@told
def resend(
    fleet: str = "deployments/fleet.yaml",
    state: str = ".flotilla/metrics",
    cluster: str = "",
    match: str = "",
    dry_run: bool = False,
) -> State[Any]:
    """Send what the store refused to it again; what it refuses again is kept.

    Args:
        fleet: file of the fleet.
        state: folder in which the collector keeps what it collected, relative to where the deployments were registered.
        cluster: only what was refused of this cluster.
        match: only series that this PromQL selector picks.
        dry_run: only tell what would be sent.

    """
    clusters, held = read_fleet(fleet), quarantine_in(state)
    pick = pick_of(cluster, match, clusters.names)
    done = planned(pick.of(held.records())) if dry_run else send_again(clusters, held, pick)
    left = rows(held.records())
    sentence = f"{'would send ' if dry_run else ''}{told_sums(done)}; {len(left)} records are in quarantine"
    body = f"## {sentence}\n\n{table(one.row() for one in done)}\n\n### In quarantine\n\n{table(left[:ROWS])}"
    say("%s", sentence)
    show("metrics-quarantine", sentence, body)
    return Completed(message=sentence, data=tuple(done))


@flow(name="metrics", flow_run_name="report", persist_result=False)
@told
def report(fleet: str = "deployments/fleet.yaml", at: str = "", days: float = 1.0) -> State[Any]:
    """Report what ran where, whether the others would hold a loss, what moved, and how whole the view is.

    Args:
        fleet: file of the fleet.
        at: the end of the period, as 2026-11-23T06:00 (UTC where it names no zone); else now.
        days: its length.

    """
    found = fleet_report(read_fleet(fleet), period_of(at, days, time.time()))
    for finding in found.findings():
        say("%s", finding)
    show("fleet-report", title(found), markdown(found))
    show_picture("fleet-report-picture", title(found), picture(found))
    if found.silence:
        raise Transient(f"nothing is known: {found.silence}")
    return Completed(message=f"{title(found)}: {len(found.findings())} findings", data=found)


class _Decided:
    """Publishes what alerts have started, or why they have not, as an artifact: the newest of each alert."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, str]] = {}

    def __call__(self, decisions: Sequence[Decision]) -> None:
        fresh = {one.alert.key: _row_of(one) for one in decisions}
        is_news = {**self._rows, **fresh} != self._rows
        self._rows = dict(list({**self._rows, **fresh}.items())[-ROWS:])
        rows = list(reversed(self._rows.values()))
        if is_news:
            show("metrics-alerts", f"{len(rows)} alerts", f"## Alerts, the newest first\n\n{table(rows)}")


def _row_of(decision: Decision) -> dict[str, str]:
    alert = decision.alert
    about = {"alert": alert.name, "of": alert.about, "since": moment(alert.started)}
    if isinstance(decision, Leave):
        started = decision.why.endswith("started for it already")
        return about | {"starts": "started" if started else "nothing", "why": decision.why}
    return about | {"starts": decision.deployment, "why": alert.annotations.get("summary", "")}


class _Teller:
    """Publishes a cycle as an artifact, whenever something has changed that people care for, and now and then."""

    def __init__(self) -> None:
        self._before: Any = None
        self._at = float("-inf")
        self._proofs: dict[str, str] = {}

    def __call__(self, cycle: Cycle) -> None:
        self._proofs |= {name: str(proof) for name, one in cycle.done.items() for proof in one.proofs}
        matters = ({name: one.error for name, one in cycle.done.items()}, cycle.findings)
        if not cycle.unheard and matters == self._before and time.monotonic() - self._at < TOLD_EVERY:
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
                "proved": self._proofs.get(name, "not yet").removeprefix(f"{name} "),
                "note": one.error,
            }
            for name, one in cycle.done.items()
        ]
        wrong = sum(bool(one.error) for one in cycle.done.values())
        sentence = f"{len(rows) - wrong} of {len(rows)} clusters collected" + "".join(f"; {one}" for one in cycle.findings)
        past = "".join(f"\n- {one}" for one in cycle.unheard)
        show("metrics-collector", sentence, f"## {sentence}\n\n{table(rows)}" + (f"\n\n### Afterwards\n{past}" if past else ""))
