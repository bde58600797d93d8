"""What is broken on purpose at a site: parts that nobody reaches, one-way silence, a slow cable.

What is cut is silent, never refusing. The rules stand in the site's own namespace, each marked with what it is for, so that
they are found again by anybody and go with the site.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from lab import cables, network
from lab.cables import Delay
from lab.errors import LabError
from lab.layout import PORTS, ClusterLayout, Layout

WAYS = ("in", "out")
LONGEST = 60_000.0  # ms
_MARK = "flotilla-cut"
_CHAINS = {"in": ("PREROUTING", "-i"), "out": ("POSTROUTING", "-o")}
_MARKED = re.compile(rf"{_MARK}/([\w-]*)/(in|out)")


def cut(cluster: ClusterLayout, part: str | None, way: str | None) -> None:
    """Drop what goes to and from a part of the site, or all, in both directions or one: seen from the site, in or out."""
    for rule in _rules(part, way):
        if rule not in _present(cluster):
            _iptables(cluster, "-I", *rule)


def heal(cluster: ClusterLayout, part: str | None) -> None:
    """Let everything of a part through again, or of all parts."""
    for rule in _present(cluster):
        if part is None or _marks(rule)[0] == part:
            _iptables(cluster, "-D", *rule)


def slow(layout: Layout, cluster: ClusterLayout, delay: Delay, round_trip: float) -> None:
    """Have the site's cable take longer, on top of the distance between the cities."""
    file = _slow_file(cluster)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(delay)))
    set_pace(layout, cluster, round_trip)


def set_pace(layout: Layout, cluster: ClusterLayout, round_trip: float) -> None:
    """Have the site's cable as slow as distance and faults make it."""
    cables.ensure(layout, cluster, cables.distance(layout, cluster, round_trip) + slowness(cluster))


def forget_slowness(cluster: ClusterLayout) -> None:
    """Have no delay but the distance, from the next ``set_pace``."""
    _slow_file(cluster).unlink(missing_ok=True)


def slowness(cluster: ClusterLayout) -> Delay:
    """Return what was made slow on purpose."""
    file = _slow_file(cluster)
    return Delay(**json.loads(file.read_text())) if file.exists() else cables.NONE


def told(cluster: ClusterLayout) -> list[str]:
    """List what is broken on purpose, each as a phrase."""
    cuts: dict[str, set[str]] = {}
    for rule in _present(cluster):
        part, way = _marks(rule)
        cuts.setdefault(part, set()).add(way)
    phrases = [f"{part or 'everything'} is cut {' and '.join(sorted(ways))}" for part, ways in sorted(cuts.items())]
    delay = slowness(cluster)
    return phrases + ([f"slowed by {cables.shown(delay)}"] if delay else [])


def check_part(part: str | None) -> None:
    """Refuse a part that has no port."""
    if part is not None and part not in PORTS:
        raise LabError(f"no part {part!r} that could be cut by itself: expected one of {', '.join(PORTS)}")


def check_delay(milliseconds: float) -> None:
    """Refuse what is no time, or one after which nobody waits for an answer any more."""
    if not 0 <= milliseconds <= LONGEST:
        raise LabError(f"no delay of {milliseconds:g} ms: expected 0 to {LONGEST:g}")


def check_way(way: str | None) -> None:
    """Refuse a direction that is none."""
    if way is not None and way not in WAYS:
        raise LabError(f"no direction {way!r}: expected one of {', '.join(WAYS)}, as seen from the site")


def _rules(part: str | None, way: str | None) -> Iterator[tuple[str, ...]]:
    """List the rules as iptables takes and prints them, without the command."""
    for direction in WAYS if way is None else (way,):
        chain, device = _CHAINS[direction]
        mark = ("-m", "comment", "--comment", f"{_MARK}/{part or ''}/{direction}")
        for protocol, port in PORTS[part] if part else [("", 0)]:
            # By the port that a connection was begun to: that tells both its directions, also where kube-proxy rewrites.
            to_part = ("-p", protocol, "-m", "conntrack", "--ctorigdstport", str(port)) if part else ()
            yield (chain, device, "eth0", *to_part, *mark, "-j", "DROP")


def _present(cluster: ClusterLayout) -> list[tuple[str, ...]]:
    if not cluster.namespace_path.exists():
        return []
    lines = network.inside(cluster, "iptables", "-w", "-t", "mangle", "-S").splitlines()
    return [tuple(shlex.split(line))[1:] for line in lines if _MARK in line and line.startswith("-A")]


def _marks(rule: tuple[str, ...]) -> tuple[str, str]:
    found = _MARKED.search(" ".join(rule))
    return (found[1], found[2]) if found else ("", "")


def _iptables(cluster: ClusterLayout, verb: str, *rule: str) -> None:
    network.inside(cluster, "iptables", "-w", "-t", "mangle", verb, *rule)


def _slow_file(cluster: ClusterLayout) -> Path:
    return cluster.directory / "slow.json"
