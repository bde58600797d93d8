"""Decisions of people where a run is stuck: which count."""

from __future__ import annotations

import pytest

from flotilla.recovery import acts
from flotilla.recovery.choosing import Chosen, chosen, claims_of
from flotilla.recovery.memory import Choice
from flotilla.recovery.steps import Phase, Step
from flotilla.recovery.walking import Stuck

STEP = Step("traffic", "traffic goes home", Phase.TRAFFIC, (acts.Fence("remote"),))
MOVE = Stuck(STEP, "nobody answers", (Choice.RETRY, Choice.END), 7)
NOW = 1000.0
SAID = claims_of("run-1", MOVE, Choice.RETRY, "alice", "mended", NOW)


def judged(said, now=NOW, approvers=("alice",)):
    return chosen("token", lambda _: said, "run-1", MOVE, approvers, now=now)


def test_a_decision_that_was_signed_for_this_step_counts():
    assert Chosen(Choice.RETRY, "alice", "mended") == judged(SAID)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"run": "run-2"}, "of run run-2"),
        ({"gate": "stuck-promote"}, "not of stuck-traffic"),
        ({"epoch": 6}, "at epoch 6"),
        ({"decision": "abort"}, "is no choice here: retry, end"),
        ({"name": "mallory"}, "not among the approvers"),
        ({"reason": " "}, "a reason is needed"),
        ({"exp": NOW + 1e6}, "expired"),
        ({"iat": NOW + 60}, "of the future"),
    ],
)
def test_what_was_signed_for_something_else_does_not(change, why):
    assert why in "; ".join(judged({**SAID, **change}))


def test_it_expires():
    assert "expired" in "; ".join(judged(SAID, now=NOW + 901))


def test_claims_that_lack_something_are_no_decision():
    assert "is no decision" in "; ".join(judged({name: value for name, value in SAID.items() if name != "epoch"}))
