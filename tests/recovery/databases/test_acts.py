"""Each act by itself, on real databases: what it does, that it may be repeated, what it refuses."""

from __future__ import annotations

import json
import signal
import ssl
import threading
import urllib.error
import urllib.request
from contextlib import closing
from typing import Any

import psutil
import psycopg
import pytest

from flotilla.errors import Permanent, Transient
from flotilla.node.memory import NotBegun, Stale
from tasks.agents import Agent, Busy
from tasks.postgres import Observer, Reach
from tasks.sql import Line
from tests.recovery.databases.trio import PATIENCE, SITES, SYNC, Site, Trio, until

pytestmark = pytest.mark.programs

ACTS: dict[str, dict[str, Any]] = {
    "begin": {},
    "initialise": {},
    "fence": {},
    "unfence": {},
    "drain": {"seconds": 1},
    "undrain": {},
    "checkpoint": {},
    "set_sync": {"names": ""},
    "create_slots": {"names": ["remote"]},
    "drop_slots": {"names": ["remote"]},
    "follow": {"upstream": "remote"},
    "detach": {},
    "resume_replay": {},
    "stop": {"mode": "fast"},
    "start": {"as": "standby"},
    "promote": {"timeout": 10},
    "rewind": {"upstream": "remote", "keep_evidence": True},
    "reseed": {"upstream": "remote"},
    "set_traffic": {"zone": "fleet.test.", "records": [{"name": "a.fleet.test.", "type": "A", "ttl": 5, "content": "1.2.3.4"}]},
}


def reach(trio: Trio) -> Reach:
    one = trio["production"].database
    places = {name: (site.database.host, site.database.port) for name, site in trio.sites.items()}
    return Reach(places, "orders", one.password("observer").read_text(), str(one.ca))


def refuses(site: Site, user: str = "app") -> bool:
    try:
        site.connect(user).close()
    except psycopg.OperationalError as error:
        return "reject" in str(error)
    return False


@pytest.mark.parametrize("kind", ACTS)
@pytest.mark.parametrize("name", ["production", "same-city"])
def test_every_act_of_an_earlier_epoch_or_another_run_is_refused_and_nothing_is_touched(
    shared: Trio, kind: str, name: str
) -> None:
    shared.begin()
    site, body = shared[name], {"kind": kind, **ACTS[kind]}
    server, before = site.server, site.shown
    for epoch, run in ((shared.epoch - 1, shared.run), (shared.epoch, "another")):
        with pytest.raises(Stale):
            site.agent.act(epoch, run, body)
    after = site.shown
    same = ("process", "standby_signal", "autostart", "fenced", "primary_epoch", "unfinished", "forks")

    assert server == site.server
    assert [before[name] for name in same] == [after[name] for name in same]


@pytest.mark.parametrize("kind", [kind for kind in ACTS if kind != "begin"])
def test_no_act_is_done_at_an_epoch_that_was_not_begun(shared: Trio, kind: str) -> None:
    with pytest.raises(NotBegun):
        shared["production"].agent.act(shared.epoch + 1, "later", {"kind": kind, **ACTS[kind]})


def test_an_epoch_stays_accepted_over_the_death_of_its_agent(shared: Trio) -> None:
    shared.begin()
    site = shared["remote"]
    site.end(signal.SIGKILL)
    site.start()

    assert (shared.epoch, shared.run) == (site.seen["epoch"], site.seen["run"])
    with pytest.raises(Stale):
        site.agent.act(shared.epoch - 1, shared.run, {"kind": "begin"})


def test_fenced_nobody_writes_and_nobody_gets_in_until_the_fence_is_lifted(shared: Trio) -> None:
    shared.begin()
    site = shared["production"]
    inside = site.connect()
    inside.execute(b"set default_transaction_read_only = off")

    assert shared.act("production", "fence")["changed"]
    with pytest.raises(psycopg.OperationalError):
        inside.execute(b"create table fenced (n int)")
    assert refuses(site)
    assert refuses(site, "rewind")
    assert site.ask("select count(*) from pg_stat_activity where usename = 'app'") == 0
    assert not shared.act("production", "fence")["changed"]
    assert site.shown["fence"] == ["pg_hba reject"]
    shared.act("production", "unfence")
    site.connect().close()


