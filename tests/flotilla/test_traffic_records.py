"""Desired traffic as records and back: what is written says all of it, and nothing that is not authorised is ever in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flotilla.traffic.records import (
    Foreign,
    Held,
    Nothing,
    Record,
    differences,
    holding,
    named_addresses,
    parse_record,
    records,
    told,
)
from flotilla.traffic.service import AUTO, Desired, Mode, ModeKind, Service, Site, drained, parse_mode, pinned
from tests.flotilla.trafficset import CITY, REMOTE, SHOP, SITES, desired

CHECKED = (
    "A \"ifurlextup({{['10.0.0.11']='http://10.0.0.11:8080/dr/serving',['10.0.0.12']='http://10.0.0.12:8080/dr/serving'}}, "
    "{selector='all', backupSelector='all', timeout=1})\""
)


@st.composite
def wanted(draw: st.DrawFn) -> Desired:
    names = [site.name for site in SITES]
    authorised = frozenset(draw(st.sets(st.sampled_from(names), min_size=1)))
    mode = draw(st.sampled_from([AUTO, *map(drained, names), *map(pinned, names)]))
    one = Desired(draw(st.integers(0, 10**12)), draw(st.sampled_from(names)), authorised, mode)
    assume(one.answered)  # an answer without a site is never written: flotilla/traffic/rules.py
    return one


def test_a_service_in_auto_is_a_check_of_all_authorised_sites_and_its_epoch() -> None:
    assert records(SHOP, desired()) == (
        Record("shop.example.", "LUA", 5, CHECKED),
        Record("_epoch.shop.example.", "TXT", 5, '"epoch=7 primary=production sites=production,same-city"'),
    )


def test_a_drained_site_stays_authorised_and_leaves_the_answer() -> None:
    lua, txt = records(SHOP, desired(mode=drained("production")))

    assert named_addresses(lua.content) == {"10.0.0.12"}
    assert txt.content == '"epoch=7 primary=production sites=production,same-city mode=drain:production"'


def test_a_pin_is_an_expression_that_checks_nothing() -> None:
    lua, _ = records(SHOP, desired(mode=pinned("same-city")))

    assert lua.content == "A \"{'10.0.0.12'}\""


def test_without_checks_a_service_is_plain_addresses_under_the_same_name() -> None:
    found = records(SHOP, desired(), checked=False)

    assert [(one.type, one.content) for one in found[:-1]] == [("A", "10.0.0.11"), ("A", "10.0.0.12")]
    assert found[-1] == records(SHOP, desired())[-1]


@given(wanted())
def test_no_address_of_a_site_that_is_not_authorised_or_drained_is_ever_written(one: Desired) -> None:
    allowed = {site.address for site in SITES if site.name in one.answered}

    assert named_addresses(records(SHOP, one)[0].content) == allowed
    assert {r.content for r in records(SHOP, one, checked=False)[:-1]} == allowed


@given(wanted(), st.booleans())
def test_what_is_written_is_read_back_whole(one: Desired, checked: bool) -> None:
    assert holding(SHOP, records(SHOP, one, checked=checked)) == Held(one)


@given(wanted())
def test_records_survive_the_wire(one: Desired) -> None:
    assert tuple(parse_record(record.as_dict()) for record in records(SHOP, one)) == records(SHOP, one)


def test_an_empty_zone_holds_nothing_whatever_else_is_in_it() -> None:
    assert holding(SHOP, [Record("other.example.", "A", 5, "10.0.0.9")]) == Nothing()


def test_half_of_a_change_is_not_taken_for_one() -> None:
    lua, txt = records(SHOP, desired())

    without_epoch, without_addresses = holding(SHOP, [lua]), holding(SHOP, [txt])

    assert isinstance(without_epoch, Foreign)
    assert "0 records of its epoch" in without_epoch.reason
    assert isinstance(without_addresses, Held)
    assert "is not there" in without_addresses.differences[0]


def test_an_epoch_of_one_recovery_beside_the_addresses_of_another_is_told() -> None:
    lua, _ = records(SHOP, desired(6))
    _, txt = records(SHOP, desired(7, "remote", REMOTE))

    found = holding(SHOP, [lua, txt])

    assert isinstance(found, Held)
    assert found.desired == desired(7, "remote", REMOTE)
    assert "10.0.0.11" in found.differences[0]


@pytest.mark.parametrize(
    "text", ['"hello"', '"epoch=x primary=a sites=b"', '"epoch=1 primary=a"', '"epoch=1 primary=a sites=b mode=odd"']
)
def test_a_text_that_is_no_epoch_is_foreign(text: str) -> None:
    found = holding(SHOP, [Record("_epoch.shop.example.", "TXT", 5, text)])

    assert isinstance(found, Foreign)


def test_another_ttl_is_a_difference() -> None:
    slow = replace(SHOP, ttl=60)

    assert "should be" in differences(SHOP, desired(), records(slow, desired()))[0]
    assert differences(SHOP, desired(), records(SHOP, desired())) == ()


def test_a_mode_is_what_it_shows() -> None:
    for mode in (AUTO, drained("remote"), pinned("remote")):
        assert parse_mode(str(mode)) == mode
    with pytest.raises(ValueError, match="drain:SITE"):
        parse_mode("sideways:remote")
    with pytest.raises(ValueError, match="name a site"):
        Mode(ModeKind.PIN)


@pytest.mark.parametrize(
    ("site", "address"),
    [("production", "10.0.0.11'}, os.execute('x'), {'"), ("production", "::1"), ("a b", "10.0.0.1")],
)
def test_nothing_gets_into_the_expression_but_sites(site: str, address: str) -> None:
    with pytest.raises(ValueError, match=r"DNS label|Expected 4 octets|Only decimal digits|octet"):
        Site(site, address, "x")


@pytest.mark.parametrize(
    ("name", "zone", "path"),
    [
        ("shop.example", "example.", "/"),
        ("shop.other.", "example.", "/"),
        ("example.", "example.", "/"),
        ("shop.example.", "example.", "/'"),
    ],
)
def test_a_service_that_makes_no_sense_is_refused(name: str, zone: str, path: str) -> None:
    with pytest.raises(ValueError, match="service"):
        Service(name, zone, SITES, 8080, path)


def test_what_is_told_names_sites_in_the_order_of_the_service() -> None:
    assert told(SHOP, desired(3, "same-city", CITY)) == "epoch=3 primary=same-city sites=production,same-city"
