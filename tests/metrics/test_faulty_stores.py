"""A store that is away, busy, full or something else: nothing counts as written that is not, and nothing is written twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flotilla.metrics.completeness import Outcome
from flotilla.metrics.config import StoreKind
from tests.metrics import faulty, programs
from tests.metrics.faulty import at, first
from tests.metrics.ground import Ground, outcomes, proofs, usual

pytestmark = pytest.mark.programs

ANSWERS = {
    "400": (faulty.says(400), "HTTP 400"),
    "401": (faulty.says(401), "check the credentials"),
    "403": (faulty.says(403), "allow what"),
    "404": (faulty.page(404), "must be told to receive remote_write"),
    "413": (faulty.says(413), "HTTP 413"),
    "429": (faulty.says(429), "HTTP 429"),
    "500": (faulty.says(500), "HTTP 500"),
    "503": (faulty.page(503), "HTTP 503"),
    "closes": (faulty.closes, "does not answer"),
    "a page": (faulty.page(), "Sign in"),
}


@pytest.fixture(autouse=True)
def filled(ground: Ground) -> None:
    for member in ground.members:
        ground.fill(member, usual())


@pytest.mark.parametrize("what", ANSWERS)
def test_while_a_store_takes_nothing_nothing_counts_as_written(ground, at_store, what):
    fault, told = ANSWERS[what]
    collector = ground.collector()
    at_store.fault = at("/write", fault)
    broken = ground.cycle(collector)
    at_store.fault = faulty.none
    cycles = ground.collected(collector)

    for done in broken.done.values():
        assert told in done.error
        assert not done.samples
    assert not collector.quarantine
    assert {Outcome.EQUAL} == set(outcomes(cycles, ground.name("east")))
    ground.is_whole()


@pytest.mark.parametrize("fault", [faulty.acts_and_closes, faulty.half(framed=False), faulty.says(429, Retry_After="0")])
def test_a_fault_that_passes_within_a_cycle_is_no_error_and_nothing_is_twice(ground, at_store, fault):
    at_store.fault = at("/write", first(3, fault))
    cycles = ground.collected(ground.collector())

    assert not [done.error for cycle in cycles for done in cycle.done.values() if done.error]
    ground.is_whole()


def test_a_request_that_is_too_large_for_a_proxy_on_the_way_is_written_in_parts(ground, at_store):
    most = 400

    def limited(request, forward):
        return forward() if len(request.body) <= most else faulty.page(413)(request, forward)

    at_store.fault = at("/write", limited)
    cycles = ground.collected(ground.collector())

    assert not [done.error for cycle in cycles for done in cycle.done.values() if done.error]
    ground.is_whole()


@pytest.mark.parametrize("what", ["a page", "500", "closes"])
def test_what_a_store_cannot_be_asked_about_is_counted_later(ground, at_store, what):
    collector = ground.collector()
    at_store.fault = at("/query", ANSWERS[what][0])
    blind = [ground.cycle(collector) for _ in range(4)]
    at_store.fault = faulty.none
    cycles = ground.collected(collector)

    assert not proofs(blind, ground.name("east"))
    assert not [done.error for cycle in blind for done in cycle.done.values() if done.error]
    assert [Outcome.EQUAL] * 2 == outcomes(cycles, ground.name("east"))
    ground.is_whole()


def test_a_store_that_is_away_is_named_and_caught_up_with_once_it_is_back(ground, own_store):
    collector = ground.collector()
    ground.cycle(collector)
    own_store.program.stop()
    away = [ground.cycle(collector), ground.cycle(collector)]
    own_store.program.start()
    cycles = ground.collected(collector)

    for done in (done for cycle in away for done in cycle.done.values()):
        assert f"store: {own_store.url} does not answer" in done.error
    assert {Outcome.EQUAL} == set(outcomes(cycles, ground.name("east")))
    ground.is_whole()


def test_what_a_store_lost_when_it_was_killed_while_it_was_written_to_is_noticed_and_written_again(ground, own_store):
    writes = 0
    store = own_store

    def killed_in_between(request, forward):
        nonlocal writes
        writes += 1
        answer = forward()
        if writes == 4:
            store.program.kill()
        return answer

    with faulty.proxied(store.url) as proxy:
        ground.store_url = proxy.url
        proxy.fault = at("/write", killed_in_between)
        collector = ground.collector()
        cut = [ground.cycle(collector), ground.cycle(collector)]
        store.program.start()
        cycles = ground.collected(collector)

    assert any(done.error for cycle in cut for done in cycle.done.values())
    assert Outcome.SHORT not in outcomes(cycles, ground.name("east"))
    ground.is_whole()


@pytest.mark.parametrize("kind", [StoreKind.VICTORIA_METRICS], indirect=True)
def test_a_store_that_takes_no_more_as_its_disk_is_nearly_full_is_told_by_its_own_words(ground, own_store):
    own_store.program.stop()
    own_store.program.start("-storage.minFreeDiskSpaceBytes=1000TB")
    collector = ground.collector()
    full = ground.cycle(collector)
    own_store.program.stop()
    own_store.program.start()
    ground.collected(collector)

    assert "read-only" in full.done[ground.name("east")].error
    ground.is_whole()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a size in memory; it is gone afterwards."""
    folder.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"mounts nothing here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled_up(disk: Path) -> Path:
    """Fill a disk to its last page, and return the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        out.writelines(bytes(4096) for _ in range(1 << 20))
    return ballast


@pytest.mark.parametrize("kind", [StoreKind.PROMETHEUS], indirect=True)
def test_a_store_whose_disk_is_full_is_told_by_its_own_words_and_caught_up_with_once_there_is_room(ground, tmp_path):
    with small_disk(tmp_path / "disk", "8m") as disk:
        store = programs.store(ground.store.kind, disk / "store")
        ground.store = store
        try:
            store.program.start()
            ballast = filled_up(disk)
            collector = ground.collector()
            full = [ground.cycle(collector) for _ in range(3)]
            ballast.unlink()
            ground.collected(collector)
            ground.is_whole()
        finally:
            store.program.kill()

    assert "no space left on device" in full[0].done[ground.name("east")].error
