"""A run that cannot go on without its origin: who walks it asks people, tells them, and does what they choose."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flotilla.errors import Transient
from flotilla.recovery import acts, recording
from flotilla.recovery.journal import Journal, Wrote
from flotilla.recovery.memory import Choice
from flotilla.recovery.recording import Decision
from flotilla.recovery.refusals import Asked, NotPlanned
from flotilla.recovery.replanning import asked_anew, made_anew
from flotilla.recovery.steps import Kind, Mode, Phase, Plan, Step
from flotilla.recovery.walking import Ask, Outcome, Replan, Stuck
from flows import announcing, answering
from flows.announcing import Announcing
from flows.eyes import Eyes
from flows.walker import Run, Walker
from tasks.step_journal import StepJournal

PROMOTE = Step(
    "promote", "remote is the primary", Phase.PROMOTE, (acts.Promote("remote", "production"),), point_of_no_return=True
)
PLAN = Plan(Kind.SWITCHOVER, "production", "remote", Mode.GRACEFUL, 3, (PROMOTE,), forced="ann: it has to be")


class Answers:
    """People who choose one thing after the other; told of what was asked."""

    def __init__(self, *choices: Choice) -> None:
        self.choices, self.asked = list(choices), list[Stuck]()

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with the next choice."""
        assert isinstance(move, Stuck)
        self.asked.append(move)
        choice = self.choices.pop(0)
        return recording.decided(journal, move.step.key, choice, Decision(time.time(), move.epoch, "ann", "enough"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    kept = StepJournal(tmp_path, "run-1", {})
    kept.open()
    kept.keep(recording.planned(kept.journal, PLAN, time.time(), "zoe", "test"))
    gone = Decision(time.time(), PLAN.epoch, "ann", "production is gone")
    kept.keep(recording.decided(kept.journal, "promote", Choice.UNGRACEFUL, gone))
    return Run("run-1", "walker", kept)


class Cluster:
    """An API server that takes a journal's copies, or is away."""

    def __init__(self, name: str, *, away: bool = False) -> None:
        self.name, self.away = name, away

    def request(self, method: str, path: str, **_: object) -> SimpleNamespace:
        """Answer as one that has no copy yet."""
        if self.away:
            raise Transient(f"{self.name} is away")
        return SimpleNamespace(status=404 if method == "GET" else 201, body={})


@pytest.mark.parametrize(("away", "copies"), [((), 2), (("production",), 2), (("production", "same-city"), 1)])
def test_the_point_of_no_return_waits_for_as_many_copies_as_there_can_be(
    tmp_path: Path, away: tuple[str, ...], copies: int
) -> None:
    ways = {name: Cluster(name, away=name in away) for name in ("production", "same-city", "remote")}
    kept = StepJournal(tmp_path, "run-2", ways)  # type: ignore[arg-type]
    kept.open()
    kept.keep(recording.planned(kept.journal, PLAN, time.time(), "zoe", "test"))
    until = time.monotonic() + 5
    while len(kept.errors) < len(away) and time.monotonic() < until:
        time.sleep(0.01)

    assert copies == min(2, kept.answering)
    assert kept.settled(copies, 5)
    kept.close(0)


def refused(run: Run, asked: list[Asked], plan: Plan, move: Replan) -> Plan | Stuck:
    asked.append(asked_anew(plan, move, run.kept.journal))
    return made_anew(NotPlanned(asked[-1], ("1 of 3 agents answer",)), move, run.kept.journal)


def test_a_failover_that_is_refused_in_the_middle_is_asked_about_until_somebody_ends_the_run(run: Run) -> None:
    people, asked = Answers(Choice.RETRY, Choice.END), list[Asked]()
    with Eyes({}) as eyes:
        walker = Walker(run, eyes, None, people, lambda plan, move: refused(run, asked, plan, move))  # type: ignore[arg-type]
        ended = walker.walk(PLAN)

    assert Outcome.ENDED_BY_HAND == ended.outcome
    assert ["1 of 3 agents answer" in move.why for move in people.asked] == [True, True]
    assert ("zoe", "ann", "it has to be") == (asked[0].initiator, *vars(asked[0].forced).values())
    assert Wrote.ASKED in {entry.kind for entry in run.kept.journal.entries}


def test_people_can_choose_while_a_failover_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Asked]()
    monkeypatch.setattr(answering, "read_run", lambda ground, name: run.kept.journal)
    monkeypatch.setattr(answering, "without_origin", lambda ground, plan, move, journal: refused(run, asked, plan, move))
    with Eyes({}) as eyes:
        move = answering.question_of(SimpleNamespace(eyes=eyes), "run-1")  # type: ignore[arg-type]

    assert isinstance(move, Stuck)
    assert (Choice.RETRY, Choice.ABORT, Choice.END) == move.choices


def test_people_are_told_once_of_each_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told, came = list[str](), threading.Semaphore(0)

    def tell(reference: str, body: dict[str, str]) -> None:
        told.append(f"{reference} {body['text']}")
        came.release()

    monkeypatch.setattr(announcing, "tell_webhook", tell)
    fleet = SimpleNamespace(approvals=SimpleNamespace(webhook_env="HOOK"))
    people = Announcing(Answers(*[Choice.RETRY] * 3), fleet)  # type: ignore[arg-type]
    first = Stuck(PROMOTE, "nothing is seen of production", (Choice.RETRY, Choice.UNGRACEFUL), 3)
    for move in (first, first, Stuck(PROMOTE, "1 of 3 agents answer", (Choice.RETRY,), 3)):
        people.answer(move, run.kept.journal)
    assert came.acquire(timeout=5)
    assert came.acquire(timeout=5)

    assert 2 == len(told)
    assert any("HOOK run run-1 waits at remote is the primary: nothing is seen of production" in one for one in told)
    assert any("flotilla recover choose run-1, one of: retry, ungraceful" in one for one in told)
