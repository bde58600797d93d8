"""The step journal on disk and in the lab's clusters: after crashes, cuts and tampering the longest copy that is whole."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from flotilla.errors import Permanent
from flotilla.recovery.journal import Entry, Journal, Wrote, broken, from_lines, to_lines
from tasks.clusters import Connection
from tasks.leadership import NAMESPACE
from tasks.step_journal import FIELD, KIND, StepJournal, journals
from tests.tasks.faults import FaultProxy
from tests.tasks.fleetset import until

pytestmark = pytest.mark.lab

Opened = Callable[..., StepJournal]


@pytest.fixture
def run(ways: Mapping[str, Connection]) -> Iterator[str]:
    """Yield a run of the test's own; its copies are gone afterwards."""
    run = f"journal-test-{secrets.token_hex(3)}"
    yield run
    for one in ways.values():
        one.request("DELETE", KIND.path(NAMESPACE, f"flotilla-recovery-{run}"))


@pytest.fixture
def opened(ways: Mapping[str, Connection], tmp_path: Path, run: str) -> Iterator[Opened]:
    """Open a journal on a machine, in this test a folder, as another process does; all are closed afterwards."""
    kept: list[StepJournal] = []

    def at(machine: str, to: Mapping[str, Connection] = ways) -> StepJournal:
        kept.append(StepJournal(tmp_path / machine, run, to))
        kept[-1].open()
        return kept[-1]

    yield at
    for one in kept:
        one.close(0)


def write(kept: StepJournal, *steps: str) -> None:
    for step in steps:
        kept.keep(kept.journal.with_entry(Entry(1.0, Wrote.INTENDED, "walker", 3, step, {"acts": []})))


def steps(journal: Journal) -> list[str]:
    return [entry.step for entry in journal.entries]


def copy_of(one: Connection, run: str) -> Journal:
    (found,) = [journal for journal in journals(one) if journal.run == run]
    return found


def put(one: Connection, run: str, text: str) -> None:
    """Write a copy past Flotilla."""
    body = {"data": {FIELD: text}}
    path = KIND.path(NAMESPACE, f"flotilla-recovery-{run}")
    answer = one.request("PATCH", path, body=body, content_type="application/merge-patch+json")
    assert answer.status == 200, answer.message


def test_what_is_kept_is_on_disk_at_once_and_in_every_cluster_soon(
    opened: Opened, ways: Mapping[str, Connection], tmp_path: Path, run: str
) -> None:
    kept = opened("here")
    write(kept, "leases", "begin", "promote")
    on_disk = from_lines((tmp_path / "here" / f"{run}.jsonl").read_text())

    assert ["leases", "begin", "promote"] == steps(on_disk)
    assert kept.settled(len(ways), 20), kept.errors
    assert [to_lines(on_disk)] * len(ways) == [to_lines(copy_of(one, run)) for one in ways.values()]


def test_another_machine_goes_on_with_what_the_clusters_have(opened: Opened, ways: Mapping[str, Connection], run: str) -> None:
    first = opened("here")
    write(first, "leases", "begin")
    assert first.settled(1, 20), first.errors
    first.close(20)
    second = opened("elsewhere")
    write(second, "promote")

    assert ["leases", "begin", "promote"] == steps(second.journal)
    assert "" == broken(second.journal)
    assert second.settled(len(ways), 20), second.errors
    assert [3] * len(ways) == [len(copy_of(one, run).entries) for one in ways.values()]


def test_a_last_line_that_a_crash_cut_off_is_left_out_and_the_chain_goes_on(opened: Opened, tmp_path: Path, run: str) -> None:
    first = opened("here", {})
    write(first, "leases", "begin")
    first.close(0)
    file = tmp_path / "here" / f"{run}.jsonl"
    whole = file.read_text()
    file.write_text(whole + whole.splitlines()[-1][:40])
    second = opened("here", {})
    write(second, "promote")

    found = from_lines(file.read_text())
    assert ["leases", "begin", "promote"] == steps(found)
    assert "" == broken(found)


def test_a_copy_that_lags_is_brought_up_to_date_from_a_longer_one(
    opened: Opened, ways: Mapping[str, Connection], run: str
) -> None:
    first = opened("here")
    write(first, "leases", "begin", "promote")
    assert first.settled(len(ways), 20), first.errors
    first.close(20)
    put(ways["remote"], run, to_lines(Journal(run, first.journal.entries[:1])))
    second = opened("elsewhere")

    assert ["leases", "begin", "promote"] == steps(second.journal)
    until(lambda: len(copy_of(ways["remote"], run).entries) == 3)


