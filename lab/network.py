"""The sites' networks: a bridge on the host, a namespace a site, a cable between, flat routes to all pods.

Users reach each API server at a port of 127.0.0.1, which the kernel rewrites to the site's address; nothing listens on
the machine's outer interfaces. A cut site is silent, not refusing: packets to it leave and nobody answers, because the
link addresses are known beforehand and the cable is down. Inside the site everything goes on, as in a real partition.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from lab.commands import run, succeeds
from lab.errors import CommandFailed
from lab.layout import ClusterLayout, Layout

UNANSWERED = 2  # seconds; a packet and its answer take less, wherever both are in one country


def create(layout: Layout) -> None:
    """Make what is missing of bridge, namespaces, cables, routes and rules; leave alone what is there."""
    if not link_exists(layout.bridge):
        _create_bridge(layout)
    for cluster in layout.clusters:
        if not cluster.namespace_path.exists():
            run("ip", "netns", "add", cluster.namespace)
        if link_exists(cluster.uplink):
            _configure_namespace(layout, cluster)
        else:  # in a new site, and where a delay line has ended
            lay_cable(layout, cluster)
    _create_routes(layout)
    for table, chain, rule in rules(layout):
        if not succeeds("iptables", "-w", "-t", table, "-C", chain, *rule):
            run("iptables", "-w", "-t", table, "-I", chain, *rule)


def remove(layout: Layout) -> None:
    """Take it all away again; what is not there is fine."""
    for table, chain, rule in rules(layout):
        while succeeds("iptables", "-w", "-t", table, "-D", chain, *rule):
            pass
    for cluster in layout.clusters:
        if cluster.namespace_path.exists():
            run("ip", "netns", "delete", cluster.namespace)
        _delete_link(cluster.uplink)
    _delete_link(layout.bridge)  # its addresses, routes and neighbours go with it


def traces(layout: Layout) -> list[str]:
    """List what there is of a lab's network on this machine, by name."""
    links = [name for name in (layout.bridge, *(cluster.uplink for cluster in layout.clusters)) if link_exists(name)]
    return links + [str(cluster.namespace_path) for cluster in layout.clusters if cluster.namespace_path.exists()]


def lay_cable(layout: Layout, cluster: ClusterLayout) -> None:
    """Have a plain cable between bridge and site, in the place of whatever was there."""
    take_cable(cluster)
    peer = ["peer", "name", "eth0", "address", cluster.node_mac, "netns", cluster.namespace]
    run("ip", "link", "add", cluster.uplink, "type", "veth", *peer)
    run("ip", "link", "set", cluster.uplink, "master", layout.bridge, "up")
    _configure_namespace(layout, cluster)


def plug_in(layout: Layout, cluster: ClusterLayout, inner: str) -> None:
    """Have another cable, whose ends are here under the names of uplink and ``inner``, between bridge and site."""
    run("ip", "link", "set", inner, "netns", cluster.namespace)
    run("ip", "-n", cluster.namespace, "link", "set", inner, "name", "eth0", "address", cluster.node_mac)
    run("ip", "link", "set", cluster.uplink, "master", layout.bridge, "up")
    _configure_namespace(layout, cluster)


def take_cable(cluster: ClusterLayout) -> None:
    """Have no cable to the site; its other end goes with it."""
    _delete_link(cluster.uplink)


def cut(cluster: ClusterLayout) -> None:
    """Take the site's cable out."""
    run("ip", "link", "set", cluster.uplink, "down")


def heal(cluster: ClusterLayout) -> None:
    """Put the site's cable back."""
    run("ip", "link", "set", cluster.uplink, "up")


def is_cut(cluster: ClusterLayout) -> bool:
    """Whether the site's cable is out: there, and administratively down."""
    flags = Path("/sys/class/net") / cluster.uplink / "flags"
    return flags.exists() and not int(flags.read_text(), 16) & 1  # IFF_UP


