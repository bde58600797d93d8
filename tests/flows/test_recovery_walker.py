"""A run walked against the lab's API servers: written down before it acts, gone on with after its process died, or let be."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flotilla.recovery import recording
from flotilla.recovery.journal import Journal, Wrote, broken
from flotilla.recovery.memory import Choice
from flotilla.recovery.recording import Decision
from flotilla.recovery.walking import Ask, Outcome, Stuck
from flows import walker
from tasks import recovery_leases
from tasks.clusters import Connection
from tests.conftest import FleetLab
from tests.flows.recoveryset import NAME, SITES, Gone, Silence, Stand, plan
from tests.tasks.fleetset import until

pytestmark = pytest.mark.lab


@pytest.fixture
def stand(
    fleet_lab: FleetLab, ways: Mapping[str, Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    monkeypatch.setattr(recovery_leases, "NAME", NAME)
    made = Stand(fleet_lab.fleet, ways, tmp_path)
    yield made
    made.clean()


class Deciding(Silence):
    """Somebody who decides where a run is stuck."""

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.choice = choice

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        super().answer(move, journal)
        return recording.decided(journal, move.step.key, self.choice, Decision(time.time(), move.epoch, "alice", "enough"))


class Dying(Silence):
    """The process dies while people are asked."""

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        raise Gone


def kinds(journal: Journal) -> list[Wrote]:
    return [entry.kind for entry in journal.entries]


def test_a_run_writes_down_what_it_will_do_does_it_and_gives_the_leases_back(stand: Stand) -> None:
    made = plan()
    run = stand.begin(made)
    ended = stand.walk(run, made, Silence())

    assert Outcome.VERIFIED == ended.outcome
    assert [Wrote.PLANNED, Wrote.INTENDED, *[Wrote.TOLD] * 3, Wrote.ENDED] == kinds(run.kept.journal)
    assert "" == broken(run.kept.journal)
    assert [""] * 3 == stand.holders()


def test_a_run_that_ended_is_over_and_touches_nothing_when_it_is_started_again(stand: Stand) -> None:
    made = plan()
    run = stand.begin(made)
    stand.walk(run, made, Silence())
    before = kinds(run.kept.journal)
    ended = stand.walk(run, made, Silence())

    assert Outcome.VERIFIED == ended.outcome
    assert before == kinds(run.kept.journal)


def test_leases_that_another_run_holds_stop_a_run_until_somebody_decides(stand: Stand) -> None:
    for site in SITES:
        recovery_leases.take(stand.ways[site], "the-other", 2, "plan")
    made, people = plan(patience=1.0), Deciding(Choice.END)
    run = stand.begin(made)
    ended = stand.walk(run, made, people)

    assert Outcome.ENDED_BY_HAND == ended.outcome
    (stuck,) = people.asked
    assert isinstance(stuck, Stuck)
    assert "run the-other holds the lease of production" in stuck.why
    assert ["the-other"] * 3 == stand.holders()


def test_a_run_of_an_epoch_that_has_passed_is_over_and_touches_nothing(stand: Stand) -> None:
    for site in SITES:
        recovery_leases.take(stand.ways[site], "the-other", 9, "plan")
    made = plan()
    run = stand.begin(made)
    ended = stand.walk(run, made, Silence())

    assert Outcome.SUPERSEDED == ended.outcome
    assert "run the-other holds, or held, the lease" in ended.told
    assert [Wrote.PLANNED] == kinds(run.kept.journal)
    assert ["the-other"] * 3 == stand.holders()


def test_a_run_whose_process_died_goes_on_in_another_from_what_is_so(stand: Stand) -> None:
    made = plan(need=3, patience=1.0)
    recovery_leases.take(stand.ways["remote"], "the-other", 2, "plan")
    run = stand.begin(made)
    with pytest.raises(Gone):
        stand.walk(run, made, Dying())
    assert [run.run, run.run, "the-other"] == stand.holders()
    recovery_leases.release(stand.ways["remote"], "the-other")

    again = stand.taken_up(run.run)
    again.kept.keep(recording.resumed(again.kept.journal, made, time.time(), "another"))
    ended = stand.walk(again, made, Silence())

    assert Outcome.VERIFIED == ended.outcome
    told = [entry.said["site"] for entry in again.kept.journal.entries if entry.kind is Wrote.TOLD]
    assert sorted(SITES) == sorted(told)  # what was done is not done again
    assert "" == broken(again.kept.journal)


def test_leases_are_renewed_as_long_as_a_run_waits_for_people(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker, "RENEW", 0.3)
    recovery_leases.take(stand.ways["remote"], "the-other", 2, "plan")
    made, people = plan(need=3, patience=0.5), Silence()
    run = stand.begin(made)
    thread, ended = stand.in_background(run, made, people)

    def renewed() -> str:
        path = recovery_leases.KIND.path(recovery_leases.NAMESPACE, NAME)
        return str(stand.ways["production"].request("GET", path).body["spec"]["renewTime"])

    until(lambda: people.asked)
    first = renewed()
    until(lambda: renewed() > first)
    assert [run.run, run.run, "the-other"] == stand.holders()
    recovery_leases.release(stand.ways["remote"], "the-other")
    run_people = Deciding(Choice.RETRY)
    people.answer = run_people.answer  # type: ignore[method-assign]
    thread.join(30)

    assert [Outcome.VERIFIED] == [one.outcome for one in ended]
