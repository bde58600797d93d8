"""What an agent reads and writes, without a node: control data, histories, configurations, dumps of WAL."""

from __future__ import annotations

import json

import pytest

from flotilla.errors import InvalidInput, Permanent
from flotilla.node import history, settings
from flotilla.node.config import AgentConfig, parse_agent_config, site_of_slot, slot_of
from flotilla.node.controldata import parse_controldata
from flotilla.node.hba import hba, ident
from flotilla.node.history import Stretch, parse_history, parting
from flotilla.node.requests import parse_request
from flotilla.node.waldump import discarded
from flotilla.recovery import lsn

CONTROL = """\
pg_control version number:            1300
Database system identifier:           7711393209454622823
Database cluster state:               shut down
Latest checkpoint location:           0/5904028
Latest checkpoint's REDO location:    0/5904028
Latest checkpoint's TimeLineID:       2
Minimum recovery ending location:     0/0
Min recovery ending loc's timeline:   0
wal_log_hints setting:                on
Data page checksum version:           1
"""

FILE = """\
site: production
listen: 10.0.0.11:7443
tokenFile: /etc/flotilla/token
tls: {cert: /etc/flotilla/site.pem, key: /etc/flotilla/site.key, ca: /etc/flotilla/ca.pem}
state: /var/lib/flotilla
postgres:
  data: /var/lib/postgresql/15/main
  run: /run/flotilla
  listen: 10.0.0.11
  networks: [10.0.0.0/16]
  passwords: {repl: /etc/flotilla/repl, rewind: /etc/flotilla/rewind, observer: /etc/flotilla/observer}
sites:
  production: {host: 10.0.0.11, agent: "https://10.0.0.11:7443"}
  same-city: {host: 10.0.0.12, agent: "https://10.0.0.12:7443"}
  remote: {host: 10.9.0.13, port: 5433, agent: "https://10.9.0.13:7443"}
"""


def config(text: str = FILE) -> AgentConfig:
    return parse_agent_config(text, "agent.yaml")


def problem(old: str, new: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        config(FILE.replace(old, new))
    return str(caught.value)


def test_control_data_are_read() -> None:
    found = parse_controldata(CONTROL)

    assert (found.state, found.timeline, lsn.show(found.checkpoint)) == ("shut down", 2, "0/5904028")
    assert found.is_clean
    assert found.can_rewind
    assert not parse_controldata(CONTROL.replace("shut down", "in production")).is_clean
    assert parse_controldata(CONTROL.replace("shut down", "shut down in recovery")).is_clean


def test_control_data_that_lack_something_are_refused() -> None:
    with pytest.raises(Permanent, match="wal_log_hints"):
        parse_controldata(CONTROL.replace("wal_log_hints", "other"))


def test_a_history_tells_where_timelines_began() -> None:
    found = parse_history("1\t0/5000000\tno recovery target specified\n\n2\t0/6000000\tx # y\n", 3)

    assert found == (Stretch(1, 0x5000000), Stretch(2, 0x6000000), Stretch(3, None))
    assert history.forks(found) == {2: 0x5000000, 3: 0x6000000}
    assert parse_history("", 1) == (Stretch(1, None),)
    with pytest.raises(Permanent):
        parse_history("one 0/5000000", 2)


ONE = (Stretch(1, None),)
TWO = (Stretch(1, 500), Stretch(2, None))
THREE = (Stretch(1, 500), Stretch(2, 900), Stretch(3, None))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (ONE, ONE, (1, None)),
        (ONE, TWO, (1, 500)),
        (TWO, ONE, (1, 500)),
        (TWO, THREE, (2, 900)),
        (THREE, TWO, (2, 900)),
        ((Stretch(1, 400), Stretch(3, None)), THREE, (1, 400)),  # two were promoted: each went its own way
    ],
)
def test_two_histories_part_at_their_last_common_position(
    ours: tuple[Stretch, ...], theirs: tuple[Stretch, ...], expected: tuple[int, int | None]
) -> None:
    assert expected == parting(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "parting", "expected"),
    [
        (ONE, (1, 400), [(1, 400, None)]),
        (TWO, (1, 500), [(2, 500, None)]),  # it was promoted itself where the other one left: all of it is on its own timeline
        (TWO, (1, 400), [(1, 400, 500), (2, 500, None)]),
        (THREE, (1, 400), [(1, 400, 500), (2, 500, 900), (3, 900, None)]),
        (THREE, (2, 700), [(2, 700, 900), (3, 900, None)]),
    ],
)
def test_what_is_beyond_a_fork_is_a_piece_of_each_timeline_since(
    ours: tuple[Stretch, ...], parting: tuple[int, int], expected: list[tuple[int, int, int | None]]
) -> None:
    assert expected == [(one.timeline, one.begin, one.end) for one in history.beyond(ours, *parting)]


