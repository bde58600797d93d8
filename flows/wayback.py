"""The way back: wave by wave in reverse order, each cluster to its last good revision, proved by the same health rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from flotilla.errors import FlotillaError, Transient
from flotilla.report import ClusterReport
from flotilla.revisions import Revision, RevisionState, last_good
from flotilla.rollout import way_back
from flows.journey import Journey, is_transient, say
from flows.waves import BACK_OFF, Board, bring_to, prepare, steps_to
from tasks.revisions import revisions_of, save_revision
from tasks.scene import strays_in
from tasks.workloads import prune


class Way:
    """What the clusters on the way share: from which revision, or to which. Plain, as a Wave is.

    With ``target`` every cluster goes to that revision; without it each goes to its last good one before ``failed``.
    """

    def __init__(self, journey: Journey, board: Board, failed: Revision | None = None, target: Revision | None = None) -> None:
        self.journey = journey
        self.board = board
        self.failed = failed
        self.target = target


def go_back(journey: Journey, waves: Iterable[Iterable[str]], failed: Revision) -> tuple[ClusterReport, ...]:
    """Return where each cluster that was touched ended; one that cannot be reached is listed and stops no other."""
    reports: list[ClusterReport] = []
    for wave in way_back([tuple(wave) for wave in waves], {}):
        names = [one.cluster for one in wave]
        reports += bring_all(Way(journey, Board(journey.intent.name, "way back", names), failed=failed), names)
    return tuple(reports)


def bring_all(way: Way, clusters: Iterable[str]) -> tuple[ClusterReport, ...]:
    """Return where some clusters ended, brought back side by side."""
    futures = {name: bring_back.with_options(task_run_name=f"back-{name}").submit(way, name) for name in clusters}
    reports = []
    for name, future in futures.items():
        try:
            reports.append(future.result())
        except Transient as error:
            reports.append(ClusterReport(name, "unreachable", message=str(error).removeprefix(f"{name}: ")))
        except FlotillaError as error:
            reports.append(ClusterReport(name, "failed to go back", message=str(error).removeprefix(f"{name}: ")))
    return tuple(reports)


@task(
    name="bring-back",
    retries=len(BACK_OFF),
    retry_delay_seconds=BACK_OFF,
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def bring_back(way: Way, cluster: str) -> ClusterReport:
    """Bring one cluster back, and take away what only the other revision brought; may be repeated at any point."""
    if way.target is not None:
        return _return_to(way, way.target, cluster)
    good = _last_good_before(way, cluster)
    if good is None:
        way.board.note(cluster, "stays: it never had a good revision")
        report = ClusterReport(cluster, "left as it is", message="it never had a good revision to go back to")
    else:
        say("%s: goes back to revision %d", cluster, good.number)
        report = _return_to(way, good, cluster)
    record_failed(way.journey, way.failed, cluster)
    return report


def _last_good_before(way: Way, cluster: str) -> Revision | None:
    intent = way.journey.intent
    known = revisions_of(way.journey.connection(cluster), intent.name, intent.namespace)
    return last_good(known, before=way.failed.number if way.failed else None)


def record_failed(journey: Journey, failed: Revision | None, cluster: str) -> None:
    """Record in a cluster that a revision failed: last, so that a cluster that was away until then is known to owe it."""
    if failed is None:
        return
    connection = journey.connection(cluster)
    known = revisions_of(connection, failed.intent.name, failed.intent.namespace)
    own = next((one for one in known if one.number == failed.number), failed)
    save_revision(connection, replace(own, state=RevisionState.FAILED, approvals=failed.approvals, note=failed.note))


def _return_to(way: Way, good: Revision, cluster: str) -> ClusterReport:
    """Apply what a revision wanted in one cluster, prove it healthy, and prune what it does not know."""
    scene = way.journey.scene(cluster, good.intent)
    prepare(scene)
    for step in steps_to(good.intent, cluster):
        report = bring_to(scene, step, way.board)
        if not report.is_healthy:
            way.board.note(cluster, f"not healthy in revision {good.number}: {report.summary()}")
            return ClusterReport(cluster, "failed to go back", good.number, report.summary())
    gone = prune(scene, [stray.key for stray in strays_in(scene)])
    way.board.note(cluster, f"is at revision {good.number}" + (f", {len(gone)} objects of the other deleted" if gone else ""))
    return ClusterReport(cluster, "rolled back", good.number)
