"""A drill: there and back under load; the next one is put beside it, and plans say what it took."""

from __future__ import annotations

import pytest

from flotilla.recovery.drilling import from_json
from flotilla.recovery.journal import Wrote
from flows.rehearsing import past_ways
from tests.recovery.field import FLEET, Field
from tests.recovery.users import users

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_a_drill_goes_there_and_back_under_load_and_the_next_plan_knows_what_it_took(field: Field) -> None:
    with users(field) as load:
        load.wait()
        asked = ("drill", "--to", "same-city", *field.by("alice", "the regular one"), "--ledger", str(load.file))
        done = field.recover(*asked).well()
        verdict = load.stop()
    (file,) = field.folder.glob(".flotilla/recovery/drills/*/report.json")
    drill = from_json(file.read_text())
    drawn = [one.read_text() for one in sorted(file.parent.glob("way-*.svg"))]

    assert ("production", "") == (field.primary, field.wrong())
    assert (True, (), ()) == (drill.is_well, drill.verdict, verdict.lost), done.text
    assert [("production", "same-city"), ("same-city", "production")] == [(leg.origin, leg.target) for leg in drill.legs]
    assert all(leg.ledger and leg.ledger.acknowledged and leg.ledger.outage for leg in drill.legs), done.text
    assert all("no writes acknowledged" in one for one in drawn)
    assert {leg.run for leg in drill.legs} <= {leg.run for leg in past_ways(field.ground.connections)}

    for leg, target in zip(drill.legs, ("same-city", "production"), strict=True):
        assert leg.run.startswith(f"{drill.name}-")
        assert target == leg.target
    plan = field.recover("switchover", "--to", "same-city", "--dry-run").well()
    outage = drill.legs[0].ledger.outage if drill.legs[0].ledger else None
    assert f"plan `{drill.legs[0].plan[:12]}`" in plan.text
    assert f"expect {outage:.2f} s without writes, {drill.legs[0].rto:g} s is the objective" in plan.text


def test_a_drill_that_cannot_begin_touches_nothing(field: Field) -> None:
    before = field.snapshot()
    for words, code, why in (
        (("--to", "moon"), 1, "there is no site 'moon'"),
        (("--to", "production"), 1, "production is primary already"),
        (("--to", "same-city", "--ledger", "no-such-file"), 2, "ledger"),
        (("--to", "same-city", "--fleet", FLEET, "--dry-run"), 0, "switchover same-city -> production"),
    ):
        done = field.recover("drill", *words)
        assert (code, True) == (done.code, why in done.text), done.text

    assert before == field.snapshot()


def test_a_drill_while_a_recovery_is_under_way_is_refused(field: Field) -> None:
    going = field.begin("switchover", "--to", "same-city", "--as", "zoe", "--reason", "test")
    going.wait_entry(lambda entry: entry.kind is Wrote.ASKED, "it asks")
    refused = field.recover("drill", "--to", "same-city", *field.by("alice"))
    field.recover("approve", going.run, *field.by("alice"), "--reject", "--yes").well()
    going.ended()

    assert 1 == refused.code
    assert f"run {going.run} is under way" in refused.text
    assert "nothing was touched" in refused.text
