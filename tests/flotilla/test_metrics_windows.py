"""Which slices of time are read next: nothing lost, nothing read twice beyond the overlap, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flotilla.metrics.spans import Span, common, covers, union, without
from flotilla.metrics.windows import Answer, Gap, Pace, Progress, Slice, Unreadable, from_json, to_json

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
NOW = 1_790_000_000_000
PACE = Pace()
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda two: Span(*two)), max_size=8)


def alone(samples: int, largest: int) -> Answer:
    """Return an answer to a single question."""
    return Answer(samples, largest, samples)


def caught_up(now: int = NOW) -> Progress:
    """A collector that is level with its cluster."""
    return Progress(
        origin=now - HOUR,
        done=(Span(now - HOUR, now - PACE.settle - PACE.overlap),),
        tail=Span(now - PACE.settle - PACE.overlap, now - PACE.settle),
        rate=1.0,
    )


def points(spans: Iterator[Span] | tuple[Span, ...] | list[Span]) -> set[int]:
    return {point for span in spans for point in range(span.lo, span.hi)}


@given(SPANS, SPANS)
def test_sets_of_spans_are_sets_of_milliseconds(some, others):
    assert points(some) == points(union(some))
    assert points(some) - points(others) == points(without(some, others))
    assert points(some) & points(others) == points(common(some, others))
    for found in (union(some), without(some, others), common(some, others)):
        assert all(before.hi < after.lo for before, after in pairwise(found))
    assert (points(others) <= points(some)) == all(covers(some, span) for span in others)


def test_a_beat_reads_from_the_overlap_to_what_has_settled():
    now = NOW + 30 * SECOND

    assert (Slice(Span(NOW - 60 * SECOND, NOW), newest=True),) == caught_up().planned(now, PACE)


def test_after_a_cut_the_newest_slice_is_read_first_and_then_the_oldest_ones():
    now = NOW + 6 * HOUR

    planned = caught_up().planned(now, PACE)

    assert Slice(Span(now - 90 * SECOND, now - 30 * SECOND), newest=True) == planned[0]
    assert NOW - 60 * SECOND == planned[1].span.lo
    assert list(planned[1:]) == sorted(planned[1:], key=lambda one: one.span)
    assert not any(one.newest for one in planned[1:])


def test_the_past_is_read_as_far_as_the_budget_goes_but_at_least_one_slice_of_it():
    away = caught_up().planned(NOW + 6 * HOUR, replace(PACE, budget=5 * MINUTE))
    poor = caught_up().planned(NOW + 6 * HOUR, replace(PACE, budget=1))

    assert 5 == len(away)  # a minute each at one sample a ms
    assert 2 == len(poor)


def test_one_slice_of_the_past_is_read_until_it_is_known_how_much_a_slice_brings():
    fresh = Progress(origin=NOW - HOUR)

    assert [Span(NOW - 90 * SECOND, NOW - 30 * SECOND), Span(NOW - HOUR, NOW - HOUR + MINUTE)] == [
        one.span for one in fresh.planned(NOW, PACE)
    ]


def test_an_empty_cluster_is_caught_up_in_slices_that_are_bounded_in_number():
    empty = replace(caught_up(), rate=0.0, length=5 * MINUTE)

    assert 61 == len(empty.planned(NOW + 48 * HOUR, PACE))


def test_slices_shrink_where_answers_are_large_and_grow_where_they_are_small():
    progress, one = caught_up(), Slice(Span(NOW, NOW + MINUTE))
    large, small, middling = alone(2_000_000, 40_000_000), alone(10, 1_000_000), alone(500_000, 20_000_000)

    assert 30 * SECOND == progress.read(one, large, NOW + HOUR, PACE).length
    assert 2 * MINUTE == progress.read(one, small, NOW + HOUR, PACE).length
    assert MINUTE == progress.read(one, middling, NOW + HOUR, PACE).length
    assert MINUTE == progress.read(one, alone(200_000, 40_000_000), NOW + HOUR, PACE).length  # labels: shorter saves nothing
    assert MINUTE == progress.read(Slice(Span(NOW, NOW + 1)), small, NOW + HOUR, PACE).length
    assert 15 * SECOND == replace(progress, length=20 * SECOND).read(one, large, NOW + HOUR, PACE).length
    five = replace(progress, length=5 * MINUTE).read(Slice(Span(NOW, NOW + 5 * MINUTE)), small, NOW + HOUR, PACE)
    assert 5 * MINUTE == five.length


def test_what_the_cluster_keeps_no_more_is_a_gap_and_is_not_asked_for():
    progress = caught_up().kept_since(NOW + HOUR, NOW + 6 * HOUR)

    assert (Gap(Span(NOW - MINUTE, NOW + HOUR), "older than what the cluster keeps", NOW + 6 * HOUR),) == progress.gaps
    assert NOW + HOUR == progress.planned(NOW + 6 * HOUR, PACE)[1].span.lo
    assert progress == progress.kept_since(NOW + HOUR, NOW + 7 * HOUR)


@pytest.mark.parametrize("oldest", [None, 2**63 - 1])  # an empty Prometheus says the largest number there is
def test_a_cluster_that_holds_nothing_has_lost_nothing_by_that(oldest):
    assert caught_up() == caught_up().kept_since(oldest, NOW + HOUR)


def test_a_slice_that_cannot_be_read_is_halved_then_tried_then_a_gap_and_the_rest_goes_on():
    progress, now = replace(caught_up(), done=(), origin=NOW - HOUR), NOW
    for _ in range(20):
        if progress.gaps:
            break
        progress = progress.failed(progress.planned(now, PACE)[1], "sample limit", now, PACE)

    gap = Gap(Span(NOW - HOUR, NOW - HOUR + 15 * SECOND), "cannot be read: sample limit", NOW)
    assert (gap,) == progress.gaps
    assert gap.span.hi == progress.planned(now, PACE)[1].span.lo


def test_slices_that_do_not_come_get_shorter_and_are_never_given_up():
    progress = replace(caught_up(), done=(), origin=NOW - HOUR)
    for _ in range(20):
        progress = progress.shortened(progress.planned(NOW, PACE)[1], PACE)

    assert () == progress.gaps
    assert PACE.shortest == progress.length


def test_the_newest_slice_is_never_given_up():
    progress = caught_up()
    for beat in range(1, 30):
        now = NOW + beat * 30 * SECOND
        progress = progress.failed(progress.planned(now, PACE)[0], "sample limit", now, PACE)

    assert () == progress.gaps
    assert 15 * SECOND == progress.length


def test_gaps_that_touch_for_one_reason_are_one():
    progress = Progress(origin=0)
    for lo in (10, 0, 20):
        progress = progress.lost([Span(lo, lo + 10)], "why", NOW - lo)

    assert (Gap(Span(0, 30), "why", NOW - 20),) == progress.gaps


def test_what_differs_is_read_again_even_where_it_was_a_gap():
    progress = caught_up().lost([Span(NOW - 2 * HOUR, NOW)], "why", NOW).again(Span(NOW - 30 * MINUTE, NOW + MINUTE))

    assert (Span(NOW - 30 * MINUTE, NOW + MINUTE),) == progress.missing(NOW + MINUTE)


def test_before_another_replica_is_read_what_was_seen_of_this_one_is_done():
    assert (Span(NOW - 30 * SECOND, NOW),) == caught_up().sealed().missing(NOW)


def test_a_clock_that_went_back_asks_for_nothing():
    assert () == caught_up().planned(NOW - 24 * HOUR, PACE)


def test_a_hole_in_the_past_is_not_taken_for_the_newest_slice():
    progress = replace(caught_up(), done=(Span(NOW - HOUR, NOW - 10 * MINUTE), Span(NOW - 9 * MINUTE, NOW)))

    assert (Slice(Span(NOW - 10 * MINUTE, NOW - 9 * MINUTE)),) == progress.planned(NOW, PACE)


def test_lag_and_completeness_are_told_apart():
    progress = replace(caught_up(), done=(Span(NOW - HOUR, NOW - 30 * MINUTE), Span(NOW - 5 * MINUTE, NOW - MINUTE)))

    assert (NOW - 30 * SECOND, NOW - 30 * MINUTE) == (progress.seen, progress.complete(NOW))


@given(SPANS, SPANS, st.none() | st.floats(0, 1e6))
def test_a_progress_survives_being_kept_as_json(done, lost, rate):
    progress = replace(Progress(origin=5, done=union(done), rate=rate), tail=Span(3, 4)).lost(list(lost), "wörds", 7)

    assert progress == from_json(json.loads(json.dumps(to_json(progress))))


@pytest.mark.parametrize(
    "kept", [{}, {"origin": 1}, {"done": 3}, to_json(Progress(1)) | {"origin": "x"}, to_json(Progress(1)) | {"more": 1}]
)
def test_what_is_no_progress_is_refused(kept):
    with pytest.raises(Unreadable):
        from_json(kept)


@given(SPANS, SPANS, SPANS)
def test_two_collectors_have_done_what_either_has(ours, theirs, lost):
    one = Progress(origin=0, done=union(ours)).lost(list(lost), "why", 0)
    both = one.merged(Progress(origin=0, done=union(theirs)))

    assert points(both.done) == points(ours) | points(theirs)
    assert points([gap.span for gap in both.gaps]) == points([gap.span for gap in one.gaps]) - points(both.done)


STEP = st.fixed_dictionaries(
    {
        "wait": st.sampled_from([5 * SECOND, 30 * SECOND, 30 * SECOND, 4 * MINUTE, HOUR]),
        "is_there": st.booleans() | st.just(True),
        "reads": st.integers(0, 8),  # slices until the process dies
        "confirms": st.booleans(),  # whether what was written last was also noted
        "large": st.booleans(),
        "is_other": st.booleans(),  # another collector, with its own idea of what is done
    }
)


@dataclass
class World:
    """A cluster whose samples, one every 5 s, are there up to settle + overlap later, and what of them is at the store."""

    now: int = NOW
    held: set[int] = field(default_factory=set)
    noted: list[Progress] = field(default_factory=lambda: [Progress(origin=NOW - 10 * MINUTE)] * 2)
    firm: list[Span] = field(default_factory=list)

    def read(self, one: Slice) -> None:
        first = -(-one.span.lo // (5 * SECOND)) * 5 * SECOND
        for time in range(first, one.span.hi, 5 * SECOND):
            if time + time * 7919 % (PACE.settle + PACE.overlap) <= self.now:
                self.held.add(time)

    def cycle(self, *, reads: int = 99, confirms: bool = True, large: bool = False, collector: int = 0) -> None:
        progress = self.noted[collector]
        for number, one in enumerate(progress.planned(self.now, PACE)[:reads]):
            assert one.span.length <= PACE.longest
            self.read(one)
            progress = progress.read(one, alone(one.span.length // 10, 40_000_000 if large else 10), self.now, PACE)
            if confirms or number + 1 < reads:
                self.noted[collector] = progress


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_nothing_is_lost_whatever_is_cut_off_killed_or_done_by_two(steps):
    world = World()
    for step in steps:
        world.now += step["wait"]
        if step["is_there"]:
            world.cycle(reads=step["reads"], confirms=step["confirms"], large=step["large"], collector=int(step["is_other"]))
    world.noted[0] = world.noted[0].merged(world.noted[1])
    for _ in range(40):
        world.now += 30 * SECOND
        world.cycle()

    complete = world.noted[0].complete(world.now)
    assert world.now - PACE.settle - PACE.overlap == complete
    expected = range(NOW - 10 * MINUTE, complete, 5 * SECOND)
    assert set(expected) <= world.held
    assert () == world.noted[0].gaps


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_nothing_is_read_twice_but_the_overlap(steps):
    progress, now, firm = Progress(origin=NOW - 10 * MINUTE), NOW, list[Span]()
    for step in steps:
        now += step["wait"]
        planned = progress.planned(now, PACE)[: step["reads"]]
        for one in planned:
            assert () == common([one.span], firm)
            progress = progress.read(one, alone(10, 40_000_000 if step["large"] else 10), now, PACE)
        firm += common([one.span for one in planned], [Span(0, now - PACE.settle - PACE.overlap)])
        assert all(() == common([one.span], [other.span]) for one in planned for other in planned if one is not other)
    assert union(firm) == common(progress.done, [Span(0, now)])
