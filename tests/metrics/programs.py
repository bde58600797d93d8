"""Prometheus and VictoriaMetrics as processes of one's own on loopback: started, ended and killed each by its own pid."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import cramjam
import yaml

import lab.binaries
from flotilla.metrics.config import StoreKind
from lab.hub import _flags
from lab.layout import Hub
from tests.flotilla.prompb import WriteRequest

PATIENCE = 30.0  # seconds; below 2 is usual
OUT_OF_ORDER = {"storage": {"tsdb": {"out_of_order_time_window": "48h"}}}


def until(holds: Callable[[], object], what: str = "so") -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not {what} after {PATIENCE} s"
        time.sleep(0.05)


@cache
def binary(name: str) -> str:
    return str(lab.binaries.ensure(print)[name])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def asked(url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """Return status and body of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@dataclass
class Program:
    """A process that listens on a port of its own, before and after it is ended and started again."""

    command: list[str]
    port: int
    folder: Path
    ready: str
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Have it answer; ``more`` are flags of this time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.command, *more], cwd=self.folder, stdout=log, stderr=log)
        until(self._is_ready, f"ready: {self.command[0]}")

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def stop(self) -> None:
        """Have it end as it likes to."""
        if self.process:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    def kill(self) -> None:
        """End it at once, kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def _is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return bool(asked(self.url + self.ready)[0] == 200)
        except (OSError, http.client.HTTPException):
            return False


def prometheus(folder: Path, config: Mapping[str, Any]) -> Program:
    """Return a Prometheus that takes remote_write; it is not running yet."""
    port = free_port()
    command = [
        binary("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--scrape.discovery-reload-interval=100ms",  # else the first scrape is five seconds after the start
        "--log.level=warn",
    ]
    made = Program(command, port, folder, "/-/ready")
    configure(made, config)
    return made


def configure(made: Program, config: Mapping[str, Any]) -> None:
    """Have a Prometheus begin with a configuration, which may name its own port."""
    made.folder.mkdir(parents=True, exist_ok=True)
    (made.folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config)))


@dataclass(frozen=True)
class _OwnHub(Hub):
    own: int = 0

    def port(self, part: str) -> int:
        return self.own


def victoria_metrics(folder: Path, *more: str) -> Program:
    """Return a VictoriaMetrics as the lab starts it; it is not running yet."""
    port = free_port()
    flags = [f"-{name}={value}" for name, value in _flags(_OwnHub(folder, 0, own=port), "victoria-metrics").items()]
    return Program([binary("victoria-metrics"), *flags, *more], port, folder, "/health")


@dataclass
class StoreProgram:
    """A store of one of the two kinds."""

    kind: StoreKind
    program: Program

    @property
    def url(self) -> str:
        return self.program.url

    def shown(self) -> None:
        """Have it show all that it was given: VictoriaMetrics takes up to a second otherwise."""
        if self.kind is StoreKind.VICTORIA_METRICS:
            assert asked(f"{self.url}/internal/force_flush")[0] == 200


def store(kind: StoreKind, folder: Path) -> StoreProgram:
    """Return a store of one's own; it is not running yet."""
    if kind is StoreKind.VICTORIA_METRICS:
        return StoreProgram(kind, victoria_metrics(folder))
    return StoreProgram(kind, prometheus(folder, OUT_OF_ORDER))


def write(url: str, series: Iterable[Any]) -> None:
    """Write series by remote_write; all must be taken."""
    body = bytes(cramjam.snappy.compress_raw(WriteRequest(timeseries=list(series)).SerializeToString()))
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    status, said = asked(f"{url}/api/v1/write", "POST", body, headers)
    assert status in (200, 204), said


def query(url: str, promql: str, at: float) -> list[dict[str, Any]]:
    """Return the result of an instant query."""
    status, said = asked(f"{url}/api/v1/query?{urlencode({'query': promql, 'time': f'{at:.3f}', 'nocache': '1'})}")
    assert status == 200, said
    return list(json.loads(said)["data"]["result"])
