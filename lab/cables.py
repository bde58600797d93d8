"""The distance between the cities: a site's cable is replaced by a delay line, under the same names, and back.

Host, bridge and site keep their link names and addresses, so that everything else (cutting a site, taking the lab away) is the
same with either cable. Connections outlive the exchange: to them it is a moment's loss.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import network, processes
from lab.commands import wait_until
from lab.errors import LabError
from lab.layout import ClusterLayout, Layout
from lab.processes import Life

ROUND_TRIP = 25.0  # ms between two cities
_PROGRAM = Path(__file__).with_name("delayline.py")
_PATIENCE = 10  # seconds; below 0.2 is usual


@dataclass(frozen=True)
class Delay:
    """Milliseconds that a frame takes into the site, and out of it."""

    inward: float = 0.0
    outward: float = 0.0

    def __add__(self, other: Delay) -> Delay:
        return Delay(self.inward + other.inward, self.outward + other.outward)

    def __bool__(self) -> bool:
        return self.inward > 0 or self.outward > 0


NONE = Delay()


def distance(layout: Layout, cluster: ClusterLayout, round_trip: float) -> Delay:
    """Return what the distance costs: all of it at the site that stands in a city of its own."""
    return Delay(round_trip / 2, round_trip / 2) if cluster == layout.clusters[-1] else NONE


def ensure(layout: Layout, cluster: ClusterLayout, delay: Delay) -> None:
    """Have the site's cable take that long; none at all is a plain cable."""
    if not delay:
        if _is_delay_line(layout, cluster):
            processes.stop(layout.wires, cluster.name, grace=0)
            network.lay_cable(layout, cluster)
        return
    _write(layout, cluster, delay)
    if _is_delay_line(layout, cluster):
        processes.tell(layout.wires, cluster.name, signal.SIGHUP)
    else:
        _exchange(layout, cluster)


def delay_of(layout: Layout, cluster: ClusterLayout) -> Delay:
    """Return what the site's cable takes now."""
    if not _is_delay_line(layout, cluster):
        return NONE
    found = json.loads(_settings_file(layout, cluster).read_text())
    return Delay(1000 * found["in"], 1000 * found["out"])


def round_trip(layout: Layout, cluster: ClusterLayout) -> float:
    """Return what the way to the site and back takes by its cable, in ms."""
    delay = delay_of(layout, cluster)
    return delay.inward + delay.outward


def _exchange(layout: Layout, cluster: ClusterLayout) -> None:
    if not Path("/dev/net/tun").exists():
        raise LabError(
            "this machine has no /dev/net/tun, so there is no distance between the sites: load the kernel module tun"
        )
    was_cut = network.is_cut(cluster)
    network.take_cable(cluster)
    inner = f"fl{cluster.slot}-w{cluster.index}"  # until it is inside and has the name that it has there
    words = [sys.executable, "-I", str(_PROGRAM), cluster.uplink, inner, str(_settings_file(layout, cluster))]
    processes.start(layout.wires, cluster.name, words)
    wait_until(f"{cluster.name}: the delay line", lambda: _missing(layout, cluster, inner), within=_PATIENCE)
    network.plug_in(layout, cluster, inner)
    if was_cut:
        network.cut(cluster)


def _missing(layout: Layout, cluster: ClusterLayout, inner: str) -> str:
    if processes.life(layout.wires, cluster.name) is Life.DEAD:
        return f"its process has ended; see {layout.wires.log(cluster.name)}"
    absent = [name for name in (cluster.uplink, inner) if not network.link_exists(name)]
    return f"no link {', '.join(absent)} yet" if absent else ""


def _is_delay_line(layout: Layout, cluster: ClusterLayout) -> bool:
    return processes.life(layout.wires, cluster.name) is not Life.DEAD and network.link_exists(cluster.uplink)


def _write(layout: Layout, cluster: ClusterLayout, delay: Delay) -> None:
    file = _settings_file(layout, cluster)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    seconds = {"in": delay.inward / 1000, "out": delay.outward / 1000}
    unfinished.write_text(json.dumps(seconds))
    unfinished.rename(file)


def _settings_file(layout: Layout, cluster: ClusterLayout) -> Path:
    return layout.wires.directory / f"{cluster.name}.json"


def shown(delay: Delay) -> str:
    """Describe a delay in ms."""
    values = asdict(delay)
    if delay.inward == delay.outward:
        return f"{delay.inward:g} ms each way"
    return ", ".join(f"{value:g} ms {way}" for way, value in values.items() if value)
