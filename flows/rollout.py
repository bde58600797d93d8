"""Rollout: plan, agree, waves, way back, prune. Each line of `rollout` is a line of the runbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flotilla.errors import FlotillaError, InvalidInput, Problem, Refused
from flotilla.fleet import Fleet
from flotilla.intent import Step, StepKind
from flotilla.report import End, Report
from flotilla.revisions import Approval, Revision, RevisionState, intent_digest, next_number
from flotilla.rollout import Plan
from flotilla.workflow import Outcome, Phase, ready, values_of
from flows.check import read_fleet
from flows.ending import concluded, published
from flows.gates import Question, approval_for
from flows.journey import Journey, now, plan_text, refuse_blocked, say, show_plan, told, warn
from flows.locks import only_one
from flows.steps import carry_out_step
from tasks.fanout import side_by_side
from tasks.manifests import load_application
from tasks.revisions import revisions_of

Approve = Literal["ask", "auto"]


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


class Walk:
    """The walk through the workflow: what has become of each step, and who agreed to what."""

    def __init__(self, journey: Journey, approve: Approve, plan: Plan) -> None:
        self.journey = journey
        self.approve = approve
        self.plan = plan
        self.outcomes: dict[str, Outcome] = {}
        self.waves: list[list[str]] = []
        self.unreachable: dict[str, str] = {}
        self.rejected = ""
        self.revision = self._revision()
        say("%s: revision %d", journey.intent.name, self.revision.number)

    def to_the_end(self) -> Report:
        """Walk all steps and return the report; what failed is rolled back, what is left over is pruned."""
        while True:
            now_ready = ready(self.journey.intent, self.outcomes)
            for step, reason in now_ready.skip:
                say("%s: skipped: %s", step.name, reason)
                self.outcomes[step.name] = Outcome(Phase.SKIPPED, reason)
            for step in self._next(now_ready.run):
                self.outcomes[step.name] = self._outcome(step)
                say("%s: %s %s", step.name, self.outcomes[step.name].phase, self.outcomes[step.name].message)
            if not now_ready.run and not now_ready.skip:
                return concluded(self)

    def agree(self, gate: str, plan: Plan, subject: str, silence: Literal["approve", "reject"], seconds: float) -> None:
        """Have a person agree to a plan and keep who did; raises Refused where nobody does."""
        known = next((one for one in self.revision.approvals if (one.gate, one.plan) == (gate, plan.hash)), None)
        if known is None:
            question = Question(gate, subject, plan_text(plan), plan.hash, seconds, silence)
            known = approval_for(question, self.journey.fleet, self.approve == "auto")
            self.revision = replace(self.revision, approvals=(*self.revision.approvals, known))
        say("%s: agreed by %s (%s)", gate, known.name, known.reason)

    def remaining(self) -> Plan:
        """Return the plan of what is still to be done, made anew: what a gate asks about."""
        done = [name for name, outcome in self.outcomes.items() if outcome.finished]
        names = [name for name, _ in self.journey.intent.steps_and_deliveries if name not in done]
        return self.journey.plan().of_steps(names)

    def _next(self, steps: Sequence[Step]) -> Sequence[Step]:
        """Return what to do first: everything that needs no person, else one gate."""
        free = [step for step in steps if not step.gate and step.kind is not StepKind.SUSPEND]
        return free or steps[:1]

    def _outcome(self, step: Step) -> Outcome:
        """Carry a step out and return what became of it; a refusal is an outcome too, and ends the walk."""
        try:
            if step.gate or step.kind is StepKind.SUSPEND:
                self._ask_before(step)
            if step.kind is StepKind.SUSPEND:
                return Outcome(Phase.SUCCEEDED)
            return carry_out_step(self, step)
        except Refused as error:
            self.rejected = str(error)
            return Outcome(Phase.FAILED, str(error))
        except FlotillaError as error:
            return Outcome(Phase.FAILED, str(error))

    def _ask_before(self, step: Step) -> None:
        approvals = self.journey.fleet.approvals
        seconds, silence = approvals.timeout, approvals.on_silence
        if step.kind is StepKind.SUSPEND and step.duration is not None:
            seconds, silence = step.duration, "approve"
        elif step.timeout is not None and step.kind is StepKind.SUSPEND:
            seconds, silence = step.timeout, "reject"
        subject = f"{self.journey.intent.name} revision {self.revision.number}"
        if step.message:
            subject += f" ({step.message})"
        self.agree(step.name, self.remaining(), subject, "approve" if silence == "approve" else "reject", seconds)

    def values(self) -> Mapping[str, object]:
        """Return what steps have handed on so far, by name."""
        return values_of(self.journey.intent, self.outcomes)

    def _revision(self) -> Revision:
        """Return the revision that this run works on: that of an interrupted run of the same intent, or a new one."""
        journey, intent = self.journey, self.journey.intent
        found = side_by_side(
            intent.clusters, lambda name: revisions_of(journey.connection(name), intent.name, intent.namespace)
        )
        known = [one for revisions in found.values() if not isinstance(revisions, FlotillaError) for one in revisions]
        wanted = intent_digest(intent)
        number = next_number(known, wanted)
        own = [one for one in known if one.number == number and one.run == journey.run]
        approvals: tuple[Approval, ...] = max((one.approvals for one in own), key=len, default=())
        return Revision(
            cluster="",
            number=number,
            state=RevisionState.ROLLING_OUT,
            intent=intent,
            digest=wanted,
            run=journey.run,
            started=now(),
            approvals=approvals,
        )


def _refuse_auto_where_forbidden(fleet: Fleet, approve: Approve, file: str) -> None:
    if approve == "auto" and not fleet.approvals.allow_auto:
        raise InvalidInput([Problem("parameters", "approve", approve, f"ask: approvals.allowAuto is false in {file}")])
