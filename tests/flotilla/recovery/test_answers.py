"""What DNS servers answer users, as the proof of a change of traffic: the addresses count, not only what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flotilla.facts import Unknown
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import ServingSeen, TrafficSeen, World
from flotilla.recovery.parsing import parse_agent, parse_answer
from flotilla.recovery.parts import traffic, verified
from flotilla.recovery.proofs import unproved
from flotilla.recovery.readiness import Severity, Surroundings, findings
from flotilla.recovery.refusals import next_epoch
from flotilla.traffic.agreement import Answer, Useless
from tests.flotilla.recovery.modelled import P, R, S, fleet
from tests.flotilla.recovery.test_files import seen
from tests.flotilla.recovery.walked import LAYOUT

SAID = "epoch=1 primary=production sites=production,same-city"
AIM = Aim("run-1", 1)


def answered(addresses: set[str], *texts: str) -> World:
    """Return a world in which all is well but for what every DNS server answers."""
    answers = {site: parse_answer(Answer(site, frozenset(addresses), texts)) for site in LAYOUT.sites}
    return replace(fleet().world(), answers=answers)


@pytest.mark.parametrize("addresses", [{"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.1", "10.0.0.2"}])
def test_healthy_ones_of_the_authorised_sites_are_what_is_wanted(addresses: set[str]) -> None:
    world = answered(addresses, SAID)

    assert {unproved(act, world, AIM) for act in traffic(LAYOUT, P).acts} == {""}
    assert unproved(verified(LAYOUT, P).acts[0], world, AIM) == ""
    assert not findings(world, LAYOUT, Surroundings(approvers=2))


@pytest.mark.parametrize(
    ("addresses", "texts", "reason"),
    [
        ({"10.0.0.3"}, (SAID,), "DNS of production answers 10.0.0.3; allowed: 10.0.0.1, 10.0.0.2"),
        ({"10.0.0.1", "10.0.0.3"}, (SAID,), "DNS of production answers 10.0.0.3"),
        (set(), (SAID,), "DNS of production answers no address"),
        ({"10.0.0.1"}, (SAID, SAID.replace("=1", "=0")), "DNS of production has 2 records of its epoch"),
        ({"10.0.0.1"}, ("epoch=0 primary=remote sites=remote", SAID), "DNS of production has 2 records of its epoch"),
        ({"10.0.0.1"}, (SAID, "hello"), "DNS of production has 2 records of its epoch"),
        ({"10.0.0.1"}, (), "its DNS says no epoch"),
        ({"10.0.0.1"}, ("hello",), "its _epoch record cannot be used"),
    ],
)
def test_what_leads_users_astray_proves_nothing_and_is_found(addresses: set[str], texts: tuple[str, ...], reason: str) -> None:
    world = answered(addresses, *texts)

    assert reason in unproved(traffic(LAYOUT, P).acts[0], world, AIM)
    assert "0 DNS servers lead to production, same-city" in unproved(verified(LAYOUT, P).acts[0], world, AIM)
    assert any(one.site == P and reason in one.what for one in findings(world, LAYOUT))


def test_the_agents_word_counts_where_nobody_could_ask_and_not_where_the_server_answered_an_error() -> None:
    world = fleet().world()
    held = TrafficSeen(P, 1, P, (P, S), addresses=("10.0.0.1", "10.0.0.2"))
    agents = {**world.agents, P: replace(world.agents[P], traffic=held)}  # type: ignore[type-var]
    act = traffic(LAYOUT, P).acts[0]

    silent = replace(world, agents=agents, answers={**world.answers, P: Unknown(P, "timed out")})
    failing = replace(world, agents=agents, answers={**world.answers, P: Useless(P, "it answers SERVFAIL")})

    assert unproved(act, silent, AIM) == ""
    assert "SERVFAIL" in unproved(act, failing, AIM)


def test_what_an_agent_holds_is_judged_by_its_addresses_too() -> None:
    told = seen()
    told["traffic"]["records"] = [
        {"name": "orders.fleet.test.", "type": "LUA", "ttl": 5, "content": "A \"{'10.0.0.1','10.0.0.3'}\""},
        {"name": "other.fleet.test.", "type": "A", "ttl": 5, "content": "10.0.0.9"},
        {"name": "_epoch.orders.fleet.test.", "type": "TXT", "ttl": 5, "content": SAID},
    ]

    found = parse_agent(told).traffic  # type: ignore[union-attr]

    assert isinstance(found, TrafficSeen)
    assert found.addresses == ("10.0.0.1", "10.0.0.3")
    assert "10.0.0.3" in found.astray(("10.0.0.1", "10.0.0.2"))


def test_an_epoch_is_above_those_that_dns_servers_hold() -> None:
    world = fleet().world()
    ahead = {**world.answers, R: TrafficSeen(R, 99, P, (P, S))}

    assert next_epoch(replace(world, answers=ahead)) == 100


ILL, WELL, SILENT = "http://10.0.0.1:8080/dr/serving answers 503: no database", "", None


def served(*said: str | None) -> World:
    """Return a world in which all is well but for what production and same-city answer where DNS asks whether they serve."""
    pairs = zip((P, S), said, strict=True)
    servings = {site: Unknown(site, "connection refused") if one is None else ServingSeen(site, one) for site, one in pairs}
    return replace(fleet().world(), servings=servings)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ((WELL, WELL), ""),
        ((WELL, ILL), ""),
        ((SILENT, WELL), ""),
        ((ILL, ILL), f"users are served nowhere: production: {ILL}; same-city: {ILL}"),
        ((SILENT, ILL), f"users are served nowhere: production: connection refused; same-city: {ILL}"),
        ((SILENT, SILENT), "users are served nowhere: production: connection refused; same-city: connection refused"),
    ],
)
def test_a_recovery_is_verified_where_one_of_the_sites_that_take_traffic_serves_users(
    said: tuple[str | None, ...], reason: str
) -> None:
    """DNS that leads to a site says nothing of that: where no site is well, it answers with all of them."""
    (_, act) = verified(LAYOUT, P).acts

    assert unproved(act, served(*said), AIM) == reason


def test_where_nobody_checks_health_nobody_asks_whether_users_are_served() -> None:
    unchecked = replace(LAYOUT, health=False)

    assert [act.kind for act in verified(unchecked, P).acts] == ["verified"]
    assert not findings(served(ILL, ILL), unchecked, Surroundings(approvers=2))


def test_a_site_that_takes_traffic_and_serves_nobody_is_found_before_a_recovery_needs_it() -> None:
    found = findings(served(SILENT, ILL), LAYOUT, Surroundings(approvers=2))

    assert [(Severity.RED, S, f"users are not served: {ILL}"), (Severity.UNKNOWN, P)] == [
        (found[0].severity, found[0].site, found[0].what),
        (found[1].severity, found[1].site),
    ]
    assert found[1].what == "nobody could ask whether users are served: connection refused"
    assert {one.step for one in found} == {"traffic; verify"}
