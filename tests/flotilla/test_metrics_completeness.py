"""The proof that nothing was lost, and the PromQL it is made of."""

from __future__ import annotations

import json
from collections import Counter

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.metrics.completeness import (
    TRIES,
    WINDOW,
    Keeps,
    Ledger,
    Look,
    Outcome,
    from_json,
    judged,
    to_json,
    unkept,
)
from flotilla.metrics.counting import EDGE_PROBE, Edge, asked_at, by_metric, count_queries, counts, edge_of
from flotilla.metrics.selectors import parse_selector
from flotilla.metrics.spans import Span
from flotilla.metrics.windows import Answer, Gap, Pace, Progress, Unreadable

TEN = 1_789_984_800_000  # 2026-09-21 10:00 UTC
HERE = Span(TEN, TEN + WINDOW)
GAP = Gap(Span(TEN + 120_000, TEN + WINDOW), "older than what the cluster keeps", TEN)


def look(member: dict[str, int] | None, store: dict[str, int], **more: object) -> Look:
    return Look("same-city", HERE, member, store, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "outcome", "sentence"),
    [
        (look({"a": 412_000, "b": 300}, {"a": 412_000, "b": 300}), Outcome.EQUAL, "same-city 10:00-10:05: 412,300 of 412,300"),
        (look({}, {}), Outcome.EQUAL, "same-city 10:00-10:05: 0 of 0"),
        (look({"a": 1}, {"a": 3}), Outcome.MORE, "same-city 10:00-10:05: 3 of 1"),
        (
            look({"a": 10, "b": 9}, {"a": 9, "b": 4}),
            Outcome.AGAIN,
            "same-city 10:00-10:05: 13 of 19; 6 are missing, most of b: 4 of 9; will be read again",
        ),
        (
            look({"a": 10}, {}, tries=TRIES - 1),
            Outcome.SHORT,
            "same-city 10:00-10:05: 0 of 10; 10 are missing, most of a: 0 of 10; after 3 readings",
        ),
        (look({"a": 10, "b": 5}, {"a": 8, "b": 9}), Outcome.AGAIN, None),  # more of one hides nothing of another
        (
            look({"a": 10}, {"a": 7}, unkept=2, set_aside=1),
            Outcome.EQUAL,
            "same-city 10:00-10:05: 7 of 10; 2 of kinds that the store does not keep; 1 in quarantine",
        ),
        (look({"a": 10}, {"a": 7}, unkept=2), Outcome.AGAIN, None),
        (
            look({"a": 10}, {"a": 10}, gaps=(GAP,)),
            Outcome.GAP,
            "same-city 10:00-10:05: 10 of 10; 10:02-10:05 is lost: older than what the cluster keeps",
        ),
        (look(None, {"a": 10}), Outcome.UNCOUNTED, "same-city 10:00-10:05: 10, not counted at the cluster"),
        (look(None, {}, gaps=(GAP,)), Outcome.GAP, None),
    ],
)
def test_counts_are_judged_and_said_in_a_sentence(seen, outcome, sentence):
    proof = judged(seen)

    assert outcome is proof.outcome
    assert sentence in (None, str(proof))


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)), st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)))
def test_equal_or_more_means_that_no_metric_lacks_a_sample(member, store):
    outcome = judged(look(member, store)).outcome

    assert (outcome in (Outcome.EQUAL, Outcome.MORE)) == all(store.get(name, 0) >= count for name, count in member.items())


def done(*spans: Span) -> Progress:
    return Progress(origin=TEN - 10 * WINDOW, done=spans)


def test_a_window_is_due_once_all_of_it_is_done_the_newest_first():
    progress = done(Span(TEN - 3 * WINDOW - 1, TEN), Span(TEN + 1, TEN + 3 * WINDOW - 1))
    starts = [TEN + WINDOW, TEN - 3 * WINDOW, TEN - 2 * WINDOW, TEN - WINDOW]

    assert starts == [window.lo for window in Ledger().due(progress)]
    assert starts[:2] == [window.lo for window in Ledger().due(progress, most=2)]


def test_a_window_that_is_partly_lost_is_due_too():
    progress = done(Span(TEN, TEN + 120_000)).lost([GAP.span], GAP.why, TEN)

    assert (HERE,) == Ledger().due(progress)


def test_a_window_is_judged_once_or_read_again_until_that_is_enough():
    progress, ledger = done(HERE), Ledger(unkept={TEN: 7, TEN + WINDOW: 1})
    for tries in range(TRIES - 1):
        ledger = ledger.noted(judged(look({"a": 9}, {}, unkept=ledger.unkept.get(TEN, 0), tries=tries)))
        assert {TEN: tries + 1} == ledger.tries
        assert TEN not in ledger.unkept  # it is read again, and counted again
        assert () == Ledger.due(ledger, progress.again(HERE))
        assert (HERE,) == ledger.due(progress)

    ledger = ledger.noted(judged(look({"a": 9}, {}, tries=ledger.tries[TEN])))

    assert ((HERE,), {}, {TEN + WINDOW: 1}) == (ledger.judged, ledger.tries, ledger.unkept)
    assert () == ledger.due(progress)


