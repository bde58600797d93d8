"""When a source is kept, made not ready and withdrawn; and what is never done."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flotilla.facts import Unknown
from flotilla.services.cap import Cause
from flotilla.services.facts import LeaseFact, ProbeFact
from flotilla.services.health import Health, Link, Pulse, Verdict, beat, forget_gone, healed, next_look, observe
from flotilla.services.names import SOURCE_LABEL
from flotilla.services.policy import Damping, Policy
from tests.flotilla.clusterset import KEY, T0, Clusterset

DAMPING = Damping()
LINK = Link("c2", "c1")
SOURCES = {"c1": ("10.1.0.1", "10.1.0.2"), "c3": ("10.3.0.1", "10.3.0.2")}


def probe(address: str, at: float, answered: bool, link: Link = LINK) -> ProbeFact:
    return ProbeFact(*link, address, T0 + timedelta(seconds=at), answered, "" if answered else "timed out")


def exported_twice() -> Clusterset:
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.c3.service().export(2)
    return fleet.settle()


def probed(fleet: Clusterset, source: str, until: float, answered: bool, addresses: tuple[str, ...] = ()) -> Clusterset:
    """Probe from c2, twice a second, up to a moment; then let the keeper settle."""
    link, start = Link("c2", source), fleet.now
    times = [start + step / 2 for step in range(1, int((until - start) * 2) + 1)]
    probes = [probe(address, at, answered, link) for at in times for address in addresses or SOURCES[source]]
    fleet.health = observe(fleet.health, probes, DAMPING)
    fleet.now = until
    return fleet.settle()


def test_a_path_that_is_dead_is_made_not_ready_for_that_consumer_only():
    fleet = probed(exported_twice(), "c1", 2, False)

    assert ["10.3.0.1", "10.3.0.2"] == fleet.c2.addresses()
    assert 2 == len(fleet.c2.slices())
    assert 4 == len(fleet.c3.addresses())


def test_the_evidence_stands_in_the_conditions_of_import_and_export():
    fleet = probed(exported_twice(), "c1", 2, False)

    for message in (fleet.condition("c2", "Ready", "ServiceImport")[2], fleet.condition("c1", "Ready")[2]):
        assert "no endpoint of c1 answers c2 since 2026-11-22T12:00:00Z (timed out); its control plane is well" in message


@pytest.mark.parametrize(
    ("lease", "away", "after", "withdrawn", "words"),
    [
        (LeaseFact("keeper", T0 + timedelta(seconds=100), 4), "", 20, False, "is well"),
        (LeaseFact("keeper", T0 + timedelta(seconds=100), 4), "", 31, True, "is well"),
        (LeaseFact("keeper", T0, 4), "", 4, False, "lease has expired"),
        (LeaseFact("keeper", T0, 4), "", 6, True, "lease has expired"),
        (Unknown("c1", "refused"), "", 6, True, "lease cannot be read: refused"),
        (None, "refused", 6, True, "API server is away: refused"),
        (None, "", 20, False, "is well"),
    ],
)
def test_a_dead_path_is_withdrawn_sooner_where_the_control_plane_is_lost_too(lease, away, after, withdrawn, words):
    fleet = exported_twice().remember()
    fleet.c1.away = away
    fleet.leases = {"c1": lease} if lease else {}
    before = fleet.decide()
    assert not before.withdrawals
    probed(fleet, "c1", after, False)

    sources = [body["metadata"]["labels"][SOURCE_LABEL] for body in fleet.c2.slices()]
    assert withdrawn == ("c1" not in sources)
    assert words in fleet.condition("c2", "Ready", "ServiceImport")[2]


def test_a_withdrawal_names_its_cause():
    fleet = exported_twice()
    probes = [probe(address, at, False) for at in range(40) for address in SOURCES["c1"]]
    fleet.health, fleet.now = observe(Health(), probes, DAMPING), 40

    (withdrawal,) = fleet.decide().withdrawals
    assert (KEY, Link("c2", "c1"), Cause.DEAD) == (withdrawal.key, withdrawal.link, withdrawal.cause)


def test_a_dead_source_whose_withdrawal_waits_stays_as_not_ready():
    fleet = exported_twice()
    fleet.health = Health(held=frozenset({LINK}))
    probed(fleet, "c1", 40, False)

    assert 2 == len(fleet.c2.slices())
    assert ["10.3.0.1", "10.3.0.2"] == fleet.c2.addresses()


def test_an_api_server_that_is_away_changes_nothing_while_endpoints_answer():
    fleet = exported_twice().remember()
    fleet.lose("c1")
    fleet.leases = {"c1": LeaseFact("keeper", T0, 4)}
    probed(fleet, "c1", 60, True)

    assert 4 == len(fleet.c2.addresses())


def test_an_api_server_that_is_away_changes_nothing_while_nobody_probes():
    fleet = exported_twice().remember()
    fleet.lose("c1")
    fleet.leases = {"c1": LeaseFact("keeper", T0, 4)}
    fleet.now = 1000

    assert 4 == len(fleet.settle().c2.addresses())


def test_one_slow_probe_changes_nothing():
    fleet = exported_twice()
    probed(fleet, "c1", 10, True)
    probed(fleet, "c1", 10.5, False)

    assert 4 == len(fleet.c2.addresses())


def test_a_dead_endpoint_of_a_living_source_is_not_ready_alone():
    fleet = probed(exported_twice(), "c1", 3, False, ("10.1.0.1",))
    assert ["10.1.0.2", "10.3.0.1", "10.3.0.2"] == fleet.c2.addresses()
    probed(fleet, "c1", 6, True, ("10.1.0.2",))

    assert ["10.1.0.2", "10.3.0.1", "10.3.0.2"] == fleet.c2.addresses()


def test_a_source_comes_back_after_it_has_answered_for_a_while():
    fleet = probed(exported_twice(), "c1", 40, False)
    probed(fleet, "c1", 41, True)
    assert 2 == len(fleet.c2.addresses())

    assert 4 == len(probed(fleet, "c1", 44, True).c2.addresses())


def test_a_path_that_flaps_must_answer_longer_each_time():
    pulse, at, waits = Pulse(), 0.0, []
    for _ in range(8):
        while pulse.alive:
            at += 0.5
            pulse = beat(pulse, probe("a", at, False), DAMPING)
        began = at
        while not pulse.alive:
            at += 0.5
            pulse = beat(pulse, probe("a", at, True), DAMPING)
        waits.append(at - began - 0.5)

    assert [2, 4, 8, 16, 32, 60, 60, 60] == waits


@pytest.mark.parametrize("latest", ["c1", "c3"])
def test_the_exporter_that_answered_last_is_kept_when_none_answers(latest):
    fleet = exported_twice()
    other = {"c1": "c3", "c3": "c1"}[latest]
    start = [probe(address, 1, True, Link("c2", other)) for address in SOURCES[other]]
    start += [probe(address, 2, True, Link("c2", latest)) for address in SOURCES[latest]]
    dead = [probe(a, at, False, Link("c2", s)) for at in range(3, 60) for s in ("c1", "c3") for a in SOURCES[s]]
    fleet.health, fleet.now = observe(Health(), start + dead, DAMPING), 60
    fleet.settle()

    assert sorted(SOURCES[latest]) == fleet.c2.addresses()
    assert "kept, as no other exporter answers" in fleet.condition("c2", "Ready", "ServiceImport")[2]


def test_the_only_exporter_is_kept_when_it_does_not_answer():
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.settle()

    assert ["10.1.0.1", "10.1.0.2"] == probed(fleet, "c1", 100, False).c2.addresses()


def test_an_exporter_without_ready_endpoints_is_no_reason_to_withdraw_the_other():
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.c3.service(pods=0).export(2)
    fleet.settle()

    assert ["10.1.0.1", "10.1.0.2"] == probed(fleet, "c1", 100, False).c2.addresses()


def test_the_last_exporter_of_a_port_is_kept_though_others_serve_other_ports():
    fleet = Clusterset(now=0)
    fleet.c1.service(ports=({"name": "old", "port": 43, "protocol": "TCP"},)).export()
    fleet.c3.service().export(2)
    fleet.settle()

    assert 4 == len(probed(fleet, "c1", 100, False).c2.addresses())


def test_an_exporter_whose_ports_all_lost_is_no_reason_to_withdraw_the_other():
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.c3.service(ports=({"name": "tcp", "port": 43, "protocol": "TCP"},)).export(2)
    fleet.settle()

    assert ["10.1.0.1", "10.1.0.2"] == probed(fleet, "c1", 100, False).c2.addresses()


def test_a_source_that_drains_takes_no_connections_but_keeps_its_export_and_rank():
    fleet = exported_twice()
    fleet.c1.get("ServiceExport")["metadata"]["annotations"]["flotilla.dev/drain"] = "true"
    fleet.settle()

    assert ["10.3.0.1", "10.3.0.2"] == fleet.c2.addresses() == fleet.c1.addresses()
    fleet.c3.unexport()
    assert ["10.1.0.1", "10.1.0.2"] == fleet.settle().c2.addresses()


def test_a_source_lost_before_the_keeper_started_is_made_not_ready_never_forgotten_and_comes_back():
    fleet = exported_twice()
    fleet.lose("c1")
    probed(fleet, "c1", 100, False)
    assert ["10.3.0.1", "10.3.0.2"] == fleet.c2.addresses()
    assert 2 == len(fleet.c2.slices())

    assert 4 == len(probed(fleet, "c1", 110, True).c2.addresses())


def test_pulses_of_pods_that_left_are_forgotten():
    fleet = exported_twice()
    health = observe(Health(), [probe("10.1.0.1", 1, True), probe("10.1.0.77", 1, False)], DAMPING)

    assert ["10.1.0.1"] == list(forget_gone(health, fleet.world()).pulses[LINK])


def test_an_import_may_have_to_be_proved_before_it_is_ready():
    fleet = Clusterset(now=0, policy=Policy(ready_needs_answer=True))
    fleet.c1.service().export()
    fleet.settle()
    assert ("Unknown", "Pending") == fleet.condition("c2", "Ready", "ServiceImport")[:2]

    probed(fleet, "c1", 1, True)
    assert ("True", "Ready") == fleet.condition("c2", "Ready", "ServiceImport")[:2]


def test_verdicts_have_the_words_of_operators():
    assert ["keep", "not-ready", "withdraw"] == list(Verdict)


def test_behind_a_link_that_is_cut_nothing_takes_traffic_though_nothing_of_it_was_probed():
    fleet = exported_twice()
    fleet.health = Health(cut={LINK: T0})
    fleet.now = 1
    fleet.settle()

    assert ["10.3.0.1", "10.3.0.2"] == fleet.c2.addresses()
    assert 4 == len(fleet.c3.addresses())
    assert "no endpoint of c1 answers c2 since 2026-11-22T12:00:00Z" in fleet.condition("c2", "Ready", "ServiceImport")[2]


def test_the_only_exporter_is_kept_behind_a_link_that_is_cut():
    fleet = Clusterset(now=0)
    fleet.c1.service().export()
    fleet.settle()
    fleet.health = Health(cut={LINK: T0})
    fleet.now = 100
    fleet.settle()

    assert 2 == len(fleet.c2.addresses())


def test_what_died_of_a_cut_link_is_well_again_with_it_and_what_died_before_is_not():
    died = {"10.1.0.1": Pulse(alive=False, died=T0), "10.1.0.2": Pulse(alive=False, died=T0 - timedelta(seconds=60))}
    health = healed(Health(pulses={LINK: died, Link("c3", "c1"): died}), LINK, cut=T0)

    assert {LINK: {"10.1.0.2"}, Link("c3", "c1"): set(died)} == {link: set(of) for link, of in health.pulses.items()}


def test_the_next_look_is_when_patience_ends():
    now = T0 + timedelta(seconds=3)
    dead = Health(pulses={LINK: {"10.1.0.1": Pulse(alive=False, died=T0)}})

    assert next_look(Health(), DAMPING, now) is None
    assert next_look(dead, DAMPING, now) == 2
    assert next_look(Health(cut={LINK: T0}), DAMPING, T0 + timedelta(seconds=6)) == 24
    assert next_look(dead, DAMPING, T0 + timedelta(seconds=31)) is None
