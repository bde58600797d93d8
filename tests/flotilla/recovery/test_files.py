"""What the fleet file says of recovery; what agents, databases and leases answer; the journal; WAL positions."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flotilla.errors import InvalidInput, Permanent
from flotilla.facts import Unknown
from flotilla.fleet import parse_fleet
from flotilla.recovery import acts, bodies, journal, lsn
from flotilla.recovery.acts import AgentAct
from flotilla.recovery.bodies import body
from flotilla.recovery.facts import AgentSeen, DatabaseSeen, Fork, LeaseSeen, TrafficSeen
from flotilla.recovery.journal import Entry, Journal, Wrote, broken, from_lines, merged, to_lines
from flotilla.recovery.parsing import (
    lease_annotations,
    parse_agent,
    parse_database,
    parse_epoch_text,
    parse_lease,
)

KEY = "A" * 43 + "="
OTHER = "B" * 43 + "="
FLEET = """
clusters:
  - {name: remote, role: remote, site: {name: c3, city: beijing}}
  - {name: production, role: production, site: {name: c1, city: hangzhou}}
  - {name: same-city, role: same-city, site: {name: c2, city: hangzhou}}
recovery:
  database:
    hosts: {production: 10.0.0.1, same-city: 10.0.0.2, remote: 10.0.0.3}
    agents:
      production: {url: "https://10.0.0.1:9440"}
      same-city: {urlEnv: SAME_CITY_AGENT}
      remote: {url: "https://10.0.0.3:9440"}
    synchronous: [same-city]
    whenSyncIsLost: ask
  traffic:
    addresses: {production: 10.0.0.1, same-city: 10.0.0.2, remote: 10.0.0.3}
  approvers: [{name: ann, key: %s}, {name: bob, key: %s}]
