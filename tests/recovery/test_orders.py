"""The orders application against a real primary and its synchronous standby: what it promises is there, whatever happens."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.programs import free_port, until
from tests.recovery.postgres import Database, Pair, make_template, own_folder, pair
from tests.recovery.shop import APPLICATION, CONNECTIONS, Shop, shop

pytestmark = [pytest.mark.programs, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with own_folder() as folder:
        make_template(folder)
        yield folder


@pytest.fixture
def databases(template: Path) -> Iterator[Pair]:
    with pair(template) as made:
        yield made


@pytest.fixture(scope="module")
def quiet(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Yield an application whose databases nothing happens to; tests share it."""
    with pair(template) as databases, shop(tmp_path_factory.mktemp("quiet"), [databases.first, databases.second]) as made:
        until(lambda: made.serving, "serving")
        yield made


@pytest.fixture
def orders(databases: Pair, tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, [databases.first, databases.second]) as made:
        until(lambda: made.serving, "serving")
        yield made


def waiting(database: Database) -> list[int]:
    """Return the pids of those who wait for the standby with an order."""
    found = database.sql("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%INTO orders %'")
    return [pid for (pid,) in found]


def test_an_order_is_created_once_and_can_be_read(quiet: Shop) -> None:
    assert quiet.ask("POST", "/orders", {"id": "a", "what": "tea"}) == (201, {"id": "a"})
    assert quiet.ask("POST", "/orders", {"id": "a", "what": "tea"}) == (200, {"id": "a"})

    status, found = quiet.ask("GET", "/orders/a")

    assert (status, found["order"]) == (200, {"id": "a", "what": "tea"})
    assert quiet.ids().count("a") == 1
    assert quiet.ask("GET", "/orders/b")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"a"',
        b"{}",
        b'{"id": 7}',
        b'{"id": ""}',
        b'{"id": "ids"}',
        b'{"id": "a b"}',
        b'{"id": "' + b"a" * 81 + b'"}',
        b'{"id": "a", "text": "\\u0000"}',
        b'{"id": "a", "text": "' + b"x" * 70_000 + b'"}',
        b'{"id": "a", "of": NaN}',
        b'{"id": "a", "of": 1e999}',
        b'{"id": "a", "text": "\\ud800"}',
        b'{"id": "a", "of": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_what_is_no_order_is_refused_and_leaves_nothing(quiet: Shop, body: bytes) -> None:
    before = quiet.ids()

    status, said = quiet.ask("POST", "/orders", body)

    assert status == 400
    assert said["error"]
    assert quiet.ids() == before


def test_a_body_without_a_length_is_refused(quiet: Shop) -> None:
    link = http.client.HTTPConnection("127.0.0.1", quiet.port, timeout=30)
    link.putrequest("POST", "/orders")
    link.endheaders()

    assert link.getresponse().status == 400
    link.close()


def test_ids_are_streamed_whole_over_pages_and_since_a_time(orders: Shop, databases: Pair) -> None:
    databases.first.sql(
        "INSERT INTO orders (id, body, at) SELECT 'o' || n, '{}', to_timestamp(n) FROM generate_series(1, 12345) n"
    )

    assert sorted(orders.ids()) == sorted(f"o{n}" for n in range(1, 12346))
    assert sorted(orders.ids("?since=12340")) == ["o12340", "o12341", "o12342", "o12343", "o12344", "o12345"]
    for no_time in ("yesterday", "nan", "inf", "1e300"):
        assert orders.ask("GET", f"/orders/ids?since={no_time}")[0] == 400


def test_a_backslash_and_a_pair_of_surrogates_are_kept_as_they_are(quiet: Shop) -> None:
    order = {"id": "odd", "text": "\\u0000 \U0001f6a2", "of": 10**400}

    assert quiet.ask("POST", "/orders", order)[0] == 201
    assert quiet.ask("GET", "/orders/odd")[1]["order"] == order
    assert quiet.ask("GET", "/orders/%00")[0] == 404


def test_an_order_that_the_standby_has_not_is_not_promised_until_it_has(orders: Shop, databases: Pair) -> None:
    databases.second.stop()

    status, said = orders.ask("POST", "/orders", {"id": "a"})

    assert (status, said["inDoubt"]) == (503, True)
    databases.second.start()
    until(lambda: orders.place("a") == 200, "promised once it is there")
    assert orders.ids() == ["a"]


