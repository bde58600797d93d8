"""A run that turns: its origin dies, it goes back, or on without it, another process takes it up, or it broke the glass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from flotilla.recovery import acts, recording
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.approvals import Approval
from flotilla.recovery.guards import GUARDS
from flotilla.recovery.memory import Choice
from flotilla.recovery.planning import Terms, plan_for
from flotilla.recovery.recording import Decision
from flotilla.recovery.refusals import Asked, Forced
from flotilla.recovery.steps import Kind, Plan
from flotilla.recovery.walking import UNSEEN, Ask, Do, Ended, Move, Outcome, Stuck, Undo, Wait
from tests.flotilla.recovery.modelled import Fleet, P, R, S, fleet
from tests.flotilla.recovery.test_interruptions import NOTHING, RUNBOOKS, WHEN, interrupted, lost, points, returned
from tests.flotilla.recovery.walked import LAYOUT, Walk, ended, failover, switchover


def until(walk: Walk, is_so: Callable[[Move], bool], limit: int = 200) -> Move:
    """Return the first move of a run that is so, not made yet."""
    for _ in range(limit):
        if is_so(move := walk.think()):
            return move
        walk.make(move)
    raise AssertionError(walk.told(f"no such move in {limit}"))


def does(key: str) -> Callable[[Move], bool]:
    return lambda move: isinstance(move, Do) and move.step.key == key


def stuck(move: Move) -> bool:
    return isinstance(move, Stuck)


def chosen(walk: Walk, choice: Choice) -> None:
    """Have a person choose what a run offers."""
    move = walk.think()
    assert isinstance(move, Stuck), walk.told(str(move))
    assert choice in move.choices, walk.told(f"{move.step.key} offers {move.choices}")
    walk.journal = recording.decided(
        walk.journal, move.step.key, choice, Decision(walk.fleet.now, move.epoch, "ann", "so be it")
    )
    walk.note(f"chosen: {choice}")


# -- without the origin ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["cascade-remote", "drain", "fence", "stop"])
def test_a_planned_move_whose_origin_dies_asks_within_seconds_and_goes_on_without_it(key: str):
    walk = Walk.begin(fleet(), switchover())
    until(walk, does(key))
    walk.fleet.die(P)
    died = walk.fleet.now
    until(walk, stuck)

    assert walk.fleet.now - died < UNSEEN + 2, walk.told("late")
    chosen(walk, Choice.UNGRACEFUL)
    assert ended(walk.to_the_end()) is Outcome.VERIFIED
    assert (walk.plan.kind, walk.fleet.nodes[S].primary) == (Kind.FAILOVER, True)


def test_a_planned_move_that_waits_at_its_gate_asks_what_to_do_without_the_origin():
    walk = Walk.begin(fleet(), switchover())
    until(walk, lambda move: isinstance(move, Ask))
    walk.fleet.die(P)
    walk.approves = False

    assert Choice.UNGRACEFUL in until(walk, stuck).choices  # type: ignore[union-attr]


def test_one_missed_look_at_the_origin_is_no_reason_to_ask():
    walk = Walk.begin(fleet(), switchover())
    until(walk, does("fence"))
    for _ in range(3):
        walk.fleet.dark = frozenset({P})
        missed = walk.think()
        assert isinstance(missed, Wait)
        walk.fleet.now += 1
        walk.fleet.dark = frozenset()
        assert isinstance(walk.think(), Do)

    assert ended(walk.to_the_end()) is Outcome.VERIFIED


def test_a_look_that_is_missed_again_long_after_is_missed_anew():
    walk = Walk.begin(fleet(), switchover())
    until(walk, lambda move: isinstance(move, Ask))
    for _ in range(2):
        walk.fleet.dark = frozenset({P})
        assert isinstance(walk.think(), Wait)
        walk.fleet.now += 1
        walk.fleet.dark = frozenset()
        assert isinstance(walk.think(), Ask)
        walk.fleet.now += 600


def test_an_origin_that_is_back_while_people_are_asked_is_let_in_again():
    walk = Walk.begin(fleet(), switchover())
    until(walk, does("fence"))
    walk.fleet.dark = frozenset({P})
    until(walk, stuck)
    walk.fleet.now += 60
    walk.fleet.dark = frozenset()

    assert ended(walk.to_the_end()) in (Outcome.VERIFIED, Outcome.ABORTED)
    assert any(walk.fleet.serves(node) for node in walk.fleet.nodes.values())


def test_a_way_back_whose_origin_dies_turns_to_go_on_without_it():
    walk = Walk.begin(fleet(), switchover())
    until(walk, does("stop"))
    walk.make(walk.think())
    walk.journal = recording.decided(walk.journal, "stop", Choice.ABORT, Decision(walk.fleet.now, walk.plan.epoch, "ann", "no"))
    until(walk, lambda move: isinstance(move, Undo))
    walk.fleet.die(P)
    died = walk.fleet.now
    until(walk, stuck)

    assert walk.fleet.now - died < UNSEEN + 2
    chosen(walk, Choice.UNGRACEFUL)
    assert ended(walk.to_the_end()) is Outcome.VERIFIED
    assert walk.fleet.nodes[S].primary


def test_a_failover_that_people_refuse_in_the_middle_leaves_the_origin_open_when_it_is_back():
    walk = Walk.begin(fleet(), switchover())
    until(walk, does("stop"))
    walk.fleet.dark = frozenset({P})
    until(walk, stuck)
    chosen(walk, Choice.UNGRACEFUL)
    walk.make(walk.think())
    assert walk.plan.kind is Kind.FAILOVER
    walk.fleet.dark = frozenset()
    decision = Decision(walk.fleet.now, walk.plan.epoch, "ann", "it is back")
    walk.journal = recording.decided(walk.journal, "leases", Choice.ABORT, decision)

    assert ended(walk.to_the_end()) is Outcome.ABORTED
    assert walk.fleet.serves(walk.fleet.nodes[P])
    assert not walk.fleet.nodes[P].read_only


@pytest.mark.parametrize("key", ["cascade-remote", "drain", "fence", "stop"])
def test_a_planned_move_that_is_ended_without_its_origin_leaves_the_way_to_what_goes_by_itself(key: str):
    walk = Walk.begin(fleet(), switchover())
    until(walk, does(key))
    walk.fleet.die(P)
    until(walk, stuck)
    chosen(walk, Choice.END)
    assert ended(walk.to_the_end()) is Outcome.ENDED_BY_HAND
    after = Walk.begin(walk.fleet, replace(failover(), run="run-2"), Terms(automatic=True))
    after.approves = False

    assert ended(after.to_the_end()) is Outcome.VERIFIED
    assert after.fleet.nodes[S].primary


# -- what cannot be planned -----------------------------------------------------------------------------------------------


def without_majority() -> Walk:
    """A switchover to same-city whose origin and whose third site are gone, and which somebody wants to go on without."""
    walk = Walk.begin(fleet(), switchover())
    until(walk, does("fence"))
    walk.fleet.die(P)
    walk.fleet.dark = frozenset({R})
    until(walk, stuck)
    chosen(walk, Choice.UNGRACEFUL)
    return walk


def test_a_failover_that_is_refused_in_the_middle_says_why_and_what_to_do():
    move = without_majority().think()

    assert isinstance(move, Stuck)
    assert "1 of 3 agents answer, 2 have to" in move.why
    assert "end this run, and then: flotilla recover failover --to same-city --break-glass" in move.why
    assert move.choices == (Choice.RETRY, Choice.ABORT, Choice.END)


def test_a_failover_that_was_refused_goes_on_once_nothing_speaks_against_it():
    walk = without_majority()
    walk.make(walk.think())
    walk.fleet.dark = frozenset()

    assert ended(walk.to_the_end()) is Outcome.VERIFIED
    assert walk.fleet.nodes[S].primary


def test_a_run_whose_failover_was_refused_can_be_ended():
    walk = without_majority().restarted()
    chosen(walk, Choice.END)

    assert ended(walk.to_the_end()) is Outcome.ENDED_BY_HAND


def test_a_run_whose_failover_was_refused_can_go_back():
    walk = without_majority()
    chosen(walk, Choice.ABORT)
    walk.fleet.dark = frozenset()
    walk.fleet.boot(P)
    walk.choose = lambda stuck: Choice.RETRY

    assert ended(walk.to_the_end()) is Outcome.ABORTED
    assert walk.fleet.serves(walk.fleet.nodes[P])


def test_a_failback_whose_primary_dies_before_it_is_protected_waits_for_people():
    walk = Walk.begin(returned(), Asked(Kind.FAILBACK, P, run="run-2"))
    until(walk, does("back-checkpoint"))
    walk.fleet.die(S)
    until(walk, stuck)
    chosen(walk, Choice.UNGRACEFUL)
    move = walk.think()

    assert isinstance(move, Stuck)
    assert "not re-protected since the last recovery" in move.why


def test_what_was_forced_stays_forced():
    made = returned()
    asked = Asked(Kind.SWITCHOVER, R, run="run-2", forced=Forced("ann", "production is slow to come"))
    walk = Walk.begin(made, asked)
    until(walk, does("slots"))
    made.die(S)
    until(walk, stuck)
    chosen(walk, Choice.UNGRACEFUL)
    walk.make(walk.think())

    assert (walk.plan.kind, walk.plan.forced) == (Kind.FAILOVER, "ann: production is slow to come")


# -- a promotion under way ------------------------------------------------------------------------------------------------


class Hanging(Fleet):
    """A fleet at whose target a promotion hangs: nothing else is begun there as long as it does."""

    hangs = True

    def act(self, act: Act, epoch: int, run: str) -> tuple[bool, str]:
        held = isinstance(act, acts.Promote) or (isinstance(act, acts.Begin) and epoch > 2)
        if self.hangs and held and act.site == R:
            return False, f"{R} is busy with promote: ask again"
        return super().act(act, epoch, run)


def hanging() -> Walk:
    """A switchover to remote that is aborted while its promotion hangs."""
    walk = Walk.begin(Hanging(**vars(fleet())), switchover(R))
    until(walk, lambda move: isinstance(move, Stuck) and move.step.key == "promote")
    chosen(walk, Choice.ABORT)
    return walk


def test_nothing_is_undone_while_a_promotion_may_still_come_to_its_end():
    walk = hanging()
    move = until(walk, stuck)

    assert isinstance(move, Stuck)
    assert (move.step.key, Choice.GO_ON in move.choices) == ("begin-target", False)
    assert not walk.fleet.nodes[P].running


def test_once_the_promotion_is_given_up_the_way_back_ends():
    walk = hanging()
    until(walk, stuck)
    walk.fleet.hangs = False  # type: ignore[attr-defined]
    chosen(walk, Choice.RETRY)

    assert ended(walk.to_the_end()) is Outcome.ABORTED
    assert walk.fleet.serves(walk.fleet.nodes[P])
    assert walk.fleet.nodes[R].epoch == walk.plan.epoch + 1


def test_a_promotion_that_comes_to_its_end_on_the_way_back_is_gone_on_with():
    walk = hanging()
    until(walk, lambda move: isinstance(move, Undo) and move.step.key == "begin-target")
    walk.fleet.hangs = False  # type: ignore[attr-defined]
    assert walk.fleet.act(acts.Promote(R, P), walk.plan.epoch, "run-1")[0]

    assert ended(walk.to_the_end()) is Outcome.VERIFIED
    assert walk.fleet.nodes[R].primary
    assert walk.fleet.dns[P][:2] == (walk.plan.epoch + 2, R)


def test_an_origin_is_started_only_once_the_target_has_let_go_of_the_promotion():
    made = fleet()
    made.act(acts.Begin(P), 3, "run-1")
    made.nodes[P].running = made.nodes[P].autostart = False
    aim = Aim("run-1", 3, promoting=R)
    start = acts.Start(P, "primary")

    told = GUARDS["nobody-promoted"].check(start, made.world(), aim)
    assert told == "remote may be at a promotion still: it has not accepted epoch 3 since"
    made.act(acts.Begin(R), 3, "run-1")
    assert GUARDS["nobody-promoted"].check(start, made.world(), aim) == ""


# -- taken up by another process ------------------------------------------------------------------------------------------


def taken_up(walk: Walk, after: float) -> Walk:
    """Return a run that another process takes up after so many seconds, with nobody there to agree."""
    walk.fleet.now += after
    again = walk.restarted()
    again.approves = False
    return again


@pytest.mark.parametrize("name", [name for name in RUNBOOKS if "glass" not in name])
def test_a_run_that_is_taken_up_at_once_asks_nobody_again(name: str):
    gates = {step.key for step in points(name)[-1].walk.plan.steps if step.approvals}
    for number, point in enumerate(points(name)):
        if not gates <= {one.move.step.key for one in points(name)[: number + 1]}:
            continue
        for when in WHEN:
            walk = point.walk.copy()
            walk.approves = False
            walk = interrupted(replace(point, walk=walk), when, NOTHING)

            assert ended(walk.last) is Outcome.VERIFIED, walk.told(f"{name}: died {when} {point.move.step.key}")


def test_a_failover_that_is_taken_up_after_hours_asks_again():
    walk = Walk.begin(lost(P), failover())
    until(walk, does("leases"))
    walk.fleet.boot(P)
    end = (again := taken_up(walk, 7200)).to_the_end()

    assert isinstance(end, Ask), again.told("nobody was asked")
    assert end.given == ()
    assert again.fleet.nodes[P].primary


@pytest.mark.parametrize("key", ["leases", "begin", "stop"])
def test_a_failover_that_is_taken_up_at_once_asks_again_where_the_origin_is_back(key: str):
    walk = Walk.begin(lost(P), failover())
    until(walk, lambda move: not isinstance(move, Ask | Ended) and move.step.key == key)
    walk.fleet.boot(P)
    walk.fleet.nodes[P].running = True

    assert isinstance(taken_up(walk, 1).to_the_end(), Ask)


@pytest.mark.parametrize("key", ["leases", "begin", "detach", "slots"])
def test_an_automatic_failover_that_another_process_takes_up_asks_one_person(key: str):
    walk = Walk.begin(lost(P), failover(), Terms(automatic=True))
    until(walk, does(key))
    again = taken_up(walk, 60)
    end = again.to_the_end()

    assert isinstance(end, Ask), again.told("nobody was asked")
    assert end.gate.people == 1
    again.approves = True
    assert ended(again.to_the_end()) is Outcome.VERIFIED


def test_an_automatic_failover_past_the_point_of_no_return_goes_on_in_another_process():
    walk = Walk.begin(lost(P), failover(), Terms(automatic=True))
    until(walk, does("promote"))

    assert ended(taken_up(walk, 7200).to_the_end()) is Outcome.VERIFIED


# -- broken glass ---------------------------------------------------------------------------------------------------------


def test_of_the_words_that_break_the_glass_only_those_that_count_now_are_sent():
    walk = Walk.begin(lost(P, S), failover(R, glass=True))
    until(walk, lambda move: isinstance(move, Ask))
    for name in ("cid", "ann"):
        move = walk.think()
        assert isinstance(move, Ask)
        walk.approves = False
        said = replace(approval(move, name, walk.fleet.now), token=f"early word of {name}")
        walk.journal = recording.approved(walk.journal, said, move.epoch, walk.fleet.now)
        walk.fleet.now += 700
    walk.approves = True
    do = until(walk, does("glass"))

    assert isinstance(do, Do)
    (act,) = do.acts
    assert isinstance(act, acts.BreakGlass)
    assert "early word of cid" not in act.approvals
    assert len(act.approvals) >= 2


def approval(move: Ask, name: str, now: float) -> Approval:
    gate = move.gate
    return Approval(gate.key, gate.run, gate.plan, gate.evidence, "approve", name, "agreed", now, now + 900)


@pytest.mark.parametrize("key", ["scale", "detach", "slots"])
def test_a_run_that_broke_the_glass_can_be_aborted_after_it_touched_something(key: str):
    walk = Walk.begin(lost(P, S), failover(R, glass=True))
    until(walk, does(key))
    walk.make(walk.think())
    walk.journal = recording.decided(walk.journal, key, Choice.ABORT, Decision(walk.fleet.now, walk.plan.epoch, "ann", "back"))
    move = until(walk, stuck)
    assert isinstance(move, Stuck)
    assert "nothing is seen of production" in move.why, walk.told(move.why)
    walk.fleet.boot(S)
    walk.fleet.boot(P)
    walk.choose = lambda stuck: Choice.RETRY

    assert ended(walk.to_the_end()) is Outcome.ABORTED
    assert walk.fleet.serves(walk.fleet.nodes[P])


# -- what following would discard -----------------------------------------------------------------------------------------


def people_of(made: Fleet, site: str) -> int:
    plan = plan_for(Asked(Kind.REPROTECT, site, run="run-9"), made.world(), replace(LAYOUT, approvals=2))
    assert isinstance(plan, Plan)
    return plan.step(f"rejoin-{site}").approvals


def test_a_standby_that_follows_or_only_lags_is_made_a_follower_without_asking():
    made = fleet()
    assert people_of(made, R) == 0
    made.lagging = frozenset({R})
    made.clients()
    assert people_of(made, R) == 0


def test_a_standby_that_has_what_nobody_else_has_is_rewound_only_if_people_agree():
    ahead, diverged = promoted(), promoted()
    fork = ahead.nodes[S].wal.index("T2:same-city")
    ahead.nodes[R].wal = (*ahead.nodes[S].wal[:fork], "x1", "x2")
    diverged.nodes[R].wal = (*ahead.nodes[S].wal[: fork - 1], "T2:remote", "x1", "x2")

    assert people_of(ahead, R) == 2
    assert people_of(diverged, R) == 2


def promoted() -> Fleet:
    """A fleet whose primary is same-city since it failed over."""
    made = lost(P)
    Walk.begin(made, failover()).to_the_end()
    made.lagging = frozenset({R})
    return made


def test_a_standby_behind_the_fork_is_made_a_follower_without_asking():
    made = promoted()
    made.nodes[R].wal = made.nodes[S].wal[: made.nodes[S].wal.index("T2:same-city")]

    assert people_of(made, R) == 0