def test_a_session_of_the_superuser_is_put_out_by_a_fence_too(shared: Trio) -> None:
    shared.begin()
    site, ended = shared["production"], list[str]()

    def hold() -> None:
        try:
            site.admin("select pg_sleep(600)")
        except AssertionError as error:
            ended.append(str(error))

    holder = threading.Thread(target=hold)
    holder.start()
    until(
        lambda: site.ask("select count(*) from pg_stat_activity where query like '%sleep(600)%' and usename = 'postgres'"), "in"
    )
    shared.act("production", "fence")
    holder.join(PATIENCE)

    assert "terminating connection due to administrator command" in ended[0]


def test_a_fence_outlives_the_server_and_its_agent(shared: Trio) -> None:
    shared.begin()
    site = shared["production"]
    shared.act("production", "fence")
    site.end(signal.SIGKILL)
    site.crash()
    site.start()
    until(lambda: site.shown["process"] == "running", "started again")

    assert refuses(site)


def test_a_commit_that_waits_for_its_standby_is_neither_ended_nor_acknowledged_by_a_fence(shared: Trio) -> None:
    """recovery-lab.md, 0.2 and 0.3: it cannot be cancelled without acknowledging it, so it is left in doubt."""
    shared.begin()
    site, acknowledged = shared["production"], list[str]()
    with site.connect() as connection:
        connection.execute(b"create table if not exists waited (n int)")
    shared.act("same-city", "stop", mode="immediate")
    waiting = site.connect()

    def write() -> None:
        try:
            waiting.execute(b"insert into waited values (1)")
            acknowledged.append("acknowledged")
        except psycopg.Error as error:
            acknowledged.append(f"not: {error}")

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: site.ask("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == 1, "it waits")
    told = shared.act("production", "fence")["told"]

    assert "1 wait for a standby and are in doubt" in told
    assert not acknowledged
    looked = Observer("production", reach(shared)).look()
    assert (looked["clients"], looked["in_doubt"]) == (0, 1)
    shared.act("same-city", "start", as_="standby")
    writer.join(PATIENCE)
    assert acknowledged == ["acknowledged"]  # once its standby has it, and not before
    waiting.close()


def test_drained_transactions_are_read_only_unless_they_insist(shared: Trio) -> None:
    """recovery.md, finding 2: a courtesy, which is why the fence exists."""
    shared.begin()
    with shared["production"].connect() as polite, shared["production"].connect() as rude:
        assert shared.act("production", "drain", seconds=5)["changed"]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            polite.execute(b"create table drained (n int)")
        rude.execute(b"set default_transaction_read_only = off")
        rude.execute(b"create table drained (n int)")
        rude.execute(b"drop table drained")
        assert not shared.act("production", "drain", seconds=0)["changed"]
        assert shared.act("production", "undrain")["changed"]
        polite.execute(b"create table drained (n int)")
        polite.execute(b"drop table drained")


def test_a_drain_waits_for_open_transactions_and_says_what_is_left(shared: Trio) -> None:
    shared.begin()
    with shared["production"].connect() as connection:
        connection.execute(b"begin")
        connection.execute(b"select 1")

        assert "1 transactions are still open after 0.2 s" in shared.act("production", "drain", seconds=0.2)["told"]


@pytest.mark.parametrize("names", ['FIRST 1 ("production")', 'FIRST 1 ("mars")', 'FIRST 1 ("same-city", "production")'])
def test_commits_never_wait_for_the_site_itself_or_for_one_that_is_not(shared: Trio, names: str) -> None:
    """recovery.md, finding 1: such commits never end."""
    shared.begin()
    with pytest.raises(Permanent):
        shared.act("production", "set_sync", names=names)

    assert shared["production"].ask("select current_setting('synchronous_standby_names')") == SYNC


def test_slots_are_made_once_and_one_that_is_used_is_not_dropped(shared: Trio) -> None:
    shared.begin()
    assert not shared.act("production", "create_slots", names=["same-city", "remote"])["changed"]
    with pytest.raises(Transient, match="same-city streams"):
        shared.act("production", "drop_slots", names=["same-city"])
    assert shared.act("remote", "create_slots", names=["production"])["changed"]
    assert shared.act("remote", "drop_slots", names=["production", "same-city"])["changed"]
    assert not shared.act("remote", "drop_slots", names=["production"])["changed"]


def test_a_slot_that_lost_its_wal_is_made_anew(own: Trio) -> None:
    own.begin()
    own.act("remote", "stop", mode="fast")
    production = own["production"]
    production.admin("alter system set max_slot_wal_keep_size = '16MB'")
    production.admin("alter system set wal_keep_size = '0'")
    production.admin("select pg_reload_conf()")
    for _ in range(4):
        production.admin("select pg_switch_wal(); create table filler (n int); drop table filler")
        production.admin("checkpoint")
    status = "select wal_status from pg_replication_slots where slot_name = 'remote'"
    until(lambda: production.ask(status) == "lost", "the slot is lost")

    assert own.act("production", "create_slots", names=["remote"])["changed"]
    assert production.ask(status) != "lost"


def test_a_standby_is_told_whom_to_follow_while_it_runs_and_to_follow_nobody(shared: Trio) -> None:
    shared.begin()
    shared.act("same-city", "create_slots", names=["remote"])
    server = shared["remote"].server
    assert shared.act("remote", "follow", upstream="same-city")["changed"]
    shared.follows("remote", "production")
    assert not shared.act("remote", "follow", upstream="same-city")["changed"]
    looked = Observer("remote", reach(shared))
    until(lambda: looked.look()["receives"], "remote receives")

    assert looked.look()["upstream"] == "same-city"
    assert shared.act("remote", "detach")["changed"]
    assert (looked.look()["upstream"], looked.look()["receives"]) == ("", False)
    assert server == shared["remote"].server
    shared.act("remote", "follow", upstream="production")
    shared.act("same-city", "drop_slots", names=["remote"])


def test_a_primary_follows_nobody_while_it_runs(shared: Trio) -> None:
    shared.begin()
    for kind, given in (
        ("follow", {"upstream": "remote"}),
        ("detach", {}),
        ("rewind", ACTS["rewind"]),
        ("reseed", ACTS["reseed"]),
    ):
        with pytest.raises(Permanent):
            shared.act("production", kind, **given)


def test_replay_that_is_paused_goes_on(shared: Trio) -> None:
    shared.begin()
    shared["remote"].admin("select pg_wal_replay_pause()")
    look = Observer("remote", reach(shared)).look
    assert look()["paused"]
    assert shared.act("remote", "resume_replay")["changed"]
    assert not look()["paused"]
    assert not shared.act("remote", "resume_replay")["changed"]


def test_a_primary_is_not_promoted_again_and_a_standby_is_not_started_as_primary(shared: Trio) -> None:
    shared.begin()
    with pytest.raises(Permanent, match="nothing to promote"):
        shared.act("production", "promote", timeout=5)
    shared.act("remote", "stop", mode="fast")
    with pytest.raises(Permanent, match="promote it"):
        shared.act("remote", "start", as_="primary")
    with pytest.raises(Permanent, match="is a standby"):
        shared.act("remote", "initialise")


def test_what_is_stopped_stays_so_and_what_is_asked_twice_is_done_once(shared: Trio) -> None:
    shared.begin()
    assert shared.act("remote", "stop", mode="fast")["changed"]
    assert not shared.act("remote", "stop", mode="fast")["changed"]
    assert shared["remote"].shown["fence"][-2:] == ["stopped", "no autostart"]
    shared["remote"].end(signal.SIGKILL)
    shared["remote"].start()
    assert shared["remote"].shown["process"] == "stopped"
    assert shared.act("remote", "start", as_="standby")["changed"]
    assert not shared.act("remote", "start", as_="standby")["changed"]


def test_of_two_acts_at_once_both_are_done_one_after_the_other(shared: Trio) -> None:
    shared.begin()
    site, told = shared["production"], list[object]()

    def ask(kind: str) -> None:
        try:
            told.append(site.agent.act(shared.epoch, shared.run, {"kind": kind})["told"])
        except Busy as busy:
            told.append(busy)

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in ("fence", "unfence", "checkpoint") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(told) == 6
    assert refuses(site) == site.shown["fenced"]


def test_while_a_long_act_goes_on_others_wait_but_an_epoch_is_accepted_and_ends_it(own: Trio) -> None:
    own.begin()
    own.act("remote", "stop", mode="fast")
    own["production"].admin("create table large as select repeat(md5(n::text), 30) from generate_series(1, 200000) n")
    remote = own["remote"]
    body = {"kind": "reseed", "upstream": "production"}
    job = remote.agent.act(own.epoch, own.run, body)["job"]

    assert remote.agent.act(own.epoch, own.run, body)["job"] == job  # the same act is the same job
    with pytest.raises(Busy, match="busy with reseed"):
        remote.agent.act(own.epoch, own.run, {"kind": "checkpoint"})
    stale = own.epoch, own.run
    own.begin("remote")
    with pytest.raises(Stale):
        remote.agent.finished(job, PATIENCE)
    with pytest.raises(Stale):
        remote.agent.act(*stale, body)
    own.act("remote", "start", as_="standby")  # the old database, as it was
    own.follows("remote", "production")


def test_nobody_is_listened_to_without_the_token_or_trusted_without_the_authority(shared: Trio) -> None:
    site = shared["production"]
    one = site.database
    with pytest.raises(Permanent, match="bearer token"):
        Agent("production", one.agent, "wrong", one.ca).seen()
    with pytest.raises(Permanent, match="bearer token"):
        Agent("production", one.agent, "wrong", one.ca).act(shared.epoch + 1, "r", {"kind": "begin"})
    with pytest.raises(Permanent, match="no token"):
        Agent("production", one.agent, " ", one.ca)
    strangers = ssl.create_default_context()
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{one.agent}/v1/seen", context=strangers, timeout=PATIENCE)
    with pytest.raises(Transient, match="does not answer"):
        Agent("production", one.agent.replace("https", "http"), "t", one.ca).seen()


def test_what_is_no_act_is_told_so(shared: Trio) -> None:
    with pytest.raises(Permanent, match=r"act: 'nonsense'|nonsense"):
        shared["production"].agent.act(shared.epoch, shared.run, {"kind": "nonsense"})
    shared.begin()
    with pytest.raises(Permanent, match="no DNS server"):
        shared.act("production", "set_traffic", **ACTS["set_traffic"])


def test_a_second_agent_of_the_same_data_is_refused(shared: Trio) -> None:
    site = shared["production"]
    first, site.process = site.process, None
    assert first
    try:
        site.launch()
        assert site.process
        assert site.process.wait(PATIENCE) == 1
        assert f"another agent (pid {first.pid})" in site.log.read_text()
    finally:
        site.process = first


def test_an_agent_that_is_told_to_end_leaves_postgresql_running_and_says_so(shared: Trio) -> None:
    site = shared["remote"]
    server = site.server
    site.end()

    assert server == site.server
    assert "PostgreSQL goes on, as postgres.keepRunning is true" in site.log.read_text()
    site.start()
    assert site.shown["process"] == "running"


def test_a_standby_that_dies_is_started_again(shared: Trio) -> None:
    site = shared["remote"]
    before = site.server
    site.crash()
    until(lambda: site.server not in (None, before) and site.shown["process"] == "running", "it runs again")
    shared.follows("remote", "production")


def test_a_look_at_a_database_that_hangs_ends_in_time(shared: Trio) -> None:
    looked = Observer("remote", reach(shared))
    looked.look()
    server = shared["remote"].server
    assert server
    hung = [psutil.Process(server), *psutil.Process(server).children()]
    for process in hung:
        process.suspend()
    try:
        with pytest.raises(Transient):
            looked.look(within=0.3)
        with pytest.raises(Transient):  # nor can one get in
            looked.look(within=0.3)
        assert shared["remote"].seen["database"]["process"] == "running"  # what the agent tells does not wait for it
    finally:
        for process in hung:
            process.resume()
    until(lambda: looked.look(), "it answers again")


def test_what_is_seen_of_a_primary_and_its_standbys(shared: Trio) -> None:
    looks = {name: Observer(name, reach(shared)).look() for name in SITES}
    primary = looks["production"]

    assert [looks[name]["in_recovery"] for name in SITES] == [False, True, True]
    assert len({(one["system"], one["timeline"], one["epoch"], one["epoch_primary"]) for one in looks.values()}) == 1
    assert primary["epoch_primary"] == "production"
    assert primary["synchronous"] == ["same-city"]
    assert {(one["name"], one["state"], one["sync_state"]) for one in primary["followers"]} == {
        ("same-city", "streaming", "sync"), ("remote", "streaming", "async"),
    }  # fmt: skip
    assert [(one["name"], one["active"]) for one in primary["slots"]] == [("remote", True), ("same-city", True)]
    assert [looks[name]["upstream"] for name in SITES] == ["", "production", "production"]
    assert [looks[name]["can_rewind"] for name in SITES] == [True] * 3
    assert primary["weakened"] == []


@pytest.mark.parametrize("word", ["off", "local", "remote_write", "FALSE"])
def test_who_commits_without_waiting_for_a_disk_is_seen(shared: Trio, word: str) -> None:
    shared["production"].admin(f"alter role app set synchronous_commit = '{word}'")
    try:
        assert Observer("production", reach(shared)).look()["weakened"] == [f"app in all databases: synchronous_commit={word}"]
    finally:
        shared["production"].admin("alter role app reset synchronous_commit")


@pytest.mark.parametrize("word", ["on", "remote_apply", "yes"])
def test_who_waits_for_the_disk_weakens_nothing(shared: Trio, word: str) -> None:
    shared["production"].admin(f"alter role app set synchronous_commit = '{word}'")
    try:
        assert Observer("production", reach(shared)).look()["weakened"] == []
    finally:
        shared["production"].admin("alter role app reset synchronous_commit")


def test_the_observer_only_looks(shared: Trio) -> None:
    with shared["production"].connect("observer") as connection:
        for query in (
            b"create table mine (n int)",
            b"update flotilla.epoch set epoch = 99",
            b"select pg_promote()",
            b"checkpoint",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query)
    with shared["production"].connect("rewind") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(b"update flotilla.epoch set epoch = 99")


def test_what_is_refused_inside_a_transaction_spoils_nothing_that_is_asked_after_it(shared: Trio) -> None:
    one = shared["production"].database
    line = Line("production", {
        "host": one.host, "port": one.port, "user": "observer", "dbname": "orders",
        "password": one.password("observer").read_text(), "sslmode": "require",
    })  # fmt: skip
    with closing(line):
        with pytest.raises(Permanent, match="division by zero"):
            line.ask("begin read only; select 1 / 0; commit", within=PATIENCE)
        assert line.ask("select 1", within=PATIENCE) == [(1,)]


def test_the_heart_of_a_primary_beats(shared: Trio) -> None:
    look = Observer("remote", reach(shared)).look
    first = look()["beat"]["beat"]
    until(lambda: look()["beat"]["beat"] > first, "the beat arrives far away")


def test_no_second_database_is_begun(shared: Trio) -> None:
    shared.begin()
    assert not shared.act("production", "initialise")["changed"]


def test_a_request_without_a_length_or_too_large_is_refused(shared: Trio) -> None:
    one = shared["production"].database
    context = ssl.create_default_context(cafile=str(one.ca))
    headers = {"Authorization": f"Bearer {one.token.read_text()}"}
    for body, status in ((b"x" * (2 << 20), 413), (json.dumps({"epoch": 1}).encode(), 422)):
        request = urllib.request.Request(f"{one.agent}/v1/act", body, headers, method="POST")
        try:
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, context=context, timeout=PATIENCE)
            assert caught.value.code == status
        except urllib.error.URLError:
            assert status == 413  # it may hang up before all of it was sent
