"""The walk through an intent's steps: which may run now, which are skipped and why, and whether the end is reached. Pure.

The meaning is that of KubeVela's workflow engine (kubevela/workflow, pkg/executor). Three things are stricter, so that the
same outcomes always lead to the same walk: a condition that looks at a step waits until that step is finished; a failure
skips everything that depends on it, however far away; and a step whose input was never produced is skipped, not waited for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Any

from flotilla.intent import Intent, Mode, Step, StepKind, Webhook
from flotilla.oam.expressions import ALWAYS, holds, parse, paths


class Phase(StrEnum):
    """How far a step is. ``TIMEOUT`` is a failure, too; conditions read its phase as "failed", as KubeVela's do."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What became of a step, so far; ``values`` are its outputs by name."""

    phase: Phase
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.phase is not Phase.RUNNING

    @property
    def failed(self) -> bool:
        """Whether it ended badly."""
        return self.phase in (Phase.FAILED, Phase.TIMEOUT)


Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Ready:
    """What to do next. ``run`` and ``skip`` hold single steps, never groups; a group ends with its last sub-step."""

    run: tuple[Step, ...]
    skip: tuple[tuple[Step, str], ...]
    finished: bool
    failed: bool


def ready(intent: Intent, outcomes: Outcomes) -> Ready:
    """Return what may run now and what is to be skipped, given what has happened.

    Record an Outcome for everything returned (RUNNING for what was started, SKIPPED for what was skipped) and ask again
    whenever something finishes. A step with an outcome is never returned again.
    """
    walk = _Walk(intent, outcomes)
    run: list[Step] = []
    skip: list[tuple[Step, str]] = []
    for verdict, step, reason in walk.decisions():
        if verdict is _Verdict.RUN:
            run.append(step)
        elif verdict is _Verdict.SKIP:
            skip.append((step, reason))
    singles = [step for step, _ in _singles(intent)]
    finished = all(step.name in outcomes and outcomes[step.name].finished for step in singles)
    return Ready(tuple(run), tuple(skip), finished, any(outcome.failed for outcome in outcomes.values()))


def state_of(group: Step, outcomes: Outcomes) -> Outcome | None:
    """Return a group's outcome by its sub-steps: failed if one failed, skipped if all were; None before any began."""
    if group.name in outcomes:
        return outcomes[group.name]
    found = [outcomes[step.name] for step in group.sub_steps if step.name in outcomes]
    if not found:
        return None
    if len(found) < len(group.sub_steps) or not all(outcome.finished for outcome in found):
        return Outcome(Phase.RUNNING)
    if any(outcome.failed for outcome in found):
        return Outcome(Phase.FAILED)
    return Outcome(Phase.SKIPPED if all(outcome.phase is Phase.SKIPPED for outcome in found) else Phase.SUCCEEDED)


def prerequisites(intent: Intent) -> dict[str, frozenset[str]]:
    """Return for every step what must be finished before it begins; for a group: before it ends."""
    producers = _producers(intent)
    waits: dict[str, frozenset[str]] = {}
    for index, step in enumerate(intent.steps):
        own = _waits_for(step, intent.steps[:index], intent.mode, producers)
        for number, sub in enumerate(step.sub_steps):
            waits[sub.name] = own | _waits_for(sub, step.sub_steps[:number], step.sub_mode, producers)
        waits[step.name] = own | {sub.name for sub in step.sub_steps}
    return waits


def circle(intent: Intent) -> tuple[str, ...]:
    """Return the names of steps that wait for each other in a circle; empty if there is none."""
    try:
        TopologicalSorter(prerequisites(intent)).prepare()
    except CycleError as error:
        return tuple(error.args[1])
    return ()


def looks_at(step: Step) -> frozenset[str]:
    """Return the names of the steps whose status a step's condition looks at."""
    if step.condition in ("", ALWAYS):
        return frozenset()
    found = [parts for parts in paths(parse(step.condition)) if parts[0] == "status" and len(parts) > 1]
    return frozenset(str(parts[1]) for parts in found)


def filled(webhook: Webhook, values: Mapping[str, Any]) -> str:
    """Return a webhook's JSON body with the values of its inputs put in."""
    if not webhook.fills:
        return webhook.body
    body = json.loads(webhook.body)
    for fill in webhook.fills:
        target = body
        for part in fill.path[:-1]:
            target = target.setdefault(part, {})
        value = values[fill.input]
        target[fill.path[-1]] = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(body, ensure_ascii=False)


def values_of(intent: Intent, outcomes: Outcomes) -> dict[str, Any]:
    """Return every output by name: what finished steps handed on, and what was known beforehand of those that succeeded."""
    values: dict[str, Any] = {}
    for step, _ in _singles(intent):
        outcome = outcomes.get(step.name)
        if outcome is not None and outcome.phase is Phase.SUCCEEDED:
            values |= {output.name: output.value for output in step.outputs if output.value is not None}
        values |= outcome.values if outcome is not None else {}
    return values


class _Verdict(StrEnum):
    RUN = "run"
    SKIP = "skip"
    WAIT = "wait"


