"""The approval gate: the only place that suspends a run and asks a person."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from prefect import flow, get_client, runtime
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from flotilla.errors import Permanent, Refused
from flotilla.fleet import Fleet
from flotilla.revisions import Approval
from flows.journey import now, say, show
from tasks.notify import tell_webhook
from tasks.prefect_api import ui_link

BACKSTOP = 3600  # seconds after the deadline at which Prefect itself ends a run that nobody woke
SILENCE = "silence/silence"


class Answer(RunInput):
    """What a person answers at a gate. Only what JSON schema can say is checked before the run goes on."""

    decision: Literal["approve", "reject"] = Field(description="approve: go on. reject: end here; what is done is rolled back.")
    name: str = Field(min_length=2, max_length=100, description="Who you are; kept with the revision.")
    reason: str = Field(min_length=3, max_length=1000, description="Why; kept with the revision.")


@dataclass(frozen=True)
class Question:
    """What is asked. ``plan`` is the hash of what is approved; ``silence`` what it means if nobody answers in ``seconds``."""

    application: str
    gate: str
    subject: str
    body: str
    plan: str
    seconds: float
    silence: Literal["approve", "reject"] = "reject"

    @property
    def key(self) -> str:
        """The key of the pause: another plan is another question."""
        return f"{self.gate}-{self.plan[:12]}"


def approval_for(question: Question, fleet: Fleet, automatic: bool) -> Approval:
    """Return who agreed; raises Refused where a person said no, or nobody said yes in time.

    The run is suspended until then: its process ends, and it begins again from the top when the answer is there.
    """
    if automatic:
        say("%s: agreed beforehand (approve=auto), plan %s", question.gate, question.plan[:12])
        return Approval(question.gate, "approve", "auto", "the run was started with approve=auto", question.plan, now())
    if runtime.deployment.id is None:
        raise Permanent(f"{question.gate}: a person has to agree; start this through the server: flotilla rollout, or the UI")
    answer = _ask(question, fleet)
    told = f"{question.subject}: {question.gate}: {answer.decision} by {answer.name}"
    show(_board(question), told, f"## {told}\n\n{answer.reason}\n\nplan `{question.plan[:12]}`")
    say("%s: %s by %s: %s (plan %s)", question.gate, answer.decision, answer.name, answer.reason, question.plan[:12])
    if answer.decision == "reject":
        raise Refused(f"{question.gate}: rejected by {answer.name}: {answer.reason}")
    return Approval(question.gate, answer.decision, answer.name, answer.reason, question.plan, now())


def _ask(question: Question, fleet: Fleet) -> Answer:
    """Return the answer to a question; asks, and ends this process, the first time that the run comes here."""
    run = str(runtime.flow_run.id)
    if not _was_asked(run, question.key):
        deadline = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=question.seconds)
        _announce(question, run, deadline, fleet)
        _wake_at(deadline, run, question)
    form = Answer.with_initial_data(description=question.body)
    return suspend_flow_run(wait_for_input=form, timeout=int(question.seconds) + BACKSTOP, key=question.key)


def _board(question: Question) -> str:
    """Return the key of the artifact that shows whether an application waits for a person."""
    return f"waiting-for-you-{question.application}"


def _was_asked(run: str, key: str) -> bool:
    with get_client(sync_client=True) as client:
        found = client.request(
            "POST",
            "/flow_runs/{id}/input/filter",
            path_params={"id": run},
            json={"prefix": f"suspended-{key}", "limit": 1, "exclude_keys": []},
        )
        return bool(found.json())


def _announce(question: Question, run: str, deadline: datetime.datetime, fleet: Fleet) -> None:
    """Make a gate that waits easy to find: a log line, an artifact and a message to the webhook."""
    link = ui_link(run)
    until = deadline.strftime("%Y-%m-%d %H:%M:%S UTC")
    text = f"{question.subject}: {question.gate} waits for you until {until} (then: {question.silence}): {link}"
    say(text)
    body = f"## {question.subject}: {question.gate}\n\nuntil {until}, then: {question.silence}\n\n[answer here]({link})\n\n"
    body += f"or `flotilla approve {run} --as NAME --reason WHY`\n\n{question.body}"
    show(_board(question), f"{question.subject}: {question.gate} waits for you", body)
    if fleet.approvals.webhook_env:
        tell_webhook(f"env:{fleet.approvals.webhook_env}", {"text": text, "run": run, "plan": question.plan})


def _wake_at(deadline: datetime.datetime, run: str, question: Question) -> None:
    """Schedule the run that answers for silence at the deadline; it does nothing where a person was quicker."""
    from prefect.deployments import run_deployment

    run_deployment(
        SILENCE,
        parameters={"run": run, "key": question.key, "decision": question.silence},
        scheduled_time=deadline,
        timeout=0,
        as_subflow=False,
        flow_run_name=f"silence-{question.key}",
        idempotency_key=f"{run}-{question.key}",
    )


@flow(name="silence", flow_run_name="silence-{key}", log_prints=False)
def silence(run: str, key: str, decision: Literal["approve", "reject"]) -> State[str]:
    """Answer a gate that nobody answered in time, as its step says; a gate that was answered is left alone."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(run)).state
        details = found.state_details if found else None
        if found is None or not found.is_paused() or details is None or details.pause_key != key:
            return Completed(message=f"{key}: answered before its deadline")
        answer = {"decision": decision, "name": "silence", "reason": "nobody answered in time"}
        reply = client.resume_flow_run(UUID(run), run_input=answer)
    if reply.status != SetStateStatus.ACCEPT:
        raise Permanent(f"{key}: could not answer for silence: {reply.details}")
    say("%s: nobody answered: %s", key, decision)
    return Completed(message=f"{key}: {decision} by silence")
