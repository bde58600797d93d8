"""What each kind of workflow step does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flotilla.errors import Permanent
from flotilla.intent import ObjectRef, Step, StepKind
from flotilla.objects import Manifest
from flotilla.rollout import Ending, Verdict, judge_wave
from flotilla.workflow import Outcome, Phase, filled
from flows.journey import warn
from flows.waves import carry_out
from tasks.notify import tell_webhook
from tasks.objects import kind_of, read, unserved

if TYPE_CHECKING:
    from flows.walk import Walk


def carry_out_step(walk: Walk, step: Step) -> Outcome:
    """Carry out one step that needs nobody's agreement (any more) and return what became of it."""
    if step.kind is StepKind.NOTIFICATION:
        return _notify(walk, step)
    if step.kind is StepKind.READ_OBJECT and step.read is not None:
        return _read(walk, step, step.read)
    return _wave(walk, step)


def _wave(walk: Walk, step: Step) -> Outcome:
    """Carry out a deploy step and judge how its clusters came out."""
    clusters = [delivery.cluster for delivery in step.deliveries]
    walk.waves.append(clusters)
    endings = carry_out(walk.journey, step, walk.revision)
    for ending in endings:
        if ending.ending is Ending.UNREACHABLE:
            walk.unreachable[ending.cluster] = ending.message
        elif ending.ending is Ending.FAILED:
            walk.failed[ending.cluster] = ending.message
    told = "; ".join(f"{one.cluster} {one.ending}" + (f": {one.message}" if one.message else "") for one in endings)
    verdict = judge_wave(endings, step.wave)
    if verdict is Verdict.HOLD:
        approvals = walk.journey.fleet.approvals
        subject = f"{walk.journey.intent.name}: go on without {', '.join(walk.unreachable)}?"
        walk.agree(f"{step.name}-without", walk.remaining(), subject, "reject", approvals.timeout)
        verdict = Verdict.GO
    if verdict is Verdict.STOP:
        walk.stopped = f"{step.name}: {', '.join(walk.unreachable)} cannot be reached, and the step says stop"
    return Outcome(Phase.SUCCEEDED if verdict is Verdict.GO else Phase.FAILED, told)


def _notify(walk: Walk, step: Step) -> Outcome:
    """Tell the webhooks; one that cannot be told is a warning, never a reason to stop a rollout."""
    values = walk.values()
    hub = walk.journey.connection(walk.journey.fleet.production.name)
    failed = [
        hook.url or hook.secret
        for hook in step.webhooks
        if not tell_webhook(hook.secret or hook.url, filled(hook, values), lambda: hub)
    ]
    if failed:
        warn("%s: %d of %d webhooks were not told", step.name, len(failed), len(step.webhooks))
    return Outcome(Phase.SUCCEEDED, f"{len(step.webhooks) - len(failed)} of {len(step.webhooks)} told")


def _read(walk: Walk, step: Step, ref: ObjectRef) -> Outcome:
    """Read an object and hand on the values that later steps take as inputs."""
    connection = walk.journey.connection(ref.cluster)
    kind = kind_of(connection, ref.api_version, ref.kind)
    if kind is None:
        raise unserved(connection, ref.api_version, ref.kind)
    live = read(connection, kind, ref.namespace, ref.name)
    if live is None:
        raise Permanent(f"{ref.cluster}: {ref.kind} {ref.namespace}/{ref.name} is not there, and step {step.name} reads it")
    values = {output.name: _at(live, output.path, step.name) for output in step.outputs if output.path}
    return Outcome(Phase.SUCCEEDED, ", ".join(f"{name}={value}" for name, value in values.items()), values)


def _at(live: Manifest, path: tuple[str | int, ...], step: str) -> Any:
    """Return the value at a path of an object; raises Permanent naming the part that is not there."""
    value: Any = live
    for depth, part in enumerate(path):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            told = ".".join(str(one) for one in path[: depth + 1])
            raise Permanent(f"{step}: the object has no {told}") from None
    return value
