"""The primary moved there and back under load, and by orchestrators that die on the way: nothing promised is lost."""

from __future__ import annotations

import os

import pytest

from flotilla.recovery.journal import Wrote
from tests.recovery.chaos.standing import begin_to_stand
from tests.recovery.field import CITY, Field
from tests.recovery.users import primaries, users

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

KILLED = [("stop", "before"), ("promote", "during")]
ELSEWHERE = [("cascade-remote", "after"), ("drain", "during"), ("promote", "after"), ("traffic", "before")]


def other(site: str) -> str:
    return next(one for one in CITY if one != site)


def test_moved_there_and_back_under_load_nothing_is_lost_or_there_twice(field: Field) -> None:
    with primaries(field, os.environ) as seen, users(field) as load:
        for target in ("same-city", "production"):
            done = field.move("switchover", target).well()
            assert f"-> {target}: verified (verified)" in done.text
            load.wait()
        verdict = load.stop()

    assert ((), (), ()) == (verdict.lost, verdict.duplicated, verdict.open)
    assert [] == seen.overlaps()
    assert "" == field.wrong()


@pytest.mark.parametrize("killed", [KILLED, pytest.param(ELSEWHERE, marks=pytest.mark.last)], ids=["twice", "elsewhere"])
def test_whoever_walks_it_is_killed_and_another_goes_on_with_nothing_lost(field: Field, killed: list[tuple[str, str]]) -> None:
    """Runs in turn, there and back, each killed elsewhere: also past the point of no return."""
    with primaries(field, os.environ) as seen, users(field) as load:
        for step, moment in killed:
            target = other(field.primary)
            standing = begin_to_stand(field, step, moment, "switchover", "--to", target, *field.by("alice"))
            assert standing.stands(), f"{step}: {standing.going.text}"
            run = standing.going.run
            standing.going.kill()
            going = field.begin("resume", run, "--as", "bob")
            if not any(entry.kind is Wrote.APPROVED for entry in going.journal.entries):  # it died before anybody was asked
                going.wait_entry(lambda entry: entry.kind is Wrote.ASKED, "it asks")
                field.approve(run, "alice").well()
            done = going.ended().well()

            assert f"-> {target}: verified (verified)" in done.text, f"{step} {moment}"
            assert target == field.primary
            load.wait()
            verdict = load.judged()
            assert ((), ()) == (verdict.lost, verdict.duplicated), f"{step} {moment}: {verdict}"
        assert load.stop().is_clean

    assert [] == seen.overlaps()
