"""Where services are measured: the lab's clusters, namespaces that are gone afterwards, a keeper as a process of its own."""

from __future__ import annotations

import json
import math
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

import lab
from flotilla.fleet import Fleet, parse_fleet
from flotilla.objects import Manifest
from flotilla.services.parse import parse_lease
from lab.status import LabStatus
from tasks.clusters import Connection, connect
from tasks.leadership import NAME, NAMESPACE
from tasks.leases import KIND
from tasks.streams import Stream
from tests.conftest import ROOT
from tests.tasks.fleetset import CLUSTERS, Member, Process, until

SLICES = "/apis/discovery.k8s.io/v1"
NATIVE = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
GONE = 600.0  # seconds that a namespace may take to go, with thousands of objects in it
Members = dict[str, Member]


@dataclass(frozen=True)
class Stand:
    """The lab, the fleet file's view of it, a folder for what the keeper writes, and a word that no other run has."""

    running: LabStatus
    document: dict[str, Any]
    folder: Path
    run: str

    @property
    def fleet(self) -> Fleet:
        """The fleet, parsed."""
        return parse_fleet(yaml.safe_dump(self.document), "fleet.yaml")

    @contextmanager
    def room(self, name: str) -> Iterator[Members]:
        """Yield a namespace in every cluster, by cluster; gone afterwards."""
        with self.rooms([name]) as every:
            yield every[0]

    @contextmanager
    def rooms(self, names: Sequence[str]) -> Iterator[list[Members]]:
        """Yield several namespaces in every cluster; gone afterwards."""
        connections = [connect(cluster) for cluster in self.fleet.clusters]
        every = [{one.name: Member(one, f"bench-{self.run}-{name}") for one in connections} for name in names]
        flat = [member for members in every for member in members.values()]
        try:
            for member in flat:
                member.open()
            yield every
        finally:
            for member in flat:
                member.close()
            until(lambda: not any(member.get(f"/api/v1/namespaces/{member.namespace}") for member in flat), GONE)

    @contextmanager
    def keeper(self, **services: Any) -> Iterator[Process]:
        """Yield a keeper that wires services, with changes to the `services` of the fleet file; ended afterwards."""
        document = self.document | {"services": self.document["services"] | services}
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        process = Process(folder, document)
        try:
            yield process.start().leading(60)
        finally:
            process.end()


@contextmanager
def stand(keep: str = "") -> Iterator[Stand]:
    """Yield the lab, brought up if it is not; ends the program where another keeper leads.

    ``keep`` is a folder in which the keepers' logs stay.
    """
    running = lab.ensure()
    if running.bridge is None:
        raise SystemExit("this lab has simulated nodes only: services are measured from pods, so real nodes are needed")
    os.environ["KUBECONFIG"] = str(running.kubeconfig)
    document = yaml.safe_load((ROOT / "deployments" / "fleet.yaml").read_text())
    try:
        with tempfile.TemporaryDirectory() as passing:
            folder = Path(keep or passing)
            folder.mkdir(parents=True, exist_ok=True)
            here = Stand(running, document, folder, secrets.token_hex(3))
            refuse_beside_another([connect(cluster) for cluster in here.fleet.clusters])
            yield here
    finally:
        if not running.reused:
            lab.down()


def refuse_beside_another(connections: Sequence[Connection]) -> None:
    """End the program where another keeper leads: it would be that one that is measured."""
    for connection in connections:
        if leader := holder(connection):
            raise SystemExit(
                f"another keeper leads in {connection.name}: {leader}; end it first (`make down` ends Flotilla's own)"
            )


def holder(connection: Connection) -> str:
    """Return who leads in a cluster, "" if nobody does."""
    answer = connection.request("GET", KIND.path(NAMESPACE, NAME))
    if answer.status != 200:
        return ""
    lease = parse_lease(answer.body)
    fresh = lease.renewed and (datetime.now(UTC) - lease.renewed).total_seconds() < lease.duration
    return lease.holder if fresh else ""


class Ear:
    """A watch: when each thing was first told, by the marks that ``marks`` finds in an object.

    Times are of the one monotonic clock of this machine, taken before an event is decoded.
    """

    def __init__(self, connection: Connection, path: str, marks: Callable[[Manifest], Iterable[Hashable]]) -> None:
        self._connection, self._path, self._marks = connection, path, marks
        self._told = threading.Condition()
        self.heard: dict[Hashable, float] = {}
        self._stream = self._opened()
        threading.Thread(target=self._listen, name=f"ear-{connection.name}", daemon=True).start()

    def wait(self, mark: Hashable, seconds: float = 30.0) -> float:
        """Return when something was told; raises AssertionError where it is not within ``seconds``."""
        with self._told:
            assert self._told.wait_for(lambda: mark in self.heard, seconds), f"{self._connection.name}: {mark} not told"
            return self.heard[mark]

    def reach(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many things were told."""
        with self._told:
            assert self._told.wait_for(lambda: len(self.heard) >= count, seconds), f"{self._connection.name}: {self.heard}"

    def close(self) -> None:
        """Hear no more."""
        self._stream.close()

    def _opened(self) -> Stream:
        listed = self._connection.request("GET", self._path, query={"limit": "1"})
        assert listed.status == 200, listed.message
        query = {"watch": "1", "resourceVersion": listed.body["metadata"]["resourceVersion"], "timeoutSeconds": "3600"}
        stream = self._connection.stream(self._path, query=query, timeout=3600)
        assert isinstance(stream, Stream), stream
        return stream

    def _listen(self) -> None:
        for line in self._stream:
            now = time.monotonic()
            marks = list(self._marks(json.loads(line)["object"]))
            with self._told:
                for mark in marks:
                    self.heard.setdefault(mark, now)
                self._told.notify_all()


def tell(what: str, number: int, count: int) -> None:
    """Say how far it is, at every tenth and at the end."""
    if number == count or number % max(1, count // 10) == 0:
        print(f"{what}: {number} of {count}", file=sys.stderr, flush=True)


def p50(seconds: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(seconds)


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile: the least value that 99 % of all do not exceed."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


__all__ = ["CLUSTERS", "NATIVE", "SLICES", "Ear", "Members", "Stand", "p50", "p99", "stand", "tell", "until"]
