"""Who recovers, by leases in the lab's clusters: one run at a time, never below the epoch that was, published by its holder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.recovery.facts import LeaseSeen
from tasks import recovery_leases
from tasks.clusters import Connection
from tasks.fanout import side_by_side
from tasks.leadership import NAMESPACE
from tasks.recovery_leases import KIND, publish, release, seen, take
from tests.tasks.faults import FaultProxy
from tests.tasks.fleetset import until

pytestmark = pytest.mark.lab
NAME = "flotilla-recovery-test"


@pytest.fixture(autouse=True)
def own(ways: Mapping[str, Connection], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have leases of the tests' own, gone afterwards."""
    monkeypatch.setattr(recovery_leases, "NAME", NAME)
    yield
    for one in ways.values():
        one.request("DELETE", KIND.path(NAMESPACE, NAME))


@pytest.fixture
def one(ways: Mapping[str, Connection]) -> Connection:
    return ways["remote"]


def live(one: Connection) -> dict[str, Any]:
    return dict(one.request("GET", KIND.path(NAMESPACE, NAME)).body)


def grow_old(one: Connection) -> None:
    """Have the lease be one that was not renewed for long."""
    body = {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}
    answer = one.request("PATCH", KIND.path(NAMESPACE, NAME), body=body, content_type="application/merge-patch+json")
    assert answer.status == 200, answer.message


def told(one: Connection) -> LeaseSeen:
    found = seen(one)
    assert isinstance(found, LeaseSeen)
    return found


def test_a_lease_that_nobody_ever_held_says_nothing(one: Connection) -> None:
    assert LeaseSeen("remote") == seen(one)


def test_it_is_taken_published_in_and_given_back_and_what_was_published_stays(one: Connection) -> None:
    take(one, "run-a", 3, "plan-a")
    publish(one, "run-a", 3, ("production", ("production", "same-city"), ("same-city",)))
    held = told(one)
    release(one, "run-a")

    said = {"epoch": 3, "plan": "plan-a", "published": 3, "primary": "production"}
    said |= {"authorised": ("production", "same-city"), "promotable": ("same-city",)}
    assert LeaseSeen("remote", "run-a", **said) == held
    assert LeaseSeen("remote", "", **said) == told(one)


def test_it_is_renewed_by_its_holder_and_refused_to_anybody_else_by_name(one: Connection) -> None:
    take(one, "run-a", 3, "plan-a")
    before = live(one)["spec"]["renewTime"]
    take(one, "run-a", 3, "plan-a")

    assert before < live(one)["spec"]["renewTime"]
    with pytest.raises(Transient, match="run run-a holds the lease"):
        take(one, "run-b", 4, "plan-b")
    assert "run-a" == told(one).holder


@pytest.mark.parametrize("minutes", [-60, 60])
def test_a_clock_that_is_wrong_takes_no_lease_from_anybody_and_keeps_none_for_ever(
    one: Connection, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    right = recovery_leases._clock
    monkeypatch.setattr(recovery_leases, "_clock", lambda: right() + timedelta(minutes=minutes))
    take(one, "run-a", 3, "plan-a")
    with pytest.raises(Transient, match="run run-a holds the lease"):
        take(one, "run-b", 4, "plan-b")
    monkeypatch.undo()
    monkeypatch.setattr(recovery_leases, "NAME", NAME)

    with pytest.raises(Transient, match="run run-a holds the lease"):
        take(one, "run-b", 4, "plan-b")
    renewed = datetime.fromisoformat(live(one)["spec"]["renewTime"].replace("Z", "+00:00"))
    assert abs(renewed - right()) < timedelta(minutes=1)


def test_what_a_run_no_longer_renews_another_takes_with_what_stands_in_it(one: Connection) -> None:
    take(one, "run-a", 3, "plan-a")
    publish(one, "run-a", 3, ("production", ("production",), ()))
    grow_old(one)
    assert "" == told(one).holder

    take(one, "run-b", 4, "plan-b")

    assert LeaseSeen("remote", "run-b", 4, "plan-b", 3, "production", ("production",)) == told(one)


def test_whoever_comes_with_an_epoch_that_has_passed_is_over(one: Connection) -> None:
    take(one, "run-b", 4, "plan-b")
    release(one, "run-b")

    with pytest.raises(Permanent, match="held at epoch 4 already: 3 is stale"):
        take(one, "run-a", 3, "plan-a")
    assert ("", 4) == (told(one).holder, told(one).epoch)


@pytest.mark.parametrize(("run", "epoch"), [("run-b", 3), ("run-a", 4), ("run-a", 2)])
def test_nothing_is_published_but_by_the_holder_at_its_epoch(one: Connection, run: str, epoch: int) -> None:
    take(one, "run-a", 3, "plan-a")
    with pytest.raises(Transient, match=f"not held by {run} at epoch {epoch}"):
        publish(one, run, epoch, ("remote", ("remote",), ()))

    assert ("", 0) == (told(one).primary, told(one).published)


def test_whoever_lost_it_to_another_publishes_nothing_and_gives_nothing_back(one: Connection) -> None:
    take(one, "run-a", 3, "plan-a")
    grow_old(one)
    with pytest.raises(Transient, match="not held by run-a"):
        publish(one, "run-a", 3, ("remote", ("remote",), ()))
    take(one, "run-b", 4, "plan-b")
    release(one, "run-a")

    assert ("run-b", 4) == (told(one).holder, told(one).epoch)


def test_of_many_runs_at_once_one_has_a_majority_at_most_and_each_lease_has_one_holder(ways: Mapping[str, Connection]) -> None:
    begin = threading.Barrier(6)

    def race(number: int) -> list[str]:
        begin.wait()
        order = sorted(ways, reverse=bool(number % 2))
        taken = side_by_side(order, lambda name: take(ways[name], f"run-{number}", 3, "plan"))
        return [name for name, answer in taken.items() if not isinstance(answer, FlotillaError)]

    with ThreadPoolExecutor(6) as pool:
        won = dict(enumerate(pool.map(race, range(6))))
    holders = {name: told(way).holder for name, way in ways.items()}

    assert holders == {name: f"run-{number}" for number, names in won.items() for name in names}
    assert 3 == sum(map(len, won.values()))


def test_a_write_whose_answer_was_cut_off_is_repeated_and_is_one(proxy: FaultProxy, one: Connection) -> None:
    take(one, "run-a", 3, "plan-a")
    proxy.make(method="PUT", path="leases", cut="after")
    with pytest.raises(Transient):
        take(proxy.connection, "run-a", 3, "plan-b")
    take(proxy.connection, "run-a", 3, "plan-b")

    assert ("run-a", "plan-b") == (told(one).holder, told(one).plan)


def test_a_lease_that_changed_between_look_and_write_is_not_written_over(proxy: FaultProxy, one: Connection) -> None:
    take(one, "run-a", 3, "plan-a")
    release(one, "run-a")
    proxy.make(method="PUT", path="leases", delay=1.0)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(take, proxy.connection, "run-b", 4, "plan-b")
        until(lambda: proxy.requests("PUT", "leases"))
        take(one, "run-c", 4, "plan-c")
        with pytest.raises(Transient, match="changed while it was written"):
            late.result()

    assert "run-c" == told(one).holder


def test_an_api_server_that_fails_is_told_from_a_lease_that_is_free(proxy: FaultProxy) -> None:
    proxy.make(method="GET", path="leases", status=500, times=5)
    with pytest.raises(Transient):
        seen(proxy.connection)
