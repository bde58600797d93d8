"""What is never written to a DNS server: each rule by a change that only it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.traffic.records import Record, records
from flotilla.traffic.rules import refusals
from flotilla.traffic.service import AUTO, Desired, drained, pinned
from flotilla.traffic.zone import changes, objections, staleness
from tests.flotilla.trafficset import CITY, REMOTE, SHOP, SITES, desired

ALONE = frozenset({"same-city"})
CITIES = {site.name: site.city for site in SITES}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (desired(sites=frozenset()), "no site would be authorised"),
        (desired(sites=CITY | REMOTE), "would be authorised together; one city serves at a time"),
        (desired(sites=REMOTE), "production is primary and would not be authorised"),
        (desired(primary="remote"), "remote is primary and would not be authorised"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_that_would_harm_is_refused_in_a_sentence(wanted: Desired, words: str) -> None:
    assert any(words in sentence for sentence in refusals(wanted, CITIES, None))


@pytest.mark.parametrize(
    "wanted",
    [
        desired(),
        desired(primary="same-city"),
        desired(primary="same-city", sites=ALONE),
        desired(primary="remote", sites=REMOTE),
    ],
)
def test_what_a_recovery_wants_is_allowed(wanted: Desired) -> None:
    assert not [*refusals(wanted, CITIES, None), *refusals(wanted, CITIES, desired(wanted.epoch))]


def test_an_epoch_below_what_the_server_holds_is_refused() -> None:
    (sentence,) = refusals(desired(7), CITIES, desired(8))

    assert "epoch 8 is there, this change is of epoch 7" in sentence


@given(st.sets(st.sampled_from([site.name for site in SITES])), st.sampled_from([site.name for site in SITES]))
def test_whatever_is_allowed_sends_users_to_the_city_of_the_primary(sites: set[str], primary: str) -> None:
    wanted = Desired(1, primary, frozenset(sites), AUTO)
    if not [*refusals(wanted, CITIES, None)]:
        assert {CITIES[name] for name in wanted.answered} == {CITIES[primary]}


def test_a_server_takes_only_whole_changes_of_its_own_zone() -> None:
    lua, txt = records(SHOP, desired())

    assert objections("example.", [lua, txt]) == ()
    assert objections("example.", [lua]) == ("shop.example. comes without a record of its epoch in the same change",)
    assert objections("example.", [txt]) == ("the epoch of shop.example. comes without its addresses in the same change",)
    assert objections("elsewhere.", [lua, txt])[0] == "shop.example. is not below elsewhere."


@pytest.mark.parametrize("mode", [AUTO, drained("production"), pinned("same-city")])
def test_a_server_takes_the_programs_that_flotilla_writes(mode: object) -> None:
    assert objections("example.", records(SHOP, desired(mode=mode))) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        "A \";os.execute('rm')\"",
        "A \"return {'10.0.0.11'}\"",
        "A \"ifurlextup({{['10.0.0.11']='http://x'}}, {selector='all'})\"",
        "A \"{'10.0.0.11'} .. os.getenv('X')\"",
        "TXT \"os.getenv('X')\"",
    ],
)
def test_a_server_takes_no_other_program(content: str) -> None:
    _, txt = records(SHOP, desired())

    (sentence,) = objections("example.", [Record("shop.example.", "LUA", 5, content), txt])

    assert "neither a list of addresses nor a check of them" in sentence


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("epoch=7 primary=production sites=", "written at production, and authorised would be no site"),
        ("epoch=7 primary=production sites=same-city", "written at production, and authorised would be same-city"),
        ("epoch=7 primary=production sites=production", "answered by 2 addresses for 1 sites"),
        ("epoch=7 primary=production sites=production,remote,same-city", "answered by 2 addresses for 3 sites"),
        ("epoch=7 primary=production sites=production,same-city mode=pin:production", "answered by 2 addresses for 1 sites"),
    ],
)
def test_a_server_takes_no_epoch_that_does_not_fit_its_addresses(said: str, words: str) -> None:
    checked, txt = records(SHOP, desired())
    plain = [one for one in records(SHOP, desired(), checked=False) if one.type == "A"]

    for answer in ([checked], plain):
        assert any(words in one for one in objections("example.", [*answer, replace(txt, content=f'"{said}"')]))


def test_a_server_takes_one_epoch_of_a_service() -> None:
    lua, txt = records(SHOP, desired())
    (_, later) = records(SHOP, desired(8))

    assert objections("example.", [lua, txt, later]) == (
        "shop.example. comes with 2 records of its epoch, where one is expected",
    )


def test_a_server_takes_no_other_kind_of_record() -> None:
    assert "is of type CNAME" in objections("example.", [Record("x.example.", "CNAME", 5, "y.example.")])[0]


def test_a_change_comes_too_late_where_a_higher_epoch_is_there() -> None:
    assert staleness(records(SHOP, desired(7)), records(SHOP, desired(6))) == "stale epoch 6 of shop.example.: 7 is there"
    assert staleness(records(SHOP, desired(7)), records(SHOP, desired(7))) == ""
    assert staleness([], records(SHOP, desired(1))) == ""


def test_only_what_differs_is_changed_and_an_address_of_another_type_goes() -> None:
    checked, plain = records(SHOP, desired()), records(SHOP, desired(), checked=False)

    assert changes(checked, checked) == {}
    assert changes(reversed(plain), plain) == {}
    assert set(changes([], checked)) == {("shop.example.", "LUA"), ("_epoch.shop.example.", "TXT")}
    assert changes(plain, checked) == {("shop.example.", "LUA"): [checked[0]], ("shop.example.", "A"): []}
