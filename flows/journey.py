"""What the stories share of a run under way: the fleet, the intent, what is told to people, and who this run is."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping
from typing import Any

from prefect import runtime
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from flotilla.errors import Transient
from flotilla.fleet import Fleet
from flotilla.intent import Intent
from flotilla.rollout import Plan
from tasks.clusters import Connection, connect
from tasks.planning import plan_rollout

SHOWN = 300  # rows of a plan that an artifact shows; the rest is counted


class Journey:
    """One run over one application. A plain object, so that Prefect passes it on to tasks without looking into it."""

    def __init__(self, fleet: Fleet, intent: Intent) -> None:
        self.fleet = fleet
        self.intent = intent
        self.run = run_id()

    def connection(self, cluster: str) -> Connection:
        """Return the connection to a cluster of the fleet."""
        return connect(self.fleet.cluster(cluster))

    def plan(self) -> Plan:
        """Return what rolling the intent out would do now, all clusters looked at side by side."""
        return plan_rollout(self.fleet, self.intent)


def run_id() -> str:
    """Return who this run is: Prefect's flow run id, or the process outside of Prefect."""
    return str(runtime.flow_run.id or f"process-{os.getpid()}")


def now() -> str:
    """Return the time, UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str, *args: object) -> None:
    """Log a line where the operator looks: in the run."""
    get_run_logger().info(text, *args)


def warn(text: str, *args: object) -> None:
    """Log a line that the operator should not overlook."""
    get_run_logger().warning(text, *args)


def show(key: str, title: str, body: str) -> None:
    """Publish markdown as an artifact of the run; later ones of the same key take its place."""
    create_markdown_artifact(key=key.replace(".", "-").lower(), markdown=body, description=title)


def show_plan(plan: Plan, title: str = "Plan") -> None:
    """Publish a plan as a table and log it in one line."""
    say("%s: %s (hash %s)", title, plan.summary(), plan.hash[:12])
    show(f"plan-{plan.application}", f"{title} of {plan.application}", plan_text(plan))


def plan_text(plan: Plan) -> str:
    """Return a plan as markdown: its hash, a line for each cluster, a row for each object that would change."""
    rows = plan.rows()
    told = f"**{plan.summary()}**\n\nhash `{plan.hash[:12]}`\n\n" + table(rows[:SHOWN])
    return told + (f"\n\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as a markdown table."""
    lines = list(rows)
    if not lines:
        return "nothing"
    head = list(lines[0])
    cells = [[str(row[name]).replace("|", "\\|").replace("\n", "<br>") for name in head] for row in lines]
    return "\n".join(["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells]])


def is_transient(_task: Any, _task_run: Any, state: Any) -> bool:
    """Tell Prefect whether a failed task may be tried again: by the kind of its error, never by hope."""
    try:
        state.result()
    except Transient:
        return True
    except BaseException:  # noqa: BLE001 - whatever else it was, it is not retried
        return False
    return False
