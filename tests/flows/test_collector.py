"""The collector against real Prometheus and the real store: nothing lost, nothing twice, whatever dies."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lab
from flotilla.fleet import Fleet
from flotilla.metrics import completeness
from flotilla.metrics.completeness import Outcome
from flotilla.metrics.config import Metrics
from flotilla.metrics.spans import Span
from flows.collector import Collector
from flows.proving import Counter
from tasks.doors import now
from tests.conftest import ROOT, FleetLab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]  # waits end as soon as they may; a busy machine takes its time

SETTLE = 2.0
OVERLAP = 90  # seconds; the kubelet's own samples carry when it last looked: half a minute ago, a busy machine's longer
WINDOW = 10_000


@pytest.fixture
def fleet(fleet_lab: FleetLab, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The lab's fleet, read without waiting for slow scrapes; its store is the lab's."""
    hub = lab.look().hub
    assert hub is not None
    monkeypatch.setenv("FLOTILLA_STORE", hub.store)
    metrics = Metrics.model_validate(
        {"store": {"urlEnv": "FLOTILLA_STORE"}, "settle": SETTLE, "overlap": OVERLAP, "backfill": 60, "beat": 5}
    )
    return fleet_lab.fleet.model_copy(update={"metrics": metrics})


@pytest.fixture
def collector(fleet: Fleet, tmp_path: Path) -> Collector:
    one = Collector(fleet, tmp_path)
    until(lambda: all(not done.error and done.series for done in one.cycle().done.values()))
    return one


@pytest.fixture
def mended() -> Iterator[None]:
    """Whatever a test breaks works again afterwards."""
    yield
    lab.up()


def until(holds: Callable[[], object], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(1)


def counts(collector: Collector, cluster: str, window: Span) -> tuple[dict[str, int], dict[str, int]]:
    """Return what cluster and store hold of a window, by metric."""
    selectors = collector.fleet.metrics.selectors
    there = Counter(collector.readers[cluster].member.engine, selectors).counted(window)
    here = [one.with_label("cluster", cluster) for one in selectors]
    return there, Counter(collector.store.engine, here).counted(window)


def collected(collector: Collector, until_when: int) -> None:
    """Collect until nothing before a time is missing."""
    until(
        lambda: (
            collector.cycle()
            and all(one.kept and one.kept.progress.complete(until_when) >= until_when for one in collector.readers.values())
        ),
        240,
    )


def same(collector: Collector, window: Span) -> None:
    """Assert that the store comes to show what the clusters hold of a window; it shows what it was given a little later."""
    for cluster in collector.readers:
        deadline = time.monotonic() + 60
        there, here = counts(collector, cluster, window)
        while here != there and time.monotonic() < deadline:
            time.sleep(1)
            there, here = counts(collector, cluster, window)
        assert there
        assert there == here


def test_samples_are_stamped_with_where_they_come_from_and_with_nothing_else(collector):
    stamped = 'count by (cluster, site, role) (up{job="kubelet"})'
    until(lambda: collector.cycle() and len(collector.store.engine.query(stamped)) >= len(collector.readers))
    found = [one["metric"] for one in collector.store.engine.query(stamped)]
    replicas = collector.store.engine.query('{__name__=~"up|kube_pod_info",prometheus_replica!=""}')

    assert [("production", "centre-1"), ("remote", "centre-3"), ("same-city", "centre-2")] == sorted(
        (one["cluster"], one["site"]) for one in found
    )
    assert [] == replicas


def test_a_site_that_was_cut_off_and_a_collector_that_is_killed_again_and_again_cost_nothing_and_double_nothing(
    collector, mended, fleet, fleet_lab, tmp_path
):
    begin = now() - 30_000
    lab.cut("remote")
    time.sleep(20)
    away = collector.cycle().done
    lab.heal("remote")
    file = tmp_path / "fleet.yaml"
    text = Path(fleet_lab.fleet_file).read_text()
    more = f"\n  settle: {SETTLE}\n  overlap: {OVERLAP}\n  beat: 5"
    file.write_text(text.replace("urlEnv: FLOTILLA_STORE}", "urlEnv: FLOTILLA_STORE}" + more))
    program = [sys.executable, "-c", "from flows.cli import main; main()"]
    for _ in range(5):
        process = subprocess.Popen(
            [*program, "collect", "--fleet", str(file), "--state", str(tmp_path)],
            cwd=ROOT, env=dict(os.environ), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(4 + secrets.randbelow(40) / 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = now() - 25_000
    collected(Collector(fleet, tmp_path), end)

    assert away["remote"].error
    assert {"production": "", "same-city": ""} == {name: away[name].error for name in ("production", "same-city")}
    same(collector, Span(begin, end))


def test_what_a_killed_store_had_acknowledged_and_lost_is_noticed_and_written_again(collector, mended, monkeypatch):
    monkeypatch.setattr(completeness, "WINDOW", WINDOW)
    until(lambda: all(done.series for done in collector.cycle().done.values()))
    lab.stop("hub", "victoria-metrics", kill=True)
    down = collector.cycle().done
    lab.start("hub", "victoria-metrics")
    end = now() // WINDOW * WINDOW
    collected(collector, end)
    seen = []

    def proved() -> bool:
        seen.extend(proof for done in collector.cycle().done.values() for proof in done.proofs)
        return all(not one.kept.ledger.due(one.kept.progress) for one in collector.readers.values())

    until(proved)

    assert all("does not answer" in one.error for one in down.values())
    assert not [str(proof) for proof in seen if proof.outcome is Outcome.SHORT]
    same(collector, Span(end - 6 * WINDOW, end))


def test_what_came_too_late_for_the_rules_is_shown_to_them_once_all_of_it_is_there(fleet, tmp_path):
    (tmp_path / "rules.yaml").write_text(
        """
groups:
  - name: late
    rules:
      - record: "cluster:test_kubelets:up"
        expr: sum by (cluster) (up{job="kubelet"}) and on (cluster) (flotilla:cluster_fresh:bool == 1)
      - {alert: TestKubelets, expr: "cluster:test_kubelets:up > 0", for: 10s}
"""
    )
    metrics = {"rules": (str(tmp_path),), "beat": 5, "stale_after": 20, "backfill": 120}
    collector = Collector(fleet.model_copy(update={"metrics": fleet.metrics.model_copy(update=metrics)}), tmp_path / "state")
    cycles = []

    until(lambda: cycles.append(collector.cycle()) or cycles[-1].unheard)
    once = {one.labels["cluster"] for one in cycles[-1].unheard}
    until(lambda: collector.cycle() and not any(one.kept.late for one in collector.readers.values()))

    assert once <= set(collector.readers)
    assert not any(one.kept.late for one in Collector(collector.fleet, tmp_path / "state").readers.values())
