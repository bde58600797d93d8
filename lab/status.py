"""What is so: each cluster looked at, never remembered."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import addons, agents, api, cables, databases, dnsservers, faults, network, processes
from lab import hub as hubs
from lab.errors import LabError
from lab.layout import AGENT, ClusterLayout, Hub, Layout
from lab.processes import Life

UP, DOWN, CUT, DEGRADED, STOPPED = "up", "down", "cut", "degraded", "stopped"


@dataclass(frozen=True)
class ClusterStatus:
    """One cluster as it was seen; `reason` says what is wrong unless it is up."""

    name: str
    context: str
    state: str
    reason: str
    server: str
    public_port: int
    real_nodes: int
    simulated_nodes: int | None
    node: str | None
    node_address: str | None
    namespace: str | None
    uplink: str | None
    cgroup: str | None
    containerd_socket: str | None
    pod_range: str | None
    service_range: str
    dns_address: str | None
    round_trip: float = 0.0
    parts: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int | None] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HubStatus:
    """What serves the fleet as a whole, as it was seen; `reason` says what is wrong unless it is up."""

    state: str
    reason: str
    store: str
    parts: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int | None] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatabaseStatus:
    """A site's database and agent as the agent tells; ``role`` is what its files make it, ``reason`` says what is wrong.

    ``passwords`` is the folder with a file for each role.
    """

    site: str
    state: str
    reason: str
    role: str
    epoch: int
    host: str
    port: int
    agent: str
    ca: str
    token: str
    passwords: str
    data: str
    config: str
    pid: int | None
    log: str


@dataclass(frozen=True)
class LabStatus:
    """The lab as it was seen; `reused` tells whether it ran before it was asked for."""

    lab: Path
    kubeconfig: Path
    slot: int | None
    bridge: str | None
    host_address: str | None
    network: str | None
    binaries: str | None
    clusters: tuple[ClusterStatus, ...]
    hub: HubStatus | None = None
    databases: tuple[DatabaseStatus, ...] = ()
    without_databases: str = ""
    reused: bool = False

    @property
    def is_up(self) -> bool:
        """Whether every cluster is up, the hub, and every database that is not stopped on purpose."""
        states = [cluster.state for cluster in self.clusters] + ([self.hub.state] if self.hub else [])
        held = [database.state in (UP, STOPPED) for database in self.databases]
        return bool(self.clusters) and all(state == UP for state in states) and all(held)

    def cluster(self, name: str) -> ClusterStatus:
        """Return the cluster of that name; KeyError where there is none."""
        return {cluster.name: cluster for cluster in self.clusters}[name]

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which kubectl, Flotilla and its recoveries act on this lab; what it does not have is not in it."""
        found = {"FLOTILLA_LAB_DIR": str(self.lab), "KUBECONFIG": str(self.kubeconfig)}
        if self.hub:
            found["FLOTILLA_STORE"] = self.hub.store
        if (self.lab / "recovery.yaml").exists():
            found["FLOTILLA_RECOVERY"] = str(self.lab / "recovery.yaml")
            for name, file in {"FLOTILLA_AGENT_TOKEN": "token", "FLOTILLA_OBSERVER_PASSWORD": "observer"}.items():
                found[name] = (self.lab / "secrets" / file).read_text().strip()
        return found

    def as_json(self) -> str:
        """Render it for other programs."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=str)


def look(layout: Layout, binaries: Path | None = None) -> LabStatus:
    """Look at every cluster, side by side."""
    with ThreadPoolExecutor(len(layout.clusters)) as pool:
        clusters = tuple(pool.map(lambda cluster: _look_at(layout, cluster), layout.clusters))
    real, without = layout.real_nodes, databases.why_none(layout)
    return LabStatus(
        lab=layout.directory,
        kubeconfig=layout.kubeconfig,
        slot=layout.slot,
        bridge=layout.bridge if real else None,
        host_address=layout.bridge_address if real else None,
        network=str(layout.network) if real else None,
        binaries=str(binaries) if binaries else None,
        clusters=clusters,
        hub=_look_at_hub(layout.hub),
        databases=() if without else tuple(_look_at_database(cluster) for cluster in layout.clusters),
        without_databases=without,
    )


def nothing(directory: Path) -> LabStatus:
    """Describe a folder in which there is no lab."""
    return LabStatus(directory, directory / "kubeconfig", None, None, None, None, None, ())


def verdict(parts: dict[str, Life], *, cut: bool, complaints: list[str]) -> tuple[str, str]:
    """Judge a cluster by its processes, its cable and the complaints of those who asked it: state and reason."""
    if all(life is Life.DEAD for life in parts.values()):
        return DOWN, "none of its processes runs"
    if cut:
        return CUT, "its network is cut"
    if parts.get("kube-apiserver") is Life.STOPPED:
        return CUT, "its API server is stopped"
    dead = [part for part, life in parts.items() if life is not Life.RUNNING]
    reasons = ([f"not running: {', '.join(dead)}"] if dead else []) + complaints
    return (DEGRADED, "; ".join(reasons)) if reasons else (UP, "")


def _look_at_hub(hub: Hub) -> HubStatus:
    lives = {part: processes.life(hub, part) for part in hub.parts}
    dead = [part for part, life in lives.items() if life is not Life.RUNNING]
    reason = f"not running: {', '.join(dead)}" if dead else hubs.not_ready(hub)
    return HubStatus(
        state=DOWN if len(dead) == len(lives) else DEGRADED if reason else UP,
        reason=reason,
        store=hub.store,
        parts={part: life.value for part, life in lives.items()},
        pids={part: processes.pid_of(hub, part) for part in hub.parts},
        logs={part: str(hub.log(part)) for part in hub.parts},
    )


def _look_at_database(cluster: ClusterLayout) -> DatabaseStatus:
    one = databases.of(cluster)
    state, reason, role, epoch = _database_state(cluster)
    return DatabaseStatus(
        site=one.site,
        state=state,
        reason=reason,
        role=role,
        epoch=epoch,
        host=one.host,
        port=one.port,
        agent=one.agent,
        ca=str(one.ca),
        token=str(one.token),
        passwords=str(one.password("observer").parent),
        data=str(one.data),
        config=str(one.config),
        pid=processes.pid_of(cluster, AGENT),
        log=str(cluster.log(AGENT)),
    )


def _database_state(cluster: ClusterLayout) -> tuple[str, str, str, int]:
    if processes.life(cluster, AGENT) is Life.DEAD:
        return DOWN, "its agent does not run", "", 0
    if network.is_cut(cluster):
        return CUT, "its network is cut", "", 0
    try:
        found = agents.seen(databases.of(cluster))
    except LabError as error:
        return DEGRADED, str(error), "", 0
    database = found["database"]
    role = "standby" if database["standby_signal"] else "none" if database["process"] == "absent" else "primary"
    if database["process"] == "running":
        return UP, "", role, found["epoch"]
    if not database["autostart"]:
        return STOPPED, "PostgreSQL is stopped, and stays so until its agent is told to start it", role, found["epoch"]
    return DEGRADED, f"PostgreSQL is {database['process']}", role, found["epoch"]


def _look_at(layout: Layout, cluster: ClusterLayout) -> ClusterStatus:
    lives = {part: processes.life(cluster, part) for part in cluster.parts}
    cut = cluster.real_node and network.is_cut(cluster)
    silent = cut or lives["kube-apiserver"] is not Life.RUNNING
    complaints = (faults.told(cluster) if cluster.real_node else []) + ([] if silent else _complaints(cluster))
    state, reason = verdict(lives, cut=cut, complaints=complaints)
    return ClusterStatus(
        name=cluster.name,
        context=cluster.name,
        state=state,
        reason=reason,
        server=cluster.server,
        public_port=cluster.public_port,
        real_nodes=int(cluster.real_node),
        simulated_nodes=None if silent else _simulated(cluster),
        service_range=str(cluster.service_range),
        round_trip=cables.round_trip(layout, cluster) if cluster.real_node else 0.0,
        parts={part: life.value for part, life in lives.items()},
        pids={part: processes.pid_of(cluster, part) for part in cluster.parts},
        logs={part: str(cluster.log(part)) for part in cluster.parts},
        **_node_facts(cluster),
    )


def _node_facts(cluster: ClusterLayout) -> dict[str, Any]:
    facts = {
        "node": cluster.node,
        "node_address": cluster.node_address,
        "namespace": cluster.namespace,
        "uplink": cluster.uplink,
        "cgroup": cluster.cgroup,
        "containerd_socket": str(cluster.socket),
        "pod_range": str(cluster.pod_range),
        "dns_address": cluster.dns_address,
    }
    return facts if cluster.real_node else dict.fromkeys(facts)


def _complaints(cluster: ClusterLayout) -> list[str]:
    looks = [api.not_ready] + (
        [api.node_not_ready, addons.dns_not_ready, dnsservers.not_answering] if cluster.real_node else []
    )
    for look_ in looks:
        if complaint := look_(cluster):
            return [complaint]  # what depends on it would only repeat it
    return []


def _simulated(cluster: ClusterLayout) -> int | None:
    try:
        return len(addons.simulated(cluster))
    except OSError:
        return None