def test_a_wait_that_is_cancelled_is_no_promise_and_neither_is_what_it_leaves_behind(orders: Shop, databases: Pair) -> None:
    """PostgreSQL itself reports success for a commit whose wait was cancelled, and shows the row: on this one machine."""
    databases.second.stop()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(orders.ask, "POST", "/orders", {"id": "a"})
        until(lambda: waiting(databases.first), "waiting for the standby")
        for pid in waiting(databases.first):
            assert databases.first.one("SELECT pg_cancel_backend(%s)", pid)
        status, said = answer.result()

    assert (status, said["inDoubt"]) == (503, True)
    assert "the server warned" in said["error"]
    assert databases.first.sql("SELECT id FROM orders") == [("a",)]
    assert orders.place("a") == 503  # there, and still on one machine only

    databases.second.start()
    until(lambda: orders.place("a") == 200, "promised")
    assert databases.second.sql("SELECT id FROM orders") == [("a",)]


def test_a_commit_whose_server_is_ended_is_no_promise(orders: Shop, databases: Pair) -> None:
    databases.second.stop()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(orders.ask, "POST", "/orders", {"id": "a"})
        until(lambda: waiting(databases.first), "waiting for the standby")
        for pid in waiting(databases.first):
            assert databases.first.one("SELECT pg_terminate_backend(%s)", pid)
        status, said = answer.result()

    assert (status, said["inDoubt"]) == (503, True)


def test_connections_that_wait_for_the_standby_do_not_multiply(orders: Shop, databases: Pair) -> None:
    databases.second.stop()

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(orders.place, (f"o{n}" for n in range(96))))

    assert set(answers) == {503}
    mine = databases.first.one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orders-here'")
    assert mine <= CONNECTIONS + 2  # one to look, one to beat
    databases.second.start()
    until(lambda: {orders.place(f"o{n}") for n in range(96)} <= {200, 201}, "all placed")
    assert len(orders.ids()) == 96


def test_a_promise_that_was_lost_on_its_way_is_kept(quiet: Shop) -> None:
    link = http.client.HTTPConnection("127.0.0.1", quiet.port, timeout=30)
    link.request("POST", "/orders", json.dumps({"id": "lost"}))
    link.close()  # the user is gone before the answer

    until(lambda: "lost" in quiet.ids(), "there")
    assert quiet.place("lost") == 200


def test_a_connection_that_was_lost_while_it_was_lent_does_not_keep_the_others_from_being_closed(databases: Pair) -> None:
    """Who has it lent finds out first and gives it back later: between the two, whoever closes the pool must not fail at it."""
    first = databases.first
    options = {"host": "127.0.0.1", "port": first.port, "user": "postgres", "dbname": "postgres"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APPLICATION))
        session, pool = importlib.import_module("session"), importlib.import_module("pool")
    lent = pool.Pool(lambda: session.Session(options, 5), 2)

    with lent.lend(1) as lost, lent.lend(1) as other:
        ((pid,),) = lost.ask("SELECT pg_backend_pid()", patience=5)
        assert first.one("SELECT pg_terminate_backend(%s)", int(pid))
        with pytest.raises(session.Doubt):
            lost.ask("SELECT 1", patience=5)
        lent.close()
        with pytest.raises(session.Doubt):
            other.ask("SELECT 1", patience=5)


def test_an_application_one_of_whose_threads_fails_ends_and_says_why() -> None:
    """Without the thread that looks at a database it would be found well and never write there again."""
    broken = "import primary, orders; primary.Session = None; orders.main()"
    env = dict(os.environ) | {"ORDERS_DATABASES": "first=127.0.0.1:1", "ORDERS_LISTEN": f"127.0.0.1:{free_port()}"}
    done = subprocess.run([sys.executable, "-c", broken], cwd=APPLICATION, env=env, capture_output=True, text=True, timeout=60)

    assert 70 == done.returncode, done.stderr
    assert "watch-first failed" in done.stderr
    assert "TypeError: 'NoneType' object is not callable" in done.stderr


def test_orders_follow_the_primary_and_none_that_was_promised_is_lost(orders: Shop, databases: Pair) -> None:
    promised = [f"o{n}" for n in range(50) if orders.place(f"o{n}") == 201]
    databases.first.crash()
    assert orders.place("between") == 503

    databases.second.promote()
    databases.second.set_epoch(2)

    until(lambda: orders.place("after") in (200, 201), "writing again")
    assert set(promised) | {"after"} <= set(orders.ids())
    assert len(promised) == 50


