"""What members may hold besides plain numbers under plain names: it is at the store as it was, or the counts tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flotilla.metrics.completeness import TRIES, WINDOW, Outcome
from flotilla.metrics.config import StoreKind
from flotilla.metrics.quarantine import set_aside
from flotilla.metrics.spans import Span
from tests.flotilla.prompb import STALE, series
from tests.metrics import faulty, programs
from tests.metrics.faulty import needs
from tests.metrics.ground import AFTER, BEGIN, END, STEP, Ground, outcomes, proofs, usual

pytestmark = pytest.mark.programs

DAY = 86_400_000  # ms
ODD = ["", " ", "\n", 'say "no"', "back\\slash", "\\n", "{}", "%b", "$1", "naïve", "日本", "😀", "\x00", "\x7f", "x" * 1024]


@pytest.fixture(autouse=True)
def filled(ground: Ground) -> None:
    ground.fill("west", usual())


def test_series_with_odd_labels_and_names_are_the_same_at_the_store(ground):
    values = [series({"__name__": "odd", "value": one, "n": str(n)}, (n, BEGIN + n)) for n, one in enumerate(ODD)]
    names = [series({"__name__": f"odd {one}"}, (n, BEGIN + n)) for n, one in enumerate(ODD)]
    labels = [series({"__name__": "odd_label", f"~{one}": "x"}, (n, BEGIN + n)) for n, one in enumerate(ODD) if len(one) < 99]
    ground.fill("east", [*values, *names, *labels])
    cycles = ground.collected(ground.collector())

    ground.is_whole()
    assert [Outcome.EQUAL] * 2 == outcomes(cycles, ground.name("east"))


def test_values_of_labels_that_a_store_leaves_out_for_their_length_are_told_by_the_counts(ground):
    ground.fill("east", [*usual(), series({"__name__": "long", "value": "x" * 10_000}, (1.0, BEGIN), (2.0, END - 1))])
    cycles = ground.collected(ground.collector())

    found = proofs(cycles, ground.name("east"))
    ground.is_whole("west")
    if ground.store.kind is StoreKind.PROMETHEUS:
        ground.is_whole("east")
        assert {Outcome.EQUAL} == {proof.outcome for proof in found}
    else:
        last = [proof for proof in found if proof.outcome is Outcome.SHORT]
        assert [1, 1] == [proof.missing for proof in last]
        assert all(f"most of long: 0 of 1; after {TRIES} readings" in str(proof) for proof in last)


def test_labels_named_as_those_that_are_stamped_give_way_and_external_ones_are_gone(ground):
    odd = {"cluster": "elsewhere", "role": "master", "exported_role": "taken", "datacenter": "dc-2"}
    ground.fill("east", [series({"__name__": "odd", **odd}, (1.0, BEGIN)), series({"__name__": "plain"}, (1.0, BEGIN))])
    ground.collected(ground.collector())

    name = ground.name("east")
    stamp = {"cluster": name, "site": "site-east", "role": "production", "case": ground.case}
    kept = {"exported_cluster": "elsewhere", "exported_exported_role": "master", "exported_role": "taken", "datacenter": "dc-2"}
    assert {
        frozenset({"__name__": "odd", **stamp, **kept}.items()),
        frozenset({"__name__": "plain", **stamp}.items()),
    } == set(ground.at_store("east"))


def test_series_that_come_and_go_each_second_and_counters_that_begin_anew_are_complete(ground):
    seconds = range(BEGIN, END, 1000)
    pods = [series({"__name__": "churn", "pod": f"pod-{at}"}, (1.0, at), (STALE, at + 1000)) for at in seconds]
    resets = series({"__name__": "resets_total"}, *((float(n % 7), at) for n, at in enumerate(seconds)))
    ground.fill("east", [*pods, resets])
    cycles = ground.collected(ground.collector())

    ground.is_whole()
    assert [Outcome.EQUAL] * 2 == outcomes(cycles, ground.name("east"))


def test_what_a_store_does_not_keep_is_expected_to_be_missing(ground):
    histogram = series({"__name__": "latency"})
    for at in range(BEGIN, END, STEP):
        one = histogram.histograms.add(count_int=5, sum=2.5, timestamp=at, zero_threshold=0.001)
        one.positive_spans.add(offset=0, length=2)
        one.positive_deltas.extend([2, 1])
    nans = series({"__name__": "ratio"}, *((float("nan"), at) for at in range(BEGIN, END, STEP)))
    ground.fill("east", [*usual(), histogram, nans])
    cycles = ground.collected(ground.collector())

    found = proofs(cycles, ground.name("east"))
    assert [Outcome.EQUAL] * 2 == [proof.outcome for proof in found]
    ground.is_whole("west")
    if ground.store.kind is StoreKind.PROMETHEUS:
        ground.is_whole("east")
    else:
        assert all("60 of kinds that the store does not keep" in str(proof) for proof in found)


def test_a_cluster_without_any_series_is_complete(ground):
    cycles = ground.collected(ground.collector())

    assert not ground.at_store("east")
    assert [Outcome.EQUAL] * 2 == outcomes(cycles, ground.name("east"))
    assert not [done.error for cycle in cycles for done in cycle.done.values() if done.error]
    ground.is_whole("west")


def test_samples_of_a_clock_that_is_ahead_are_left_until_it_is_their_time(ground, east):
    ground.fill("east", usual())
    collector = ground.collector()
    east.fault = faulty.dated(DAY)
    cycles = ground.collected(collector)
    early = ground.held(ground.store.url, f',cluster="{ground.name("east")}"')
    east.fault = faulty.none
    ground.collected(ground.collector("anew"))

    name = ground.name("east")
    assert not early
    assert {(f"{name}: its clock is 1 d ahead; samples that it dates later than now are left until then",)} == {
        tuple(finding.replace("23 h 59 min", "1 d") for finding in cycle.findings) for cycle in cycles
    }
    ground.is_whole()


def test_samples_of_a_clock_that_is_behind_are_at_the_store_under_their_own_times(ground, east):
    ground.fill("east", usual())
    east.fault = faulty.dated(-DAY)
    collector = ground.collector()
    cycles = [ground.cycle(collector) for _ in range(8)]

    ground.store.shown()
    assert "behind; so are its samples" in cycles[0].findings[0]
    assert [Outcome.EQUAL] * 2 == outcomes(cycles, ground.name("east"))
    assert ground.expected("east") == {
        labels: [(time + DAY, value) for time, value in samples] for labels, samples in ground.at_store("east", -DAY).items()
    }
    ground.collected(collector, "west")
    ground.is_whole("west")


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_told_and_given_ones_are_shown_to_both_ends(ground, east, at_store, monkeypatch, status):
    ground.fill("east", usual())
    east.fault, at_store.fault = needs("Authorization", "of east", status), needs("X-Scope-OrgID", "of store", status)
    refused = ground.cycle(ground.collector())
    monkeypatch.setenv("EAST", "of east")
    ground.of_members["east"] = {"headersEnv": {"Authorization": "EAST"}}
    half = ground.cycle(ground.collector())
    monkeypatch.setenv("STORE", "of store")
    ground.of_store["headersEnv"] = {"X-Scope-OrgID": "STORE"}
    cycles = ground.collected(ground.collector())

    told = {401: "check the credentials that the fleet file refers to", 403: "allow what the fleet file's credentials lack"}
    assert told[status] in refused.done[ground.name("east")].error
    assert all(f"store: remote_write: who are you? (HTTP {status})" in done.error for done in half.done.values())
    assert not [done.error for cycle in cycles for done in cycle.done.values() if done.error]
    ground.is_whole()


def test_two_collectors_at_once_write_all_of_it_once(ground):
    ground.fill("east", usual(60))
    both = [ground.collector("one"), ground.collector("other")]
    threads = [threading.Thread(target=ground.collected, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ground.is_whole()
    for one in both:
        assert all(not reader.kept.ledger.due(reader.kept.progress) for reader in one.readers.values())


@pytest.fixture
def own_member(ground: Ground, tmp_path: Path) -> Iterator[None]:
    """Let east be a member of this test's own: how old its oldest sample is, is up to the test."""
    made = programs.prometheus(tmp_path / "east", {})
    made.start()
    ground.members["east"] = made.url
    yield
    made.kill()


