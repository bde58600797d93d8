"""What the benchmark of metrics makes of what it saw, and whether what it feeds is what it says."""

from __future__ import annotations

import pytest

from flotilla.metrics.config import COLLECTED
from flotilla.metrics.selectors import parse_selector
from flotilla.metrics.series import count, data, labels
from tests.bench.behind import CaughtUp, lag
from tests.bench.counting import Counted, differing
from tests.bench.exposition import PER_NODE, WIDTH, Body, Series, nodes_for, targets
from tests.bench.history import _LABEL, label_blocks, samples
from tests.bench.metrics import figures
from tests.bench.opening import Opened
from tests.bench.rounds import Spent
from tests.bench.swelling import Size

SCRAPING = {
    "scrape_configs": [
        {"job_name": job, "static_configs": [{"labels": {"__metrics_path__": "/", "instance": "i"} | node}]}
        for job, node in {
            "kube-state-metrics": {},
            "cadvisor": {"node": "node-0"},
            "resource": {"node": "node-0"},
            "node-exporter": {"node": "node-0"},
        }.items()
    ]
}


def cycle(ended: int, **seen: int) -> dict:
    return {"ended": ended, "seconds": 1.0, "done": {name: {"seen": at, "python": 0.25} for name, at in seen.items()}}


def test_a_node_has_as_many_series_as_is_said_each_once_and_all_of_them_are_collected():
    selectors = [parse_selector(one) for one in COLLECTED]
    found = [(target, one) for target in targets("production", 1) for one in target.series]

    assert len(found) == len({(target.job, one.name, one.labels) for target, one in found})
    assert abs(PER_NODE - len(found)) < 5
    for _, one in found:
        told = {"__name__": one.name} | dict(_LABEL.findall(one.labels))
        assert 1 == sum(selector.picks(told) for selector in selectors), one


def test_there_are_as_many_nodes_as_series_ask_for_and_one_at_least():
    assert (1, 46) == (nodes_for(10), nodes_for(100_000))


def test_a_scrape_changes_the_values_that_step_and_no_others():
    body = Body((Series("a", 'x="1"', 2.0, 0.5), Series("b", "", 7.0)))

    first, second = body.scraped(), body.scraped()

    assert b'a{x="1"} %s\nb{} 7\n' % b"2.500".rjust(WIDTH, b"0") == first
    assert b'a{x="1"} %s\nb{} 7\n' % b"3.000".rjust(WIDTH, b"0") == second


def test_a_past_has_the_series_of_the_present_and_a_sample_at_each_time():
    blocks = list(label_blocks("returned", 1, SCRAPING))
    times = range(1_000_000, 1_090_000, 30_000)
    one = blocks[0] + samples(1, 0, times)

    assert len(blocks) == len(set(blocks)) == sum(len(target.series) for target in targets("returned", 1))
    assert {b"__name__", b"job", b"instance"} <= {label.name for label in labels(blocks[0])}
    assert b"__metrics_path__" not in {label.name for label in labels(blocks[0])}
    assert 3 == count(one).samples
    assert list(times) == [datum.time for datum in data(one)]


def test_a_lag_is_what_a_cluster_had_at_the_store_when_the_next_cycle_ended():
    cycles = [cycle(100_000, a=70_000, b=40_000), cycle(131_000, a=101_000, b=100_000)]

    assert (91.0, 61.0) == (lag(cycles), lag(cycles, but="b"))
    assert 0.0 == lag(cycles[:1])


def test_counts_differ_by_what_either_end_has_more():
    assert 0 == differing({"up": 3}, {"up": 3})
    assert 6 == differing({"up": 3, "down": 1}, {"up": 1, "left": 3})


def test_figures_are_ratios_of_medians_of_the_same_run_and_all_that_differs_counts():
    def mine(wall: float, wrong: int) -> Spent:
        cpu = {"member": 1.0, "python": 0.5, "store": 0.5, "proof": 0.5}
        return Spent((wall, wall), cpu, 10.0, 200.0, (cycle(1000, a=1), cycle(2000, a=1)), Counted(100, wrong))

    peer = Spent((4.0,), {"member": 4.0, "store": 1.0}, summed=10.0)
    rounds = {"ours": [mine(1.0, 0), mine(2.0, 1), mine(9.0, 0)], "federate": [peer], "remote_write": [peer]}

    told = figures(rounds, CaughtUp(1000.0, 60.0, 61.0, Counted(50, 2)), Opened({"pods": 1.5, "nodes": 0.5}))

    assert (0.5, 0.5) == (told["cycle_vs_federate"], told["cycle_vs_remote_write"])
    assert 0.2 == told["cycle_vs_federate_sum"]
    assert (0.25, 0.125) == (told["python_share"], told["python_of_wall"])
    assert (3, 350) == (told["samples_wrong"], told["samples_counted"])
    assert 1.5 == told["page_s"]


@pytest.mark.parametrize(("clusters", "last"), [(2, "same-city"), (3, "remote"), (10, "member-10")])
def test_a_size_names_its_clusters(clusters, last):
    names = Size(1000, clusters).names

    assert (clusters, clusters, last) == (len(names), len(set(names)), names[-1])
