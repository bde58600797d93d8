"""One rollout at a time: a Lease in a real cluster."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flotilla.errors import Transient
from tasks import objects
from tasks.leases import LeaseRef, give_back, holder_of, take_lease

pytestmark = pytest.mark.lab


@pytest.fixture
def lease(stage):
    return LeaseRef("web", stage.namespace)


def test_a_lease_that_nobody_took_has_no_holder(connection, lease):
    assert holder_of(connection, lease) is None


def test_a_free_lease_is_taken(connection, lease):
    assert take_lease(connection, lease, "first", 60) is None

    holder = holder_of(connection, lease)
    assert ("first", False) == (holder.identity, holder.expired)


def test_a_lease_of_another_is_not_taken_and_its_holder_named(connection, lease):
    take_lease(connection, lease, "first", 60)

    assert "first" == take_lease(connection, lease, "second", 60).identity
    assert "first" == holder_of(connection, lease).identity


def test_a_lease_is_renewed_by_its_holder_and_keeps_its_beginning(connection, lease):
    take_lease(connection, lease, "first", 1)
    since = holder_of(connection, lease).since
    time.sleep(1.2)

    assert holder_of(connection, lease).expired
    assert take_lease(connection, lease, "first", 60) is None
    assert (since, False) == (holder_of(connection, lease).since, holder_of(connection, lease).expired)


def test_a_lease_that_has_run_out_is_taken(connection, lease):
    take_lease(connection, lease, "first", 1)
    time.sleep(1.2)

    assert take_lease(connection, lease, "second", 60) is None
    assert "second" == holder_of(connection, lease).identity


def test_a_lease_is_taken_over_one_that_is_known_to_be_finished(connection, lease):
    take_lease(connection, lease, "first", 60)

    assert take_lease(connection, lease, "second", 60, over="first") is None


def test_a_lease_is_given_back_at_once(connection, lease):
    take_lease(connection, lease, "first", 60)

    give_back(connection, lease, "first")

    assert holder_of(connection, lease) is None
    assert take_lease(connection, lease, "second", 60) is None


def test_a_lease_of_another_is_not_given_back(connection, lease):
    take_lease(connection, lease, "first", 60)

    give_back(connection, lease, "second")

    assert "first" == holder_of(connection, lease).identity


@pytest.mark.parametrize("used", [False, True], ids=["never taken before", "given back before"])
def test_of_many_that_take_it_at_once_one_has_it(connection, lease, used):
    if used:
        take_lease(connection, lease, "before", 60)
        give_back(connection, lease, "before")

    def take(number):
        try:
            return take_lease(connection, lease, f"run-{number}", 60) is None
        except Transient:  # another was quicker, and it is asked again later
            return False

    with ThreadPoolExecutor(10) as pool:
        taken = [number for number, mine in enumerate(pool.map(take, range(10))) if mine]

    assert [holder_of(connection, lease).identity] == [f"run-{number}" for number in taken]


def test_a_lease_whose_answer_was_lost_is_ours(stage, proxy, lease):
    proxy.make(method="POST", path="/leases", cut="after")

    assert take_lease(proxy.connection, lease, "first", 60) is None
    assert "first" == holder_of(proxy.connection, lease).identity


def test_a_renewal_whose_answer_was_lost_is_ours(stage, proxy, lease):
    take_lease(proxy.connection, lease, "first", 60)
    proxy.make(method="PUT", path="/leases", cut="after")

    assert take_lease(proxy.connection, lease, "first", 60) is None


def test_a_lease_that_could_not_be_looked_at_is_not_free(stage, proxy, lease, monkeypatch):
    monkeypatch.setattr(objects, "ATTEMPTS", 2)
    proxy.make(path="/leases", cut="before", times=99)

    with pytest.raises(Transient):
        take_lease(proxy.connection, lease, "first", 60)
