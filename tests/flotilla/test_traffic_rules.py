"""What is never written to a DNS server: each rule by a change that only it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.facts import Unknown
from flotilla.traffic.records import Foreign, Held, Holding, Nothing, Record, records
from flotilla.traffic.rules import Automatic, Pace, refusals
from flotilla.traffic.service import AUTO, Desired, drained, pinned
from flotilla.traffic.zone import changes, objections, staleness
from tests.flotilla.trafficset import CITY, REMOTE, SHOP, SITES, desired

ALONE = frozenset({"same-city"})


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (desired(sites=frozenset()), "no site would be authorised"),
        (desired(sites=ALONE, mode=drained("same-city")), "leaves no authorised site"),
        (desired(sites=ALONE, mode=pinned("production")), "names a site that is not authorised"),
        (desired(sites=CITY | REMOTE), "in different cities and would be authorised together"),
        (desired(sites=REMOTE), "promote remote first"),
        (desired(primary="remote"), "promote production first"),
        (desired(sites=CITY | {"mars"}), "no site 'mars'"),
        (desired(primary="mars"), "no site 'mars'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_that_would_harm_is_refused_in_a_sentence(wanted: Desired, words: str) -> None:
    assert any(words in sentence for sentence in refusals(SHOP, wanted, {}))


@pytest.mark.parametrize(
    "wanted",
    [
        desired(),
        desired(primary="same-city"),
        desired(sites=ALONE),
        desired(mode=drained("production")),
        desired(mode=pinned("same-city")),
        desired(primary="remote", sites=REMOTE),
    ],
)
def test_what_a_recovery_wants_is_allowed(wanted: Desired) -> None:
    assert (
        refusals(SHOP, wanted, {"production": Nothing(), "same-city": Held(desired(6)), "remote": Unknown("remote", "away")})
        == ()
    )


def test_an_epoch_below_what_any_server_holds_is_refused() -> None:
    held: dict[str, Holding | Unknown] = {"production": Held(desired(6)), "remote": Held(desired(8))}

    (sentence,) = refusals(SHOP, desired(7), held)

    assert "the server at remote holds epoch 8" in sentence
    assert refusals(SHOP, desired(8), held) == ()


def test_by_itself_traffic_changes_only_after_a_while() -> None:
    (sentence,) = refusals(SHOP, desired(), {}, Automatic(1000.0, [955.0]))

    assert "the last automatic change was 45 s ago; 60 s must lie between two" in sentence
    assert refusals(SHOP, desired(), {}, Automatic(1000.0, [940.0])) == ()
    assert refusals(SHOP, desired(), {}) == ()


def test_by_itself_traffic_changes_only_so_often() -> None:
    pace = Pace(between=0, an_hour=3)

    (sentence,) = refusals(SHOP, desired(), {}, Automatic(10_000.0, [7000.0, 8000.0, 9000.0], pace))

    assert "3 automatic changes within an hour" in sentence
    assert refusals(SHOP, desired(), {}, Automatic(10_000.0, [6000.0, 8000.0, 9000.0], pace)) == ()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"remote": Foreign("a stray record")}, "what Flotilla has not written"),
        ({"remote": Unknown("remote", "away")}, "no server could be seen"),
    ],
)
def test_by_itself_traffic_does_not_change_where_it_is_not_known(held: dict[str, Holding | Unknown], words: str) -> None:
    (sentence,) = refusals(SHOP, desired(), held, Automatic(0.0))

    assert words in sentence
    assert refusals(SHOP, desired(), held) == ()


@given(st.sets(st.sampled_from([site.name for site in SITES])), st.sampled_from([site.name for site in SITES]))
def test_whatever_is_allowed_sends_users_to_the_city_of_the_primary(sites: set[str], primary: str) -> None:
    wanted = Desired(1, primary, frozenset(sites), AUTO)
    if refusals(SHOP, wanted, {}):
        return
    cities = {SHOP.site(name).city for name in wanted.answered}

    assert cities == {SHOP.site(primary).city}


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