def inside(cluster: ClusterLayout, *command: str) -> str:
    """Run a command in the site's network; return what it printed."""
    return run("nsenter", f"--net={cluster.namespace_path}", "--", *command)


def routes() -> list[IPv4Network]:
    """Where this machine's routes lead, in all of its tables."""
    found = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all") or "[]")
    return [IPv4Network(_target(route["dst"]), strict=False) for route in found if "dst" in route]


def _target(destination: str) -> str:
    return "0.0.0.0/0" if destination == "default" else destination


def link_exists(name: str) -> bool:
    """Whether there is a link of that name outside the sites."""
    return (Path("/sys/class/net") / name).exists()


def _delete_link(name: str) -> None:
    try:
        run("ip", "link", "delete", name)
    except CommandFailed:
        if link_exists(name):  # not: gone just now, with its namespace or its delay line
            raise


def _create_bridge(layout: Layout) -> None:
    run("ip", "link", "add", layout.bridge, "type", "bridge")
    run("ip", "addr", "add", f"{layout.bridge_address}/{layout.bridge_prefix}", "dev", layout.bridge)
    run("ip", "link", "set", layout.bridge, "up")
    # Lets a packet to 127.0.0.1 leave by the bridge once its destination is rewritten.
    run("sysctl", "-qw", f"net.ipv4.conf.{layout.bridge}.route_localnet=1")


def _configure_namespace(layout: Layout, cluster: ClusterLayout) -> None:
    ip = ("ip", "-n", cluster.namespace)
    run(*ip, "link", "set", "lo", "up")
    run(*ip, "addr", "replace", f"{cluster.node_address}/{layout.bridge_prefix}", "dev", "eth0")
    run(*ip, "link", "set", "eth0", "up")
    # Only for the look-up before kube-proxy rewrites the address: there is no default route, and nothing leaves the machine.
    run(*ip, "route", "replace", str(cluster.service_range), "dev", "eth0")
    for other in layout.clusters:
        if other != cluster:
            _know_neighbour(ip, other, "eth0")
            run(*ip, "route", "replace", str(other.pod_range), "via", other.node_address, "dev", "eth0")
    inside(cluster, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")
    # A connection that was begun to a lost endpoint stays bound to it, and so does a later one from the same port, for as long
    # as the kernel remembers it: 120 s by default, in which some connections fail though no endpoint is lost any more.
    inside(cluster, "sysctl", "-qw", f"net.netfilter.nf_conntrack_tcp_timeout_syn_sent={UNANSWERED}")


def _create_routes(layout: Layout) -> None:
    for cluster in layout.clusters:
        _know_neighbour(("ip",), cluster, layout.bridge)
        run("ip", "route", "replace", str(cluster.pod_range), "via", cluster.node_address, "dev", layout.bridge)


def _know_neighbour(ip: tuple[str, ...], cluster: ClusterLayout, device: str) -> None:
    address, mac = cluster.node_address, cluster.node_mac
    run(*ip, "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")


def rules(layout: Layout) -> Iterator[tuple[str, str, list[str]]]:
    """List the host's packet rules as (table, chain, rule): the API ports of 127.0.0.1, and peace between the sites."""
    for cluster in layout.clusters:
        target = f"{cluster.node_address}:{cluster.ports.api}"
        public = ["-d", "127.0.0.1/32", "-p", "tcp", "--dport", str(cluster.public_port)]
        yield "nat", "OUTPUT", [*public, "-j", "DNAT", "--to-destination", target]
    loopback = ["-s", "127.0.0.0/8", "-o", layout.bridge]
    yield "nat", "POSTROUTING", [*loopback, "-j", "SNAT", "--to-source", layout.bridge_address]
    # Where bridged packets pass through the host's rules, a forward policy of DROP (Docker sets it) would part the sites.
    yield "filter", "FORWARD", ["-i", layout.bridge, "-o", layout.bridge, "-j", "ACCEPT"]
