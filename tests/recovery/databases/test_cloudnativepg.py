"""Agents whose databases CloudNativePG runs, in the lab's three clusters: each act, and a switchover's own steps walked.

`python -m lab up` and `python -m lab cloudnativepg` have what they need (the tests do it, too); then one process:
`pytest tests/recovery/databases/test_cloudnativepg.py`. They take about ten minutes: each copy of a database is made by a pod.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

import lab
from flotilla.errors import Permanent, Transient
from flotilla.node.cnpg import FENCED, PUT_DOWN
from flotilla.node.memory import NotBegun, Stale
from flotilla.recovery import acts, goals, switchover
from flotilla.recovery.aim import Aim
from flotilla.recovery.proofs import unproved
from tasks.clusters import Connection
from tests.conftest import FleetLab
from tests.recovery.databases.clustered import ISOLATION, LAYOUT, Three, three
from tests.recovery.databases.trio import SITES, Ledger, Site, until

pytestmark = [pytest.mark.lab, pytest.mark.last, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def _built(fleet_lab: FleetLab, ways: dict[str, Connection]) -> Iterator[Three]:
    if why := lab.look().without_databases:
        pytest.skip(f"the lab has no databases, and so no authority of theirs: {why}")
    if not lab.look().is_up:  # a story before may have left it as it ended
        lab.up()
    with three(ways) as made:
        made.build()
        yield made


@pytest.fixture
def fleet(_built: Three) -> Iterator[Three]:
    """Yield the three sites, whoever is primary; after the test every agent lives, and the others follow one primary."""
    _built.settle()
    yield _built
    for site in _built.sites.values():
        if site.process is None:
            site.start()
    primary = _built.primary
    _built.begin()
    _built.act(primary, "start", as_="primary")
    for kind in ("unfence", "undrain"):
        _built.act(primary, kind)
    for name in SITES:
        if name != primary:
            _built.act(name, "unfence")
            _built.act(name, "start", as_="standby")
            _built.act(name, "follow", upstream=primary)
            _built.follows(name, primary)


def others(fleet: Three) -> list[str]:
    return [name for name in SITES if name != fleet.primary]


def refuses(site: Site) -> bool:
    try:
        site.connect().close()
    except psycopg.OperationalError as error:
        return "reject" in str(error)
    return False


def test_a_recovery_reads_what_agents_and_databases_show(fleet: Three) -> None:
    world, primary = fleet.world(), fleet.primary

    assert {one.site for one in world.seen_agents()} == {one.site for one in world.seen_databases()} == set(SITES)
    assert [one.site for one in world.seen_databases() if not one.in_recovery] == [primary]
    for agent in world.seen_agents():
        assert (agent.process, agent.standby_signal) == ("running", agent.site != primary)
        assert "slots" in agent.lacks
        assert not agent.fenced
    followed = [one for one in world.seen_databases() if one.in_recovery]
    assert {one.upstream for one in followed} == {primary}
    assert {one.clients for one in world.seen_databases()} == {0}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("fence", {}),
        ("drain", {"seconds": 1}),
        ("stop", {"mode": "fast"}),
        ("detach", {}),
        ("promote", {"timeout": 10}),
        ("reseed", {"upstream": "remote"}),
    ],
)
def test_an_act_of_an_earlier_epoch_or_another_run_is_refused_and_nothing_is_touched(
    fleet: Three, kind: str, given: dict[str, object]
) -> None:
    fleet.begin()
    before = fleet.cluster("same-city")["spec"]
    for epoch, run in ((fleet.epoch - 1, fleet.run), (fleet.epoch, "another")):
        with pytest.raises(Stale):
            fleet["same-city"].agent.act(epoch, run, {"kind": kind, **given})
    with pytest.raises(NotBegun):
        fleet["same-city"].agent.act(fleet.epoch + 1, "later", {"kind": kind, **given})

    assert fleet.cluster("same-city")["spec"] == before


def test_what_cloudnativepg_cannot_do_is_refused_in_words(fleet: Three) -> None:
    fleet.begin()
    standby, primary = others(fleet)[0], fleet.primary

    with pytest.raises(Permanent, match="gives standbys of other sites no slots"):
        fleet.act(primary, "create_slots", names=[standby])
    with pytest.raises(Permanent, match="rewinds no Cluster"):
        fleet.act(standby, "rewind", upstream=primary, keep_evidence=True)
    with pytest.raises(Permanent, match="in order only"):
        fleet.act(primary, "stop", mode="immediate")
    with pytest.raises(Permanent, match="is running: stop it before its Cluster is made anew"):
        fleet.act(standby, "reseed", upstream=primary)
    with pytest.raises(Permanent, match="cannot wait for"):
        fleet.act(primary, "set_sync", names=f'FIRST 1 ("{primary}")')
    with pytest.raises(Permanent, match="is a primary: stop it"):
        fleet.act(primary, "follow", upstream=standby)
    with pytest.raises(Permanent, match="is a standby: promote it"):
        fleet.act(standby, "start", as_="primary")
    assert not fleet.act(primary, "drop_slots", names=[standby])["changed"]


def test_fenced_nobody_gets_in_and_replication_goes_on_until_the_fence_is_lifted(fleet: Three) -> None:
    fleet.begin()
    site, standby = fleet[fleet.primary], others(fleet)[0]
    inside = site.connect()

    assert fleet.act(site.name, "fence")["changed"]
    with pytest.raises(psycopg.OperationalError):
        inside.execute(b"select 1")
    assert refuses(site)
    assert site.shown["fence"] == ["pg_hba reject"]
    fleet.follows(standby, site.name)
    assert not unproved_fence(fleet, site.name)
    assert not fleet.act(site.name, "fence")["changed"]
    fleet.act(site.name, "unfence")
    site.connect().close()


def unproved_fence(fleet: Three, site: str) -> str:
    return unproved(acts.Fence(site), fleet.world(), Aim(fleet.run, fleet.epoch))


def test_drained_new_transactions_are_read_only_and_the_heart_rests(fleet: Three) -> None:
    fleet.begin()
    site = fleet[fleet.primary]
    fleet.act(site.name, "drain", seconds=1)
    with site.connect() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute(b"create table drained (n int)")
    assert fleet.world().database(site.name).read_only  # type: ignore[union-attr]
    fleet.act(site.name, "undrain")
    beat = site.ask("select beat from flotilla.heartbeat")
    until(lambda: site.ask("select beat from flotilla.heartbeat") > beat, "the heart beats")


def test_commits_wait_for_the_cluster_of_another_site(fleet: Three) -> None:
    fleet.begin()
    primary, standby = fleet.primary, others(fleet)[0]
    fleet.act(primary, "set_sync", names=f'FIRST 1 ("{standby}")')
    until(lambda: fleet.sync_state(primary, standby) in ("sync", "quorum"), f"{standby} is synchronous")
    seen = fleet.world().database(primary)

    assert seen.synchronous == (standby,)  # type: ignore[union-attr]
    fleet.act(primary, "set_sync", names="")
    assert fleet.world().database(primary).synchronous == ()  # type: ignore[union-attr]


def test_detached_a_standby_takes_nothing_and_follows_again_when_told(fleet: Three) -> None:
    fleet.begin()
    primary, standby = fleet.primary, others(fleet)[1]
    fleet.act(standby, "detach")
    seen = fleet.world().database(standby)

    assert not seen.is_attached  # type: ignore[union-attr]
    fleet.act(standby, "follow", upstream=primary)
    fleet.follows(standby, primary)


def test_the_steps_of_a_switchover_are_walked_there_and_back_and_no_row_is_lost(fleet: Three) -> None:
    home = fleet.primary
    target = next(name for name in ("same-city", "production") if name != home)
    with Ledger([fleet[name] for name in SITES]) as ledger:
        for origin, to in ((home, target), (target, home)):
            ledger.wait()
            fleet.begin()
            told = fleet.walk(switchover.steps(origin, to, LAYOUT))
            assert any("with the demotion token of the one before" in one for one in told), told
            assert fleet.primary == to
        ledger.wait()
        ledger.stop()
    for name in SITES:
        if name != home:
            fleet.follows(name, home)
        assert not ledger.lost(fleet[name])
        assert not ledger.duplicated(fleet[name])


def test_what_was_demoted_is_shown_as_stopped_in_order_and_is_promoted_again_where_the_move_is_taken_back(fleet: Three) -> None:
    fleet.begin()
    primary, standby = fleet.primary, others(fleet)[0]
    told = fleet.act(primary, "stop", mode="fast")["told"]
    shown, aim = fleet[primary].shown, Aim(fleet.run, fleet.epoch)

    assert "stands in its demotion token" in told
    assert (shown["process"], shown["standby_signal"], shown["autostart"]) == ("stopped", True, False)
    assert shown["control"]["state"] == "shut down"
    until(lambda: not unproved(goals.StopProved(primary, standby), fleet.world(), aim), f"{standby} has all of it")
    assert "stands still" in fleet.act(primary, "stop", mode="fast")["told"]
    assert fleet[primary].shown["control"]["state"] == "shut down"
    fleet.act(primary, "start", as_="primary")
    assert fleet.primary == primary
    fleet.follows(standby, primary)


def test_without_the_primary_a_standby_is_promoted_without_a_token_and_the_old_one_is_put_down_and_copied_anew(
    fleet: Three,
) -> None:
    fleet.begin()
    old, new, third = fleet.primary, *others(fleet)
    fleet.act(old, "set_sync", names="")
    fleet[old].end(signal.SIGKILL)
    fleet.begin(new, third)
    for name in (new, third):
        fleet.act(name, "detach")
    with fleet[old].connect() as connection:
        connection.execute(b"create table if not exists late (n int)")
        connection.execute(b"insert into late values (1)")
    told = fleet.act(new, "promote", timeout=60)["told"]

    assert "without a demotion token: as in a failover" in told
    fleet[old].start()
    until(lambda: fleet[old].shown["process"] == "stopped", f"{old} is put down, as {new} was made primary after it")
    assert PUT_DOWN in fleet.cluster(old)["metadata"]["annotations"]
    fleet.begin(old)
    fleet.act(old, "stop", mode="fast")
    done = fleet.act(old, "reseed", upstream=new)
    assert "is gone, as CloudNativePG keeps no evidence" in done["told"]
    fleet.follows(old, new)
    assert fleet[old].ask("select to_regclass('late')") is None
    assert fleet.primary == new


def test_a_primary_without_a_majority_is_fenced_by_its_agent_and_comes_back_with_it(fleet: Three) -> None:
    fleet.begin()
    primary = fleet.primary
    fleet.act(primary, "set_sync", names="")
    fleet.act(primary, "start", as_="primary")
    for name in others(fleet):
        fleet[name].end()
    began = time.monotonic()
    until(lambda: not answers(fleet[primary]), "it takes no connections")

    assert time.monotonic() - began < ISOLATION
    until(lambda: fleet[primary].shown["process"] == "stopped", "it is stopped")
    assert FENCED in fleet.cluster(primary)["metadata"]["annotations"]
    for name in SITES:
        if name != primary:
            fleet[name].start()
    until(lambda: fleet[primary].shown["process"] == "running", "the boot rule lets it up")
    assert fleet.primary == primary


def test_a_primary_whose_agent_is_killed_is_fenced_by_the_guard(fleet: Three) -> None:
    fleet.begin()
    primary = fleet.primary
    fleet.act(primary, "start", as_="primary")
    fleet[primary].end(signal.SIGKILL)
    began = time.monotonic()
    until(lambda: not answers(fleet[primary]), "it takes no connections")

    assert time.monotonic() - began < ISOLATION
    fleet[primary].start()
    until(lambda: fleet[primary].shown["process"] == "running", "its next agent lets it up")


def answers(site: Site) -> bool:
    try:
        site.ask("select 1")
    except (psycopg.Error, Transient):
        return False
    return True
