"""A fair sample of chaos: each runbook struck at a step by something; the whole table is `make chaos`."""

from __future__ import annotations

import os

import pytest

from flotilla.recovery.steps import Kind
from tests.recovery.chaos.cells import RUNBOOKS, Cell, cells, faults_of, sample, step_at, steps_of, strikes
from tests.recovery.chaos.faults import LOST
from tests.recovery.chaos.report import line, tables
from tests.recovery.chaos.runner import Moment
from tests.recovery.chaos.soak import soaked, watched
from tests.recovery.chaos.striking import End, Result, Striking
from tests.recovery.field import Field
from tests.recovery.users import primaries, users

CELLS = int(os.environ.get("FLOTILLA_CHAOS_CELLS", "2"))
SEED = int(os.environ.get("FLOTILLA_CHAOS_SEED", "7"))


def test_the_table_has_every_step_of_every_runbook_and_every_fault() -> None:
    table = cells()

    assert {(kind, step) for kind in RUNBOOKS for step in steps_of(kind)} == {(one.runbook, one.step) for one in table}
    assert {(kind, fault) for kind in RUNBOOKS for fault in faults_of(kind)} == {(one.runbook, one.fault) for one in table}
    assert len(table) == len(set(table))


def test_a_sample_is_the_same_for_a_seed_and_repeats_no_fault_before_each_was_there() -> None:
    table = cells()
    found, faults = sample(table, 13, 7), set(faults_of(Kind.SWITCHOVER))

    assert found == sample(table, 13, 7) != sample(table, 13, 8)
    assert set(RUNBOOKS) == {one.runbook for one in found}
    assert len(faults & {one.fault for one in found}) > 10


def test_a_sample_has_no_cell_that_strikes_nothing() -> None:
    found = sample(cells(), 40, 7)

    assert all(map(strikes, found))
    assert not strikes(Cell(Kind.SWITCHOVER, "open", Moment.BEFORE, "target-cut"))  # replay is not paused
    assert strikes(Cell(Kind.SWITCHOVER, "drain", Moment.DURING, "target-cut"))
    assert strikes(Cell(Kind.FAILBACK, "back-rejoin-same-city", Moment.AFTER, "origin-cut"))
    assert not strikes(Cell(Kind.SWITCHOVER, "traffic", Moment.BEFORE, LOST))


def test_steps_are_named_by_the_sites_that_they_are_at() -> None:
    assert "rejoin-same-city" == step_at("rejoin-production", "same-city", "production")
    assert ("drain", "detach-remote") == (step_at("drain", "same-city", "production"), step_at("detach-remote", "a", "b"))


def test_what_was_found_is_told_by_step_and_fault_and_in_a_line() -> None:
    results = [
        Result(Cell(Kind.SWITCHOVER, "drain", Moment.DURING, "target-cut"), End.VERIFIED),
        Result(Cell(Kind.SWITCHOVER, "drain", Moment.AFTER, "target-cut"), End.AT_GATE, gates=["drain"], lost=("a-1",)),
    ]

    assert "| drain | .vg* |" in next(iter(tables(results)))
    assert '"acknowledged_lost": 1' in line(results, 7)
    assert '"not_good": ["switchover: target-cut after drain"]' in line(results, 7)


@pytest.mark.lab
@pytest.mark.timeout(900)
def test_struck_anywhere_nothing_promised_is_lost_and_every_run_ends_verified_or_at_a_gate(field: Field) -> None:
    with primaries(field, os.environ) as seen, users(field, 30) as load:
        striking = Striking(field, load, seen)
        results = [striking.played(cell) for cell in sample(cells(), CELLS, SEED)]
        verdict = load.stop()

    assert [] == [f"{one.cell}: {one.told} {one.lost} {one.twice} {one.two}" for one in results if not one.is_good]
    assert sum(one.end is End.PASSED_BY for one in results) <= 1, [str(one.cell) for one in results]
    assert verdict.is_clean, verdict


@pytest.mark.lab
@pytest.mark.timeout(300)
def test_while_sites_are_half_ill_no_watcher_fails_over(field: Field) -> None:
    """A short one; an hour of all of them is `make soak`."""
    ill = ["half-dead-api-of-production", "deaf-agent-of-production", "slow-disk-of-production"]
    with watched(field) as made, users(field, 30, ignore_ttl=True) as load:
        wrong = soaked(made, load, 20, ill)
        verdict = load.stop()

    assert [] == wrong
    assert verdict.is_clean, verdict
