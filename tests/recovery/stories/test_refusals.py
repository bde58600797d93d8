"""Bad input: each is refused in words, and nothing is touched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from flotilla.recovery.approvals import Gate, claims
from flotilla.recovery.journal import Journal, Wrote
from flotilla.recovery.steps import from_dict
from flows.answering import given, question_of
from tasks.signing import signed
from tests.recovery.field import Field, Going, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

REFUSED = [
    (("switchover", "--to", "moon"), "there is no site 'moon'; there are production, same-city, remote"),
    (("switchover", "--to", "production"), "production is primary already"),
    (("failover", "--to", "production"), "production is primary already"),
    (("reprotect", "--to", "production"), "what is re-protected is another site"),
    (("degrade", "--to", "same-city"), "same-city is not primary, production is"),
    (("degrade", "--to", "production"), "same-city streams from production: commits do not hang"),
    (("resume", "no-such-run"), "there is no run no-such-run"),
    (("journal", "no-such-run"), "there is no run no-such-run"),
]


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a snapshot a run that was taken back leaves as it was: all but its epoch."""
    kept = ("database", "application")
    own = {site: {name: one[name] for name in kept} for site, one in found.items()}
    return {site: {**own[site], "fence": one["agent"][2:], "sync": one["settings"][0]} for site, one in found.items()}


def slots(found: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the slots of a snapshot: a run that died may have left some, which the next one takes away."""
    return {(site, slot) for site, one in found.items() for slot in one["settings"][1]}


def test_what_makes_no_sense_is_refused_in_words_and_nothing_is_touched(field: Field) -> None:
    before = field.snapshot()
    for words, why in REFUSED:
        done = field.recover(*words)
        assert (1, True) == (done.code, why in done.text), done.text

    assert before == field.snapshot()
    assert [set()] * len(REFUSED) == [one._new() for one in field.going[-len(REFUSED) :]]


@pytest.mark.parametrize(
    ("env", "code", "why"),
    [
        ({"FLOTILLA_RECOVERY": ""}, 2, "the section recovery in the fleet file, or the file that FLOTILLA_RECOVERY names"),
        ({"FLOTILLA_AGENT_TOKEN": ""}, 2, "FLOTILLA_AGENT_TOKEN"),
        ({"FLOTILLA_AGENT_TOKEN": "guessed"}, 1, "the bearer token is missing or is not the one asked for"),
    ],
)
def test_without_a_database_in_the_fleet_or_without_credentials_nothing_is_touched(
    field: Field, env: dict[str, str], code: int, why: str
) -> None:
    before = field.snapshot()
    done = field.recover("switchover", "--to", "same-city", *field.by("alice"), env=env)

    assert (code, True) == (done.code, why in done.text), done.text
    assert before == field.snapshot()


def at_gate(field: Field) -> tuple[Going, Gate]:
    """Return a switchover that waits for somebody to agree, and what it asks."""
    going = field.begin("switchover", "--to", "same-city", "--as", "zoe", "--reason", "test")
    going.wait_entry(lambda entry: entry.kind is Wrote.ASKED, "it asks")
    move = question_of(field.on(going), going.run)
    assert hasattr(move, "gate"), move
    return going, move.gate


def approvals(journal: Journal) -> list[str]:
    return [entry.who for entry in journal.entries if entry.kind is Wrote.APPROVED]


def test_only_what_somebody_signed_for_this_very_question_lets_a_run_go_on(field: Field) -> None:
    before = field.snapshot()
    going, gate = at_gate(field)
    good = claims(gate, "approve", "alice", "as agreed", time.time())
    bad = {
        "signature does not hold": (good, "bob"),
        "it has expired": (good | {"iat": 1000.0, "exp": 1600.0}, "alice"),
        "of plan 000000000000, not of": (good | {"plan": "0" * 64}, "alice"),
        "the facts have changed since": (good | {"evidence": "0" * 64}, "alice"),
        "it is of gate 'drain' of run 'another'": (good | {"run": "another"}, "alice"),
    }
    for said, key in bad.values():
        given(field.on(going), going.run, signed(said, field.keys / f"{key}.pem"))
    until(lambda: all(why in going.text for why in bad), lambda: going.text)
    assert [] == approvals(going.journal)

    second = field.recover("switchover", "--to", "same-city", *field.by("alice"))
    assert 1 == second.code
    assert f"run {going.run} is under way: wait for its end, or end it: flotilla recover choose" in second.text
    not_stuck = field.recover("choose", going.run, "go on", *field.by("alice"), "--yes")
    assert (3, True) == (not_stuck.code, "'go on' is no answer to" in not_stuck.text), not_stuck.text

    field.recover("approve", going.run, *field.by("alice"), "--reject", "--yes").well()
    done = going.ended()
    assert 1 == done.code
    assert "aborted" in done.text
    assert "switchover" == str(from_dict((going.journal.plan or {})["plan"]).kind)
    after = field.snapshot()
    assert shown(before) == shown(after)
    assert slots(after) <= slots(before)
