"""What a plan is refused for, who has to agree, what goes by itself, and how a run turns in the middle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.facts import Unknown
from flotilla.recovery import acts, approvals, goals, recording, steps
from flotilla.recovery.aim import Aim
from flotilla.recovery.approvals import Approval, Gate, accepted, agreed, claims
from flotilla.recovery.facts import AgentSeen, DatabaseSeen, Follower, Lag, LeaseSeen, Peer, Process, Sample, World
from flotilla.recovery.loss import APART, Certainty, statement
from flotilla.recovery.memory import Choice
from flotilla.recovery.planning import Terms, plan_for
from flotilla.recovery.policy import (
    PATIENCE,
    Automatic,
    Occasion,
    Policy,
    WhenSyncIsLost,
    about_lost_sync,
    reasons_to_ask,
    waited_for_in_vain,
)
from flotilla.recovery.proofs import unproved
from flotilla.recovery.recording import Decision
from flotilla.recovery.refusals import Asked, Forced, NotPlanned, Trigger
from flotilla.recovery.rejoining import due
from flotilla.recovery.steps import Kind, Mode, Plan, plan_table
from flotilla.recovery.walking import Ask, Do, Outcome, Stuck, Wait, asked_last, next_move, pause_before
from flotilla.recovery.witnesses import State, Verdict
from tests.flotilla.recovery.modelled import SITES, Fleet, P, R, S, fleet
from tests.flotilla.recovery.test_interruptions import lost
from tests.flotilla.recovery.walked import LAYOUT, Walk, ended, failover, switchover


def refused(asked: Asked, world: World) -> str:
    found = plan_for(asked, world, LAYOUT)
    assert isinstance(found, NotPlanned), found
    return str(found)


def with_database(world: World, site: str, **changes: object) -> World:
    seen = world.database(site)
    assert isinstance(seen, DatabaseSeen)
    return replace(world, databases={**world.databases, site: replace(seen, **changes)})  # type: ignore[arg-type]


def with_leases(world: World, **changes: object) -> World:
    found = {site: replace(lease, **changes) for site, lease in world.leases.items() if isinstance(lease, LeaseSeen)}  # type: ignore[arg-type]
    return replace(world, leases=found)


# -- refusals -------------------------------------------------------------------------------------------------------------


def test_a_site_that_there_is_not_is_refused_by_name():
    told = refused(Asked(Kind.SWITCHOVER, "moon"), fleet().world())

    assert told == (
        "switchover to moon is refused, nothing was touched: there is no site 'moon'; there are production, same-city, remote"
    )


def test_every_reason_is_told_at_once():
    world = with_leases(fleet().world(), holder="run-7")
    world = with_database(world, S, system="another", paused=True)
    world = with_database(world, P, prepared=2)
    told = refused(switchover(), world)

    for reason in ("run run-7 is under way", "holds another database", "replay is paused", "2 prepared transactions"):
        assert reason in told


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked(Kind.SWITCHOVER, P), "production is primary already"),
        (Asked(Kind.FAILOVER, P), "production is primary already"),
        (Asked(Kind.SWITCHOVER, S, origin=R), "remote is not primary, production is"),
        (Asked(Kind.REPROTECT, P), "what is re-protected is another site"),
        (Asked(Kind.DEGRADE, S), "same-city is not primary"),
        (Asked(Kind.DEGRADE, P), "same-city streams from production: commits do not hang"),
        (Asked(Kind.ABORT, P), "nobody asks for it anew"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: Asked, reason: str):
    assert reason in refused(asked, fleet().world())


def test_a_standby_that_is_behind_is_no_target_of_a_planned_move():
    world = fleet().world()
    primary = world.database(P)
    assert isinstance(primary, DatabaseSeen)
    told = refused(switchover(), with_database(world, P, position=primary.position + (32 << 20)))

    assert "same-city is not caught up: 33554432 bytes behind production, 16777216 at most" in told


def test_two_standbys_of_one_name_are_no_target():
    world = fleet().world()
    primary = world.database(P)
    assert isinstance(primary, DatabaseSeen)
    twins = (*primary.followers, Follower(S, "streaming", "sync"))

    assert "or two claim its name" in refused(switchover(), with_database(world, P, followers=twins))


def test_a_schedule_does_not_wait_for_a_recovery_that_is_under_way():
    world = with_leases(fleet().world(), holder="run-7")

    assert "a schedule does not wait" in refused(replace(switchover(), trigger=Trigger.SCHEDULE), world)


def test_a_second_recovery_is_refused_until_redundancy_is_back_or_a_named_person_takes_the_risk():
    made = lost(P)
    Walk.begin(made, failover()).to_the_end()
    asked = Asked(Kind.FAILOVER, R, run="run-2")
    forced = replace(asked, forced=Forced("ann", "two sites are gone and the third is all there is"))

    assert "not re-protected since the last recovery: production is not synchronous at same-city" in refused(
        asked, made.world()
    )
    assert isinstance(plan_for(forced, made.world(), LAYOUT), Plan)
    assert "is named" in refused(replace(asked, forced=Forced(" ", "")), made.world())


def test_who_was_seen_to_wait_for_nobody_before_it_died_is_not_protected_whatever_the_leases_say():
    made = fleet()
    made.nodes[P].sync = ()
    made.die(P)

    assert "same-city is not synchronous at production again" in refused(failover(), made.world())
    assert isinstance(plan_for(failover(), lost(P).world(), LAYOUT), Plan)


def test_without_a_majority_only_broken_glass_plans():
    world = lost(P, S).world()

    assert "1 of 3 agents answer, 2 have to" in refused(failover(R), world)
    assert isinstance(plan_for(failover(R, glass=True), world, LAYOUT), Plan)


# -- plans ----------------------------------------------------------------------------------------------------------------


def planned(asked: Asked, world: World | None = None, terms: Terms | None = None) -> Plan:
    found = plan_for(asked, world or fleet().world(), LAYOUT, terms)
    assert isinstance(found, Plan), found
    return found


def test_what_takes_time_comes_before_the_fence_and_the_stop_before_the_promotion():
    keys = [step.key for step in planned(switchover()).steps]
    order = ["slots", "cascade-remote", "cascaded-remote", "checkpoint", "drain", "fence", "stop", "stop-proved", "promote"]

    assert order == [key for key in keys if key in order]


def test_the_synchronous_standby_is_not_taken_away_from_a_primary_that_waits_for_it():
    keys = [step.key for step in planned(switchover(R)).steps]

    assert "cascade-same-city" not in keys
    assert keys.index("rejoin-same-city") > keys.index("promote")


def test_a_plan_has_one_point_of_no_return_and_a_hash_without_the_day_in_it():
    today = planned(switchover())
    later = fleet()
    later.now += 86_400
    for node in later.nodes.values():
        node.epoch = 41

    assert sum(step.point_of_no_return for step in today.steps) == 1
    assert (planned(switchover(), later.world()).epoch, planned(switchover(), later.world()).hash) == (42, today.hash)
    assert planned(switchover(R)).hash != today.hash


@pytest.mark.parametrize(
    "asked", [switchover(), switchover(R), failover(), failover(R)], ids=lambda asked: asked.kind + asked.target
)
def test_a_plan_outlives_the_process_that_made_it(asked: Asked):
    plan = planned(asked)

    assert steps.from_dict(steps.to_dict(plan)) == plan
    assert plan_table(plan).count("\n") == len(plan.steps) + 1


def test_losing_nothing_and_a_policy_that_lets_it_ask_nobody_and_anything_else_somebody():
    world = lost(P).world()
    by_itself = planned(failover(), world, Terms(automatic=True))
    to_remote = planned(failover(R), world, Terms(automatic=True))

    assert [step.key for step in by_itself.steps if step.approvals] == []
    assert [(step.key, step.approvals) for step in to_remote.steps if step.approvals] == [("leases", 1)]


# -- what may be lost -----------------------------------------------------------------------------------------------------


def test_nothing_is_lost_to_a_site_that_every_acknowledged_commit_had_to_reach():
    found = statement(S, P, fleet().world(), LAYOUT)

    assert (found.certainty, found.transactions) == (Certainty.PROVEN, 0)
    assert str(found) == "to same-city: 0 acknowledged transactions (synchronous, as published and seen)"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda world: with_leases(world, promotable=()), "commits did not wait for it"),
        (lambda world: with_leases(world, primary=R), "they speak of remote as primary"),
        (lambda world: with_database(world, S, weakened=("role app",)), "some commit without waiting: role app"),
        (lambda world: replace(world, leases={**world.leases, P: Unknown(P, "away"), R: Unknown(R, "away")}), "1 of 3 leases"),
    ],
)
def test_a_loss_of_nothing_is_not_claimed_where_it_is_not_proved(change: object, why: str):
    found = statement(S, P, change(fleet().world()), LAYOUT)  # type: ignore[operator]

    assert found.certainty is not Certainty.PROVEN
    assert why in found.why


def test_of_two_that_commits_may_have_waited_for_both_have_to_be_read():
    world = with_leases(fleet().world(), promotable=(S, R))
    away = replace(world, databases={**world.databases, R: Unknown(R, "away")})
    seen = world.database(S)
    assert isinstance(seen, DatabaseSeen)
    ahead = with_database(world, R, position=seen.position + 200)

    assert statement(S, P, world, LAYOUT).is_nothing
    assert "what remote has, which commits may have waited for instead, is not known" in statement(S, P, away, LAYOUT).why
    assert "remote has 200 bytes more" in statement(S, P, ahead, LAYOUT).why


def test_what_is_lost_to_remote_is_estimated_from_the_last_samples():
    world = lost(P, S).world()
    samples = (
        Sample(990.0, P, 10_000_000, (Lag(R, 10_000_000, 0.0),), 1000),
        Sample(1000.0, P, 17_500_000, (Lag(R, 16_000_000, 2.0),), 2290),
    )
    seen = replace(world, samples=samples, databases={site: Unknown(site, "away") for site in SITES})
    found = statement(R, P, seen, LAYOUT)

    assert (found.certainty, found.bytes, found.at) == (Certainty.ESTIMATED, 1_500_000 + 7_500_000, 1000.0)
    assert str(found).startswith("to remote: 9.0 MB, 12.0 s, about 1,548 transactions (")


def test_samples_that_were_not_taken_for_long_make_a_loss_that_is_seen_no_larger():
    world = fleet().world()
    samples = tuple(
        replace(one, at=world.at - ago, position=one.position - round(10 * ago))
        for one, ago in zip(world.samples, (600, 450, 300, 0), strict=True)
    )
    seen = replace(world, samples=samples)
    has, had = seen.database(R), seen.database(P)
    assert isinstance(has, DatabaseSeen)
    assert isinstance(had, DatabaseSeen)

    assert statement(R, P, seen, LAYOUT).bytes == had.position - has.position + 10 * APART


def dead(*, samples: tuple[Sample, ...] = (), ago: float = 1.0) -> World:
    """Production is gone, last heard of so long ago."""
    world = lost(P).world()
    agents = {site: replace(agent, peers=(Peer(P, False, ago, 1),)) for site in (S, R) if (agent := seen_agent(world, site))}
    return replace(world, samples=samples, agents={**world.agents, **agents})


def seen_agent(world: World, site: str) -> AgentSeen:
    agent = world.agent(site)
    assert isinstance(agent, AgentSeen)
    return agent


BEFORE = 3.0  # seconds before now


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sync": ()}, "commits at production wait for nobody, whatever the leases say, as it was seen 3.0 s ago"),
        ({"sync": (R,)}, "commits at production wait for remote, whatever the leases say"),
        ({"sync": (S, R)}, "commits at production wait for same-city, remote, whatever the leases say"),
        ({"weakened": ("production: synchronous_commit is local",)}, "some commit without waiting: production: synchronous"),
        ({"at": fleet().now - 9.0}, "production was heard of 8 s after it was last seen what its commits wait for"),
        (None, "production is not seen, and no sample tells what its commits waited for"),
    ],
)
def test_leases_alone_prove_no_loss_of_nothing_once_the_primary_is_gone(changes: dict[str, Any] | None, why: str):
    sample = Sample(fleet().now - BEFORE, P, 300, sync=(S,))
    good, bad = dead(samples=(sample,)), dead(samples=() if changes is None else (replace(sample, **changes),))

    assert statement(S, P, good, LAYOUT).is_nothing
    assert why in statement(S, P, bad, LAYOUT).why
    assert not statement(S, P, bad, LAYOUT).is_nothing
    assert [step.approvals for step in planned(failover(S), good, Terms(automatic=True)).steps if step.approvals] == []


def test_what_a_hand_changed_at_a_primary_that_is_seen_proves_no_loss_of_nothing():
    world = fleet().world()

    assert statement(S, P, replace(world, samples=()), LAYOUT).is_nothing  # a fleet that was just adopted has no samples
    by_hand = statement(S, P, with_database(world, P, synchronous=()), LAYOUT)
    assert by_hand.why == "commits at production wait for nobody, whatever the leases say"


def test_what_nobody_sampled_is_charged_with_the_highest_rate_of_the_last_minute():
    """890 s at 1 kB/s; then the line between cities is cut, 20 MB/s are written for 10 s, and the city dies."""
    quiet = [Sample(float(at), P, 1000 * at, (Lag(R, 1000 * at, 0.03),)) for at in range(890)]
    loaded = [Sample(float(at), P, 889_000 + 20_000_000 * (at - 889)) for at in range(890, 900)]
    world = with_database(lost(P, S).world(), R, position=889_000)
    agent = replace(seen_agent(world, R), peers=(Peer(P, False, 1.0, 1),))
    seen = replace(world, at=901.0, samples=(*quiet, *loaded), agents={**world.agents, R: agent})
    found = statement(R, P, seen, LAYOUT)

    assert found.bytes is not None
    assert 220_000_000 <= found.bytes <= 240_000_000
    assert found.seconds == pytest.approx(900.0 + 1.0 - 889.0)


def test_copies_of_samples_by_two_clocks_make_no_rate_of_their_own():
    ours = [Sample(float(at), P, 1000 * at) for at in range(100)]
    theirs = [Sample(at + 0.001, P, 1000 * at + 500) for at in range(100)]
    together = tuple(sorted((*ours, *theirs), key=lambda one: one.at))
    seen = replace(with_database(fleet().world(), P, position=99_500), samples=together)

    assert statement(R, P, with_database(seen, R, position=99_000), LAYOUT).bytes == pytest.approx(500 + 1000, rel=0.1)


def test_what_was_written_since_people_agreed_is_theirs_to_decide_again():
    world = dead(samples=(Sample(998.0, P, 99_000), Sample(999.0, P, 100_000)), ago=1.0)
    stated = statement(R, P, world, LAYOUT)
    agreed_to = goals.MostAdvanced(R, P, proven=False, at_most=stated.bytes)
    lives = replace(world, at=world.at + 60.0)  # and its agent was heard of a second ago still
    moved_on = replace(world, at=world.at + 60.0, agents=dead(ago=61.0).agents)

    assert unproved(agreed_to, world, Aim("run-1", 2)) == ""
    assert unproved(agreed_to, moved_on, Aim("run-1", 2)) == ""
    assert f"bytes of production are missing at remote, {stated.bytes} were agreed" in unproved(agreed_to, lives, Aim("r", 2))
    stopped = replace(seen_agent(fleet().world(), P), process=Process.STOPPED, control=Unknown(P, "unreadable"))
    assert unproved(agreed_to, replace(lives, agents={**lives.agents, P: stopped}), Aim("run-1", 2)) == ""
    assert "nothing tells any more" in unproved(agreed_to, replace(world, samples=()), Aim("r", 2))


def test_without_any_sample_nobody_knows_what_is_lost():
    world = replace(lost(P, S).world(), samples=())

    assert statement(R, P, world, LAYOUT).certainty is Certainty.UNKNOWN


# -- gates ----------------------------------------------------------------------------------------------------------------

GATE = Gate("drain", "run-1", "p" * 64, "e" * 64, 2, "switchover?", (), "zoe")


def approval(name: str = "ann", **changes: object) -> Approval:
    said = {**claims(GATE, "approve", name, "as agreed", 1000.0), **changes}
    return Approval(**said)  # type: ignore[arg-type]


def test_two_different_people_agree_and_neither_is_who_started_it():
    assert agreed(GATE, [approval("ann"), approval("ann")], 1001.0) == ("ann",)
    assert agreed(GATE, [approval("ann"), approval("zoe")], 1001.0) == ("ann",)
    assert agreed(GATE, [approval("ann"), approval("bob")], 1001.0) == ("ann", "bob")
    assert agreed(replace(GATE, people=1), [approval("zoe")], 1001.0) == ("zoe",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"plan": "q" * 64}, "of plan qqqqqqqqqqqq, not of pppppppppppp"),
        ({"evidence": "f" * 64}, "the facts have changed since"),
        ({"run": "run-9"}, "of run 'run-9'"),
        ({"gate": "glass"}, "of gate 'glass'"),
        ({"exp": 1000.5}, "it has expired"),
        ({"exp": 9000.0}, "it has expired"),
        ({"iat": 2000.0, "exp": 2100.0}, "signed in the future"),
        ({"decision": "perhaps"}, "is no decision"),
        ({"reason": " "}, "a reason is needed"),
        ({"name": "eve"}, "eve is not among the approvers"),
        ({"iat": "today"}, "claim iat is 'today'"),
    ],
)
def test_a_token_that_is_not_of_this_question_is_refused(changes: dict[str, object], reason: str):
    said = {**claims(GATE, "approve", "ann", "as agreed", 1000.0), **changes}
    found = accepted("token", lambda token: said, GATE, ("ann", "bob"), 1001.0)

    assert isinstance(found, tuple)
    assert any(reason in one for one in found)


def test_a_forged_token_is_refused_and_a_right_one_kept_with_its_words():
    def forged(token: str) -> dict[str, object]:
        raise ValueError("the signature is not ann's")

    good = accepted("t", lambda token: claims(GATE, "approve", "ann", "as agreed", 1000.0), GATE, ("ann",), 1001.0)

    assert accepted("token", forged, GATE, ("ann",), 1001.0) == ("the token is not an approval: the signature is not ann's",)
    assert isinstance(good, Approval)
    assert good.token == "t"


def at_gate() -> tuple[Walk, Ask]:
    walk = Walk.begin(fleet(), switchover())
    while not isinstance(move := walk.think(), Ask):
        walk.make(move)
    return walk, move


def test_an_approval_is_void_if_the_facts_changed_while_it_waited():
    walk, _ = at_gate()
    move = walk.think()
    walk.make(move)
    for lease in walk.fleet.leases.values():
        lease.promotable = ()
    again = walk.think()

    assert isinstance(again, Ask)
    assert again.given == ()


def test_who_says_no_sends_the_run_back():
    walk, move = at_gate()
    no = Approval(**claims(move.gate, approvals.REJECT, "ann", "not today", walk.fleet.now))  # type: ignore[arg-type]
    walk.journal = recording.approved(walk.journal, no, move.epoch, walk.fleet.now)

    assert ended(walk.to_the_end()) is Outcome.ABORTED
    assert walk.fleet.serves(walk.fleet.nodes[P])


def test_who_says_no_to_broken_glass_ends_a_run_that_has_touched_nothing():
    made = lost(P, S)
    walk = Walk.begin(made, replace(failover(R), glass=True))
    walk.approves = False
    move = walk.think()
    assert isinstance(move, Ask)
    no = Approval(**claims(move.gate, approvals.REJECT, "ann", "it comes back", made.now))  # type: ignore[arg-type]
    walk.journal = recording.approved(walk.journal, no, move.epoch, made.now)
    end = walk.to_the_end()

    assert ended(end) is Outcome.ABORTED
    assert "nothing was touched: ann said no: it comes back" in str(end)
    assert made.nodes[R].epoch == fleet().nodes[R].epoch


def test_what_goes_by_itself_and_gets_no_majority_stands_in_nobodys_way():
    made = lost(P)
    walk = Walk.begin(made, failover(), Terms(automatic=True))
    made.die(S)

    assert ended(walk.to_the_end()) is Outcome.ABORTED


def test_a_gate_can_be_answered_though_a_step_before_it_is_due_again():
    walk, move = at_gate()
    walk.make(move)
    for lease in walk.fleet.leases.values():  # a run that is suspended does not renew them
        lease.holder = ""
    world = walk.fleet.world()
    assert not isinstance(next_move(walk.plan, world, walk.journal), Ask)

    found = asked_last(walk.plan, world, walk.journal)

    assert found is not None
    assert (found.step.key, found.gate.evidence) == (move.step.key, move.gate.evidence)
    assert asked_last(walk.plan, world, Walk.begin(fleet(), switchover()).journal) is None


def test_a_gate_that_nobody_answers_touches_nothing():
    walk, _ = at_gate()
    walk.approves = False

    assert isinstance(walk.to_the_end(), Ask)
    assert not walk.fleet.nodes[P].read_only


# -- by itself ------------------------------------------------------------------------------------------------------------


def occasion(made: Fleet, **changes: object) -> Occasion:
    world = made.world()
    down = Verdict(State.DOWN, ("same-city: 4 of 4 looks failed",))
    found = Occasion(P, S, statement(S, P, world, LAYOUT), down, Trigger.WATCHER)
    return replace(found, **changes)  # type: ignore[arg-type]


def test_what_loses_nothing_in_the_same_city_goes_by_itself():
    made = lost(P)

    assert reasons_to_ask(occasion(made), Policy(), made.world(), LAYOUT) == ()


@pytest.mark.parametrize(
    ("changes", "policy", "reason"),
    [
        ({}, Policy(Automatic.NEVER), "lets no failover go by itself"),
        ({"target": R}, Policy(), "is in another city"),
        ({"trigger": Trigger.PERSON}, Policy(), "people who start it approve it"),
        ({"trigger": Trigger.SCHEDULE}, Policy(), "started by a schedule"),
        ({"verdict": Verdict(State.UNSURE, ("remote: reached",))}, Policy(), "witnesses say that production is unsure"),
        ({"verdict": Verdict(State.CUT_OFF_OURSELVES, ())}, Policy(), "cut off ourselves"),
        ({"last_automatic": 500.0}, Policy(between=3600), "3600 s have to be between two"),
    ],
)
def test_anything_else_stops_at_a_gate(changes: dict[str, object], policy: Policy, reason: str):
    made = lost(P)

    assert any(reason in why for why in reasons_to_ask(occasion(made, **changes), policy, made.world(), LAYOUT))


def test_a_standby_that_commits_do_not_wait_for_is_never_promoted_by_itself():
    made = lost(P)
    for lease in made.leases.values():
        lease.promotable = ()

    assert any("something may be lost" in why for why in reasons_to_ask(occasion(made), Policy(), made.world(), LAYOUT))


# -- turning in the middle ------------------------------------------------------------------------------------------------


def switching_until(key: str) -> Walk:
    walk = Walk.begin(fleet(), switchover())
    while not (isinstance(move := walk.think(), Do) and move.step.key == key):
        walk.make(move)
    return walk


@pytest.mark.parametrize("key", ["drain", "fence", "stop"])
def test_an_abort_before_the_point_of_no_return_leaves_everything_as_it_was(key: str):
    walk = switching_until(key)
    before = {site: (node.signal, node.upstream) for site, node in fleet().nodes.items()}
    decision = Decision(walk.fleet.now, walk.plan.epoch, "ann", "not now")
    walk.journal = recording.decided(walk.journal, key, Choice.ABORT, decision)
    end = walk.to_the_end()

    assert ended(end) is Outcome.ABORTED
    assert {site: (node.signal, node.upstream) for site, node in walk.fleet.nodes.items()} == before
    assert walk.fleet.serves(walk.fleet.nodes[P])
    assert walk.fleet.has_word(walk.fleet.nodes[P])


def test_an_abort_after_the_point_of_no_return_goes_forward():
    walk = switching_until("traffic")
    decision = Decision(walk.fleet.now, walk.plan.epoch, "ann", "too late")
    walk.journal = recording.decided(walk.journal, "traffic", Choice.ABORT, decision)

    assert ended(walk.to_the_end()) is Outcome.VERIFIED


def test_nobody_goes_back_while_the_target_may_have_been_promoted_and_is_not_seen():
    walk = switching_until("promote")
    walk.make(walk.think(), tell=False)
    walk.fleet.dark |= {S}
    decision = Decision(walk.fleet.now, walk.plan.epoch, "ann", "it does not answer")
    walk.journal = recording.decided(walk.journal, "promote", Choice.ABORT, decision)
    move = walk.think()

    assert isinstance(move, Stuck)
    assert move.why.startswith("same-city may have been promoted")


@pytest.mark.parametrize("key", ["slots", "drain", "fence", "stop"])
def test_a_graceful_move_whose_origin_dies_goes_on_ungracefully_in_the_same_run(key: str):
    walk = switching_until(key)
    walk.fleet.die(P)
    walk.choose = lambda stuck: next((choice for choice in stuck.choices if choice is Choice.UNGRACEFUL), None)
    end = walk.to_the_end()

    assert ended(end) is Outcome.VERIFIED
    assert (walk.plan.kind, walk.plan.mode, walk.journal.run) == (Kind.FAILOVER, Mode.UNGRACEFUL, "run-1")
    assert walk.fleet.nodes[S].primary


def test_a_run_that_was_superseded_says_so_and_touches_nothing():
    walk = switching_until("fence")
    for site in (S, R):
        walk.fleet.nodes[site].epoch, walk.fleet.nodes[site].run = 9, "run-9"
    move = walk.think()

    assert ended(move) is Outcome.SUPERSEDED
    assert not walk.fleet.nodes[P].fenced


# -- patience -------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 40))
def test_tries_come_ever_more_slowly_and_not_too_slowly(attempt: int):
    assert 0 <= pause_before(attempt) <= pause_before(attempt + 1) <= 15


def test_what_failed_is_tried_again_after_a_pause_and_then_people_are_asked():
    walk = switching_until("slots")
    move = walk.think()
    assert isinstance(move, Do)
    for attempt in range(1, 5):
        walk.journal = recording.failed(
            walk.journal, move, move.acts[0], "503 busy", at=walk.fleet.now, who="test", for_good=False
        )
        waits = next_move(walk.plan, walk.fleet.world(), walk.journal)
        if attempt < 4:
            assert isinstance(waits, Wait)
            walk.fleet.now = waits.until

    assert isinstance(waits, Stuck)
    assert "503 busy" in waits.why
    assert Choice.RETRY in waits.choices


def test_what_stays_wrong_is_not_tried_again():
    walk = switching_until("slots")
    move = walk.think()
    assert isinstance(move, Do)
    walk.journal = recording.failed(walk.journal, move, move.acts[0], "422", at=walk.fleet.now, who="test", for_good=True)

    assert isinstance(next_move(walk.plan, walk.fleet.world(), walk.journal), Stuck)


def test_a_rewind_that_failed_for_good_becomes_a_new_copy():
    made = lost(P)
    Walk.begin(made, failover()).to_the_end()
    made.boot(P)
    walk = Walk.begin(made, Asked(Kind.REPROTECT, P, run="run-2"))
    done: list[str] = []
    while not ended(move := walk.think()):
        if isinstance(move, Do) and move.acts[0].kind == "rewind":
            walk.journal = recording.failed(
                walk.journal, move, move.acts[0], "could not find previous WAL record", at=made.now, who="t", for_good=True
            )
            continue
        done += [act.kind for act in move.acts] if isinstance(move, Do) else []
        walk.make(move)

    assert "reseed" in done
    assert made.streams(P)


def test_an_agent_that_does_not_answer_is_waited_for_and_named():
    walk = switching_until("slots")
    walk.fleet.dark |= {S}
    move = walk.think()

    assert isinstance(move, Wait)
    assert "same-city" in move.why
    assert isinstance(walk.fleet.world().agent(S), Unknown)
    assert isinstance(walk.fleet.world().agent(P), AgentSeen)


def test_a_copy_that_was_begun_and_not_ended_is_begun_anew():
    made = lost(P)
    Walk.begin(made, failover()).to_the_end()
    made.nodes[P].alive, made.nodes[P].autostart = True, False
    world = made.world()
    agent = world.agent(P)
    assert isinstance(agent, AgentSeen)
    half = replace(world, agents={**world.agents, P: replace(agent, unfinished="a rewind")})

    assert due(goals.Rejoin(P, S), half) == acts.Reseed(P, S)


def test_a_rival_is_copied_anew_whether_it_was_a_primary_or_is_known_to_have_come_from_elsewhere():
    made = fleet()
    made.nodes[P].wal = ("b1", "b2", "T3:production", "w1")
    rival = made.nodes[R]
    rival.wal, rival.running, rival.autostart, rival.signal = ("b1", "b2", "T2:remote", "w2"), False, False, False
    rival.stopped, rival.checkpointed, made.nodes[P].checkpointed = "shut down", 2, 2

    assert due(goals.Rejoin(R, P), made.world()) == acts.Reseed(R, P)
    rival.signal, rival.wal = True, ("b1", "T2:remote", "w2", "w3")
    assert due(goals.Rejoin(R, P), made.world()) == acts.Reseed(R, P)
    rival.running = True
    assert due(goals.Rejoin(R, P), made.world()) == acts.Stop(R)


# -- commits that hang ----------------------------------------------------------------------------------------------------


def test_commits_wait_in_vain_where_no_synchronous_standby_streams_and_nobody_mends_that():
    world = fleet().world()
    alone = with_database(world, P, followers=())

    assert waited_for_in_vain(P, world) == ()
    assert waited_for_in_vain(P, alone) == (S,)
    assert waited_for_in_vain(P, with_database(alone, P, synchronous=())) == ()
    assert waited_for_in_vain(P, with_leases(alone, holder="run-9")) == ()
    assert waited_for_in_vain(P, replace(world, databases={P: Unknown(P, "timed out")})) == ()


@pytest.mark.parametrize("wanted", list(WhenSyncIsLost))
def test_what_the_fleet_file_says_of_them_is_done_after_a_while(wanted: WhenSyncIsLost):
    policy = Policy(when_sync_is_lost=wanted)

    assert about_lost_sync(policy, PATIENCE - 1) is WhenSyncIsLost.WAIT
    assert about_lost_sync(policy, PATIENCE) is wanted
