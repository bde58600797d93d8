"""What an agent does by itself: it starts what may run, and stops a primary that may have been replaced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flotilla.errors import Permanent, Refused, Transient
from flotilla.node.config import parse_agent_config
from flotilla.node.memory import Stale
from flotilla.node.requests import Request
from flotilla.recovery.layout import MARGIN
from flows.agent import SiteAgent
from lab.databases import BINARIES, Database, prepare
from tasks.node_account import account
from tasks.node_copying import FOR_NOBODY
from tasks.node_files import Alone
from tasks.node_processes import Server, end_recorded, must_see, run
from tests.metrics.programs import free_port
from tests.recovery.databases.conftest import needs_postgresql
from tests.recovery.databases.trio import SITES, Trio, as_postgres, built, until

pytestmark = pytest.mark.programs
PATIENCE = 5.0  # seconds of the isolation rule in these tests


@pytest.fixture
def hasty() -> Iterator[Trio]:
    """Yield three sites whose agents lose patience soon."""
    needs_postgresql()
    with built(isolation=PATIENCE) as made:
        yield made


def test_a_primary_that_crashes_comes_back_while_a_majority_knows_of_no_other(own: Trio) -> None:
    production = own["production"]
    own["remote"].end(signal.SIGKILL)
    before = production.server
    production.crash()
    until(lambda: production.server not in (None, before) and production.shown["process"] == "running", "it runs again")

    assert not production.ask("select pg_is_in_recovery()")
    own["same-city"].end(signal.SIGKILL)
    production.crash()
    until(lambda: "no majority" in production.log.read_text(), "the boot rule says no")
    assert production.server is None
    own["same-city"].start()
    until(lambda: production.shown["process"] == "running", "it runs again")


def test_a_primary_that_a_recovery_began_without_never_comes_back_as_one(own: Trio) -> None:
    production = own["production"]
    production.end(signal.SIGKILL)
    production.crash()
    own.begin("same-city", "remote")
    production.start()
    until(lambda: "has accepted epoch 2, above 1" in production.log.read_text(), "the boot rule says no")

    assert production.server is None
    own.act("production", "begin")
    until(lambda: "epoch 2 began after" in production.log.read_text() or production.server, "it is decided anew")


def test_a_primary_without_any_other_agent_is_stopped_and_starts_again_with_them(hasty: Trio) -> None:
    production = hasty["production"]
    for name in ("same-city", "remote"):
        hasty[name].end(signal.SIGKILL)
    until(lambda: production.server is None, "it is stopped")

    assert "PostgreSQL is stopped: without a majority" in production.log.read_text()
    assert [hasty[name].server is None for name in ("same-city", "remote")] == [False, False]  # standbys do no harm
    for name in ("same-city", "remote"):
        hasty[name].start()
    until(lambda: production.shown["process"] == "running", "it runs again")


def test_a_primary_that_was_told_nothing_of_a_recovery_is_stopped_though_it_reaches_all(hasty: Trio) -> None:
    """A one-way cut: production reaches its peers, and the recovery does not reach production."""
    hasty.begin("same-city", "remote")
    production = hasty["production"]
    until(lambda: production.server is None, "it is stopped")

    assert "same-city has accepted epoch 2, above 1; remote has accepted epoch 2, above 1" in production.log.read_text()
    until(lambda: "PostgreSQL is not started" in production.log.read_text(), "the boot rule says no")
    hasty.act("production", "begin")
    hasty.act("production", "start", as_="primary")  # the recovery itself says who is
    hasty.follows("remote", "production")


def test_a_primary_that_accepted_the_epoch_is_stopped_once_another_is_promoted_at_it(hasty: Trio) -> None:
    """All three keep to one epoch, so that its epoch alone would be support for ever."""
    hasty.begin("production", "same-city", "remote")
    production = hasty["production"]
    hasty.act("same-city", "detach")
    hasty.act("same-city", "promote", timeout=30)
    until(lambda: production.server is None, "it is stopped")

    assert "same-city was made primary at epoch 2, after 1 here" in production.log.read_text()
    assert {PATIENCE} == {hasty[name].seen["isolation"] for name in SITES}
    assert PATIENCE == hasty["same-city"].seen["peers"]["production"]["isolation"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_primary_whose_agent_is_gone_or_hangs_is_stopped_all_the_same(hasty: Trio, how: signal.Signals) -> None:
    production = hasty["production"]
    assert production.process
    production.process.send_signal(how)
    until(lambda: production.server is None, "it is stopped")

    assert "the agent has told of no majority" in (production.database.folder / "state" / "guard.log").read_text()
    production.end(signal.SIGKILL)
    hasty["remote"].end(signal.SIGKILL)  # a standby without an agent does no harm
    production.start()
    until(lambda: production.shown["process"] == "running", "it runs again")
    assert hasty["remote"].server is not None


def test_a_primary_that_is_cut_off_has_one_patience_however_often_its_agent_dies(hasty: Trio) -> None:
    """Another site is promoted once that is over: with a new patience for every agent there would be two primaries."""
    production = hasty["production"]
    for name in ("same-city", "remote"):
        hasty[name].end(signal.SIGKILL)
    cut = time.monotonic()
    time.sleep(PATIENCE - 2.0)
    production.end(signal.SIGKILL)
    production.launch()
    until(lambda: production.server is None, "it is stopped")

    assert time.monotonic() < cut + PATIENCE + MARGIN


def test_a_primary_that_is_cut_off_is_stopped_in_time_though_its_agent_dies_too(hasty: Trio) -> None:
    production = hasty["production"]
    for name in ("same-city", "remote"):
        hasty[name].end(signal.SIGKILL)
    cut = time.monotonic()
    time.sleep(PATIENCE - 1.0)
    production.end(signal.SIGKILL)
    until(lambda: production.server is None, "it is stopped")

    assert time.monotonic() < cut + PATIENCE + MARGIN


def test_one_other_agent_that_began_a_recovery_is_no_reason_to_stop(hasty: Trio) -> None:
    hasty.begin("remote")
    production = hasty["production"]
    seen = production.seen["peers"]["remote"]
    until(lambda: production.seen["peers"]["remote"]["epoch"] == 2, "production knows")
    first = production.seen["at"]
    until(lambda: production.seen["at"] > first + 2 * PATIENCE, "twice the patience is over")

    assert seen["reached"]
    assert production.server is not None


@pytest.mark.parametrize("recovered", ["before it is here", "after it is here"])
def test_a_server_that_was_started_for_nobody_is_ended_by_the_next_agent(own: Trio, recovered: str) -> None:
    """What a rewind starts to have a crashed standby end in order, and whose agent then died."""
    remote = own["remote"]
    own.begin()
    own.act("remote", "stop", mode="immediate")
    if recovered == "before it is here":
        remote.end(signal.SIGKILL)
    file = remote.database.folder / "state" / "postgresql.conf"
    command = [str(BINARIES / "postgres"), "-D", str(remote.database.data), "-c", f"config_file={file}", *FOR_NOBODY]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **as_postgres(remote.database.home)) as hidden:
        lock = remote.database.data / "postmaster.pid"
        if remote.process is None:  # else it may be ended before anybody sees it run
            until(lambda: lock.exists() and "standby" in lock.read_text().split(), "it runs")
            remote.start()
        until(lambda: hidden.poll() is not None, "it is ended")

    assert remote.shown["control"]["state"] == "shut down in recovery"
    own.act("remote", "start", as_="standby")
    own.follows("remote", "production")


def agent_alone(folder: Path, **given: object) -> SiteAgent:
    """Return an agent of three, without a server, whose peers do not answer."""
    databases = [Database(name, folder, "127.0.0.1", free_port(), free_port()) for name in SITES]
    prepare(databases, ["127.0.0.1/32"])
    file = databases[0].config
    return SiteAgent(parse_agent_config(file.read_text(), str(file)), **given)  # type: ignore[arg-type]


def request(epoch: int, kind: str, **given: object) -> Request:
    return Request.model_validate({"epoch": epoch, "run": f"run-{epoch}", "act": {"kind": kind, **given}})


def test_two_different_people_break_the_glass_and_it_is_remembered_who(tmp_path: Path) -> None:
    def verify(tokens: object, epoch: int, run: str) -> list[str]:
        assert (epoch, run) == (2, "run-2")
        return [str(token).split(":")[0] for token in tokens]  # type: ignore[attr-defined]

    agent = agent_alone(tmp_path, verify=verify)
    agent.act(request(1, "begin"))
    with pytest.raises(Refused, match="two different people"):
        agent.act(request(2, "break_glass", approvals=["ann:1", "ann:2"]))
    assert agent.seen()["epoch"] == 1
    assert agent.act(request(2, "break_glass", approvals=["ann:1", "bo:1"])).changed  # type: ignore[union-attr]

    assert agent.seen()["glass"] == ["ann", "bo"]
    with pytest.raises(Stale):
        agent.act(request(1, "break_glass", approvals=["ann:1", "bo:1"]))


def test_an_agent_that_knows_nobody_lets_nobody_break_the_glass(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="knows nobody"):
        agent_alone(tmp_path).act(request(2, "break_glass", approvals=["ann", "bo"]))


def test_traffic_is_set_under_the_epoch_and_while_the_database_is_worked_at(tmp_path: Path) -> None:
    class Dns:
        def __init__(self) -> None:
            self.held: list[object] = []

        def seen(self) -> dict[str, object]:
            return {"serving": True, "records": self.held}

        def set(self, zone: str, records: list[object]) -> bool:  # type: ignore[valid-type]
            changed, self.held = self.held != records, list(records)
            return changed

    record = {"name": "orders.fleet.test.", "type": "A", "ttl": 5, "content": "10.0.0.11"}
    agent = agent_alone(tmp_path, traffic=Dns())
    agent.act(request(2, "begin"))
    with agent.undisturbed() as held:
        assert held
        assert agent.act(request(2, "set_traffic", zone="fleet.test.", records=[record])).changed  # type: ignore[union-attr]
        assert not agent.act(request(2, "set_traffic", zone="fleet.test.", records=[record])).changed  # type: ignore[union-attr]
    with pytest.raises(Stale):
        agent.act(request(1, "set_traffic", zone="fleet.test.", records=[record]))

    assert agent.seen()["traffic"]["records"] == [record]


@pytest.mark.parametrize("said", [1, 3, 999])
def test_dns_is_told_no_other_epoch_than_the_acts(tmp_path: Path, said: int) -> None:
    agent = agent_alone(tmp_path, traffic=Unasked())
    agent.act(request(2, "begin"))
    text = f'"epoch={said} primary=production sites=production"'
    records = [
        {"name": "orders.fleet.test.", "type": "A", "ttl": 5, "content": "10.0.0.11"},
        {"name": "_epoch.orders.fleet.test.", "type": "TXT", "ttl": 5, "content": text},
    ]

    with pytest.raises(Permanent, match="an act of epoch 2 that says another one in DNS"):
        agent.act(request(2, "set_traffic", zone="fleet.test.", records=records))


class Unasked:
    """A DNS server that nobody may write to."""

    def seen(self) -> dict[str, object]:
        return {"serving": True, "records": []}

    def set(self, zone: str, records: object) -> bool:
        raise AssertionError(f"{zone} was told {records}")


def server_of(data: Path) -> Server:
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    return Server(data, ["false"], data / "log", account("postgres"), data / "socket.lock")


def locked(data: Path, pid: int) -> None:
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n")
    (data / "socket.lock").write_text(f"{pid}\n")


def test_locks_of_a_dead_server_are_cleared_though_its_process_is_shown_as_a_zombie(tmp_path: Path) -> None:
    needs_postgresql()
    server = server_of(tmp_path / "data")
    with subprocess.Popen(["true"]) as ended:
        until(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie")
        locked(server.data, ended.pid)
        assert server.state() == "stopped"
        server.clear()

    assert not (server.data / "postmaster.pid").exists()
    assert not (server.data / "socket.lock").exists()


def test_locks_stay_while_a_process_of_the_dead_server_is_in_its_data(tmp_path: Path) -> None:
    """Two servers on one PGDATA ruin it."""
    needs_postgresql()
    server = server_of(tmp_path / "data")
    locked(server.data, 2**22 + 1)  # no process has that id
    backend = subprocess.Popen(["sleep", "600"], cwd=server.data)
    try:
        with pytest.raises(Transient, match=f"processes {backend.pid} of a dead PostgreSQL"):
            server.clear()
    finally:
        backend.kill()
        backend.wait()

    assert (server.data / "postmaster.pid").exists()


def test_a_server_that_cannot_be_seen_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be started a second time, or be said to be stopped while it takes writes."""
    needs_postgresql()
    server = server_of(tmp_path / "data")
    with subprocess.Popen(["sleep", "600"], cwd=server.data, stdin=subprocess.DEVNULL, **server.account.how) as living:
        locked(server.data, living.pid)
        monkeypatch.setattr(psutil.Process, "cwd", denied)
        try:
            assert (server.pid(), server.state()) == (living.pid, "starting")
            server.clear()
            locked(server.data, 2**22 + 1)
            with pytest.raises(Transient, match=f"processes .*{living.pid}.* of a dead PostgreSQL"):
                server.clear()
        finally:
            living.kill()
    assert (server.data / "postmaster.pid").exists()
    locked(server.data, os.getppid())
    assert (server.pid() is None) == (os.geteuid() != server.account.uid)  # another user's is none of ours


