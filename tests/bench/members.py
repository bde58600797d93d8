"""The clusters of the benchmark, each a real Prometheus that scrapes an exporter, and stores, each a VictoriaMetrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from flotilla.fleet import Fleet, parse_fleet
from flotilla.metrics.config import COLLECTED
from lab.binaries import Binaries
from tests.bench.exposition import nodes_for
from tests.bench.programs import Program, python

NAMES = ("production", "same-city", "remote")
JOBS = ("cadvisor", "resource", "node-exporter")
OWN = "prometheus_(build_info|tsdb_lowest_timestamp_seconds)"  # what is collected of a Prometheus itself


@dataclass
class Ground:
    """Where programs run: a folder, the binaries, seconds between scrapes and between beats."""

    folder: Path
    binaries: Binaries
    scrape: float
    beat: float

    def prometheus(self, name: str, config: dict[str, Any], *flags: str) -> Program:
        """Return a Prometheus that runs with a configuration."""
        program = Program(name, self.folder)
        write_config(program, config)
        program.start(
            [
                self.binaries["prometheus"],
                f"--config.file={program.folder / 'config.yaml'}",
                f"--storage.tsdb.path={program.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{program.port}",
                "--web.enable-lifecycle",
                "--log.level=warn",
                *flags,
            ],
            "/-/ready",
        )
        return program

    @contextmanager
    def store(self, name: str) -> Iterator[Program]:
        """Yield a store, with the settings of the lab's; ended afterwards, its data stays."""
        program = Program(name, self.folder)
        flags = {
            "httpListenAddr": f"127.0.0.1:{program.port}",
            "storageDataPath": program.folder / "data",
            "retentionPeriod": "30d",
            "dedup.minScrapeInterval": "1ms",
            "search.latencyOffset": "0s",
            "loggerLevel": "WARN",
        }
        program.start([self.binaries["victoria-metrics"], *(f"-{name}={value}" for name, value in flags.items())], "/health")
        try:
            yield program
        finally:
            program.end()

    def wait(self, beats: float = 1.0) -> None:
        """Let some beats pass."""
        time.sleep(beats * self.beat)


@dataclass
class Member:
    """One cluster: its Prometheus, and what that scrapes."""

    name: str
    program: Program
    config: dict[str, Any]

    def push(self, url: str | None) -> None:
        """Have it push by remote_write of its own to a store, or to none."""
        pushing = {"remote_write": [{"url": f"{url}/api/v1/write"}]} if url else {}
        self.reload(self.config | pushing)

    def reload(self, config: dict[str, Any]) -> None:
        """Have another configuration."""
        write_config(self.program, config)
        httpx.post(f"{self.program.url}/-/reload", timeout=60, trust_env=False).raise_for_status()


@dataclass
class Members:
    """All clusters that are scraped, and the exporter of them all."""

    ground: Ground
    exporter: Program
    each: list[Member] = field(default_factory=list)

    def fleet(self, store: Program, **metrics: Any) -> Fleet:
        """Return the fleet of these clusters and a store."""
        return parse_fleet(self.fleet_text(store, **metrics), "fleet.yaml")

    def fleet_text(self, store: Program, **metrics: Any) -> str:
        """Return its fleet file; ``metrics`` are further settings of them."""
        roles = ["production", "same-city", *["remote"] * len(self.each)]
        clusters = [
            {
                "name": one.name,
                "role": role,
                "site": {"name": f"centre-{number}", "city": "hangzhou"},
                "metrics": {"url": one.program.url},
            }
            for number, (one, role) in enumerate(zip(self.each, roles, strict=False), 1)
        ]
        settings = {"store": {"url": store.url}, "beat": self.ground.beat, "backfill": 60} | metrics
        return yaml.safe_dump({"name": "bench", "clusters": clusters, "metrics": settings})

    def cpu(self) -> float:
        """Return the seconds of CPU that the members have used together."""
        return sum(one.program.cpu() for one in self.each)


@contextmanager
def members(ground: Ground, series: int, names: Sequence[str] = NAMES) -> Iterator[Members]:
    """Yield clusters of so many series each, all scraped once; ended afterwards."""
    nodes = nodes_for(series)
    with ExitStack() as ends:
        exporter = Program("exporter", ground.folder)
        ends.callback(exporter.end)
        exporter.start(python("tests.bench.exporter", exporter.port, nodes, *names), "/")
        found = Members(ground, exporter)
        for name in names:
            config = member_config(ground, name, exporter, nodes)
            member = Member(name, ground.prometheus(name, config, "--storage.tsdb.retention.time=1d"), config)
            ends.callback(member.program.end)
            found.each.append(member)
        time.sleep(ground.scrape + 2)
        yield found


def member_config(ground: Ground, name: str, exporter: Program, nodes: int) -> dict[str, Any]:
    """Return the configuration of a cluster's Prometheus: targets as its service discovery would find them."""
    every = {"scrape_interval": f"{ground.scrape:g}s", "scrape_timeout": f"{ground.scrape:g}s"}
    state = _target(exporter, f"/{name}/kube-state-metrics/", "kube-state-metrics", "10.2.0.1:8080")
    jobs = [_job("kube-state-metrics", [state])]
    for job in JOBS:
        each = [
            _target(exporter, f"/{name}/{job}/node-{one}", job, f"10.0.0.{one}:10250", f"node-{one}") for one in range(nodes)
        ]
        jobs.append(_job(job, each))
    own = {"source_labels": ["__name__"], "regex": OWN, "action": "keep"}
    jobs.append(_job("prometheus", [], metric_relabel_configs=[own]))
    return {
        "global": every | {"external_labels": {"cluster": name, "prometheus_replica": "0"}},
        "scrape_configs": jobs,
    }


def federating_config(ground: Ground, each: Sequence[Member], store: Program) -> dict[str, Any]:
    """Return the configuration of a Prometheus that federates all that is collected, and pushes it to a store."""
    beat = f"{ground.beat:g}s"
    job = {
        "job_name": "federate",
        "honor_labels": True,
        "metrics_path": "/federate",
        "params": {"match[]": list(COLLECTED)},
        "static_configs": [{"targets": [f"127.0.0.1:{one.program.port}" for one in each]}],
    }
    return {
        "global": {"scrape_interval": beat, "scrape_timeout": beat},
        "scrape_configs": [job],
        "remote_write": [{"url": f"{store.url}/api/v1/write"}],
    }


def write_config(program: Program, config: dict[str, Any]) -> None:
    """Write what a Prometheus reads; its own port stands where no target is named."""
    for job in config["scrape_configs"]:
        if not job["static_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{program.port}"]}]
    (program.folder / "config.yaml").write_text(yaml.safe_dump(config))


def _job(name: str, targets: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"job_name": name, "honor_labels": True, "static_configs": targets} | more


def _target(exporter: Program, path: str, service: str, instance: str, node: str = "") -> dict[str, Any]:
    labels = {"__metrics_path__": path, "instance": instance, "service": service, "endpoint": "http-metrics"}
    return {"targets": [f"127.0.0.1:{exporter.port}"], "labels": labels | ({"node": node} if node else {})}
