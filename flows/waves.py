"""One wave: a deploy step carried out in its clusters side by side: applied by stages, proved healthy, soaked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flotilla.applyset import rank
from flotilla.errors import FlotillaError, Transient
from flotilla.intent import Intent, Step
from flotilla.markdown import table
from flotilla.objects import ObjectKey
from flotilla.revisions import Revision, RevisionState
from flotilla.rollout import Action, ClusterEnding, Ending
from flows.draining import drained
from flows.journey import Journey, is_transient, say, show
from tasks.clusters import Connection
from tasks.observe import HealthReport, stay_healthy, wait_until_healthy
from tasks.revisions import revisions_of, save_revision
from tasks.scene import GROUND, Scene
from tasks.workloads import apply_step, save_parent

BACK_OFF: list[float] = [2, 8]  # seconds, after the API client's own attempts; beyond that a cluster counts as unreachable


def carry_out(journey: Journey, step: Step, revision: Revision) -> tuple[ClusterEnding, ...]:
    """Return how each cluster of a deploy step came out of it; all are tried, at most ``parallelism`` at once."""
    chosen = list(dict.fromkeys(delivery.cluster for delivery in step.deliveries))
    wave = Wave(journey, step, revision, Board(journey.intent.name, step.name, chosen))
    at_once = max(1, step.parallelism) if step.wave.drain is None else 1  # each serves while another one is drained
    endings: list[ClusterEnding] = []
    for first in range(0, len(chosen), at_once):
        futures = {
            name: deliver.with_options(task_run_name=f"{step.name}-{name}").submit(wave, name)
            for name in chosen[first : first + at_once]
        }
        endings += [_ending(name, future) for name, future in futures.items()]
    for ending in endings:
        wave.board.note(ending.cluster, f"{ending.ending}: {ending.message}" if ending.message else str(ending.ending))
    return tuple(endings)


class Wave:
    """What the clusters of a wave share. A plain object, so that Prefect passes it on to tasks without looking into it."""

    def __init__(self, journey: Journey, step: Step, revision: Revision, board: Board) -> None:
        self.journey = journey
        self.step = step
        self.revision = revision
        self.board = board


class Board:
    """What people watch while a wave runs: a row for each cluster, published at each change."""

    def __init__(self, application: str, wave: str, clusters: Sequence[str]) -> None:
        self._key = f"progress-{application}"
        self._title = f"{application}: {wave}"
        self._rows = dict.fromkeys(clusters, "waits")

    def note(self, cluster: str, state: str) -> None:
        """Write what a cluster is at and publish it, if that is news."""
        if self._rows.get(cluster) == state:
            return
        self._rows[cluster] = state
        say("%s: %s: %s", self._title, cluster, state)
        rows = [{"cluster": name, "state": at} for name, at in self._rows.items()]
        show(self._key, self._title, f"## {self._title}\n\n{table(rows)}")


@task(
    name="deliver",
    retries=len(BACK_OFF),
    retry_delay_seconds=BACK_OFF,
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def deliver(wave: Wave, cluster: str) -> ClusterEnding:
    """Bring one cluster to what a step wants there and prove it; may be repeated at any point.

    What is written first is the revision, so that whoever comes after knows what was under way.
    """
    connection, step = wave.journey.connection(cluster), wave.step
    scene = wave.journey.scene(cluster)
    prepare(scene)
    own = replace(wave.revision, state=RevisionState.ROLLING_OUT, steps=_steps_done(connection, wave.revision))
    save_revision(connection, own)
    if step.name in own.steps:
        return ClusterEnding(cluster, Ending.HEALTHY, "done before this run was interrupted")
    wave.board.note(cluster, "applies")
    with drained(wave, scene) as drain:
        report = bring_to(scene, step, wave.board)
        if not report.is_healthy:
            return ClusterEnding(cluster, Ending.FAILED, report.summary())
        drain.prove()
    save_revision(connection, replace(own, steps=tuple(dict.fromkeys((*own.steps, step.name)))))
    return ClusterEnding(cluster, Ending.HEALTHY, report.summary())


def _steps_done(connection: Connection, revision: Revision) -> tuple[str, ...]:
    """Return the steps of this very run that a cluster has recorded as done."""
    known = revisions_of(connection, revision.intent.name, revision.intent.namespace)
    return next((one.steps for one in known if (one.number, one.run) == (revision.number, revision.run)), ())


def prepare(scene: Scene) -> None:
    """Make sure of the namespaces that are needed, and write the parent of the set before its members."""
    for name in dict.fromkeys(one.step for one in scene.wanted if one.stage == GROUND):
        apply_step(scene, name, GROUND)
    save_parent(scene)


def bring_to(scene: Scene, step: Step, board: Board) -> HealthReport:
    """Apply a step's stages one after another, each healthy before the next, and soak; return the last health report."""
    keys: list[ObjectKey] = []
    report = HealthReport(scene.connection.name, {})
    for stage in sorted({one.stage for one in scene.wanted if one.step == step.name and one.stage != GROUND}):
        done = apply_step(scene, step.name, stage)
        changed = sum(one.action is not Action.UNCHANGED for one in done)
        board.note(scene.connection.name, f"applied {len(done)} objects, {changed} changed; waits until they are healthy")
        keys += [one.key for one in done]
        report = _healthy(scene.connection, keys, step, board)
        if not report.is_healthy:
            return report
    if step.wave.soak and report.is_healthy:
        board.note(scene.connection.name, f"soaks for {step.wave.soak:g} s")
        report = stay_healthy(scene.connection, keys, seconds=step.wave.soak)
    return report


def _healthy(connection: Connection, keys: Sequence[ObjectKey], step: Step, board: Board) -> HealthReport:
    timeout = min(step.wave.health_timeout, step.timeout or step.wave.health_timeout)
    ordered = sorted(keys, key=lambda key: -rank(key.kind))
    report = wait_until_healthy(
        connection, ordered, timeout=timeout, on_progress=lambda seen: board.note(connection.name, seen.summary())
    )
    if report.unseen:
        raise Transient(report.unseen)
    return report


def _ending(cluster: str, future: PrefectFuture[ClusterEnding]) -> ClusterEnding:
    """Return how a cluster came out: an API server that does not answer is unreachable, everything else failed."""
    try:
        return future.result()
    except Transient as error:
        return ClusterEnding(cluster, Ending.UNREACHABLE, str(error).removeprefix(f"{cluster}: "))
    except FlotillaError as error:
        return ClusterEnding(cluster, Ending.FAILED, str(error).removeprefix(f"{cluster}: "))


def steps_to(intent: Intent, cluster: str) -> tuple[Step, ...]:
    """Return the deploy steps of an intent that deliver to a cluster, groups opened."""
    steps = [sub for step in intent.steps for sub in (step.sub_steps or (step,))]
    return tuple(step for step in steps if any(delivery.cluster == cluster for delivery in step.deliveries))