def denied(process: psutil.Process) -> str:
    raise psutil.AccessDenied(process.pid)


def test_an_agent_that_cannot_see_a_process_of_its_database_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_postgresql()
    must_see(account("postgres"))
    monkeypatch.setattr(psutil.Process, "cwd", denied)
    with pytest.raises(Permanent, match="run the agent as postgres, or as root with CAP_SYS_PTRACE"):
        must_see(account("postgres"))


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can be without one of its rights")
def test_root_without_the_right_to_see_processes_does_not_begin() -> None:
    needs_postgresql()
    text = "from tasks.node_account import account; from tasks.node_processes import must_see; must_see(account('postgres'))"
    without = ["setpriv", "--bounding-set", "-sys_ptrace", sys.executable, "-c", text]
    done = subprocess.run(without, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])

    assert "root sees nothing (AccessDenied) of where a process of postgres works" in done.stderr


def test_what_the_agent_writes_as_root_follows_no_link_that_postgresqls_user_may_have_made(tmp_path: Path) -> None:
    needs_postgresql()
    owner, precious = account("postgres"), tmp_path / "precious"
    precious.write_text("root's")
    before = precious.stat()
    link = tmp_path / "link"
    link.symlink_to(precious)
    owner.own(link)
    with pytest.raises(OSError, match="symbolic links"):
        run(["true"], owner, within=5, record=link)
    (tmp_path / "agent.lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        Alone(tmp_path)

    assert (precious.read_text(), precious.stat().st_uid) == ("root's", before.st_uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's process is none that one could end")
def test_a_record_of_another_users_process_ends_nothing(tmp_path: Path) -> None:
    needs_postgresql()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as others:
        record = tmp_path / "program"
        record.write_text(f"{others.pid} {psutil.Process(others.pid).create_time()}")
        assert not end_recorded(record, account("postgres"))
        assert others.poll() is None
        others.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="else the agent is PostgreSQL's user itself")
def test_the_state_of_an_agent_that_is_root_is_not_postgresqls_to_change(shared: Trio) -> None:
    state = shared["production"].database.folder / "state"

    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (0, 0o711)
    assert (state / "pgpass").stat().st_uid == account("postgres").uid


def test_a_process_that_took_over_a_dead_servers_id_is_not_taken_for_it(tmp_path: Path) -> None:
    needs_postgresql()
    server = server_of(tmp_path / "data")
    locked(server.data, os.getpid())

    assert server.pid() is None
    assert server.state() == "stopped"
