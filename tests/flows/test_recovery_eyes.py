"""Eyes on everything: what cannot be seen is Unknown with its reason, what is old counts for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from flotilla.errors import Transient
from flotilla.facts import Unknown
from flotilla.recovery import acts
from flotilla.recovery.facts import DatabaseSeen, Follower, LeaseSeen
from flows import eyes as module
from flows.eyes import Eyes, Looker, parts_of

SITE = "production"
LEASE = (SITE, acts.LEASE)
DATABASE = (SITE, acts.DATABASE)


def lease(epoch: int) -> LeaseSeen:
    return LeaseSeen(SITE, "", epoch)


class Counting:
    """Looks whose number is what they see; each may be held up."""

    def __init__(self) -> None:
        self.looks, self.going = 0, threading.Event()
        self.going.set()

    def __call__(self) -> LeaseSeen:
        self.looks += 1
        self.going.wait(20)
        return lease(self.looks)


@contextmanager
def looking(part: tuple[str, str], look: Looker) -> Iterator[Eyes]:
    with Eyes({part: look}) as eyes:
        eyes.world([part], time.monotonic())
        yield eyes


def failing(error: Exception) -> Looker:
    def look() -> Any:
        raise error

    return look


def test_before_the_first_look_nothing_is_known() -> None:
    assert Unknown(SITE, "nobody has looked yet") == Eyes({LEASE: lambda: lease(1)}).world().lease(SITE)


def test_what_cannot_be_seen_is_unknown_with_its_reason() -> None:
    with looking(LEASE, failing(Transient(f"{SITE}: no answer"))) as eyes:
        assert Unknown(SITE, "no answer") == eyes.world().lease(SITE)


def test_a_defect_in_a_look_is_unknown_too_and_ends_nobody() -> None:
    mended = threading.Event()

    def look() -> LeaseSeen:
        if not mended.is_set():
            raise ValueError("odd")
        return lease(7)

    with looking(LEASE, look) as eyes:
        first = eyes.world().lease(SITE)
        mended.set()
        after = eyes.world([LEASE], time.monotonic()).lease(SITE)

    assert Unknown(SITE, "what its lease answered was not understood: ValueError('odd')") == first
    assert lease(7) == after


def test_a_fact_that_is_asked_fresh_is_of_a_look_that_began_after_that() -> None:
    look = Counting()
    with looking(LEASE, look) as eyes:
        for _ in range(5):
            before = look.looks
            found = eyes.world([LEASE], time.monotonic()).lease(SITE)
            assert isinstance(found, LeaseSeen)
            assert before < found.epoch


def test_a_fresh_fact_that_does_not_come_is_unknown_though_an_older_one_is_there() -> None:
    look = Counting()
    with looking(LEASE, look) as eyes:
        look.going.clear()
        fresh = eyes.world([LEASE], time.monotonic(), within=0.2).lease(SITE)
        kept = eyes.world().lease(SITE)
        look.going.set()

    assert isinstance(fresh, Unknown)
    assert "has not answered for" in fresh.reason
    assert isinstance(kept, LeaseSeen)


def test_an_old_fact_counts_for_nothing_and_a_new_one_does_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLD", 0.3)
    look = Counting()
    with looking(LEASE, look) as eyes:
        eyes.hurry(True)
        look.going.clear()
        deadline = time.monotonic() + 20
        while isinstance(eyes.world().lease(SITE), LeaseSeen):
            assert time.monotonic() < deadline
        assert "its lease has not answered for" in str(eyes.world().lease(SITE))
        look.going.set()

        assert isinstance(eyes.world([LEASE], time.monotonic()).lease(SITE), LeaseSeen)


def test_a_part_that_hangs_holds_up_no_other() -> None:
    look = Counting()
    look.going.clear()
    with Eyes({LEASE: look, ("remote", acts.LEASE): lambda: LeaseSeen("remote", "", 3)}) as eyes:
        found = eyes.world(parts_of([SITE, "remote"], [acts.LEASE]), time.monotonic(), within=1.0)
        look.going.set()

    assert isinstance(found.lease(SITE), Unknown)
    assert LeaseSeen("remote", "", 3) == found.lease("remote")


def test_whoever_waits_for_a_change_is_woken_by_one_and_by_time() -> None:
    look = Counting()
    with looking(LEASE, look) as eyes:
        version = eyes.changed(-1, 0)
        eyes.hurry(True)
        assert version < eyes.changed(version, 20)
        look.going.clear()
        last = eyes.changed(-1, 0)
        while (now := eyes.changed(last, 0.5)) != last:  # a look that was under way
            last = now

        assert last == eyes.changed(last, 0.1)
        look.going.set()


def primary(at: float, position: int) -> DatabaseSeen:
    follower = Follower("remote", "streaming", "async", flushed=position - 10, replayed=position - 20, lag=0.1)
    return DatabaseSeen(SITE, at, "7", False, 1, position, position, followers=(follower,), commits=position)


def test_replication_is_sampled_once_a_second_by_the_clock_of_the_looks_and_what_was_so_earlier_is_kept() -> None:
    """A look is half a second after the one before, as far as they tell."""
    number = iter(range(1000))

    def look() -> DatabaseSeen:
        now = next(number)
        return primary(1000 + 0.5 * now, 100 + now)

    with looking(DATABASE, look) as eyes:
        eyes.hurry(True)
        while len(eyes.samples) < 4:
            eyes.changed(eyes.changed(-1, 0), 1)
        world = eyes.world()
    seen = world.database(SITE)

    assert [1000.0, 1001.0, 1002.0, 1003.0] == [sample.at for sample in eyes.samples[:4]]
    assert [(100, 90), (102, 92)] == [(sample.position, sample.lags[0].flushed) for sample in eyes.samples[:2]]
    assert isinstance(seen, DatabaseSeen)
    assert 2.0 == seen.at - world.earlier[SITE].at


def test_a_change_of_what_commits_wait_for_is_sampled_at_once() -> None:
    """It may be the last thing that anybody sees of a primary."""
    looks = iter([(1000.0, ("same-city",)), (1000.1, ("same-city",)), (1000.2, ())])
    last = (1000.3, tuple[str, ...]())

    def look() -> DatabaseSeen:
        at, waits = next(looks, last)
        return replace(primary(at, 100), synchronous=waits, weakened=("role app",) if at > 1000.0 else ())

    with looking(DATABASE, look) as eyes:
        eyes.hurry(True)
        while len(eyes.samples) < 3:
            eyes.changed(eyes.changed(-1, 0), 1)

    told = [(one.at, one.sync, one.weakened) for one in eyes.samples[:3]]
    assert [(1000.0, ("same-city",), ()), (1000.1, ("same-city",), ("role app",)), (1000.2, (), ("role app",))] == told
