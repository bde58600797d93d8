"""Many services at once: how long a keeper takes to wire them all, what it costs at rest, how it keeps up with churn.

Objects only: Services without selector and hand-made slices, whose addresses nobody answers at. So nothing is probed.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from flotilla.objects import Manifest
from flotilla.services.names import SERVICE_LABEL, SOURCE_LABEL
from tests.bench.stand import NATIVE, SLICES, Ear, Members, Stand, p50, p99, tell
from tests.tasks.fleetset import Member, Process

ENDPOINTS = 20
WRITES = 150  # a second that churn asks of the clusters together: 50 changes over three, 5 over thirty
REST, CHURN = 30.0, 20.0  # seconds
PATIENCE = 1800.0  # seconds that the first convergence may take
EVERYWHERE = f"{SLICES}/endpointslices"


@dataclass(frozen=True)
class Crowd:
    """Exported services, spread over clusters and namespaces; the clusters take turns in being the source."""

    rooms: list[Members]
    count: int

    @property
    def clusters(self) -> list[str]:
        """The clusters' names, in the order of the fleet."""
        return list(self.rooms[0])

    def source(self, number: int) -> Member:
        """Return the cluster that exports a service, and the namespace there."""
        return self.rooms[number % len(self.rooms)][self.clusters[number % len(self.clusters)]]

    def make(self) -> None:
        """Have all services, their slices and exports."""
        with ThreadPoolExecutor(12) as pool:
            for number, _ in enumerate(pool.map(self._make, range(self.count))):
                tell("services", number + 1, self.count)

    def change(self, number: int, change: int) -> None:
        """Change a service's slice."""
        member = self.source(number)
        path = member.inside(SLICES, "endpointslices", f"s{number}")
        member.call("PATCH", path, {"endpoints": _ends(number, change)}, content_type="application/merge-patch+json")

    def _make(self, number: int) -> None:
        member, name = self.source(number), f"s{number}"
        member.service(name, selector=None)
        slice_ = {
            "metadata": {"name": name, "labels": NATIVE | {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": _ends(number, 0),
        }
        body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"} | slice_
        member.call("POST", member.inside(SLICES, "endpointslices"), body)
        member.export(name)


def _ends(number: int, change: int) -> list[dict[str, Any]]:
    """Return a service's endpoints; the host names tell the changes apart."""
    spots = range(number * ENDPOINTS, (number + 1) * ENDPOINTS)
    addresses = [f"198.{18 + (spot >> 16)}.{spot >> 8 & 255}.{spot & 255}" for spot in spots]  # RFC 2544: for benchmarks
    return [{"addresses": [one], "conditions": {"ready": True}, "hostname": f"change-{change}"} for one in addresses]


@dataclass(frozen=True)
class Cost:
    """What a crowd costs. Times in seconds, memory in MiB, CPU as a share of one core; lags from slice to all slices.

    ``leading`` is when the keeper begins to wire, ``everywhere`` when every cluster holds every slice, ``settled`` when
    nothing is left to be written; all since its process was started. ``behind`` are changes that a later one overtook, or
    that did not arrive.
    """

    services: int
    clusters: int
    leading: float
    everywhere: float
    settled: float
    written: int
    memory: float
    peak: float
    cpu_rest: float
    changes: float
    lag_p50: float
    lag_p99: float
    behind: int
    cpu_churn: float


def cost(stand: Stand, crowd: Crowd) -> Cost:
    """Start a keeper beside a crowd that waits for it, and measure what follows."""
    ears = {name: Ear(member.connection, EVERYWHERE, _marks) for name, member in crowd.rooms[0].items()}
    try:
        began = time.monotonic()
        with stand.keeper(probes={"enabled": False}) as keeper:
            return _measured(crowd, ears, keeper, began)
    finally:
        for ear in ears.values():
            ear.close()


def _measured(crowd: Crowd, ears: dict[str, Ear], keeper: Process, began: float) -> Cost:
    leading = time.monotonic() - began
    for ear in ears.values():
        ear.reach(crowd.count, PATIENCE)
    everywhere = max(max(ear.heard.values()) for ear in ears.values()) - began
    settled, written = _settled(keeper) - began, keeper.state["counts"]["written"]
    assert keeper.process
    process = psutil.Process(keeper.process.pid)
    rest = _share(process, partial(time.sleep, REST))
    busy = _share(process, partial(_churn, crowd, ears))
    lags = _lags(crowd, ears)
    return Cost(
        services=crowd.count,
        clusters=len(crowd.clusters),
        leading=leading,
        everywhere=everywhere,
        settled=settled,
        written=written,
        memory=process.memory_info().rss / 2**20,
        peak=_peak(process.pid),
        cpu_rest=rest,
        changes=_rate(crowd),
        lag_p50=p50(lags),
        lag_p99=p99(lags),
        behind=_changes(crowd) - len(lags),
        cpu_churn=busy,
    )


def _settled(keeper: Process) -> float:
    """Return since when the keeper has nothing to write: it says so every other second."""
    before, since = -1, time.monotonic()
    deadline = since + PATIENCE
    while time.monotonic() < deadline:
        state = keeper.state
        idle = not state["waiting"] and not any(one["writing"] for one in state["clusters"].values())
        written = state["counts"]["written"]
        if not idle or written != before:
            before, since = written, time.monotonic()
        elif time.monotonic() - since > 6:
            return since
        time.sleep(0.5)
    raise AssertionError(f"not settled within {PATIENCE} s: {keeper.state}")


def _rate(crowd: Crowd) -> float:
    return WRITES / len(crowd.clusters)


def _changes(crowd: Crowd) -> int:
    return int(_rate(crowd) * CHURN)


def _churn(crowd: Crowd, ears: dict[str, Ear]) -> None:
    """Change slices at an even pace, each service in its turn, and wait for the last ones to arrive."""
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        for change in range(1, _changes(crowd) + 1):
            time.sleep(max(0.0, began + change / _rate(crowd) - time.monotonic()))
            pool.submit(crowd.change, change * 7 % crowd.count, change)
    for name, ear in ears.items():
        ear.wait((crowd.source(_changes(crowd) * 7 % crowd.count).name, _changes(crowd)), 60)
        tell(f"churn heard in {name}", 1, 1)
    time.sleep(2)


def _lags(crowd: Crowd, ears: dict[str, Ear]) -> list[float]:
    """Return the seconds from each native change to the last imported one, of those that arrived in every cluster."""
    lags = []
    for change in range(1, _changes(crowd) + 1):
        source = crowd.source(change * 7 % crowd.count).name
        native = ears[source].heard.get(("", change))
        imported = [ear.heard.get((source, change)) for name, ear in ears.items() if name != source]
        if native is not None and None not in imported:
            lags.append(max(one for one in imported if one is not None) - native)
    return lags


def _marks(body: Manifest) -> Iterator[Hashable]:
    """Yield of an imported slice its service; of any slice where it comes from ("" for here) and the number of its change."""
    labels, ends = body["metadata"]["labels"], body.get("endpoints") or []
    change = int(str(ends[0].get("hostname", "")).partition("-")[2] or -1) if len(ends) == ENDPOINTS else -1
    if change == 0 and SOURCE_LABEL in labels:
        yield body["metadata"]["namespace"], labels[SERVICE_LABEL]
    elif change > 0:
        yield labels.get(SOURCE_LABEL, ""), change


def _share(process: psutil.Process, act: Any) -> float:
    """Return the share of one core that a process uses while something is done."""
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    act()
    return float(sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)


def _peak(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def rooms_for(count: int) -> Sequence[str]:
    """Return names of namespaces for so many services: a hundred in each."""
    return [f"crowd-{number}" for number in range(max(1, count // 100))]
