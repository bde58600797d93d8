"""Traffic by three real PowerDNS: what is published arrives, and nothing that goes wrong sends users where they must not go."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flotilla.errors import Permanent, Transient
from flotilla.traffic.agreement import Answer
from flotilla.traffic.records import Held, holding, parse_record, records
from flotilla.traffic.service import Desired, drained, pinned
from tasks import powerdns
from tasks.powerdns import StaleEpoch
from tasks.traffic import agreed, ask
from tests.metrics.programs import until
from tests.recovery.nameservers import ADDRESSES, REMOTE, ZONE, Stand, city, three_servers

pytestmark = [pytest.mark.programs, pytest.mark.timeout(120)]
PATIENCE = 20.0  # seconds; below 0.1 is usual


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with three_servers(tmp_path) as made:
        yield made


def answers(stand: Stand, name: str = "production") -> frozenset[str]:
    found = ask(stand.servers[name].asked, stand.service)
    assert isinstance(found, Answer)
    return found.addresses


def held(stand: Stand, name: str = "production") -> object:
    seen = stand.servers[name].powerdns().seen()
    return holding(stand.service, [parse_record(one) for one in seen["records"]])


def test_what_is_published_is_answered_by_all_three(stand: Stand) -> None:
    for desired in (
        city(1),
        Desired(2, "remote", REMOTE),
        city(3, drained("production")),
        city(4, pinned("same-city")),
        city(5),
    ):
        stand.publish(desired)

        assert agreed(stand.service, desired, stand.asked, PATIENCE).is_whole
        assert held(stand) == Held(desired)


def test_publishing_again_changes_nothing(stand: Stand) -> None:
    server = stand.servers["remote"].powerdns()

    assert server.set(ZONE.name, stand.wanted(city(1))) is True
    assert server.set(ZONE.name, stand.wanted(city(1))) is False


def test_two_who_make_the_zone_at_once_both_succeed(stand: Stand) -> None:
    servers = [stand.servers["remote"].powerdns() for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda server: server._create(), servers))

    assert servers[0].set(ZONE.name, stand.wanted(city(1))) is True


def test_what_a_server_shows_of_itself(stand: Stand) -> None:
    server = stand.servers["production"].powerdns()
    assert server.seen() == {"serving": False, "zone": "fleet.test.", "epoch": None, "records": []}

    server.set(ZONE.name, stand.wanted(city(7)))

    seen = server.seen()
    assert (seen["serving"], seen["epoch"]) == (True, 7)
    assert {parse_record(one) for one in seen["records"]} == set(records(stand.service, city(7)))


def test_a_server_that_is_away_is_named_and_brought_along_later(stand: Stand) -> None:
    stand.publish(city(1))
    away = stand.servers["remote"]
    away.kill()

    with pytest.raises(Transient, match="remote: PowerDNS' API"):
        away.powerdns().set(ZONE.name, stand.wanted(city(2)))
    assert "PowerDNS' API" in away.powerdns().seen()["unseen"]
    for name in ("production", "same-city"):
        stand.servers[name].powerdns().set(ZONE.name, stand.wanted(city(2)))
    found = agreed(stand.service, city(2), stand.asked, 0.0)
    assert found.agreeing == ("production", "same-city")
    assert found.is_majority
    assert "the server at remote: gives no answer" in found.lacking["remote"]

    away.start()
    assert "says epoch=1" in agreed(stand.service, city(2), stand.asked, 0.0).lacking["remote"]
    away.powerdns().set(ZONE.name, stand.wanted(city(2)))
    assert agreed(stand.service, city(2), stand.asked, PATIENCE).is_whole


def test_an_actor_of_an_earlier_epoch_changes_nothing(stand: Stand) -> None:
    stand.publish(city(7))

    with pytest.raises(StaleEpoch, match=r"stale epoch 6 of orders\.fleet\.test\.: 7 is there; nothing was changed"):
        stand.servers["production"].powerdns().set(ZONE.name, stand.wanted(Desired(6, "remote", REMOTE)))

    assert held(stand) == Held(city(7))


def test_powerdns_itself_would_let_it_win(stand: Stand) -> None:
    stand.publish(city(7))
    stale = records(stand.service, city(6))

    status = stand.servers["production"].patch(*(powerdns._rrset((one.name, one.type), [one]) for one in stale))

    assert status == 204
    assert held(stand) == Held(city(6))


def test_a_change_of_which_half_is_bad_changes_nothing(stand: Stand) -> None:
    stand.publish(city(1))
    lua, txt = stand.wanted(city(2))

    with pytest.raises(Permanent, match="production: PowerDNS answers PATCH"):
        stand.servers["production"].powerdns().set(ZONE.name, [lua, {**txt, "content": str(txt["content"]).strip('"')}])

    assert held(stand) == Held(city(1))


def test_records_that_belong_elsewhere_never_reach_the_server(stand: Stand) -> None:
    server = stand.servers["production"].powerdns()

    with pytest.raises(Permanent, match=r"it holds fleet\.test\., not elsewhere\."):
        server.set("elsewhere.", stand.wanted(city(1)))
    with pytest.raises(Permanent, match="without a record of its epoch"):
        server.set(ZONE.name, stand.wanted(city(1))[:1])
    with pytest.raises(Permanent, match="no record to write"):
        server.set(ZONE.name, [])
    with pytest.raises(Permanent, match="a record without"):
        server.set(ZONE.name, [{"name": "orders.fleet.test."}])

    assert server.seen()["records"] == []


@pytest.mark.parametrize(
    "said",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"rrsets": [',
        b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"rrsets": [',
        b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html>ha</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=["cut off", "half", "html", "odd", "gateway", "nothing"],
)
def test_half_an_answer_of_the_api_is_tried_again_and_never_believed(stand: Stand, said: bytes) -> None:
    with Saying(said) as api:
        server = stand.servers["production"].powerdns(api)

        with pytest.raises(Transient, match="production: PowerDNS"):
            server.set(ZONE.name, stand.wanted(city(1)))
        assert "unseen" in server.seen()


def test_a_key_that_is_refused_stays_refused(stand: Stand) -> None:
    server = stand.servers["production"].powerdns()
    server._http.headers["X-API-Key"] = "another"

    with pytest.raises(Permanent, match="401"):
        server.set(ZONE.name, stand.wanted(city(1)))


def test_an_ill_site_leaves_the_answer_and_comes_back(stand: Stand) -> None:
    stand.publish(city(1))
    until(lambda: answers(stand) == {ADDRESSES["production"], ADDRESSES["same-city"]}, "both")

    stand.sites.ill.add("production")
    until(lambda: answers(stand) == {ADDRESSES["same-city"]}, "the healthy one alone")
    assert agreed(stand.service, city(1), stand.asked, PATIENCE).is_whole

    stand.sites.ill.clear()
    until(lambda: len(answers(stand)) == 2, "both again")


def test_all_dead_is_answered_with_the_authorised_and_never_with_another(stand: Stand) -> None:
    stand.sites.ill |= {"production", "same-city"}
    stand.publish(city(1))
    until(lambda: answers(stand), "an answer")

    seen = {one for _ in range(200) for name in stand.servers for one in answers(stand, name)}

    assert seen == {ADDRESSES["production"], ADDRESSES["same-city"]}


def test_a_cold_server_answers_only_the_authorised(stand: Stand) -> None:
    stand.publish(city(1))
    server = stand.servers["production"]
    server.kill()
    server.start()

    seen = {one for _ in range(100) for one in answers(stand)}

    assert seen <= {ADDRESSES["production"], ADDRESSES["same-city"]}
    assert seen


def test_a_flapping_site_never_empties_the_answer_nor_widens_it(stand: Stand) -> None:
    stand.publish(city(1))
    seen: list[frozenset[str]] = []

    for ill in (True, False) * 3:
        (stand.sites.ill.add if ill else stand.sites.ill.discard)("production")
        size = 1 if ill else 2

        def settled(size: int = size) -> bool:
            seen.append(answers(stand))
            return len(seen[-1]) == size

        until(settled, f"{size} in the answer")

    assert set(seen) == {
        frozenset(ADDRESSES[name] for name in ("production", "same-city")),
        frozenset({ADDRESSES["same-city"]}),
    }


def test_a_pin_answers_its_site_whatever_its_health(stand: Stand) -> None:
    stand.sites.ill.add("production")
    stand.publish(city(1, pinned("production")))

    assert {answers(stand) for _ in range(50)} == {frozenset({ADDRESSES["production"]})}


def test_a_pin_that_is_a_statement_is_taken_by_powerdns_and_never_answered(stand: Stand) -> None:
    stand.publish(city(1))
    (lua, _) = records(stand.service, city(1, pinned("production")))
    body = powerdns._rrset((lua.name, lua.type), [lua])
    body["records"] = [{"content": "A \"return {'127.0.0.11'}\"", "disabled": False}]

    assert stand.servers["production"].patch(body) == 204
    found = ask(stand.servers["production"].asked, stand.service)
    assert not isinstance(found, Answer) or not found.addresses


class Saying:
    """A server that gives every caller the same bytes and hangs up."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._run, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                caller.recv(65536)
                caller.sendall(self._said)
