"""If production falls, do the others hold it? Yes, no, or nobody can say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.dashboards.answers import Answer, Unanswered, series
from flotilla.dashboards.checks import Ground
from flotilla.dashboards.findings import Place
from flotilla.dashboards.headroom import (
    ALLOCATABLE,
    REQUESTED,
    USED_BY_NAMESPACE,
    Holds,
    Move,
    Resource,
    Room,
    headroom,
    rooms_of,
    top_movers,
)
from flotilla.dashboards.lint import lint_expression
from flotilla.facts import Unknown

GIB = 2**30
SILENT = Unknown("remote", "silent for 17 min")


def room(name: str, gives: float, asked: float) -> Room:
    return Room(
        name,
        {Resource.CPU: gives, Resource.MEMORY: gives * GIB, Resource.PODS: 100},
        {Resource.CPU: asked, Resource.MEMORY: asked * GIB, Resource.PODS: 10},
    )


def fleet(*rooms: Room | Unknown) -> dict[str, Room | Unknown]:
    return {one.cluster: one for one in rooms}


@pytest.mark.parametrize(
    ("rooms", "holds", "told"),
    [
        (
            fleet(room("production", 10, 8), room("same-city", 10, 4), room("remote", 10, 6)),
            Holds.YES,
            "If production falls, same-city and remote hold it; cpu is tightest, with 20% of what is free to spare",
        ),
        (
            fleet(room("production", 10, 8), room("same-city", 10, 6), room("remote", 10, 7)),
            Holds.NO,
            "If production falls, same-city and remote do not hold it: 1.0 cores are missing, 1.0 GiB are missing",
        ),
        (
            fleet(room("production", 10, 8), room("same-city", 10, 4), SILENT),
            Holds.UNKNOWN,
            "Whether same-city and remote would hold production cannot be said: remote: silent for 17 min",
        ),
        (
            fleet(room("production", 10, 3), room("same-city", 10, 4), SILENT),
            Holds.YES,
            "with 50% of what is free to spare (even without remote: silent for 17 min)",
        ),
        (
            fleet(Unknown("production", "no answer"), room("same-city", 10, 4), room("remote", 10, 1)),
            Holds.UNKNOWN,
            "Whether same-city and remote would hold production cannot be said: production: no answer",
        ),
        (fleet(room("production", 10, 3)), Holds.NO, "If production falls, nobody is left to hold it"),
    ],
)
def test_the_loss_of_production_is_held_or_not_or_nobody_knows(rooms, holds, told):
    found = headroom(rooms, "production")

    assert holds == found.holds
    assert told in found.sentence()


def test_an_overcommitted_survivor_takes_nothing_away_from_another():
    found = headroom(fleet(room("production", 10, 3), room("same-city", 10, 14), room("remote", 10, 6)), "production")

    assert Holds.YES == found.holds
    assert [1.0, GIB, 170.0] == [one.spare for one in found.strains]


def test_the_rows_say_what_moves_what_is_free_where_and_what_is_left():
    rows = headroom(fleet(room("production", 10, 8), room("same-city", 10, 6), room("remote", 10, 7)), "production").rows()

    assert {
        "if this falls": "production",
        "resource": "memory",
        "has to move": "8.0 GiB",
        "free in same-city": "4.0 GiB",
        "free in remote": "3.0 GiB",
        "left": "-1.0 GiB",
        "holds": "no",
    } == rows[1]
    assert ["cpu", "memory", "pods"] == [row["resource"] for row in rows]


AMOUNTS = st.floats(0, 1000)


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_what_holds_without_a_cluster_holds_with_it(needs, free, more, asked):
    known = fleet(room("production", 2000, needs), room("same-city", free, 0))
    unseen = headroom(known | fleet(SILENT), "production")
    seen = headroom(known | fleet(room("remote", more, asked)), "production")

    if unseen.holds is Holds.YES:
        assert Holds.YES == seen.holds
    assert unseen.holds is not Holds.NO


def test_a_cluster_that_is_no_part_of_the_fleet_is_refused():
    with pytest.raises(KeyError):
        headroom(fleet(room("production", 10, 3)), "elsewhere")


def answer(*found: tuple[str, str, float]) -> Answer:
    return Answer(tuple(series({"cluster": c, "resource": r}, [(0.0, v)]) for c, r, v in found))


def test_rooms_are_read_from_answers_and_what_cannot_be_seen_is_unknown():
    rooms = rooms_of(
        ("a", "b", "c"),
        answer(("a", "cpu", 8.0), ("a", "pods", 110.0), ("b", "cpu", 4.0), ("a", "ephemeral-storage", 5.0)),
        answer(("a", "cpu", 3.0)),
        {"b": "silent for 4 min"},
    )

    assert Room("a", {Resource.CPU: 8.0, Resource.PODS: 110.0}, {Resource.CPU: 3.0}) == rooms["a"]
    assert [Unknown("b", "silent for 4 min"), Unknown("c", "the store has nothing on its nodes")] == [rooms["b"], rooms["c"]]
    assert isinstance(rooms["a"], Room)
    assert 5.0 == rooms["a"].free(Resource.CPU)


def test_without_an_answer_every_room_is_unknown():
    rooms = rooms_of(("a",), answer(("a", "cpu", 8.0)), Unanswered("the store is down"), {})

    assert {"a": Unknown("a", "the store is down")} == rooms


def test_what_moved_most_comes_first_and_what_came_or_went_counts_whole():
    def used(**values: float) -> Answer:
        return Answer(tuple(series({"cluster": "a", "namespace": name}, [(0.0, value)]) for name, value in values.items()))

    moves = top_movers(used(shop=2.0, gone=3.0, same=1.0), used(shop=2.5, new=1.0, same=1.0), k=3)

    assert [Move("a", "gone", 3.0, 0.0), Move("a", "new", 0.0, 1.0), Move("a", "shop", 2.0, 2.5)] == list(moves)
    assert [-3.0, 1.0, 0.5] == [one.change for one in moves]


@pytest.mark.parametrize("text", [ALLOCATABLE, REQUESTED, USED_BY_NAMESPACE])
def test_the_questions_behind_it_are_clean(text):
    assert () == lint_expression(text, Place("headroom", ""), Ground(), drawn=False)