@pytest.mark.parametrize("kind", [StoreKind.PROMETHEUS], indirect=True)
def test_samples_that_are_too_old_for_a_store_are_set_aside_and_counted_as_such(ground, own_store, own_member):
    own_store.program.stop()
    programs.configure(own_store.program, {"storage": {"tsdb": {"out_of_order_time_window": "1m"}}})
    own_store.program.start()
    old = END - 2 * 3_600_000
    ground.windows = tuple(Span(old + n * WINDOW, old + (n + 1) * WINDOW) for n in range(2))
    ground.metrics["backfill"] = (AFTER - old) / 1000 + 5
    ground.fill("east", [*usual(2, old, old + 2 * WINDOW), *usual()])
    collector = ground.collector()
    cycles = ground.collected(collector)

    found = [proof for proof in proofs(cycles, ground.name("east")) if proof.member]
    assert not {Outcome.SHORT, Outcome.AGAIN} & {proof.outcome for proof in found}
    assert collector.quarantine
    for window in ground.windows:
        there, here = (sum(counted.values()) for counted in ground.counts("east", window))
        assert there == here + set_aside(collector.quarantine, ground.name("east"), window)


@pytest.mark.parametrize("kind", [StoreKind.VICTORIA_METRICS], indirect=True)
def test_an_agent_is_told_to_push(ground, tmp_path):
    agent = programs.prometheus(tmp_path / "agent", {})
    agent.command = [word for word in agent.command if "storage.tsdb" not in word]
    agent.command += ["--agent", f"--storage.agent.path={tmp_path / 'agent' / 'data'}"]
    agent.start()
    try:
        ground.members["east"] = agent.url
        cycle = ground.cycle(ground.collector())
    finally:
        agent.kill()

    assert "say pushes: true" in cycle.done[ground.name("east")].error
    assert not cycle.done[ground.name("west")].error
