"""Every name, address, port and path of a lab, derived from its folder and its slot. Pure.

A slot is the number under which a lab is registered on this machine: two labs never share one, so nothing derived from
it can collide. Interface names end at 15 characters, hence the short ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

CLUSTERS = ("production", "same-city", "remote")
SLOTS = 64
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller")
NODE = ("containerd", "kubelet", "kube-proxy")
DNS = "dns"  # answers users where the fleet's services are
AGENT, POSTGRES = "agent", "postgres"  # a site's database, and what guards it
HUB = ("victoria-metrics", "alertmanager", "vmalert")
POSTGRES_PORT, AGENT_PORT, ORDERS_PORT = 5432, 8443, 30080  # at a site's own address
PORTS = {  # protocol and port by which each part is reached from other sites
    "postgres": (("tcp", POSTGRES_PORT),),
    "agent": (("tcp", AGENT_PORT),),
    "dns": (("udp", 53), ("tcp", 53)),
    "orders": (("tcp", ORDERS_PORT),),
    "kube-apiserver": (("tcp", 6443),),
    "kubelet": (("tcp", 10250),),
}

_FIRST_NETWORK = 128  # slot 0 has 10.128.0.0/16, slot 63 has 10.191.0.0/16
_FIRST_PORT = 26000  # below the ports that Linux gives out by itself (32768 and up)
_PORTS_OF_A_SLOT = 24  # three for users, six for the hub, five more for each control plane where it has no namespace of its own
_HUB_PORTS = 18  # the first of them in a slot
_SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un, without the closing zero
_LONGEST_SOCKET = "production/kubelet/pod-resources/kubelet.sock"


@dataclass(frozen=True)
class Ports:
    """Where a control plane listens, inside its own network."""

    api: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int
    kwok: int


@dataclass(frozen=True)
class ClusterLayout:
    """One cluster of a lab: a control plane and, with real nodes, one node in a network namespace of its own."""

    name: str
    index: int
    slot: int
    lab: Path
    real_node: bool

    @property
    def namespace(self) -> str:
        """The network namespace that holds control plane, node and pods."""
        return f"fl{self.slot}-{self.name}"

    @property
    def namespace_path(self) -> Path:
        """The file by which others enter the namespace."""
        return Path("/run/netns") / self.namespace

    @property
    def uplink(self) -> str:
        """The host's end of the cable between the site and the bridge; its being down is the site being cut."""
        return f"fl{self.slot}-{self.name}"

    @property
    def cgroup(self) -> str:
        """The control group, in every hierarchy, above all processes and pods of the cluster."""
        return f"/flotilla-{self.slot}/{self.name}"

    @property
    def node(self) -> str:
        """The real node's name in Kubernetes."""
        return f"{self.name}-node"

    @property
    def node_address(self) -> str:
        """The site's address on the bridge: node and API server."""
        return str(_network(self.slot)[11 + self.index])

    @property
    def node_mac(self) -> str:
        """A fixed link address, so that neighbours need not ask: a cut site is then silence, not an early error."""
        return f"02:f1:{self.slot:02x}:00:00:{11 + self.index:02x}"

    @property
    def pod_range(self) -> IPv4Network:
        """Addresses of the cluster's pods, routed to from every other cluster and from the host."""
        return _twentieth(self.slot, 1 + self.index)

    @property
    def service_range(self) -> IPv4Network:
        """Addresses of the cluster's Services; they mean nothing outside it."""
        return _twentieth(self.slot, 8 + self.index)

    @property
    def dns_address(self) -> str:
        """The Service address of CoreDNS."""
        return str(self.service_range[10])

    @property
    def public_port(self) -> int:
        """The port on 127.0.0.1 at which this machine's users reach the API server."""
        return first_port(self.slot) + self.index

    @property
    def server(self) -> str:
        """The API server's URL in the users' kubeconfig."""
        return f"https://127.0.0.1:{self.public_port}"

    @property
    def ports(self) -> Ports:
        """The usual ports in a namespace of its own; ports of the slot where the host's network is shared."""
        if self.real_node:
            return Ports(6443, 2379, 2380, 10257, 10259, 10247)
        first = first_port(self.slot) + 3 + 5 * self.index
        return Ports(self.public_port, *range(first, first + 5))

    @property
    def bind_address(self) -> str:
        """All of the site's own namespace, or loopback only."""
        return "0.0.0.0" if self.real_node else "127.0.0.1"  # noqa: S104

    @property
    def directory(self) -> Path:
        """The node's state, configuration and logs, and the records of all processes."""
        return self.lab / self.name

    @property
    def control_plane(self) -> Path:
        """Where kwokctl keeps the control plane: pki, etcd data, logs."""
        return self.lab / "kwok" / "clusters" / self.name

    @property
    def databases(self) -> Path:
        """What the sites' databases need, outside the lab's folder: PostgreSQL's user may not be let into that."""
        return Path("/var/lib/flotilla-lab") / str(self.slot)

    @property
    def socket(self) -> Path:
        """The socket of containerd."""
        return self.directory / "containerd.sock"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its processes, in the order in which they start."""
        return (*CONTROL_PLANE, *NODE, DNS) if self.real_node else CONTROL_PLANE

    def log(self, part: str) -> Path:
        """Where one of its processes writes."""
        return (self.control_plane / "logs" if part in CONTROL_PLANE else self.directory) / f"{part}.log"


@dataclass(frozen=True)
class Hub:
    """What serves the fleet as a whole, beside the sites and on loopback only: samples of all clusters, rules, alerts.

    ``first_port`` is the first of four.
    """

    directory: Path
    first_port: int
    name: str = "hub"

    @property
    def store(self) -> str:
        """The store's URL."""
        return self.url("victoria-metrics")

    @property
    def receiver(self) -> str:
        """Where alerts are told: host and port. Nothing of the lab listens there."""
        return f"127.0.0.1:{self.first_port + len(HUB)}"

    @property
    def token(self) -> Path:
        """The file with the secret that is shown there."""
        return self.directory / "token"

    def port(self, part: str) -> int:
        """Where one of its processes listens on 127.0.0.1."""
        return self.first_port + HUB.index(part)

    def url(self, part: str) -> str:
        """Return the URL of one of its processes."""
        return f"http://127.0.0.1:{self.port(part)}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its processes, in the order in which they start."""
        return HUB

    def log(self, part: str) -> Path:
        """Where one of its processes writes."""
        return self.directory / f"{part}.log"


