"""What a table makes of lists, events and the answers to our own writes, in whatever order they come."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from tasks.tables import Change, Table, Unreadable


def body(name: str, version: int, text: str = "", uid: str = "u1") -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": str(version), "uid": uid}, "text": text}


class Told:
    """A table and the changes that it told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.table = Table(threading.RLock(), lambda _: None, lambda one: one["text"], told=self.take, looked=lambda: None)

    def take(self, changes: Any) -> None:
        self.changes.extend(changes)

    @property
    def texts(self) -> dict[str, str]:
        return {name: one.fact for (_, name), one in self.table.entries.items()}

    def list(self, version: int, *bodies: dict[str, Any]) -> None:
        self.table.listed(iter(bodies), self.table.version, lambda: version)


def listed(version: int, *bodies: dict[str, Any]) -> Told:
    told = Told()
    told.list(version, *bodies)
    told.changes.clear()
    return told


def test_events_change_what_was_listed():
    told = listed(10, body("a", 5, "1"), body("b", 6, "1"))
    told.table.changed(body("a", 11, "2"), 11)
    told.table.gone(body("b", 12, "1"), 12)
    told.table.changed(body("c", 13, "1"), 13)

    assert {"a": "2", "c": "1"} == told.texts
    assert ["a", "b", "c"] == [change.place[1] for change in told.changes]


def test_what_says_nothing_new_is_not_told():
    told = listed(10, body("a", 5, "1"))
    told.table.changed(body("a", 11, "1"), 11)

    assert [] == told.changes


def test_an_object_made_anew_under_its_name_is_told_though_it_says_the_same():
    told = listed(10, body("a", 5, "1"))
    told.table.changed(body("a", 11, "1", uid="u2"), 11)

    assert 1 == len(told.changes)


def test_a_new_list_deletes_what_is_not_in_it():
    told = listed(10, body("a", 5, "1"), body("b", 6, "1"))
    told.list(20, body("a", 5, "1"), body("c", 15, "1"))

    assert {"a": "1", "c": "1"} == told.texts
    assert [("c", True), ("b", False)] == [(change.place[1], change.after is not None) for change in told.changes]


def test_the_answer_to_a_write_is_known_before_its_event():
    told = listed(10)
    told.table.took(body("a", 11, "1"))

    assert {"a": "1"} == told.texts
    told.table.changed(body("a", 11, "1"), 11)
    assert 1 == len(told.changes)


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back():
    told = listed(10, body("a", 5, "1"))
    told.table.gone(body("a", 12, "2"), 12)
    told.table.took(body("a", 11, "2"))

    assert {} == told.texts


def test_an_answer_that_comes_after_a_later_event_of_another_object_is_not_newer_either():
    told = listed(10, body("a", 5, "1"))
    told.table.changed(body("a", 11, "ours"), 11)
    told.table.gone(body("a", 12, "ours"), 12)
    told.table.changed(body("b", 13, "1"), 13)
    told.table.took(body("a", 11, "ours"))

    assert {"b": "1"} == told.texts


def test_an_event_older_than_our_own_write_does_not_undo_it():
    told = listed(10, body("a", 5, "1"))
    told.table.took(body("a", 12, "ours"))
    told.table.changed(body("a", 11, "theirs"), 11)

    assert {"a": "ours"} == told.texts


def test_a_deletion_older_than_our_own_write_does_not_undo_it():
    told = listed(10, body("a", 5, "1"))
    told.table.took(body("a", 12, "ours", uid="u2"))
    told.table.gone(body("a", 11, "1"), 11)

    assert {"a": "ours"} == told.texts


def test_a_list_older_than_our_own_write_does_not_undo_it():
    told = listed(10, body("a", 5, "1"))
    told.table.took(body("a", 21, "ours"))
    told.table.took(body("b", 22, "ours"))
    told.list(20, body("a", 5, "1"))

    assert {"a": "ours", "b": "ours"} == told.texts


def test_a_delete_of_ours_is_known_before_its_event_and_only_of_that_object():
    told = listed(10, body("a", 5, "1"), body("b", 6, "1"))
    told.table.dropped(("shop", "a"), "u1")
    told.table.dropped(("shop", "b"), "another")

    assert {"b": "1"} == told.texts


def test_a_server_that_was_set_back_is_believed():
    told = listed(100, body("a", 90, "new"), body("b", 95, "new"))
    told.table.took(body("b", 101, "ours"))
    told.list(50, body("a", 40, "old"))

    assert {"a": "old"} == told.texts
    told.table.changed(body("a", 51, "next"), 51)
    assert {"a": "next"} == told.texts


def test_a_list_that_broke_off_changes_nothing():
    told = listed(10, body("a", 5, "1"))

    def broken() -> Any:
        yield body("b", 6, "1")
        raise ConnectionError

    with contextlib.suppress(ConnectionError):
        told.table.listed(broken(), 10, lambda: 20)

    assert {"a": "1"} == told.texts


def test_an_object_that_is_not_as_documented_is_kept_as_unreadable():
    told = listed(10)
    odd = body("a", 11)
    del odd["text"]
    told.table.changed(odd, 11)

    assert "shop/a is not as documented" in told.table.entries["shop", "a"].fact.reason
    assert isinstance(told.table.entries["shop", "a"].fact, Unreadable)


def test_a_watch_that_cannot_look_leaves_what_was_seen():
    told = listed(10, body("a", 5, "1"))
    told.table.blind("403")

    assert "403" == told.table.reason
    assert {"a": "1"} == told.texts
    told.table.sees()
    assert "" == told.table.reason
