"""Which servers answer as desired, and what the others lack."""

from __future__ import annotations

import pytest

from flotilla.facts import Unknown
from flotilla.traffic.agreement import Agreement, Answer, agreement, lack
from flotilla.traffic.records import told
from flotilla.traffic.service import Desired, pinned
from tests.flotilla.trafficset import REMOTE, SHOP, desired

NOW = desired()


def answer(*addresses: str, says: Desired = NOW) -> Answer:
    return Answer("remote", frozenset(addresses), (told(SHOP, says),))


@pytest.mark.parametrize("addresses", [("10.0.0.11",), ("10.0.0.12",), ("10.0.0.11", "10.0.0.12")])
def test_a_server_may_leave_out_what_is_ill(addresses: tuple[str, ...]) -> None:
    assert lack(SHOP, NOW, answer(*addresses)) == ""


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (answer(), "the server at remote has no address of shop.example."),
        (answer("10.0.0.13"), "the server at remote answers 10.0.0.13 for shop.example.; allowed: 10.0.0.11, 10.0.0.12"),
        (answer("10.0.0.11", says=desired(6)), "says epoch=6 primary=production sites=production,same-city, expected epoch 7"),
        (answer("10.0.0.13", says=desired(7, "remote", REMOTE)), "expected epoch 7, sites production, same-city"),
        (answer("10.0.0.11", says=desired(mode=pinned("production"))), "mode=pin:production"),
        (Answer("remote", frozenset({"10.0.0.11"}), ()), "says no epoch"),
        (Answer("remote", frozenset({"10.0.0.11"}), ("hello",)), "says hello"),
        (Unknown("remote", "gives no answer"), "the server at remote: gives no answer"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_a_server_lacks_is_a_sentence(found: Answer | Unknown, words: str) -> None:
    assert words in lack(SHOP, NOW, found)


def test_two_of_three_are_a_majority_and_one_is_none() -> None:
    good = [Answer(name, frozenset({"10.0.0.11"}), (told(SHOP, NOW),)) for name in ("production", "same-city")]
    away = Unknown("remote", "away")

    found = agreement(SHOP, NOW, [*good, away])

    assert found == Agreement(("production", "same-city"), {"remote": "the server at remote: away"})
    assert found.is_majority
    assert not found.is_whole
    assert not agreement(SHOP, NOW, [good[0], away, Unknown("same-city", "away")]).is_majority
    assert str(found) == "production, same-city answer as desired; the server at remote: away"