_Decision = tuple[_Verdict, Step, str]


class _Walk:
    """One look at the whole workflow."""

    def __init__(self, intent: Intent, outcomes: Outcomes) -> None:
        self._intent = intent
        self._given = outcomes
        groups = {step.name: state_of(step, outcomes) for step in intent.steps if step.kind is StepKind.GROUP}
        self._known = {**outcomes, **{name: outcome for name, outcome in groups.items() if outcome is not None}}
        self._steps = {step.name: step for top in intent.steps for step in (top, *top.sub_steps)}
        self._producers = _producers(intent)
        self._values = values_of(intent, outcomes)

    def decisions(self) -> Iterator[_Decision]:
        """Decide every single step that has no outcome yet."""
        for index, step in enumerate(self._intent.steps):
            verdict, _, reason = self._decide(step, self._intent.steps[:index], self._intent.mode)
            if step.kind is StepKind.GROUP:
                yield from self._inside(step, verdict, reason)
            elif step.name not in self._given:
                yield verdict, step, reason

    def _inside(self, group: Step, verdict: _Verdict, reason: str) -> Iterator[_Decision]:
        ended = self._given.get(group.name)
        if ended is not None and ended.finished:
            verdict, reason = _Verdict.SKIP, f"its group ended: {ended.message or ended.phase}"
        for index, sub in enumerate(group.sub_steps):
            if sub.name in self._given:
                continue
            if verdict is _Verdict.RUN:
                yield self._decide(sub, group.sub_steps[:index], group.sub_mode)
            else:
                yield verdict, sub, f"group {group.name} is skipped: {reason}" if verdict is _Verdict.SKIP else reason

    def _decide(self, step: Step, before: Sequence[Step], mode: Mode) -> _Decision:
        for name in sorted(_waits_for(step, before, mode, self._producers)):
            if name not in self._known or not self._known[name].finished:
                return _Verdict.WAIT, step, f"waits for {name}"
        reason = self._reason_to_skip(step, before, mode)
        return (_Verdict.SKIP, step, reason) if reason else (_Verdict.RUN, step, "")

    def _reason_to_skip(self, step: Step, before: Sequence[Step], mode: Mode) -> str:
        if step.condition == "":
            earlier = [one.name for one in before] if mode is Mode.STEP_BY_STEP else []
            broken = next((name for name in (*earlier, *step.depends_on) if self._broken(name)), None)
            if broken is not None:
                return f"{broken} did not succeed"
        elif step.condition != ALWAYS and not holds(parse(step.condition), self._scope(step)):
            return f"its condition does not hold: {step.condition}"
        missing = next((name for name in step.inputs if name not in self._values), None)
        return f"its input {missing} was never produced" if missing is not None else ""

    def _broken(self, name: str) -> bool:
        """Tell whether a step failed, or was skipped because of one that did."""
        outcome = self._known.get(name)
        if outcome is None:
            return False
        if outcome.phase is Phase.SKIPPED:
            return any(self._broken(other) for other in self._steps[name].depends_on)
        return outcome.failed

    def _scope(self, step: Step) -> dict[str, Any]:
        return {
            "status": {name: _status(outcome) for name, outcome in self._known.items()},
            "inputs": {name: self._values.get(name) for name in step.inputs},
            "context": {
                "name": self._intent.name,
                "appName": self._intent.name,
                "namespace": self._intent.namespace,
                "stepName": step.name,
            },
        }


def _status(outcome: Outcome) -> dict[str, Any]:
    phase = Phase.FAILED if outcome.failed else outcome.phase
    return {
        "phase": str(phase),
        "message": outcome.message,
        "reason": "Timeout" if outcome.phase is Phase.TIMEOUT else "",
        "succeeded": phase is Phase.SUCCEEDED,
        "failed": phase is Phase.FAILED,
        "skipped": phase is Phase.SKIPPED,
        "timeout": outcome.phase is Phase.TIMEOUT,
    }


STATUS_FIELDS = tuple(_status(Outcome(Phase.RUNNING)))
"""What a condition can ask of ``status.<step>``."""

CONTEXT_FIELDS = ("name", "appName", "namespace", "stepName")
"""What a condition can ask of ``context``."""


def _singles(intent: Intent) -> Iterator[tuple[Step, Step | None]]:
    """Yield every step that is not a group, with its group."""
    for step in intent.steps:
        if step.kind is StepKind.GROUP:
            yield from ((sub, step) for sub in step.sub_steps)
        else:
            yield step, None


def _producers(intent: Intent) -> dict[str, str]:
    return {output.name: step.name for step, _ in _singles(intent) for output in step.outputs}


def _waits_for(step: Step, before: Sequence[Step], mode: Mode, producers: Mapping[str, str]) -> frozenset[str]:
    names = {*step.depends_on, *looks_at(step), *(producers[name] for name in step.inputs if name in producers)}
    if mode is Mode.STEP_BY_STEP and before:
        names.add(before[-1].name)
    return frozenset(names)
