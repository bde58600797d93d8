"""The walk of one rollout through its workflow: what has become of each step, and who agreed to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from flotilla.errors import FlotillaError, Refused
from flotilla.intent import Step, StepKind
from flotilla.report import Report
from flotilla.revisions import Approval, Revision, RevisionState, intent_digest, next_number
from flotilla.rollout import Plan
from flotilla.workflow import Outcome, Phase, ready, values_of
from flows.ending import concluded
from flows.gates import Question, approval_for
from flows.journey import Journey, now, plan_text, say
from flows.steps import carry_out_step
from tasks.fanout import side_by_side
from tasks.revisions import revisions_of

Approve = Literal["ask", "auto"]


class Walk:
    """The walk through the workflow: what has become of each step, and who agreed to what."""

    def __init__(self, journey: Journey, approve: Approve, plan: Plan) -> None:
        self.journey = journey
        self.approve = approve
        self.plan = plan
        self.outcomes: dict[str, Outcome] = {}
        self.waves: list[list[str]] = []
        self.unreachable: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.rejected = ""
        self.stopped = ""
        self.revision = self._revision()
        say("%s: revision %d", journey.intent.name, self.revision.number)

    def to_the_end(self) -> Report:
        """Walk all steps and return the report; what failed is rolled back, what is left over is pruned."""
        while True:
            now_ready = ready(self.journey.intent, self.outcomes)
            for step, reason in now_ready.skip:
                say("%s: skipped: %s", step.name, reason)
                self.outcomes[step.name] = Outcome(Phase.SKIPPED, reason)
            for name, outcome in self._carried_out(self._next(now_ready.run)).items():
                self.outcomes[name] = outcome
                say("%s: %s %s", name, outcome.phase, outcome.message)
            if not now_ready.run and not now_ready.skip:
                return concluded(self)

    def agree(self, gate: str, plan: Plan, subject: str, silence: Literal["approve", "reject"], seconds: float) -> None:
        """Have a person agree to a plan and keep who did; raises Refused where nobody does."""
        known = next((one for one in self.revision.approvals if (one.gate, one.plan) == (gate, plan.hash)), None)
        if known is None:
            question = Question(self.journey.intent.name, gate, subject, plan_text(plan), plan.hash, seconds, silence)
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

    def _carried_out(self, steps: Sequence[Step]) -> dict[str, Outcome]:
        """Return what became of some steps; several are carried out side by side, a gate alone (it suspends the run)."""
        if len(steps) == 1:
            return {steps[0].name: self._outcome(steps[0])}
        by_name = {step.name: step for step in steps}
        found = side_by_side(by_name, lambda name: self._outcome(by_name[name]))
        return {name: one for name, one in found.items() if isinstance(one, Outcome)}

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
        remaining = self.remaining()
        if step.kind is not StepKind.SUSPEND and remaining.is_empty:
            say("%s: nobody is asked, since nothing would change", step.name)
            return
        self.agree(step.name, remaining, subject, "approve" if silence == "approve" else "reject", seconds)

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