def test_two_processes_that_walk_one_run_are_told_so(opened: Opened, ways: Mapping[str, Connection]) -> None:
    first, second = opened("here"), opened("elsewhere")
    write(first, "leases", "begin")
    assert first.settled(len(ways), 20), first.errors
    write(second, "leases", "abort")
    told = "went different ways: two processes wrote them"
    until(lambda: [told in why for why in second.errors.values()] == [True] * len(ways), what=lambda: second.errors)

    assert () == second.up_to_date
    with pytest.raises(Permanent, match="went different ways: two processes wrote them"):
        opened("elsewhere")


def test_whoever_took_a_run_up_goes_on_though_the_dead_wrote_something_that_nobody_heard_of(
    opened: Opened, ways: Mapping[str, Connection], tmp_path: Path, run: str
) -> None:
    near, far = {"production": ways["production"]}, {name: ways[name] for name in ("same-city", "remote")}
    dead = opened("here", near)
    write(dead, "leases")
    dead.settled(1, 20)
    other = opened("elsewhere", {**near, **far})
    assert other.settled(len(ways), 20), other.errors
    write(dead, "begin")  # the last that it wrote: production has it, which nobody else reaches
    assert dead.settled(1, 20), dead.errors
    other.keep(other.journal.with_entry(Entry(2.0, Wrote.RESUMED, "bob")))
    until(lambda: all(len(copy_of(one, run).entries) == 2 for one in far.values()))

    assert other.settled(len(ways), 20), other.errors
    write(dead, "drain")  # as it was not dead after all: it is told, and writes no more
    until(lambda: bool(dead.errors))
    with pytest.raises(Permanent, match="another process walks it|different ways"):
        write(dead, "fence")

    assert ["leases", ""] == steps(opened("here").journal)
    assert "drain" in (tmp_path / "here" / f"{run}.forked").read_text()


def test_a_copy_that_nobody_can_read_stops_nobody(opened: Opened, ways: Mapping[str, Connection], run: str) -> None:
    first = opened("here")
    write(first, "leases")
    assert first.settled(len(ways), 20), first.errors
    first.close(20)
    put(ways["remote"], run, "")
    second = opened("here")
    write(second, "begin")

    assert ["leases", "begin"] == steps(second.journal)
    assert second.settled(len(ways), 20), second.errors


def test_one_who_is_behind_another_process_writes_nothing_over(
    opened: Opened, ways: Mapping[str, Connection], run: str
) -> None:
    first, late = opened("here"), opened("elsewhere")
    write(first, "leases", "begin")
    assert first.settled(len(ways), 20), first.errors
    late.keep(Journal(run, first.journal.entries[:1]))
    until(lambda: len(late.errors) == len(ways), what=lambda: late.errors)

    assert all("another process walks it" in why for why in late.errors.values()), late.errors
    assert [2] * len(ways) == [len(copy_of(one, run).entries) for one in ways.values()]


def test_a_copy_that_was_tampered_with_counts_for_nothing_and_alone_is_refused(
    opened: Opened, ways: Mapping[str, Connection], tmp_path: Path, run: str
) -> None:
    first = opened("here")
    write(first, "leases", "begin")
    assert first.settled(len(ways), 20), first.errors
    first.close(20)
    forged = to_lines(first.journal).replace('"step":"begin"', '"step":"verify"')
    (tmp_path / "here" / f"{run}.jsonl").write_text(forged)
    put(ways["remote"], run, forged)

    assert ["leases", "begin"] == steps(opened("here").journal)
    (tmp_path / "here" / f"{run}.jsonl").write_text(forged)
    with pytest.raises(Permanent, match=r"tampered with: entry 2 \(intended verify\) was changed after it was written"):
        opened("here", {})


def test_who_only_reads_a_run_takes_nothing_from_whoever_walks_it(opened: Opened, tmp_path: Path, run: str) -> None:
    kept, file = opened("here", {}), tmp_path / "here" / f"{run}.jsonl"
    write(kept, "leases")
    same = file.stat().st_ino
    read = StepJournal(tmp_path / "here", run, {}).read()
    write(kept, "begin")

    assert (["leases"], same) == (steps(read), file.stat().st_ino)
    assert ["leases", "begin"] == steps(from_lines(file.read_text()))


def test_a_run_goes_on_while_a_cluster_is_away_and_its_copy_follows(opened: Opened, proxy: FaultProxy, run: str) -> None:
    proxy.make(path="configmaps", cut="before", times=1000)
    kept = opened("here", {"remote": proxy.connection})
    write(kept, "leases", "begin")
    until(lambda: "remote" in kept.errors)
    assert not kept.settled(1, 0)
    proxy.faults.clear()

    assert kept.settled(1, 20), kept.errors
    assert {} == kept.errors
    assert ["leases", "begin"] == steps(copy_of(proxy.connection, run))
