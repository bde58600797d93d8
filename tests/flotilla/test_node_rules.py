"""What an agent decides: which epochs it takes, what it starts by itself, when a primary must stop."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.node.boot import Answer, Role, boot, may_be_primary
from flotilla.node.isolation import Contact, Watch, supported_at
from flotilla.node.memory import Begun, Forgotten, Memory, NotBegun, Stale, accepted, checked_epoch, from_text, to_text

AT_7 = Memory(epoch=7, run="a", primary_epoch=7)


def test_an_epoch_is_accepted_once_and_never_falls() -> None:
    found = accepted(AT_7, Begun(8, "b", 10.0))

    assert (8, "b", 10.0) == (found.epoch, found.run, found.at)
    assert found == accepted(found, Begun(8, "b", 20.0))


@pytest.mark.parametrize(("epoch", "run"), [(6, "a"), (7, "b"), (1, "a")])
def test_a_lower_epoch_and_anothers_are_stale_for_every_act(epoch: int, run: str) -> None:
    with pytest.raises(Stale):
        accepted(AT_7, Begun(epoch, run, 10.0))
    with pytest.raises(Stale):
        checked_epoch(AT_7, epoch, run)


def test_an_epoch_that_was_not_begun_is_no_licence_to_act() -> None:
    with pytest.raises(NotBegun, match="send begin first"):
        checked_epoch(AT_7, 8, "b")


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab"))))
def test_whatever_is_asked_the_accepted_epoch_only_rises_and_has_one_run(asked: list[tuple[int, str]]) -> None:
    memory, runs = Memory(), dict[int, str]()
    for epoch, run in asked:
        before = memory.epoch
        try:
            memory = accepted(memory, Begun(epoch, run, 0.0))
        except Stale:
            assert epoch < before or run != runs[epoch]
        else:
            assert memory.epoch == epoch >= before
            assert run == runs.setdefault(epoch, run)


def test_what_is_remembered_is_read_as_it_was_written() -> None:
    memory = Memory(7, "a", 1.5, False, True, 3, ("ann", "bo"), "a rewind", "mark")

    assert memory == from_text(to_text(memory), "memory.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"glass": [], "unknown": 1}', '{"glass": [], "epoch": "7"}'])
def test_a_memory_that_cannot_be_read_stops_the_agent_and_says_what_to_do(text: str) -> None:
    with pytest.raises(Forgotten, match=r"memory\.json"):
        from_text(text, "memory.json")


def primary(memory: Memory, **answers: Answer | None) -> Role | None:
    return boot(memory, is_standby=False, answers=answers).role


def test_a_standby_is_started_whatever_the_others_say() -> None:
    assert boot(AT_7, is_standby=True, answers={"b": None, "c": None}).role is Role.STANDBY


def test_what_was_stopped_on_purpose_stays_stopped() -> None:
    found = boot(Memory(7, "a", autostart=False), is_standby=True, answers={})

    assert found.role is None
    assert "on purpose" in found.told


def test_a_copy_that_was_not_ended_is_never_started() -> None:
    assert boot(Memory(unfinished="a rewind"), is_standby=True, answers={}).role is None


def test_a_primary_comes_back_if_a_majority_knows_of_no_later_one() -> None:
    assert primary(AT_7, b=Answer(7, 0), c=None) is Role.PRIMARY
    assert primary(AT_7, b=Answer(6, 0), c=None) is Role.PRIMARY
    assert primary(AT_7, b=Answer(7, 0), c=Answer(7, 3)) is Role.PRIMARY


@pytest.mark.parametrize(
    "answers", [{"b": None, "c": None}, {"b": Answer(8, 0), "c": None}, {"b": Answer(7, 0), "c": Answer(8, 0)}]
)
def test_a_primary_stays_down_without_a_majority_or_below_its_epoch(answers: dict[str, Answer | None]) -> None:
    assert primary(AT_7, **answers) is None
    assert may_be_primary(AT_7, answers).role is None


def test_a_primary_stays_down_where_the_same_epoch_may_have_made_another() -> None:
    begun_since = Memory(epoch=8, run="b", primary_epoch=7)

    assert primary(begun_since, b=Answer(8, 0), c=None) is None
    assert primary(begun_since, b=Answer(8, 0), c=Answer(8, 8)) is None
    assert primary(begun_since, b=Answer(8, 0), c=Answer(8, 8, is_standby=True)) is None  # it may be one in a moment
    assert primary(begun_since, b=Answer(8, 0), c=Answer(8, 0)) is Role.PRIMARY


def test_a_recovery_that_goes_back_may_start_the_primary_again_without_the_third() -> None:
    begun_since = Memory(epoch=8, run="b", primary_epoch=7, autostart=False)
    not_promoted = Answer(8, 8, "running", is_standby=True)

    assert may_be_primary(begun_since, {"b": not_promoted, "c": None}).role is Role.PRIMARY
    assert may_be_primary(begun_since, {"b": Answer(8, 8), "c": None}).role is None


@pytest.mark.parametrize("reached", [pair for pair in product("abc", repeat=2) if pair[0] < pair[1]])
@pytest.mark.parametrize("heard", ["ab", "ac", "abc"])
def test_no_majority_hides_a_recovery_from_another_majority(reached: tuple[str, str], heard: str) -> None:
    """A recovery had its epoch accepted by some two of three; a, once primary, comes back and hears some majority."""
    agents = {name: Memory(8, "r", primary_epoch=7 if name == "a" else 0) if name in reached else AT_7 for name in "abc"}
    promoted = next(name for name in reached if name != "a")  # by the recovery, once it was accepted
    answers = {name: Answer(agents[name].epoch, 8 if name == promoted else 0) if name in heard else None for name in "bc"}

    assert boot(agents["a"], is_standby=False, answers=answers).role is None


def contacts(**found: tuple[float | None, int]) -> dict[str, Contact]:
    return {name: Contact(at is not None, at, epoch) for name, (at, epoch) in found.items()}


def test_one_other_of_three_is_support_and_a_higher_epoch_is_none() -> None:
    assert supported_at(contacts(b=(10.0, 7), c=(None, 0)), 7, 20.0) == 10.0
    assert supported_at(contacts(b=(10.0, 8), c=(12.0, 7)), 7, 20.0) == 12.0
    assert supported_at(contacts(b=(10.0, 8), c=(12.0, 8)), 7, 20.0) is None
    assert supported_at({}, 7, 20.0) == 20.0


def test_who_hears_of_a_primary_made_after_it_has_no_support_though_all_keep_to_one_epoch() -> None:
    watch, heard = Watch(10.0, supported=0.0), contacts(b=(15.0, 8), c=(15.0, 8))
    rival = {**heard, "b": Contact(True, 15.0, 8, primary_epoch=8, is_standby=False)}
    rewound = {**heard, "b": Contact(True, 15.0, 8, primary_epoch=8, is_standby=True)}

    assert supported_at(rewound, 8, 15.0, since=7) == 15.0
    assert supported_at(rival, 8, 15.0, since=8) == 15.0  # it is that very primary's peer at an abort, or older
    assert supported_at(rival, 8, 15.0, since=7) is None
    assert supported_at(rival, 8, 15.0, since=7, glass=True) is None
    assert "b was made primary at epoch 8, after 7 here" in watch.look(rival, 8, 15.0, since=7)


def test_of_five_two_others_have_to_answer() -> None:
    found = contacts(b=(10.0, 7), c=(9.0, 7), d=(None, 0), e=(None, 0))

    assert supported_at(found, 7, 20.0) == 9.0


def test_a_primary_stops_after_its_patience_counted_from_the_last_question_that_was_answered() -> None:
    watch = Watch(10.0, supported=0.0)
    answered = contacts(b=(5.0, 7), c=(None, 0))

    assert watch.look(answered, 7, 14.9) == ""
    assert "without a majority for 10.0 s" in watch.look(answered, 7, 15.0)


def test_a_primary_that_a_recovery_did_not_reach_stops_though_it_reaches_everybody() -> None:
    watch = Watch(10.0, supported=0.0)
    assert watch.look(contacts(b=(5.0, 7), c=(5.0, 7)), 7, 5.1) == ""
    later = contacts(b=(15.5, 8), c=(15.5, 8))

    assert watch.look(later, 7, 14.9) == ""
    assert "has accepted epoch 8, above 7" in watch.look(later, 7, 15.6)
    assert watch.look(later, 8, 15.7) == ""  # once it has accepted the epoch itself


def test_a_moment_in_which_others_have_begun_already_is_no_reason_to_stop() -> None:
    watch = Watch(10.0, supported=4.0)

    assert watch.look(contacts(b=(5.0, 8), c=(5.0, 8)), 7, 5.1) == ""


GLASS_8 = Memory(epoch=8, run="g", primary_epoch=8, glass=("ann", "bo"))


def test_a_primary_made_by_broken_glass_starts_although_nobody_answers() -> None:
    assert primary(GLASS_8, b=None, c=None) is Role.PRIMARY
    assert "ann and bo broke the glass" in boot(GLASS_8, is_standby=False, answers={"b": None, "c": None}).told


def test_a_primary_made_by_broken_glass_stays_down_where_one_knows_of_a_later_epoch() -> None:
    assert primary(GLASS_8, b=Answer(9, 0), c=None) is None
    assert primary(GLASS_8, b=Answer(7, 7), c=Answer(7, 0)) is Role.PRIMARY


def test_glass_that_was_broken_for_an_earlier_epoch_is_worth_nothing() -> None:
    later = accepted(GLASS_8, Begun(9, "h", 20.0))

    assert () == later.glass
    assert may_be_primary(later, {"b": None, "c": None}).role is None


def test_a_primary_made_by_broken_glass_lives_alone_until_it_hears_of_a_later_epoch() -> None:
    watch = Watch(10.0, supported=0.0)
    silent = contacts(b=(None, 0), c=(None, 0))
    assert watch.look(silent, 8, 1000.0, glass=True) == ""
    heard = contacts(b=(1000.5, 9), c=(None, 0))

    assert watch.look(heard, 8, 1005.0, glass=True) == ""
    assert "b has accepted epoch 9, above 8" in watch.look(heard, 8, 1010.0, glass=True)


def test_a_site_for_which_people_broke_the_glass_ends_the_earlier_primary_whoever_supports_that() -> None:
    watch = Watch(10.0, supported=0.0)
    heard = {**contacts(b=(5.0, 7)), "c": Contact(True, 5.0, 8, glass=True)}

    assert watch.look(heard, 7, 9.9) == ""
    assert "c has accepted epoch 8, above 7" in watch.look(heard, 7, 10.0)
