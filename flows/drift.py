"""Drift: what was rolled out against what is, per field and owner; clusters that were away are brought along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flotilla.drift import drift_in, missed, newest_good
from flotilla.errors import FlotillaError
from flotilla.fleet import Drift, Fleet
from flotilla.markdown import table
from flotilla.revisions import Revision, RevisionState, last_good
from flows.check import read_fleet
from flows.draining import release_leftovers
from flows.journey import Journey, now, run_id, say, show, told, warn
from flows.locks import is_over
from flows.waves import Board, bring_to, prepare, steps_to
from tasks.clusters import connect
from tasks.fanout import side_by_side
from tasks.leases import LeaseRef, holder_of
from tasks.looks import look_at
from tasks.revisions import all_revisions, revisions_of, save_revision
from tasks.scene import Scene, strays_in
from tasks.workloads import prune


@dataclass(frozen=True)
class DriftReport:
    """What a look found: how many fields differ, which were put right, which clusters were brought along or are away."""

    differences: int
    corrected: tuple[str, ...]
    brought_along: tuple[str, ...]
    unreachable: tuple[str, ...]


@flow(name="drift", flow_run_name="drift", persist_result=False)
@told
def drift(fleet: str = "deployments/fleet.yaml", correct: Drift | None = None) -> State[Any]:
    """Compare what was rolled out with what is, in every cluster.

    Args:
        fleet: file of the fleet.
        correct: "report" only tells, "correct" puts right; without it what the fleet file says under drift.

    """
    clusters = read_fleet(fleet)
    mode = correct or clusters.drift
    found = side_by_side(clusters.names, lambda name: all_revisions(connect(clusters.cluster(name))))
    away = {name: str(seen) for name, seen in found.items() if isinstance(seen, FlotillaError)}
    for name, reason in away.items():
        warn("%s could not be looked at: %s", name, reason)
    held = {name: seen for name, seen in found.items() if not isinstance(seen, FlotillaError)}
    reports = [_look(clusters, newest, held, mode) for newest in newest_good(one for each in held.values() for one in each)]
    rows = [row for report in reports for row in report.rows]
    show("drift", f"{len(rows)} differences", f"## Drift, {now()}\n\n{table(rows)}\n\nunreachable: {', '.join(away) or 'none'}")
    say("%d differences in %d applications; unreachable: %s", len(rows), len(reports), ", ".join(away) or "none")
    report = DriftReport(
        differences=len(rows),
        corrected=tuple(name for report in reports for name in report.corrected),
        brought_along=tuple(name for report in reports for name in report.brought_along),
        unreachable=tuple(away),
    )
    return Completed(message=f"{len(rows)} differences; unreachable: {', '.join(away) or 'none'}", data=report)


class _Look:
    """What one application's look found, as it is put together."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self.corrected: list[str] = []
        self.brought_along: list[str] = []


def _look(fleet: Fleet, newest: Revision, held: dict[str, tuple[Revision, ...]], mode: Drift) -> _Look:
    """Look at one application in every cluster that can be reached; one that is being rolled out is left alone."""
    found = _Look()
    journey = Journey(fleet, newest.intent, force=mode is Drift.CORRECT)
    known = {name: [one for one in each if _is_of(one, newest)] for name, each in held.items()}
    for cluster in [name for name in newest.intent.clusters if name in held]:
        connection = journey.connection(cluster)
        holder = holder_of(connection, LeaseRef(newest.intent.name, newest.intent.namespace))
        if holder is not None and not holder.expired and not is_over(holder.identity):
            say("%s in %s is being rolled out by %s: left alone", newest.intent.name, cluster, holder.identity)
            continue
        release_leftovers(connection, newest.intent.namespace)
        if _is_behind(cluster, known, newest):
            found.brought_along += _brought(journey, newest, cluster, "brought along to")
            continue
        rows = drift_in(newest.intent.name, look_at(connection, newest.intent, force=True))
        found.rows += [one.row() for one in rows]
        if rows and mode is Drift.CORRECT:
            found.corrected += _brought(journey, newest, cluster, "put right to")
    return found


def _is_behind(cluster: str, known: dict[str, list[Revision]], newest: Revision) -> bool:
    """Tell whether a cluster was away when the others went forward to the newest good revision, or back to it."""
    own = known[cluster]
    others = [one for name, each in known.items() if name != cluster for one in each]
    good = last_good(own)
    return good is None or good.number < newest.number or missed(own, others, newest) is not None


def _brought(journey: Journey, newest: Revision, cluster: str, how: str) -> list[str]:
    """Bring one cluster to the newest good revision; what goes wrong there is told and stops no other."""
    name = f"{newest.intent.name} in {cluster}"
    say("%s: %s revision %d", name, how, newest.number)
    try:
        done = bring.with_options(task_run_name=f"bring-{cluster}")(_Errand(journey, newest), cluster)
    except FlotillaError as error:
        warn("%s: %s", name, error)
        return []
    return [name] if done else []


class _Errand:
    """What a cluster is brought to; plain, as a Wave is."""

    def __init__(self, journey: Journey, revision: Revision) -> None:
        self.journey = journey
        self.revision = revision


@task(name="bring", cache_policy=NO_CACHE, persist_result=False)
def bring(errand: _Errand, cluster: str) -> bool:
    """Bring one cluster to a revision and prove it; return whether it is healthy there."""
    journey, revision = errand.journey, errand.revision
    scene = journey.scene(cluster)
    prepare(scene)
    board = Board(revision.intent.name, "brought along", [cluster])
    for step in steps_to(revision.intent, cluster):
        report = bring_to(scene, step, board)
        if not report.is_healthy:
            warn("%s: not healthy: %s", cluster, report.summary())
            return False
    _clear(errand, scene)
    _record(errand, cluster)
    return True


def _clear(errand: _Errand, scene: Scene) -> None:
    """Delete what the revision does not name, unless that is so much that a person has to agree, which a rollout asks for."""
    strays = [stray.key for stray in strays_in(scene)]
    if not strays or errand.revision.intent.keep_legacy:
        return
    guard, cluster = errand.journey.fleet.approvals.prune_guard, scene.connection.name
    if len(strays) > guard:
        told = ", ".join(map(str, strays[:guard]))
        warn("%s: %d objects are left over, more than pruneGuard (%d): %s, ...", cluster, len(strays), guard, told)
        return
    gone = prune(scene, strays)
    say("%s: deleted %s", cluster, ", ".join(map(str, gone)) or "nothing")


def _record(errand: _Errand, cluster: str) -> None:
    """Keep the revision as good; newer ones that the cluster was left at are closed, since it is no longer at them."""
    connection, revision, at = errand.journey.connection(cluster), errand.revision, now()
    save_revision(connection, replace(revision, state=RevisionState.GOOD, run=run_id(), note=f"brought along {at}"))
    for one in revisions_of(connection, revision.intent.name, revision.intent.namespace):
        if one.number > revision.number and one.state is RevisionState.ROLLING_OUT:
            note = f"taken back to revision {revision.number} {at}"
            save_revision(connection, replace(one, state=RevisionState.FAILED, note=note))


def _is_of(one: Revision, newest: Revision) -> bool:
    return (one.intent.namespace, one.intent.name) == (newest.intent.namespace, newest.intent.name)