def test_histories_that_never_were_one_are_refused() -> None:
    with pytest.raises(Permanent, match="no timeline in common"):
        parting((Stretch(4, None),), ONE)


def test_names_of_wal_files_tell_timeline_and_position() -> None:
    names = [
        "000000010000000000000005",
        "000000020000000000000006",
        "00000002.history",
        "archive_status",
        "000000020000000100000000",
    ]

    assert history.newest_timeline(names) == 2
    assert history.newest_timeline(["archive_status"]) is None
    assert history.histories(names) == [2]
    assert history.segments_from(names, 2, 0x6000000) == ["000000020000000000000006", "000000020000000100000000"]
    assert history.segments_from(names, 2, 0x7000000) == ["000000020000000100000000"]
    assert history.segments_from(names, 1, 0x5FFFFFF) == names[:2] + names[4:]


def test_fenced_only_those_get_in_who_are_no_clients() -> None:
    fenced = [line for line in hba(["10.0.0.0/16"], fenced=True).splitlines() if not line.startswith("#")]

    assert [line for line in fenced if not line.endswith("reject")] == [
        "local all operator peer map=flotilla",
        "hostssl replication repl 10.0.0.0/16 scram-sha-256",
        "hostssl all observer 10.0.0.0/16 scram-sha-256",
    ]
    assert "host all all all reject" in fenced


def test_nobody_ever_gets_in_without_tls_from_elsewhere_or_as_superuser() -> None:
    lines = hba(["10.0.0.0/16"], fenced=False).splitlines()

    assert not [line for line in lines if line.startswith("host ") and not line.endswith("reject")]
    assert lines.index("host all operator,observer,repl,rewind,postgres 10.0.0.0/16 reject") < lines.index(
        "hostssl all all 10.0.0.0/16 scram-sha-256"
    )
    assert ident(["agent"]).splitlines()[1:] == ["flotilla agent operator", "flotilla agent postgres"]


def test_settings_of_a_site_are_nobody_elses() -> None:
    text = settings.configuration(config())

    assert "cluster_name = 'production'\n" in text
    assert "hba_file = '/var/lib/flotilla/pg_hba.conf'\n" in text
    assert "restart_after_crash = 'off'\n" in text
    assert "synchronous_standby_names" not in text
    assert settings.command(config())[1:] == [
        "-D", "/var/lib/postgresql/15/main", "-c", "config_file=/var/lib/flotilla/postgresql.conf",
    ]  # fmt: skip


def test_a_standby_is_told_its_upstream_and_nothing_else() -> None:
    text = settings.auto_conf(config(), "remote")

    assert text.splitlines()[1] == "primary_slot_name = 'production'"
    assert "host=10.9.0.13 port=5433 user=repl passfile=/var/lib/flotilla/pgpass sslmode=verify-full" in text
    assert all(word in text for word in ("connect_timeout=", "tcp_user_timeout=", "keepalives_idle="))
    assert len(text.splitlines()) == 2


def test_values_are_quoted_as_their_readers_unquote_them() -> None:
    spaced = config(FILE.replace("/etc/flotilla/ca.pem", "/etc/it's here/ca.pem"))

    assert r"sslrootcert='/etc/it\'s here/ca.pem'" in settings.conninfo(spaced, "remote")
    assert settings.quoted(r"a'b\c") == r"'a''b\\c'"
    assert settings.passfile({"repl": r"a:b\c"}) == "*:*:*:repl:a\\:b\\\\c\n"


def test_an_upstream_is_known_by_its_address() -> None:
    places = {name: (place.host, place.port) for name, place in config().sites.items()}

    assert settings.upstream_of(settings.conninfo(config(), "remote"), places) == "remote"
    assert settings.upstream_of("", places) == ""
    assert settings.upstream_of("host=10.0.0.99 port=5432", places) == "10.0.0.99"


