"""Clusters that push: real Prometheus in agent mode write to the gateway, and the store has what they scraped, once."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from flotilla.errors import InvalidInput
from flotilla.fleet import Fleet, parse_fleet
from flotilla.metrics import beats, wire
from flotilla.metrics.own import encoded_series
from flows.collector import Collector
from flows.gateway import Gateway
from lab import binaries, processes
from lab import hub as hubs
from lab.layout import Hub
from tasks.doors import now
from tasks.store import store_of
from tests.conftest import ROOT
from tests.flows.hubset import free_ports, opened, shown

pytestmark = pytest.mark.lab

TOKENS = {"PUSH_A": "t0ken-a", "PUSH_B": "t0ken-b"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with opened(tmp_path / "hub", "victoria-metrics") as one:
        yield one


@pytest.fixture
def fleet(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Two clusters that push."""
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)
    plain = yaml.safe_load((ROOT / "deployments" / "fleet.yaml").read_text())
    plain["clusters"] = plain["clusters"][:2]
    for cluster, token in zip(plain["clusters"], TOKENS, strict=True):
        cluster["metrics"] = {"pushes": True, "pushTokenEnv": token, "replicaLabel": "replica"}
    gateway = {"listen": f"127.0.0.1:{free_ports(1)}"}
    plain["metrics"] = {"store": {"url": hub.store}, "gateway": gateway, "beat": 5, "settle": 2, "staleAfter": 10}
    return parse_fleet(json.dumps(plain), "fleet.yaml")


@pytest.fixture
def collector(fleet: Fleet, tmp_path: Path) -> Iterator[Collector]:
    one = Collector(fleet, tmp_path / "state")
    with one.gateway.open():
        yield one


@pytest.fixture
def agent(fleet: Fleet, hub: Hub, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start an agent that scrapes the store each second and pushes."""
    running: list[subprocess.Popen[bytes]] = []

    def start(token: str, **labels: str) -> subprocess.Popen[bytes]:
        folder = tmp_path / f"agent-{len(running)}"
        folder.mkdir()
        write = {
            "url": f"http://{fleet.metrics.gateway.listen}/api/v1/write",
            "authorization": {"credentials": token},
            "queue_config": {"batch_send_deadline": "1s", "max_backoff": "1s"},
        }
        scrape = {"job_name": "store", "static_configs": [{"targets": [f"127.0.0.1:{hub.port('victoria-metrics')}"]}]}
        config = {"global": {"scrape_interval": "1s", "external_labels": labels}, "scrape_configs": [scrape]}
        (folder / "config.json").write_text(json.dumps(config | {"remote_write": [write]}))
        flags = ["--agent", f"--config.file={folder}/config.json", f"--storage.agent.path={folder}/data", "--log.level=error"]
        command = [
            str(binaries.ensure(lambda _: None)["prometheus"]),
            *flags,
            f"--web.listen-address=127.0.0.1:{free_ports(1)}",
        ]
        running.append(subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def post(fleet: Fleet, body: bytes, token: str) -> tuple[int, str]:
    host, _, port = fleet.metrics.gateway.listen.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    connection.request("POST", "/api/v1/write", body, {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_what_an_agent_pushes_is_stamped_with_the_cluster_of_its_token(collector, agent, fleet):
    agent("t0ken-a", cluster="what it believes", replica="a")

    (found, *_) = shown(collector.store, 'count_over_time(up{job="store"}[1m]) >= 3')
    done = collector.cycle().done

    assert "production" == found["metric"]["cluster"]
    assert "what it believes" == found["metric"]["exported_cluster"]
    assert "centre-1" == found["metric"]["site"]
    assert "replica" not in found["metric"]
    assert "" == done["production"].error
    assert done["production"].samples > 0
    assert "nothing was pushed since the collector began" == done["same-city"].error
    shown(
        collector.store, "count(flotilla_watermark_timestamp_seconds > 1e9)", lambda seen: seen and seen[0]["value"][1] == "1"
    )


def test_of_a_pair_one_is_listened_to_until_it_is_silent(collector, agent, monkeypatch):
    monkeypatch.setattr(beats, "PATIENCE", 4000)
    first = agent("t0ken-a", replica="a")
    shown(collector.store, 'count_over_time(up{job="store"}[1m]) >= 3')
    agent("t0ken-a", replica="b")
    shown(collector.store, 'count_over_time(up{job="store"}[1m]) >= 8')
    second = now() // 1000
    first.kill()
    shown(collector.store, f'timestamp(up{{job="store"}}) > {second + 10}')

    (newest,) = collector.store.engine.query('count_over_time(up{job="store"}[8s])')
    assert float(newest["value"][1]) <= 9  # a scrape a second, not two


def test_what_is_pushed_while_the_store_is_away_is_there_when_it_is_back(collector, agent, hub):
    agent("t0ken-b", replica="a")
    shown(collector.store, 'count_over_time(up{job="store"}[1m]) >= 3')
    processes.stop(hub, "victoria-metrics", grace=0)
    begin = now() // 1000
    time.sleep(5)
    end = now() // 1000
    hubs.start(hub, "victoria-metrics", binaries.ensure(lambda _: None))

    shown(collector.store, f'timestamp(up{{job="store"}}) > {end + 1}')  # what an agent pushes comes in its order
    (down,) = collector.store.engine.query(f'count_over_time(up{{job="store"}}[{end - begin}s])', str(end))
    assert float(down["value"][1]) >= end - begin - 1


def test_who_has_no_token_or_no_samples_is_refused_and_told_why(collector, fleet):
    body = wire.written([encoded_series({"__name__": "up"}, [(now(), 1.0)])])

    assert 401 == post(fleet, body, "t0ken-c")[0]
    status, told = post(fleet, b"hello", "t0ken-a")
    assert 400 == status
    assert "remote_write of production: body: is no WriteRequest" in told
    assert (200, '{"samples": 1}') == post(fleet, body, "t0ken-a")
    assert (200, '{"samples": 0}') == post(fleet, wire.written([]), "t0ken-b")


def test_tokens_are_asked_for_before_anything_begins(fleet, monkeypatch):
    store = store_of(fleet.metrics.store)
    monkeypatch.setenv("PUSH_B", "t0ken-a")
    with pytest.raises(InvalidInput, match="PUSH_B: is not its own; allowed: another token than that of production"):
        Gateway(fleet, store).intake()
    monkeypatch.delenv("PUSH_B")
    with pytest.raises(InvalidInput, match="PUSH_B: is not set; allowed: the token that same-city shows when it writes"):
        Gateway(fleet, store).intake()
