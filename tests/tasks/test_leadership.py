"""Which keeper leads, by leases in the lab's clusters."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from flotilla.services.facts import LeaseFact
from flotilla.services.health import lease_is_current
from tasks import leadership
from tasks.clusters import Connection, connect
from tasks.leadership import Leadership, make_namespace
from tasks.leases import KIND
from tests.tasks.fleetset import until
from tests.tasks.test_watches import Relay, relayed

pytestmark = pytest.mark.lab
A, B, C = "elsewhere_1_a", "elsewhere_1_b", "elsewhere_1_c"


@pytest.fixture
def connections(fleet_lab, monkeypatch) -> Iterator[list[Connection]]:
    """Yield connections to all clusters; leases have a name of the test's own and are gone afterwards."""
    monkeypatch.setattr(leadership, "NAME", "flotilla-keeper-test")
    found = [connect(cluster) for cluster in fleet_lab.fleet.clusters]
    for connection in found:
        make_namespace(connection)
    yield found
    for connection in found:
        connection.request("DELETE", KIND.path(leadership.NAMESPACE, leadership.NAME))


@pytest.fixture
def keeper(connections) -> Iterator[Callable[..., Leadership]]:
    """Start a keeper's leases; they are given back with the test."""
    started: list[Leadership] = []

    def begin(identity: str, through: list[Connection] | None = None) -> Leadership:
        started.append(Leadership(through or connections, identity))
        started[-1].start()
        return started[-1]

    yield begin
    for one in started:
        one.stop()


def vanish(one: Leadership) -> None:
    """Let a keeper die: nothing is renewed, nothing given back."""
    one._live.clear()
    one._give_back = lambda connection: None  # type: ignore[method-assign]
    one._stopping = True
    one._tell_others()
    for thread in one._threads:
        thread.join(5)


def test_one_keeper_takes_all_leases_and_its_facts_are_current(keeper, connections):
    one = keeper(A)

    until(lambda: one.holders == dict.fromkeys(("production", "same-city", "remote"), A))

    from datetime import UTC, datetime

    assert one.leads
    facts = one.facts.values()
    assert all(isinstance(fact, LeaseFact) and lease_is_current(fact, datetime.now(UTC)) for fact in facts)


def test_of_several_that_start_at_once_exactly_one_leads(keeper):
    keepers = [keeper(identity) for identity in (A, B, C)]

    until(lambda: any(one.leads for one in keepers))
    time.sleep(3)

    assert 1 == sum(one.leads for one in keepers)


def test_a_second_keeper_takes_over_when_the_first_gives_back(keeper):
    first = keeper(A)
    until(lambda: first.leads)
    second = keeper(B)
    time.sleep(0.5)
    assert not second.leads

    first.stop()

    assert until(lambda: second.leads) < 4


def test_a_second_keeper_takes_over_from_one_that_died_elsewhere_and_not_sooner(keeper):
    first = keeper(A)
    until(lambda: first.leads)
    second = keeper(B)
    time.sleep(2.5)

    vanish(first)
    took = until(lambda: second.leads, 15)

    assert 4 < took < leadership.DURATION + 2 * leadership.EVERY + 1
    assert not first.leads


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_at_once(keeper):
    gone = f"{socket.gethostname()}_{2**22 - 1}_x"  # above the largest process id that Linux gives out here
    assert not os.path.exists(f"/proc/{2**22 - 1}")
    first = keeper(gone)
    until(lambda: first.leads)
    vanish(first)

    second = keeper(A)

    assert until(lambda: second.leads) < 3


def test_losing_any_one_cluster_keeps_the_lead(keeper, connections):
    relays = [Relay(connection.api.configuration.host) for connection in connections]
    one = keeper(A, [relayed(connection, relay) for connection, relay in zip(connections, relays, strict=True)])
    until(lambda: len([name for name, holder in one.holders.items() if holder == A]) == 3)

    relays[0].silent = True
    time.sleep(leadership.DURATION + 1)
    assert one.leads
    relays[1].silent = True

    until(lambda: not one.leads, leadership.DURATION + 2)
    relays[0].silent = relays[1].silent = False
    until(lambda: one.leads, 15)


def test_a_keeper_that_starts_while_the_first_cluster_is_away_leads_all_the_same(keeper, connections):
    relay = Relay(connections[0].api.configuration.host)
    relay.close()

    one = keeper(A, [relayed(connections[0], relay), *connections[1:]])

    assert until(lambda: one.leads) < 6


def test_one_that_cannot_reach_most_clusters_stops_leading_before_another_begins(keeper, connections):
    relays = [Relay(connection.api.configuration.host) for connection in connections]
    first = keeper(A, [relayed(connection, relay) for connection, relay in zip(connections, relays, strict=True)])
    until(lambda: len([name for name, holder in first.holders.items() if holder == A]) == 3)
    second = keeper(B)
    time.sleep(2.5)

    for relay in relays:
        relay.silent = True
    both = False
    began = time.monotonic()
    while not second.leads and time.monotonic() - began < 20:
        both |= first.leads and second.leads
        time.sleep(0.02)

    assert second.leads
    assert not both
    assert not first.leads
