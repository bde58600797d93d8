"""Rollout: plan, agree, waves, way back, prune. Each line of `rollout` is a line of the runbook."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flotilla.errors import InvalidInput, Problem
from flotilla.fleet import Fleet
from flotilla.report import End, Report
from flows.check import read_fleet
from flows.ending import published
from flows.journey import Journey, refuse_blocked, say, show_plan, told, warn
from flows.locks import only_one
from flows.walk import Approve, Walk
from tasks.manifests import load_application


def _side_by_side() -> TaskRunner[Any]:
    return ThreadPoolTaskRunner(max_workers=16)


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    name = str(parameters.get("application", "")).rpartition("/")[2].rpartition(".")[0]
    images = ",".join(str(image).rpartition(":")[2] for image in (parameters.get("images") or {}).values())
    kind = "plan" if parameters.get("dry_run") else "rollout"
    return "-".join(part for part in (kind, name, images) if part)


@flow(name="rollout", flow_run_name=_run_name, task_runner=_side_by_side(), persist_result=False)
@told
def rollout(
    application: str,
    fleet: str = "deployments/fleet.yaml",
    images: dict[str, str] | None = None,
    also: list[str] | None = None,
    dry_run: bool = False,
    approve: Approve = "ask",
    force: bool = False,
) -> State[Any]:
    """Roll one Application out over the fleet, in the waves that its workflow names.

    Args:
        application: file of the Application.
        fleet: file of the fleet.
        images: component name -> image, instead of the one in the file.
        also: more files, with the Policies and Workflows that the Application refers to.
        dry_run: show the plan and stop.
        force: take over fields that others own; without it they are conflicts, and nothing is changed.
        approve: "ask" stops at every gate for a person; "auto" agrees to all of them, where the fleet file allows it.

    """
    clusters = read_fleet(fleet)
    journey = Journey(clusters, load_application([application, *(also or [])], clusters, images), force=force)
    _refuse_auto_where_forbidden(journey.fleet, approve, fleet)
    say("%s for %s: %s", application, ", ".join(journey.intent.clusters) or "no cluster", "dry run" if dry_run else approve)
    for warning in journey.intent.warnings:
        warn("%s", warning)
    plan = journey.plan()
    show_plan(plan)
    if dry_run:
        return Completed(message=plan.summary(), data=Report(plan.application, 0, End.PLANNED, plan.hash))
    refuse_blocked(plan)
    with only_one(journey, journey.fleet.approvals.timeout) as waited:
        if waited:
            plan = journey.plan()
            show_plan(plan, "Plan after waiting in line")
            refuse_blocked(plan)
        return published(Walk(journey, approve, plan).to_the_end())


def _refuse_auto_where_forbidden(fleet: Fleet, approve: Approve, file: str) -> None:
    if approve == "auto" and not fleet.approvals.allow_auto:
        raise InvalidInput([Problem("parameters", "approve", approve, f"ask: approvals.allowAuto is false in {file}")])
