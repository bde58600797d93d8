"""Which endpoint is probed next."""

from __future__ import annotations

from flotilla.services.health import Target
from flotilla.services.names import ServiceKey
from flotilla.services.probing import Pace, ProbePlan, Spot

A, B, C = (ServiceKey("shop", name) for name in "abc")
PACE = Pace(at_rest=2.0, hurried=10.0, at_once=4, retry=0.5, again=1.0)


def target(number: int) -> Target:
    return Target(f"10.0.0.{number}", 80, "TCP")


def targets(*numbers: int) -> tuple[Target, ...]:
    return tuple(target(number) for number in numbers)


def settled(plan: ProbePlan, now: float = 0.0) -> float:
    """Every new endpoint answers once; returns the time afterwards."""
    while len(plan):
        spot = plan.next(now)
        if spot is None and now > 20:
            break
        if spot:
            plan.done(spot, now, True)
        now += 0.1
    return now


def drawn(plan: ProbePlan, now: float, seconds: float, *, dead: str = "", step: float = 0.05) -> list[tuple[float, Spot]]:
    """What is probed within some seconds; sources in ``dead`` do not answer."""
    found, end = [], now + seconds
    while now < end:
        while spot := plan.next(now):
            found.append((now, spot))
            plan.done(spot, now, spot.source not in dead.split())
        now += step
    return found


def test_new_endpoints_come_first():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1, 2)})
    now = settled(plan)
    plan.want(B, {"c1": targets(3)})

    assert plan.next(now) == Spot("c1", target(3))


def test_services_that_share_an_endpoint_share_its_probes():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    plan.want(B, {"c1": targets(1, 2)})

    assert len(plan) == 2
    assert plan.keys_of(Spot("c1", target(1))) == {A, B}
    plan.want(A, {})
    assert plan.keys_of(Spot("c1", target(1))) == {B}
    plan.want(B, {})
    assert len(plan) == 0


def test_at_rest_as_many_are_probed_as_the_pace_says_and_sources_take_turns():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(*range(1, 9)), "c3": targets(*range(11, 19))})
    now = settled(plan)

    seen = drawn(plan, now, 10.0)

    assert 18 <= len(seen) <= 22
    assert abs(sum(spot.source == "c1" for _, spot in seen) - len(seen) / 2) <= 1
    assert len({spot for _, spot in seen}) == 16


def test_a_single_endpoint_is_not_probed_more_often_than_again_says():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    now = settled(plan)

    assert 9 <= len(drawn(plan, now, 10.0)) <= 11


def test_a_failure_is_tried_again_soon_and_its_neighbours_at_once():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1, 2, 3), "c3": targets(4)})
    plan.want(B, {"c1": targets(5)})
    now = settled(plan)
    while (spot := plan.next(now)) is None or spot.source != "c1" or A not in plan.keys_of(spot):
        if spot:
            plan.done(spot, now, True)
        now += 0.1
    plan.done(spot, now, False)

    soon = [one for _, one in drawn(plan, now + 0.1, 1.0, dead="c1")]

    assert {Spot("c1", target(number)) for number in (1, 2, 3)} <= set(soon)
    assert spot in soon


def test_a_source_that_is_lost_is_noticed_for_every_service_at_the_hurried_pace():
    plan = ProbePlan(PACE)
    keys = [ServiceKey("shop", f"s{number}") for number in range(30)]
    for number, key in enumerate(keys):
        plan.want(key, {"c1": targets(number), "c3": targets(100 + number)})
    now = settled(plan)

    lost = drawn(plan, now, 11.0, dead="c1")

    assert {key for _, spot in lost if spot.source == "c1" for key in plan.keys_of(spot)} == set(keys)


def test_not_more_than_the_pace_allows_are_under_way():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(*range(1, 30))})
    under_way = []
    for tick in range(100):
        if spot := plan.next(tick / 10):
            under_way.append(spot)

    assert len(under_way) == PACE.at_once
    plan.done(under_way[0], 10.0, True)
    assert plan.next(10.0) is not None


def test_what_could_not_be_probed_is_not_failing():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    spot = plan.next(0.0)
    assert spot
    plan.done(spot, 0.1, None)

    assert plan.next(0.7) is None  # it is not hurried
    assert plan.next(1.2) == spot


def test_an_endpoint_that_left_is_probed_no_more_whatever_its_last_probe_says():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    spot = plan.next(0.0)
    assert spot
    plan.want(A, {})
    plan.done(spot, 0.1, False)

    assert drawn(plan, 1.0, 3.0) == []


def test_an_endpoint_that_came_back_is_probed():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    plan.want(A, {})
    plan.want(A, {"c1": targets(1)})

    assert plan.next(0.0) == Spot("c1", target(1))


def test_dead_endpoints_do_not_keep_others_from_being_probed():
    plan = ProbePlan(PACE)
    for number in range(50):
        plan.want(ServiceKey("shop", f"s{number}"), {"c1": targets(number)})
    now = settled(plan)
    drawn(plan, now, 60.0, dead="c1")
    plan.want(A, {"c3": targets(200)})

    assert plan.next(now + 60.1) == Spot("c3", target(200))


