"""Which database the orders application writes to, decided from what each said of itself."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.recovery.shop import APPLICATION

NOW = 100.0


@pytest.fixture(scope="module")
def primary() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APPLICATION))
        return importlib.import_module("primary")


@pytest.mark.parametrize(
    ("a", "b", "before", "host", "epoch", "words"),
    [
        ("primary 3", "standby 3", ("", 0), "a", 3, ""),
        ("standby 3", "primary 3", ("a", 3), "b", 3, ""),
        ("primary 3", "primary 4", ("a", 3), "b", 4, ""),
        ("primary 3", "away", ("a", 4), "", 4, "a is a primary of epoch 3; 4 was seen"),
        ("primary 3", "standby 4", ("a", 3), "", 4, "a is a primary of epoch 3; 4 was seen"),
        ("primary 3", "primary 3", ("b", 3), "b", 3, ""),
        ("primary 3", "primary 3", ("", 0), "", 3, "a and b both claim to be the primary of epoch 3"),
        ("primary 3", "unasked", ("", 0), "", 3, "b was not asked yet"),
        ("primary 3", "unasked", ("a", 3), "a", 3, ""),
        ("primary 3", "away", ("", 0), "a", 3, ""),
        ("read-only 3", "standby 3", ("a", 3), "", 3, "a is read-only; b is a standby"),
        ("silent 3", "standby 3", ("a", 3), "", 3, "a has not answered for 5.0 s"),
        ("away", "away", ("a", 3), "", 3, "a does not answer; b does not answer"),
    ],
)
def test_the_one_primary_of_the_highest_epoch_is_written_to(
    primary: ModuleType, a: str, b: str, before: tuple[str, int], host: str, epoch: int, words: str
) -> None:
    views = {"a": seen(primary, a), "b": seen(primary, b)}

    found = primary.choose(views, primary.Choice(*before), NOW)

    assert (found.host, found.epoch) == (host, epoch)
    assert words in found.reason


def seen(primary: ModuleType, text: str) -> object:
    what, _, epoch = text.partition(" ")
    if what == "unasked":
        return primary.View(NOW)
    if what == "away":
        return primary.View(NOW, "does not answer")
    at = NOW - 5 if what == "silent" else NOW
    return primary.View(at, "", recovers=what == "standby", read_only=what in ("standby", "read-only"), epoch=int(epoch))
