"""How a rollout ends: rolled back where a step failed, else pruned and recorded as good; always as a report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flotilla.errors import FlotillaError, Refused
from flotilla.markdown import table
from flotilla.report import ClusterReport, End, Report, ending_of
from flotilla.revisions import RevisionState, superfluous
from flotilla.rollout import Action, Plan
from flotilla.workflow import Phase
from flows.journey import say, show, warn
from flows.wayback import go_back, record_failed
from tasks.fanout import side_by_side
from tasks.revisions import discard_revision, revisions_of, save_revision
from tasks.workloads import prune, save_parent

if TYPE_CHECKING:
    from flows.walk import Walk


_BAD = {End.ROLLED_BACK: "RolledBack", End.STOPPED: "Stopped", End.FAILED: "Failed"}


def concluded(walk: Walk) -> Report:
    """Return the report of a walk that is over, after what follows from it has been done."""
    if walk.stopped and not walk.rejected and not any(walk.failed):
        return _stopped(walk)
    failed = [(name, outcome) for name, outcome in walk.outcomes.items() if outcome.failed]
    if failed:
        return _rolled_back(walk, f"{failed[0][0]}: {failed[0][1].message}")
    try:
        _prune(walk)
    except Refused as error:
        warn("nothing was deleted: %s", error)
    return _good(walk)


def published(report: Report) -> State[Any]:
    """Publish a report and return the flow's final state: Completed (or Partial), RolledBack, Stopped, Rejected, Failed."""
    say("%s", report.sentence())
    show(f"report-{report.application}", report.sentence(), f"## {report.sentence()}\n\n{table(report.rows())}")
    if report.end is End.REJECTED:
        return Cancelled(name="Rejected", message=report.sentence())
    if report.end in _BAD:
        return Failed(name=_BAD[report.end], message=report.sentence())
    return Completed(name="Partial" if report.end is End.PARTIAL else None, message=report.sentence(), data=report)


def _stopped(walk: Walk) -> Report:
    """Return the report of a rollout that ended where a wave could not reach a cluster; what is done stays."""
    touched = {cluster for wave in walk.waves for cluster in wave}
    states = {
        name: "unreachable" if name in walk.unreachable else "healthy" if name in touched else "not begun"
        for name in walk.journey.intent.clusters
    }
    reports = tuple(
        ClusterReport(name, state, walk.revision.number if state == "healthy" else None, walk.unreachable.get(name, ""))
        for name, state in states.items()
    )
    owing = tuple(name for name, state in states.items() if state != "healthy")
    return Report(walk.journey.intent.name, walk.revision.number, End.STOPPED, walk.plan.hash, reports, owing, walk.stopped)


def _rolled_back(walk: Walk, why: str) -> Report:
    warn("%s", why)
    failed = replace(walk.revision, note=why)
    reports = go_back(walk.journey, walk.waves, failed)
    untouched = [name for name in walk.journey.intent.clusters if name not in {one.cluster for one in reports}]
    side_by_side(untouched, lambda name: record_failed(walk.journey, failed, name))
    owing = tuple(one.cluster for one in reports if one.state == "unreachable")
    back = all(one.state == "rolled back" for one in reports)
    end = End.REJECTED if walk.rejected else (End.ROLLED_BACK if back and reports else End.FAILED)
    return Report(walk.journey.intent.name, walk.revision.number, end, walk.plan.hash, reports, owing, why)


def _prune(walk: Walk) -> None:
    """Delete what the application no longer names, as planned; many deletes need a person."""
    planned = Plan(
        walk.plan.application, tuple(one for one in walk.plan.changes if one.action in (Action.DELETE, Action.RELEASE))
    )
    if not planned.changes or walk.journey.intent.keep_legacy:
        return
    approvals = walk.journey.fleet.approvals
    if len(planned.deletes) > approvals.prune_guard:
        subject = f"{walk.journey.intent.name}: delete {len(planned.deletes)} objects?"
        walk.agree("prune", planned, subject, "reject", approvals.timeout)
    for cluster in dict.fromkeys(one.cluster for one in planned.changes):
        if cluster in walk.unreachable:
            continue
        scene = walk.journey.scene(cluster)
        gone = prune(scene, [one.key for one in planned.changes if one.cluster == cluster and one.key is not None])
        save_parent(scene)
        say("%s: deleted %s", cluster, ", ".join(str(key) for key in gone) or "nothing")


def _good(walk: Walk) -> Report:
    """Record the revision as good in every cluster that has it all, discard old ones, and report."""
    intent = walk.journey.intent
    skipped = {name for name, outcome in walk.outcomes.items() if outcome.phase is Phase.SKIPPED}
    reports = []
    for cluster in intent.clusters:
        steps = {name for name, delivery in intent.steps_and_deliveries if delivery.cluster == cluster}
        if cluster in walk.unreachable:
            reports.append(ClusterReport(cluster, "unreachable", message=walk.unreachable[cluster]))
        elif cluster in walk.failed:
            reports.append(ClusterReport(cluster, "failed", message=walk.failed[cluster]))
        elif steps <= skipped:
            reports.append(ClusterReport(cluster, "skipped"))
        else:
            reports.append(ClusterReport(cluster, "healthy", walk.revision.number))
    done = [one.cluster for one in reports if one.state == "healthy"]
    marked = side_by_side(done, lambda name: _mark_good(walk, name, tuple(sorted(set(walk.outcomes) - skipped))))
    for name, error in marked.items():
        if isinstance(error, FlotillaError):
            walk.unreachable[name] = str(error)
    reports = [
        ClusterReport(one.cluster, "unreachable", message=walk.unreachable[one.cluster])
        if one.cluster in walk.unreachable
        else one
        for one in reports
    ]
    owing = tuple(one.cluster for one in reports if one.state == "unreachable")
    end = ending_of(tuple(reports), owing)
    return Report(intent.name, walk.revision.number, end, walk.plan.hash, tuple(reports), owing)


def _mark_good(walk: Walk, cluster: str, steps: tuple[str, ...]) -> None:
    connection = walk.journey.connection(cluster)
    save_revision(connection, replace(walk.revision, state=RevisionState.GOOD, steps=steps))
    known = revisions_of(connection, walk.journey.intent.name, walk.journey.intent.namespace)
    for old in superfluous(known, walk.journey.intent.keep_revisions):
        discard_revision(connection, old)