@dataclass(frozen=True)
class Wires:
    """The sites' cables, as far as processes carry them: one a site, named like it."""

    directory: Path
    name: str = "wires"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its processes."""
        return CLUSTERS

    def log(self, part: str) -> Path:
        """Where one of its processes writes."""
        return self.directory / f"{part}.log"


@dataclass(frozen=True)
class Layout:
    """One lab: where it lives and what it may use."""

    directory: Path
    slot: int
    real_nodes: bool = True

    @property
    def bridge(self) -> str:
        """The bridge between host and sites."""
        return f"fl{self.slot}-bridge"

    @property
    def bridge_address(self) -> str:
        """The host's address on the bridge, and with it the fleet's view of this machine."""
        return str(_network(self.slot)[1])

    @property
    def bridge_prefix(self) -> int:
        """Length of the bridge's network prefix."""
        return 24

    @property
    def network(self) -> IPv4Network:
        """Everything that the lab addresses lies in here."""
        return _network(self.slot)

    @property
    def cgroup(self) -> str:
        """The control group above all clusters."""
        return f"/flotilla-{self.slot}"

    @property
    def kubeconfig(self) -> Path:
        """The users' kubeconfig: contexts named like the clusters."""
        return self.directory / "kubeconfig"

    @cached_property
    def clusters(self) -> tuple[ClusterLayout, ...]:
        """All clusters, production first."""
        return tuple(
            ClusterLayout(name, index, self.slot, self.directory, self.real_nodes) for index, name in enumerate(CLUSTERS)
        )

    @property
    def hub(self) -> Hub:
        """What serves the fleet as a whole, on no site."""
        return Hub(self.directory / "hub", first_port(self.slot) + _HUB_PORTS)

    @property
    def wires(self) -> Wires:
        """What carries the cables that take their time."""
        return Wires(self.directory / "wires")

    def cluster(self, name: str) -> ClusterLayout:
        """Return the cluster of that name; KeyError where there is none."""
        return {cluster.name: cluster for cluster in self.clusters}[name]


def preferred_slot(directory: Path) -> int:
    """Choose the slot that a folder asks for first: stable, and spread over all of them."""
    return int.from_bytes(hashlib.sha256(str(directory).encode()).digest()[:4]) % SLOTS


def first_port(slot: int) -> int:
    """Return the first of the loopback ports of a slot."""
    return _FIRST_PORT + slot * _PORTS_OF_A_SLOT


def public_ports(slot: int) -> range:
    """All loopback ports that a lab in this slot may use."""
    return range(first_port(slot), first_port(slot) + _PORTS_OF_A_SLOT)


def overlapping(network: IPv4Network, routes: list[IPv4Network]) -> IPv4Network | None:
    """Find the first of the machine's routes, default routes apart, that shares addresses with the network."""
    return next((route for route in routes if route.prefixlen and route.overlaps(network)), None)


def path_complaint(directory: Path) -> str:
    """Why the folder's path cannot hold a lab, or nothing: the sockets in it have a length limit."""
    length = len(str(directory / _LONGEST_SOCKET).encode())
    if length <= _SOCKET_PATH_LIMIT:
        return ""
    return (
        f"the lab's folder {directory} is {length - _SOCKET_PATH_LIMIT} characters too long for the sockets in it "
        f"(Linux allows {_SOCKET_PATH_LIMIT}): set FLOTILLA_LAB_DIR to a shorter path"
    )


def _network(slot: int) -> IPv4Network:
    return IPv4Network((int(IPv4Address("10.0.0.0")) + ((_FIRST_NETWORK + slot) << 16), 16))


def _twentieth(slot: int, number: int) -> IPv4Network:
    """Return the `number`th of the 16 ranges with a 20-bit prefix in the slot's network."""
    return list(_network(slot).subnets(new_prefix=20))[number]