def test_a_slot_is_named_like_its_site_as_far_as_postgresql_allows() -> None:
    assert (slot_of("same-city"), site_of_slot("same_city")) == ("same_city", "same-city")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("site: production", "site: mars", "agent.yaml: site: 'mars'; allowed: one of sites: production, same-city, remote"),
        ("listen: 10.0.0.11:7443", "listen: nowhere", "agent.yaml: listen: 'nowhere'; allowed: HOST:PORT"),
        ("port: 5433", "port: 70000", "agent.yaml: sites.remote.port: 70000; allowed: "),
        ("state: /var/lib/flotilla", "state: lib", "agent.yaml: state: "),
        ("state: /var/lib/flotilla", "state: /var/lib/postgresql/15/main/x", "/15/main/x'; allowed: outside postgres.data"),
        ("run: /run/flotilla", "run: /run/" + "long/" * 30, "agent.yaml: postgres.run: "),
        ("  listen: 10.0.0.11\n", "  listen: 10.0.0.11\n  settings: {port: '1'}\n", "offending: port"),
        ("state:", "stat:", "agent.yaml: stat: '/var/lib/flotilla'; allowed: one of the fields"),
        (FILE, "- a list", "allowed: one mapping"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_by_field_value_and_what_is_allowed(old: str, new: str, expected: str) -> None:
    assert expected in problem(old, new)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ({"kind": "explode"}, "request: act"),
        ({"kind": "stop"}, "request: act.stop.mode: is missing"),
        ({"kind": "stop", "mode": "smart"}, "request: act.stop.mode: 'smart'; allowed: 'fast' or 'immediate'"),
        ({"kind": "set_sync", "names": "*"}, "never *"),
        ({"kind": "set_sync", "names": "'; drop table x"}, "request: act.set_sync.names"),
        ({"kind": "promote", "timeout": 0}, "request: act.promote.timeout: 0"),
        ({"kind": "drop_slots", "names": ["A'"]}, "request: act.drop_slots.names[0]"),
        ({"kind": "break_glass", "approvals": ["one"]}, "request: act.break_glass.approvals"),
        ({"kind": "fence", "now": True}, "request: act.fence.now"),
        ({"kind": "set_traffic", "zone": "fleet.test", "records": []}, "request: act.set_traffic.zone"),
    ],
)
def test_a_bad_act_is_told_by_field_value_and_what_is_allowed(act: dict[str, object], expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_request(json.dumps({"epoch": 1, "run": "r", "act": act}).encode())

    assert expected in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"epoch": 0, "run": "r", "act": {"kind": "begin"}}', b"\xff"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_request(body)


DUMP = """\
rmgr: Heap        len (rec/tot):     54/   150, tx:        743, lsn: 0/0305A1B8, prev 0/0305A180, desc: INSERT off 5 flags 0x08, blkref #0: rel 1663/16384/16390 blk 0
rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/0305A250, prev 0/0305A1B8, desc: COMMIT 2026-11-23 15:00:00.000000 UTC
rmgr: Heap        len (rec/tot):     54/   150, tx:        744, lsn: 0/0305A278, prev 0/0305A250, desc: INSERT+INIT off 1 flags 0x00, blkref #0: rel 1663/16384/16390 blk 1
rmgr: Heap        len (rec/tot):     54/   150, tx:        744, lsn: 0/0305A300, prev 0/0305A278, desc: HOT_UPDATE off 1 xmax 744, blkref #0: rel 1663/16384/16400 blk 1
rmgr: Transaction len (rec/tot):     34/    34, tx:        744, lsn: 0/0305A350, prev 0/0305A300, desc: ABORT 2026-11-23 15:00:00.000000 UTC
pg_waldump: error: error in WAL record at 0/305A350: invalid record length at 0/305A378: wanted 24, got 0
"""  # noqa: E501 - as printed


def test_what_is_discarded_is_counted() -> None:
    found = discarded(DUMP.splitlines())

    assert (found.records, found.commits, found.first, found.last) == (5, 1, "0/0305A1B8", "0/0305A350")
    assert found.rows == {("1663/16384/16390", "INSERT"): 2, ("1663/16384/16400", "HOT_UPDATE"): 1}
    assert "1 committed transactions: 2 INSERT in 1663/16384/16390" in found.told({})
    assert discarded([]).told({}) == "nothing"


def test_what_is_discarded_is_told_by_the_names_of_tables_where_they_are_known() -> None:
    found, names = discarded(DUMP.splitlines()), {"1663/16384/16390": "public.orders"}
    rows = found.shown(names)["rows"]

    assert found.relations == ("1663/16384/16390", "1663/16384/16400")
    assert "2 INSERT in public.orders, 1 HOT_UPDATE in 1663/16384/16400" in found.told(names)
    assert rows == [
        {"relation": "1663/16384/16390", "name": "public.orders", "change": "INSERT", "count": 2},
        {"relation": "1663/16384/16400", "name": "", "change": "HOT_UPDATE", "count": 1},
    ]


def test_counts_of_two_timelines_are_one() -> None:
    found = discarded([])
    for _ in range(2):
        found.add(discarded(DUMP.splitlines()))

    assert (found.records, found.commits, found.first, found.last) == (10, 2, "0/0305A1B8", "0/0305A350")
    assert found.rows == {("1663/16384/16390", "INSERT"): 4, ("1663/16384/16400", "HOT_UPDATE"): 2}