def test_an_endpoint_that_answers_again_is_probed_every_second_for_a_while():
    plan = ProbePlan(PACE)
    for number in range(60):
        plan.want(ServiceKey("shop", f"s{number}"), {"c1": targets(number)})
    now = settled(plan)
    drawn(plan, now, 12.0, dead="c1")

    back = [spot for _, spot in drawn(plan, now + 12.0, 6.0) if spot == Spot("c1", target(7))]

    assert len(back) >= 1


def test_a_busy_node_is_asked_for_fewer_probes():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(*range(1, 20))})
    now = settled(plan)
    for _ in range(30):
        now += 1.0
        if spot := plan.next(now):
            plan.done(spot, now, True, effort=1.2)

    seen = drawn(plan, now, 1.0)

    assert len(seen) <= 1


def test_the_pause_ends_when_something_may_be_probed_again():
    plan = ProbePlan(PACE)
    assert plan.pause(0.0) == 1.0
    plan.want(A, {"c1": targets(1)})
    assert plan.pause(0.0) <= 0.01
    now = settled(plan)
    assert 0.1 <= plan.pause(now) <= 1.0


def cut(plan: ProbePlan, now: float, seconds: float, *, dead: str, dial: float) -> dict[Spot, list[float]]:
    """Return when which dials failed, if those to a source in ``dead`` take ``dial`` seconds; others answer at once."""
    failures, under_way, end = {}, [], now + seconds
    while now < end:
        for at, spot in [one for one in under_way if one[0] <= now]:
            under_way.remove((at, spot))
            failures.setdefault(spot, []).append(at)
            plan.done(spot, now, False)
        while spot := plan.next(now):
            if spot.source == dead:
                under_way.append((now + dial, spot))
            else:
                plan.done(spot, now, True)
        now += min(0.05, plan.pause(now)) or 0.05
    for _, spot in under_way:
        plan.done(spot, now + dial, False)
    return failures


def test_what_is_late_has_the_others_there_probed_before_it_has_failed():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1, 2, 3), "c3": targets(11)})
    now = settled(plan)
    while (first := plan.next(now)) is None or first.source != "c1":
        if first:
            plan.done(first, now, True)
        now += 0.1

    assert plan.next(now + 0.2) is None or plan.next(now + 0.2).source == "c3"
    assert {plan.next(now + 0.4), plan.next(now + 0.55)} == others(plan, first)


def others(plan: ProbePlan, first: Spot) -> set[Spot]:
    return {Spot("c1", target(number)) for number in (1, 2, 3)} - {first}


def test_what_timed_out_is_tried_again_at_once_and_what_was_refused_after_a_while():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    now = settled(plan)

    timed_out = cut(plan, now, 3.0, dead="c1", dial=1.0)[Spot("c1", target(1))]
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1)})
    refused = cut(plan, settled(plan), 3.0, dead="c1", dial=0.01)[Spot("c1", target(1))]

    assert 1.0 <= timed_out[1] - timed_out[0] <= 1.2
    assert 0.5 <= refused[1] - refused[0] <= 0.6


def test_every_endpoint_behind_a_cut_link_has_failed_twice_within_a_rests_turn_and_two_dials():
    for tenths in range(20):
        plan = ProbePlan(PACE)
        plan.want(A, {"c1": targets(1, 2), "c3": targets(11, 12)})
        now = settled(plan)
        drawn(plan, now, tenths / 10)
        began = now + tenths / 10

        failures = cut(plan, began, 6.0, dead="c1", dial=1.0)

        assert {Spot("c1", target(1)), Spot("c1", target(2))} == set(failures)
        assert max(of[1] for of in failures.values()) - began <= 1.0 + 0.4 + 2 * 1.0 + 0.2


def test_of_a_source_that_is_held_only_what_fails_is_probed_and_all_of_it_once_it_is_not():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1, 2, 3, 4, 5)})
    plan.want(B, {"c1": targets(6, 7, 8)})
    now = settled(plan)
    failing = set(cut(plan, now, 3.0, dead="c1", dial=1.0))
    plan.hold("c1", True)

    held = {spot for _, spot in drawn(plan, now + 4.0, 20.0, dead="c1")}
    plan.hold("c1", False)
    let = {spot for _, spot in drawn(plan, now + 25.0, 20.0)}

    assert held <= failing
    assert held
    assert 8 == len(let) == plan.known("c1")


def test_a_source_that_is_held_and_of_which_nothing_fails_any_more_is_probed():
    plan = ProbePlan(PACE)
    plan.want(A, {"c1": targets(1, 2)})
    now = settled(plan)
    plan.hold("c1", True)

    assert drawn(plan, now, 3.0)


def test_with_an_endpoint_that_is_late_a_few_of_other_services_are_suspected():
    plan = ProbePlan(PACE)
    for number in range(10):
        plan.want(ServiceKey("shop", f"s{number}"), {"c1": targets(number + 1)})
    now = settled(plan)

    assert 4 <= len(cut(plan, now, 2.0, dead="c1", dial=1.0))