def test_an_order_in_doubt_that_the_new_primary_never_got_is_created_there(orders: Shop, databases: Pair) -> None:
    databases.second.stop()
    assert orders.place("a") == 503
    databases.first.crash()

    databases.second.start()
    databases.second.promote()
    assert databases.second.sql("SELECT id FROM orders") == []
    databases.second.set_epoch(2)
    said = list[tuple[int, Any]]()

    until(lambda: said.append(orders.ask("POST", "/orders", {"id": "a"})) or said[-1][0] != 503, "promised")

    # Where the new primary's epoch came to be known in the middle of it, it was in doubt there once more, and may be there.
    in_doubt = any(answer.get("inDoubt") for _, answer in said)
    assert said[-1][0] == 201 or (in_doubt and said[-1][0] == 200), said
    assert orders.ids() == ["a"]


def test_who_waits_for_an_old_primary_is_answered_once_the_new_one_is_known(databases: Pair, tmp_path: Path) -> None:
    with shop(tmp_path, [databases.first, databases.second], patience=300) as patient, ThreadPoolExecutor(1) as pool:
        until(lambda: patient.serving, "serving")
        databases.second.stop()
        answer = pool.submit(patient.ask, "POST", "/orders", {"id": "a"})
        until(lambda: waiting(databases.first), "waiting for the standby")

        databases.second.forget_upstream()  # else it would still get what is waited for
        databases.second.start()
        databases.second.promote()
        databases.second.set_epoch(2)

        status, said = answer.result(60)
        assert (status, said["inDoubt"]) == (503, True)
        until(lambda: patient.place("a") == 201, "created at the new primary")


def test_an_old_primary_is_not_written_to_even_when_it_is_the_only_one(orders: Shop, databases: Pair) -> None:
    databases.first.synchronous("")  # else it could promise nothing anyway
    databases.second.promote()
    databases.second.set_epoch(2)
    until(lambda: orders.ask("GET", "/dr/serving")[1].get("database") == "second", "at the new primary")
    assert orders.place("a") == 201
    assert databases.first.sql("SELECT id FROM orders WHERE id = 'a'") == []

    databases.second.stop()

    until(lambda: "first is a primary of epoch 1; 2 was seen" in orders.obstacle, "refused")
    assert orders.place("b") == 503
    assert databases.first.sql("SELECT id FROM orders WHERE id = 'b'") == []


def test_of_two_primaries_of_one_epoch_the_one_in_use_stays(orders: Shop, databases: Pair) -> None:
    databases.first.synchronous("")
    databases.second.promote()
    until(lambda: databases.second.one("SELECT NOT pg_is_in_recovery()"), "promoted")

    assert {orders.place(f"o{n}") for n in range(20)} == {201}
    assert databases.second.sql("SELECT id FROM orders") == []


def test_whoever_comes_new_to_two_primaries_of_one_epoch_writes_to_neither(databases: Pair, tmp_path: Path) -> None:
    databases.first.synchronous("")
    databases.second.promote()

    with shop(tmp_path, [databases.first, databases.second]) as fresh:
        until(lambda: "both claim to be the primary" in fresh.obstacle, "refused")
        assert fresh.place("a") == 503


def test_serving_says_why_not(orders: Shop, databases: Pair) -> None:
    databases.first.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    databases.first.sql("SELECT pg_reload_conf()")
    until(lambda: "first is read-only" in orders.obstacle, "read-only")
    assert "second is a standby" in orders.obstacle
    databases.first.sql("ALTER SYSTEM RESET default_transaction_read_only")
    databases.first.sql("SELECT pg_reload_conf()")
    until(lambda: orders.serving, "serving again")

    databases.second.stop()
    until(lambda: "no write was committed" in orders.obstacle, "not writable")
    databases.second.start()
    until(lambda: orders.serving, "serving again")

    databases.first.stop()
    until(lambda: "first does not answer" in orders.obstacle, "away")


def test_what_lives_is_told_apart_from_what_can_be_written(orders: Shop, databases: Pair) -> None:
    databases.first.stop()
    until(lambda: not orders.serving, "not serving")

    assert orders.ask("GET", "/healthz")[0] == 200
    assert orders.ask("GET", "/readyz")[0] == 200
    assert orders.ask("GET", "/orders/ids")[0] == 503
    metrics = str(orders.ask("GET", "/metrics")[1])
    assert "orders_writable 0" in metrics
    assert 'orders_answers_total{path="/healthz",code="200"}' in metrics


def test_it_ends_when_it_is_told_to(orders: Shop) -> None:
    orders.process.send_signal(signal.SIGTERM)

    assert orders.process.wait(30) == 0
