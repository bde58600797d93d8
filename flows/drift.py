"""Drift: what was rolled out against what is, per field and owner; clusters that were away are brought along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flotilla.drift import drift_in, newest_good
from flotilla.errors import FlotillaError
from flotilla.fleet import Drift, Fleet
from flotilla.revisions import Revision, RevisionState, last_good
from flows.check import read_fleet
from flows.journey import Journey, now, run_id, say, show, table, told, warn
from flows.waves import Board, bring_to, prepare, steps_to
from tasks.clusters import connect
from tasks.fanout import side_by_side
from tasks.leases import LeaseRef, holder_of
from tasks.looks import look_at
from tasks.revisions import all_revisions, save_revision


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
    ref = LeaseRef(newest.intent.name, newest.intent.namespace)
    for cluster in [name for name in newest.intent.clusters if name in held]:
        connection = journey.connection(cluster)
        holder = holder_of(connection, ref)
        if holder is not None and not holder.expired:
            say("%s in %s is being rolled out by %s: left alone", newest.intent.name, cluster, holder.identity)
            continue
        own = last_good(one for one in held[cluster] if _is_of(one, newest))
        if own is None or own.number < newest.number:
            _bring_along(found, journey, newest, cluster)
            continue
        rows = drift_in(newest.intent.name, look_at(connection, newest.intent, force=True))
        found.rows += [one.row() for one in rows]
        if rows and mode is Drift.CORRECT:
            _bring_along(found, journey, newest, cluster, corrects=True)
    return found


def _bring_along(found: _Look, journey: Journey, newest: Revision, cluster: str, corrects: bool = False) -> None:
    """Bring one cluster to the newest good revision; what goes wrong there is told and stops no other."""
    name = f"{newest.intent.name} in {cluster}"
    say("%s: %s revision %d", name, "put right to" if corrects else "brought along to", newest.number)
    try:
        if bring.with_options(task_run_name=f"bring-{cluster}")(_Errand(journey, newest), cluster):
            (found.corrected if corrects else found.brought_along).append(name)
    except FlotillaError as error:
        warn("%s: %s", name, error)


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
    _record(errand, cluster)
    return True


def _record(errand: _Errand, cluster: str) -> None:
    kept = replace(errand.revision, state=RevisionState.GOOD, run=run_id(), note=f"brought along {now()}")
    save_revision(errand.journey.connection(cluster), kept)


def _is_of(one: Revision, newest: Revision) -> bool:
    return (one.intent.namespace, one.intent.name) == (newest.intent.namespace, newest.intent.name)