def test_what_the_store_does_not_keep_is_counted_once_though_the_overlap_is_read_twice():
    pace, progress, ledger = Pace(), Progress(origin=TEN, length=300_000), Ledger()
    nans = {TEN + second * 1000: 1 for second in range(0, 600, 15)}
    for now in range(TEN + 60_000, TEN + 760_000, 30_000):
        for one in progress.planned(now, pace):
            seen = {time: count for time, count in nans.items() if one.span.lo <= time < one.span.hi}
            ledger = ledger.tallied(unkept(seen, {}, Keeps(nans=False)), progress.firm(one, now, pace))
            progress = progress.read(one, Answer(1, 1, 1), now, pace)

    assert {TEN: 20, TEN + WINDOW: 20} == ledger.unkept


def test_only_what_a_store_does_not_keep_is_expected_to_be_missing():
    nans, histograms = Counter({1: 2}), Counter({1: 3, 2: 1})

    assert Counter() == unkept(nans, histograms, Keeps())
    assert Counter({1: 5, 2: 1}) == unkept(nans, histograms, Keeps(nans=False, histograms=False))
    assert Counter({1: 3, 2: 1}) == unkept(nans, histograms, Keeps(histograms=False))


@given(
    st.lists(st.integers(0, 50)), st.dictionaries(st.integers(), st.integers()), st.dictionaries(st.integers(), st.integers())
)
def test_a_ledger_survives_being_kept_as_json(starts, tries, unkept):
    ledger = Ledger(tuple(Span(3 * lo, 3 * lo + 2) for lo in sorted(set(starts))), tries, unkept)

    assert ledger == from_json(json.loads(json.dumps(to_json(ledger))))
    with pytest.raises(Unreadable):
        from_json({"judged": [1]})


def evaluated(query: str, at: str, edge: Edge, samples: dict[str, list[int]]) -> dict[str, int]:
    """A tiny engine: what a query of ours counts, given each metric's timestamps in ms and how its ranges begin."""
    found, end = {}, round(float(at) * 1000)
    for term in query.split(" or label_replace"):
        metric = term.split('"metric", ')[1].split('"')[1]
        selector = promql_parser.parse(term[term.index("{") : term.index("[")])
        assert metric == selector.matchers.matchers[0].value
        length = int(term.split("[")[1].split("ms]")[0])
        begin = end - length
        count = sum((begin <= t if edge is Edge.CLOSED else begin < t) and t <= end for t in samples.get(metric, []))
        if count:
            found[metric] = count
    return found


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), st.lists(st.integers(TEN - 3, TEN + WINDOW + 3))),
    st.sampled_from(Edge),
)
def test_a_window_holds_the_same_moments_at_either_kind_of_engine(samples, edge):
    picked = by_metric({parse_selector('{__name__=~"a|b"}'): ["a", "b"]})

    found = [evaluated(query, asked_at(HERE), edge, samples) for query in count_queries(picked, HERE, edge)]

    assert [{n: c for n, times in samples.items() if (c := sum(HERE.lo <= t < HERE.hi for t in times))}] == found


def test_metrics_are_counted_one_by_one_at_the_store_those_of_the_cluster():
    names = {parse_selector('{__name__=~"up|down",job="x"}'): ["up", "down"], parse_selector('up{job!="y"}'): ["up"]}
    at_store = {selector.with_label("cluster", "remote"): metrics for selector, metrics in names.items()}

    assert " or ".join(
        [
            'label_replace(sum(count_over_time({__name__="down",job="x"}[300000ms])), "metric", "down", "", "")',
            'label_replace(sum(count_over_time({__name__="up",job="x"}[300000ms])',
            'count_over_time({__name__="up",job!="y"}[300000ms])), "metric", "up", "", "")',
        ]
    ) == next(count_queries(by_metric(names), HERE, Edge.OPEN))
    (query,) = count_queries(by_metric(at_store), HERE, Edge.CLOSED)
    assert 'count_over_time({__name__="down",job="x",cluster="remote"}[299999ms])' in query
    assert promql_parser.parse(query)
    assert "1789985099.999" == asked_at(HERE)


def test_many_metrics_are_counted_in_several_queries():
    picked = by_metric({parse_selector('{job="x"}'): [f"m{number}" for number in range(120)]})

    assert [50, 50, 20] == [query.count("sum(") for query in count_queries(picked, HERE, Edge.OPEN)]


def test_answers_are_read_as_counts_by_metric():
    result = [{"metric": {"metric": "up"}, "value": [1.0, "412300"]}, {"metric": {"metric": "down"}, "value": [1, "1e+06"]}]

    assert {"up": 412_300, "down": 1_000_000} == counts(result)


def test_how_ranges_begin_is_found_out_by_asking():
    assert promql_parser.parse(EDGE_PROBE)
    assert (Edge.CLOSED, Edge.OPEN) == (edge_of(3.0), edge_of(2))
    with pytest.raises(ValueError, match="is 4; expected 3"):
        edge_of(4.0)
