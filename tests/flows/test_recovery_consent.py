"""What people say to a run: only what they signed themselves, for this question, now, and each answer once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flotilla.errors import Permanent
from flotilla.recovery import acts
from flotilla.recovery.approvals import APPROVE, REJECT, Gate, claims
from flotilla.recovery.choosing import claims_of
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.memory import Choice
from flotilla.recovery.steps import Phase, Step
from flotilla.recovery.walking import Ask, Stuck
from flows import consent
from flows.agreeing import Agreeing
from flows.answering import Person
from flows.consent import SignedAnswers
from tasks import answer_box
from tasks.clusters import Connection
from tasks.leadership import NAMESPACE
from tasks.signing import new_key, signed
from tests.flows.recoveryset import recovery_of

pytestmark = pytest.mark.lab
STEP = Step("drain", "production takes no new writes", Phase.DRAIN, (acts.Drain("production", 2.0, "same-city"),), approvals=2)
EPOCH = 5


@dataclass
class Desk:
    """A run that asks, and the people with their keys."""

    keys: Path
    ways: Mapping[str, Connection]
    people: SignedAnswers
    journal: Journal
    known: Mapping[str, str]

    @property
    def gate(self) -> Gate:
        return Gate("drain", self.journal.run, "p" * 64, "e" * 64, 2, "switchover?", (), "zoe")

    @property
    def ask(self) -> Ask:
        return Ask(STEP, self.gate, (), EPOCH)

    @property
    def stuck(self) -> Stuck:
        return Stuck(STEP, "nobody answers", (Choice.RETRY, Choice.END), EPOCH)

    def say(self, said: Mapping[str, Any], key: str = "", cluster: str = "remote") -> None:
        """Lay an answer down in a cluster, signed with somebody's key."""
        answer_box.put(self.ways[cluster], self.journal.run, signed(said, self.keys / (key or str(said["name"]))))

    def word(self, by: str, decision: str = APPROVE, **changes: Any) -> dict[str, Any]:
        return {**claims(self.gate, decision, by, "as agreed", time.time()), **changes}

    def taken(self, move: Ask | Stuck) -> list[tuple[str, str]]:
        """Return who said what, as the journal has it after the run has looked."""
        self.journal = self.people.answer(move, self.journal)
        return [(entry.who, entry.said.get("decision") or entry.said["choice"]) for entry in self.journal.entries]


