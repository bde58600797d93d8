"""Rollback: take an application back, in every cluster, to a revision that the clusters still hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flotilla.errors import InvalidInput, Permanent, Problem
from flotilla.fleet import Fleet
from flotilla.report import ClusterReport, End, Report, ending_of
from flotilla.revisions import Approval, Revision, RevisionState, last_good
from flotilla.rollout import Plan
from flows.check import read_fleet
from flows.ending import published
from flows.gates import Question, approval_for
from flows.journey import Journey, now, plan_text, refuse_blocked, run_id, say, show_plan, told, warn
from flows.locks import only_one
from flows.waves import Board
from flows.wayback import Way, bring_all
from tasks.planning import known_revisions
from tasks.revisions import save_revision


@flow(name="rollback", flow_run_name="rollback-{application}-to-{to}", persist_result=False)
@told
def rollback(
    application: str,
    namespace: str = "default",
    to: int | None = None,
    fleet: str = "deployments/fleet.yaml",
    dry_run: bool = False,
    approve: Literal["ask", "auto"] = "ask",
    force: bool = False,
) -> State[Any]:
    """Take an application back to a kept revision in every cluster that it names.

    Args:
        application: name of the application (not a file).
        namespace: the application's namespace.
        to: number of the revision; without it the last good one before the newest.
        fleet: file of the fleet.
        dry_run: show the plan and stop.
        force: take over fields that others own; without it they are conflicts, and nothing is changed.
        approve: "ask" has a person agree to the plan; "auto" agrees, where the fleet file allows it.

    """
    clusters = read_fleet(fleet)
    if approve == "auto" and not clusters.approvals.allow_auto:
        raise InvalidInput([Problem("parameters", "approve", approve, f"ask: approvals.allowAuto is false in {fleet}")])
    known = _known(clusters, application, namespace)
    target = chosen(known, application, namespace, to)
    journey = Journey(clusters, target.intent, force=force)
    plan = journey.plan()
    show_plan(plan, f"Plan to go back to revision {target.number}")
    if dry_run:
        return Completed(message=plan.summary(), data=Report(application, target.number, End.PLANNED, plan.hash))
    refuse_blocked(plan)
    with only_one(journey, clusters.approvals.timeout):
        approval = _agreed(journey, plan, target, approve)
        return published(_gone_back(journey, plan, _as_new(known, target, approval)))


def _known(fleet: Fleet, application: str, namespace: str) -> tuple[Revision, ...]:
    """Return the kept revisions; raises Permanent where nobody could be asked."""
    known, errors = known_revisions(fleet, application, namespace)
    for error in errors:
        warn("%s", error)
    if len(errors) == len(fleet.names):
        raise Permanent("no cluster could be asked for revisions:\n" + "\n".join(errors))
    return known


def chosen(known: tuple[Revision, ...], application: str, namespace: str, to: int | None) -> Revision:
    """Return the revision that is meant; raises InvalidInput naming those that are kept."""
    numbers = sorted({one.number for one in known})
    allowed = "one of " + (", ".join(map(str, numbers)) or f"none: no cluster holds revisions of {namespace}/{application}")
    if to is None:
        good = last_good(known, before=max(numbers, default=0))
        if good is None:
            raise InvalidInput([Problem("parameters", "to", to, f"a number: there is no earlier good revision; {allowed}")])
        return good
    if to not in numbers:
        raise InvalidInput([Problem("parameters", "to", to, allowed)])
    return next(one for one in known if one.number == to)


def _agreed(journey: Journey, plan: Plan, target: Revision, approve: str) -> Approval:
    approvals = journey.fleet.approvals
    subject = f"{journey.intent.name}: back to revision {target.number}"
    silence: Literal["approve", "reject"] = "approve" if approvals.on_silence == "approve" else "reject"
    question = Question(journey.intent.name, "rollback", subject, plan_text(plan), plan.hash, approvals.timeout, silence)
    return approval_for(question, journey.fleet, approve == "auto")


def _as_new(known: tuple[Revision, ...], target: Revision, approval: Approval) -> Revision:
    """Return the revision that going back is: a new number, as `kubectl rollout undo` has it, so that the newest is what is."""
    number = max(one.number for one in known) + 1
    note = f"rollback to revision {target.number}: {approval.reason}"
    return replace(
        target, number=number, run=run_id(), started=now(), approvals=(approval,), note=note, state=RevisionState.ROLLING_OUT
    )


def _gone_back(journey: Journey, plan: Plan, revision: Revision) -> Report:
    board = Board(journey.intent.name, "rollback", journey.intent.clusters)
    reports = bring_all(Way(journey, board, target=revision), journey.intent.clusters)
    done = []
    for one in reports:
        if one.state == "rolled back":
            save_revision(journey.connection(one.cluster), replace(revision, state=RevisionState.GOOD))
            done.append(ClusterReport(one.cluster, "healthy", revision.number, revision.note))
        else:
            done.append(one)
    owing = tuple(one.cluster for one in done if one.state == "unreachable")
    failed = any(one.state not in ("healthy", "unreachable") for one in done)
    end = End.FAILED if failed else ending_of(tuple(done), owing)
    say("%s: revision %d is what is rolled out now", journey.intent.name, revision.number)
    return Report(journey.intent.name, revision.number, end, plan.hash, tuple(done), owing)