""" % (KEY, OTHER)  # noqa: UP031 - braces are YAML's


def with_recovery(**changes: Any) -> str:
    data = yaml.safe_load(FLEET)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = data["recovery"]
        for part in way:
            place = place[part]
        place[last] = value
    return yaml.safe_dump(data)


def problems(text: str) -> str:
    with pytest.raises(InvalidInput) as found:
        parse_fleet(text, "fleet.yaml")
    return str(found.value)


def test_a_fleet_file_without_recovery_recovers_nothing():
    data = yaml.safe_load(FLEET)
    del data["recovery"]
    fleet = parse_fleet(yaml.safe_dump(data), "fleet.yaml")

    assert (fleet.recovery, fleet.layout) == (None, None)


def test_the_layout_begins_with_production_whatever_the_order_of_the_file():
    layout = parse_fleet(FLEET, "fleet.yaml").layout

    assert layout is not None
    assert layout.sites == ("production", "same-city", "remote")
    assert layout.authorised("production") == layout.authorised("same-city") == ("production", "same-city")
    assert layout.authorised("remote") == ("remote",)
    assert [layout.sync_names(site) for site in layout.sites] == [("same-city",), ("production",), ()]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"database__hosts": {"production": "a", "same-city": "b"}}, "recovery.database.hosts: lacks remote; allowed: one"),
        ({"database__agents": {}}, "recovery.database.agents: lacks production, same-city, remote"),
        ({"database__agents": {"production": {}}}, "recovery.database.agents.production: {}; allowed: url, or urlEnv, or both"),
        ({"traffic__addresses": {"moon": "m"}}, "recovery.traffic.addresses.moon: 'moon'; allowed: a cluster of the fleet"),
        (
            {"traffic__addresses": {"production": "a", "same-city": "a", "remote": "b"}},
            "recovery.traffic.addresses.same-city: 'a'; allowed: an address that production has not",
        ),
        ({"database__synchronous": ["production"]}, "allowed: another site: commits that wait for their own server never end"),
        ({"database__synchronous": ["moon"]}, "recovery.database.synchronous[0]: 'moon'; allowed: a cluster of the fleet"),
        ({"database__synchronous": ["same-city", "same-city"]}, "synchronous[1]: 'same-city'; allowed: each site once"),
        ({"database__synchronous": ["remote"]}, "recovery.policy.automatic: 'same-city'; allowed: never"),
        ({"database__whenSyncIsLost": "panic"}, "whenSyncIsLost: 'panic'; allowed: 'wait', 'ask' or 'degrade'"),
        ({"approvers": [{"name": "ann", "key": KEY}, {"name": "eve", "key": KEY}]}, "this is ann's, and two"),
        ({"approvers": [{"name": "ann", "key": "short"}]}, "recovery.approvers[0].key"),
        ({"approvers": []}, "recovery.approvers: has 0 people; allowed: at least 1"),
        ({"traffic__zone": "fleet.test"}, "recovery.traffic.zone: 'fleet.test'; allowed: a zone's absolute name"),
        ({"witnesses": {"failures": 5, "of": 4}}, "failures at most of, 4"),
        ({"isolation": 1}, "recovery.isolation: 1"),
        ({"password": "x"}, "recovery.password: 'x'; allowed: one of the fields application, approvals"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_file_field_value_and_what_is_allowed(changes: dict[str, Any], told: str):
    assert told in problems(with_recovery(**changes))


def test_a_remote_cluster_does_not_stand_in_the_city_of_production():
    told = "clusters[0].site.city: 'hangzhou'; allowed: another city than production's: the cluster is of role remote"

    assert told in problems(FLEET.replace("beijing", "hangzhou"))


# -- what agents and databases answer ---------------------------------------------------------------------------------------


def seen() -> dict[str, Any]:
    control = {"state": "shut down", "system_identifier": "72", "timeline": 3, "checkpoint": "0/5904028"}
    said = '"epoch=7 primary=production sites=production,same-city"'
    records = [
        {"name": "orders.fleet.test.", "type": "LUA", "ttl": 5, "content": "A"},
        {"name": "_epoch.orders.fleet.test.", "type": "TXT", "ttl": 5, "content": said},
    ]  # fmt: skip
    return {
        "site": "same-city", "at": 1795.5, "epoch": 7, "run": "r", "new": "field", "epoch_age": 3.5,
        "database": {
            "process": "stopped", "standby_signal": True, "autostart": False, "fenced": False, "fence": [], "control": control,
            "disk_free": 10, "data_bytes": 5, "unfinished": "", "forks": [{"timeline": 3, "at": "0/5000000"}],
        },
        "traffic": {"serving": True, "zone": "fleet.test.", "epoch": 7, "records": records},
        "peers": {"remote": {"reached": False, "ago": None, "epoch": None, "error": "timed out", "isolation": 30}},
        "isolation": 10,
    }  # fmt: skip


def test_an_agent_is_read_whatever_else_it_says():
    agent = parse_agent(seen())

    assert isinstance(agent, AgentSeen)
    assert (agent.is_stopped, agent.epoch_age, agent.forks) == (True, 3.5, (Fork(3, 0x5000000),))
    assert isinstance(agent.traffic, TrafficSeen)
    assert agent.traffic.authorised == ("production", "same-city")
    assert (agent.isolation, [peer.isolation for peer in agent.peers]) == (10.0, [30.0])


def test_an_agent_of_an_earlier_flotilla_does_not_say_how_long_it_is_alone():
    data = seen()
    del data["isolation"], data["peers"]["remote"]["isolation"]
    agent = parse_agent(data)

    assert isinstance(agent, AgentSeen)
    assert (agent.isolation, [peer.isolation for peer in agent.peers]) == (None, [None])


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("epoch", None, "None is no whole number"),
        ("epoch", True, "True is no whole number"),
        ("database", {"unseen": "no such file"}, "no such file"),
        ("database.autostart", "yes", "'yes' is neither true nor false"),
        ("database.process", "asleep", "'asleep' is not a valid Process"),
        ("at", None, "None is no number"),
    ],
)
def test_an_answer_without_what_is_needed_is_unknown_and_says_why(path: str, value: object, reason: str):
    data = seen()
    place, _, last = path.rpartition(".")
    (data[place] if place else data)[last] = value
    found = parse_agent(data)

    assert isinstance(found, Unknown)
    assert reason in found.reason


def test_parts_that_were_not_seen_are_unknown_by_themselves():
    data = seen()
    data["database"]["control"] = {"unseen": "pg_controldata: permission denied"}
    data["traffic"] = {"unseen": "connection refused"}
    agent = parse_agent(data)

    assert isinstance(agent, AgentSeen)
    assert isinstance(agent.control, Unknown)
    assert isinstance(agent.traffic, Unknown)


@pytest.mark.parametrize("answer", [None, [], "text", {}, {"site": "x"}, {"site": "x", "database": None}])
def test_what_is_no_answer_at_all_is_unknown(answer: object):
    assert isinstance(parse_agent(answer), Unknown)


def look(**changes: object) -> dict[str, object]:
    found: dict[str, object] = {
        "site": "remote", "at": 5.0, "clock": 5.1, "beat": None, "system": "72", "in_recovery": True, "timeline": 3,
        "position": 0x59040A0, "replayed": 0x59040A0, "paused": False, "upstream": "production", "receives": True,
        "read_only": False, "synchronous": [], "followers": [{"name": "x", "state": "streaming", "flushed": 1, "lag": None}],
        "slots": [{"name": "same-city", "active": True, "status": "reserved"}], "clients": 2, "in_doubt": 0, "weakened": [],
        "epoch": 7, "epoch_primary": "production", "checkpoint_timeline": 3, "checkpoint_age": 1.5, "can_rewind": True,
        "commits": 12, "prepared": 0,
    }  # fmt: skip
    return {**found, **changes}


def test_a_database_is_read_whatever_else_it_says():
    found = parse_database(look())

    assert isinstance(found, DatabaseSeen)
    assert (found.upstream, found.position, found.epoch) == ("production", 0x59040A0, 7)
    assert found.slot("same-city") is not None


def test_a_database_that_is_not_read_whole_is_unknown():
    without = look()
    del without["timeline"]

    assert parse_database(without) == Unknown("remote", "its database's answer cannot be used: 'timeline' is missing")
    assert isinstance(parse_database(look(position=None)), Unknown)
    assert isinstance(parse_database(look(in_recovery="no")), Unknown)
    assert isinstance(parse_database(None), Unknown)


def test_a_lease_is_read_as_it_is_written_and_one_that_is_not_there_is_free():
    said = lease_annotations("production", ("production", "same-city"), ("same-city",), 6) | {"flotilla.dev/epoch": "7"}
    lease = parse_lease("remote", {"metadata": {"annotations": said}, "spec": {"holderIdentity": "r"}}, expired=False)

    assert lease == LeaseSeen("remote", "r", 7, "", 6, "production", ("production", "same-city"), ("same-city",))
    assert parse_lease("remote", None, expired=False) == LeaseSeen("remote")
    bad = {"metadata": {"annotations": {"flotilla.dev/epoch": "seven"}}}
    assert isinstance(parse_lease("remote", bad, expired=False), Unknown)


def test_what_dns_says_is_what_was_set():
    act = acts.SetTraffic("remote", "production", ("production", "same-city"), addresses=("10.0.0.1", "10.0.0.2"))
    answer, epoch = bodies.records(act, 7)

    assert parse_epoch_text("remote", epoch.content) == TrafficSeen("remote", 7, "production", ("production", "same-city"))
    assert "10.0.0.3" not in answer.content
    assert isinstance(parse_epoch_text("remote", "garbage"), Unknown)


def test_dns_that_cannot_check_health_is_told_plain_addresses():
    act = acts.SetTraffic("remote", "remote", ("remote",), addresses=("10.0.0.3",), health=False)

    answer, epoch = bodies.records(act, 7)

    assert (answer.type, answer.content) == ("A", "10.0.0.3")
    assert parse_epoch_text("remote", epoch.content) == TrafficSeen("remote", 7, "remote", ("remote",))


EVERY = [cls("same-city") for cls in bodies.KINDS.values()]


@pytest.mark.parametrize("act", EVERY, ids=lambda act: act.kind)
def test_an_act_outlives_its_process(act: acts.Act):
    assert bodies.from_dict(bodies.to_dict(act)) == act


def test_an_act_that_nobody_knows_is_not_done():
    with pytest.raises(Permanent, match="does not know"):
        bodies.from_dict({"kind": "explode", "site": "remote"})


@pytest.mark.parametrize(
    ("act", "sent"),
    [
        (acts.Begin("a"), {"kind": "begin"}),
        (acts.Drain("a", 2.0, "b"), {"kind": "drain", "seconds": 2.0}),
        (acts.SetSync("a", ("same-city",)), {"kind": "set_sync", "names": 'FIRST 1 ("same-city")'}),
        (acts.SetSync("a"), {"kind": "set_sync", "names": ""}),
        (acts.CreateSlots("a", ("b", "c")), {"kind": "create_slots", "names": ["b", "c"]}),
        (acts.Follow("a", "b"), {"kind": "follow", "upstream": "b"}),
        (acts.Stop("a", "fast", "b"), {"kind": "stop", "mode": "fast"}),
        (acts.Start("a", "primary"), {"kind": "start", "as": "primary"}),
        (acts.Promote("a", "b"), {"kind": "promote", "timeout": 60.0}),
        (acts.Rewind("a", "b"), {"kind": "rewind", "upstream": "b", "keep_evidence": True}),
        (acts.BreakGlass("a", ("t", "u")), {"kind": "break_glass", "approvals": ["t", "u"]}),
    ],
)
def test_an_act_is_one_request_to_an_agent(act: AgentAct, sent: dict[str, object]):
    assert body(act, 7) == sent


# -- the journal ------------------------------------------------------------------------------------------------------------


def written(count: int, run: str = "run-1") -> Journal:
    made = Journal(run)
    for number in range(count):
        made = made.with_entry(Entry(float(number), Wrote.TOLD, "ann", 7, f"step-{number}", {"told": "done", "äö": [1, 2]}))
    return made


def test_a_journal_is_read_as_it_was_written():
    assert from_lines(to_lines(written(4))) == written(4)
    assert broken(written(4)) == ""


def test_what_was_changed_put_in_or_taken_out_is_found():
    whole = written(4).entries
    changed = Entry(**{**vars(whole[1]), "who": "eve"})

    assert "entry 2 (told step-1) was changed" in broken(Journal("run-1", (whole[0], changed, *whole[2:])))
    assert "entry 2 does not follow" in broken(Journal("run-1", (whole[0], *whole[2:])))
    assert "entry 1 does not follow" in broken(Journal("run-2", whole))
    assert "does not follow" in broken(Journal("run-1", (*whole, changed.sealed("0" * 64))))


@given(st.integers(0, 6), st.integers(0, 6))
def test_of_two_copies_the_longer_is_gone_on_with(one: int, other: int):
    assert merged(written(one), written(other)) == written(max(one, other))
    assert (
        journal.lacking(written(min(one, other)), written(max(one, other)))
        == written(max(one, other)).entries[min(one, other) :]
    )


def test_a_copy_that_was_forged_does_not_count_and_two_that_differ_are_for_people():
    whole = written(3)
    forged = Journal("run-1", (*whole.entries[:2], Entry(**{**vars(whole.entries[2]), "who": "eve"})))
    elsewhere = written(2).with_entry(Entry(9.0, Wrote.ENDED, "bob"))

    assert merged(forged, written(1)) == written(1)
    with pytest.raises(Permanent, match="went different ways"):
        merged(whole, elsewhere)
    with pytest.raises(Permanent, match="both copies"):
        merged(forged, forged)
    with pytest.raises(Permanent, match="two runs"):
        merged(written(1), written(1, "run-2"))


def test_of_two_ways_the_one_counts_that_began_as_the_run_was_taken_up_without_what_the_dead_wrote_last():
    dead, taken_up = written(3), written(2).with_entry(Entry(9.0, Wrote.RESUMED, "bob"))

    assert taken_up == merged(dead, taken_up) == merged(taken_up, dead)
    assert taken_up == merged(dead.with_entry(Entry(9.5, Wrote.ENDED, "ann")), taken_up)
    with pytest.raises(journal.Forked):
        merged(taken_up, written(2).with_entry(Entry(9.1, Wrote.RESUMED, "ann")))


def test_a_line_that_a_crash_cut_off_is_left_out():
    text = to_lines(written(3))

    assert from_lines(text[:-20]) == written(2)
    with pytest.raises(Permanent):
        from_lines("nonsense\n")
    with pytest.raises(Permanent):
        from_lines("")


# -- WAL positions ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
def test_a_position_is_read_as_it_is_shown(position: int):
    assert lsn.parse(lsn.show(position)) == position


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/123456789", "g/0", "0/0/0", " 0/0"])
def test_what_is_no_position_is_refused(text: str):
    with pytest.raises(ValueError, match="is no WAL position"):
        lsn.parse(text)