@pytest.fixture
def desk(ways: Mapping[str, Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(consent, "LOOK_AGAIN", 0.01)
    people = {name: new_key(tmp_path / name) for name in ("alice", "bob", "eve")}
    del people["eve"]
    run = f"consent-{secrets.token_hex(3)}"
    yield Desk(tmp_path, ways, SignedAnswers(recovery_of(**people), ways), Journal(run), people)
    for one in ways.values():
        one.request("DELETE", answer_box.KIND.path(NAMESPACE, f"flotilla-recovery-{run}-answers"))


def test_as_long_as_nobody_answers_nothing_is_written(desk: Desk) -> None:
    before = desk.journal
    assert [] == desk.taken(desk.ask)
    assert before is desk.journal


def test_answers_count_wherever_they_lie_and_each_once(desk: Desk) -> None:
    said = desk.word("alice")
    for cluster in ("production", "remote"):
        desk.say(said, cluster=cluster)
    desk.say(desk.word("bob", REJECT), cluster="same-city")

    expected = [("alice", APPROVE), ("bob", REJECT)]
    assert expected == sorted(desk.taken(desk.ask))
    assert expected == sorted(desk.taken(desk.ask))
    assert {Wrote.APPROVED} == {entry.kind for entry in desk.journal.entries}


@pytest.mark.parametrize(
    ("changes", "key", "why"),
    [
        ({}, "bob", "is signed by 'alice'|signature does not hold"),
        ({"name": "eve"}, "eve", "is not among the approvers: alice, bob"),
        ({"plan": "q" * 64}, "alice", "of plan qqqqqqqqqqqq, not of pppppppppppp"),
        ({"evidence": "f" * 64}, "alice", "the facts have changed since"),
        ({"run": "another"}, "alice", "of run 'another'"),
        ({"iat": 1000.0, "exp": 1600.0}, "alice", "it has expired"),
    ],
)
def test_what_is_forged_old_or_of_another_question_counts_for_nothing_and_is_told_once(
    desk: Desk, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], key: str, why: str
) -> None:
    desk.say(desk.word("alice", **changes), key)
    for _ in range(2):
        assert [] == desk.taken(desk.ask)

    (told,) = [record.getMessage() for record in caplog.records if "does not count" in record.getMessage()]
    assert any(part in told for part in why.split("|")), told


def test_a_choice_where_a_run_is_stuck_is_taken_once_and_again_only_if_it_is_said_again(desk: Desk) -> None:
    now = time.time()
    desk.say(claims_of(desk.journal.run, desk.stuck, Choice.RETRY, "alice", "mended", now))
    assert [("alice", "retry")] == desk.taken(desk.stuck)
    assert [("alice", "retry")] == desk.taken(desk.stuck)
    desk.say(claims_of(desk.journal.run, desk.stuck, Choice.RETRY, "alice", "mended again", now + 1))

    assert [("alice", "retry")] * 2 == desk.taken(desk.stuck)


def test_an_approval_is_no_choice_and_a_choice_no_approval(desk: Desk) -> None:
    desk.say(desk.word("alice"))
    desk.say(claims_of(desk.journal.run, desk.stuck, Choice.RETRY, "bob", "mended", time.time()))

    assert [("bob", "retry")] == desk.taken(desk.stuck)
    desk.journal = replace(desk.journal, entries=())
    assert [("alice", APPROVE)] == desk.taken(desk.ask)


def doubt(desk: Desk, journal: Journal) -> str:
    try:
        consent.vouched_for(journal, recovery_of(**desk.known))
    except Permanent as error:
        return str(error)
    return ""


def test_what_stands_in_a_journal_as_somebodys_word_was_signed_by_them(desk: Desk) -> None:
    desk.say(desk.word("alice"))
    desk.taken(desk.ask)
    desk.say(claims_of(desk.journal.run, desk.stuck, Choice.RETRY, "bob", "mended", time.time()))
    desk.taken(desk.stuck)
    approval, choice = desk.journal.entries

    assert "" == doubt(desk, desk.journal)
    for forged, why in (
        (Entry(1.0, Wrote.APPROVED, "bob", EPOCH, "drain", {**approval.said, "token": "no token at all"}), "does not hold"),
        (Entry(1.0, Wrote.APPROVED, "bob", EPOCH, "drain", {**approval.said, "name": "bob"}), "differs in name"),
        (Entry(1.0, Wrote.APPROVED, "alice", EPOCH, "drain", {**approval.said, "plan": "q" * 64}), "differs in plan"),
        (Entry(1.0, Wrote.DECIDED, "bob", EPOCH, "drain", {**choice.said, "choice": "go on"}), "differs in decision"),
        (Entry(1.0, Wrote.DECIDED, "bob", EPOCH, "promote", choice.said), "differs in gate"),
        (Entry(1.0, Wrote.DECIDED, "plan", EPOCH, "drain", {"choice": "ungraceful", "why": ""}), "does not hold"),
        (Entry(1.0, Wrote.PLANNED, "zoe", EPOCH + 1), "nobody decided"),
    ):
        told = doubt(desk, desk.journal.with_entry(forged))
        assert "was forged: entry 3" in told
        assert why in told


def test_a_key_agrees_to_the_plan_that_its_owner_was_shown_and_to_no_other(desk: Desk) -> None:
    ground = SimpleNamespace(connections=desk.ways)
    agreeing = Agreeing(desk.people, ground, Person("alice", desk.keys / "alice", "as shown"))  # type: ignore[arg-type]
    assert desk.journal is agreeing.answer(desk.ask, desk.journal)

    agreeing.was_shown(SimpleNamespace(hash="p" * 64))  # type: ignore[arg-type]

    assert ["alice"] == [entry.who for entry in agreeing.answer(desk.ask, desk.journal).entries]
