"""The lab's verbs: up, down, status, cut, slow, heal, stop, kill, start, wan, image.

Each may be repeated, and looks before it acts.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import (
    agents,
    binaries,
    bringup,
    cleanup,
    controlplane,
    databases,
    dnsservers,
    faults,
    hub,
    images,
    kubeconfig,
    network,
    nodes,
    operators,
    processes,
    settings,
    slots,
    status,
    system,
)
from lab.cables import Delay
from lab.errors import LabError
from lab.layout import AGENT, CLUSTERS, DNS, POSTGRES, ClusterLayout, Hub, Layout
from lab.settings import Settings
from lab.status import LabStatus

Say = Callable[[str], None]
HUB = "hub"


def silent(_: str) -> None:
    """Say nothing: for callers that want the result only."""


def up(*, simulated_nodes: int | None = None, real_nodes: bool | None = None, say: Say = silent) -> LabStatus:
    """Have the lab running: brought up, or repaired where something of it has died; raises LabError if it cannot be.

    What is not given stays as it is, or is as good as this machine allows in a new lab.
    """
    folder, say = settings.directory(), _with_time(say)
    settings.check_path(folder)
    with slots.alone_in(folder):
        asked = bringup.settle(folder, simulated_nodes, real_nodes, say)
        layout = asked.layout(folder)
        if layout.real_nodes:
            system.ensure_packages(say)
            databases.ensure_package(say)
            with slots.alone_in(slots.registry()):
                system.allow_instances(slots.limit_before(), say)
        programs = binaries.ensure(say)
        say(f"lab {folder}, slot {asked.slot}")
        bringup.everything(layout, programs, asked, say)
        return status.look(layout, kubeconfig.tools(layout))


def down(*, say: Say = silent) -> bool:
    """Have nothing left of the lab; tell whether there was one."""
    folder, say = settings.directory(), _with_time(say)
    slot = _slot(folder)
    if slot is None:
        return False
    with slots.alone_in(folder):
        if slots.owner(slot) in {None, folder}:
            cleanup.remove(Layout(folder, slot), say)
        else:  # since a reboot, which has ended all of this lab but its files
            cleanup.remove_files(folder)
        slots.release(folder, cleanup.after_last_lab)
    return True


def look() -> LabStatus:
    """Look at the lab, whatever state it is in."""
    folder = settings.directory()
    asked = settings.read(folder)
    if asked is None:
        return status.nothing(folder)
    layout = asked.layout(folder)
    return status.look(layout, kubeconfig.tools(layout))


def ensure(*, say: Say = silent) -> LabStatus:
    """Have the lab running for a while: the running one (`reused`), repaired if need be, or a new one."""
    before = look()
    running = any(cluster.state != status.DOWN for cluster in before.clusters)
    after = before if before.is_up else up(say=say)
    return dataclasses.replace(after, reused=running)


def cut(site: str, part: str | None = None, *, way: str | None = None) -> None:
    """Take a site's network away, or that of one part of it, in both directions or in one; inside everything goes on.

    ``way``, seen from the site: ``in``: it hears nothing; ``out``: nobody hears it.
    """
    cluster = _cluster(site)
    faults.check_part(part)
    faults.check_way(way)
    if part is None and way is None:
        _cut_wholly(cluster)
    else:
        faults.cut(_real(cluster), part, way)


def slow(site: str, milliseconds: float, *, way: str | None = None) -> None:
    """Have all that goes to and from a site, or one way, take longer; 0 takes the slowness away."""
    cluster, asked = _real(_cluster(site)), _settings()
    faults.check_way(way)
    faults.check_delay(milliseconds)
    delay = Delay(milliseconds if way != "out" else 0.0, milliseconds if way != "in" else 0.0)
    faults.slow(_layout(), cluster, delay, asked.round_trip)


def heal(site: str, part: str | None = None) -> None:
    """Undo what was cut or slowed at a site, or at one part of it."""
    cluster = _cluster(site)
    faults.check_part(part)
    if part is None:
        bringup.connect(cluster, _layout(), _settings().round_trip)
    elif cluster.real_node:
        faults.heal(cluster, part)


def kill(site: str, part: str | None = None) -> None:
    """End one part of a site or of the hub without asking it; without a part, all of it at once, as a power failure does."""
    stop(site, part, kill=True)


def wan(round_trip: float) -> None:
    """Have the cities that many milliseconds apart, there and back; 0: as if in one place."""
    faults.check_delay(round_trip)
    folder, layout = settings.directory(), _layout()
    for cluster in layout.clusters:
        faults.set_pace(layout, _real(cluster), round_trip)
    settings.write(folder, dataclasses.replace(_settings(), round_trip=round_trip))


def stop(site: str, part: str | None = None, *, kill: bool = False) -> None:
    """End one part of a site or of the hub, or, without a part, all of it with its pods at once, as a power failure does."""
    home = _home(site)
    if isinstance(home, ClusterLayout) and part in (AGENT, POSTGRES):
        _stop_database(home, part, kill=kill)
    elif part is not None:
        processes.stop(home, _part(home, part), grace=0 if kill else 5)
    elif isinstance(home, ClusterLayout):
        cleanup.kill(home)
    else:
        for each in home.parts:
            processes.stop(home, each, grace=0)


def start(site: str, part: str | None = None) -> None:
    """Start one part of a site or of the hub, or, without a part, all that does not run, and wait until it serves again."""
    home, programs = _home(site), binaries.ensure(silent)
    if not isinstance(home, ClusterLayout):
        hub.ensure(home, programs) if part is None else hub.start(home, _part(home, part), programs)
    elif part in (AGENT, POSTGRES):
        _start_database(home, part)
    elif part is None:
        bringup.site(home, _layout(), programs, silent)
        agents.start(home)
    elif _part(home, part) == DNS:
        dnsservers.ensure(home, silent)
    elif nodes.is_node_part(part):
        nodes.start(home, part, programs)
    else:
        controlplane.start(home, part)
        controlplane.wait_ready(home)


def _stop_database(cluster: ClusterLayout, part: str, *, kill: bool) -> None:
    if part == AGENT:
        processes.stop(cluster, AGENT, grace=0 if kill else 5)
    else:
        agents.stop_postgres(cluster, kill=kill)


def _start_database(cluster: ClusterLayout, part: str) -> None:
    if reason := databases.why_none(_layout()):
        raise LabError(f"the lab has no databases: {reason}")
    agents.start(cluster)
    agents.wait_answer(cluster)
    if part == POSTGRES:
        agents.start_postgres(cluster)


def image(file: Path, name: str | None = None) -> list[str]:
    """Have an image in every node: an archive, or a static program that is wrapped into one; return its names."""
    layout = _layout()
    if not layout.real_nodes:
        raise LabError(f"{layout.directory} has simulated nodes only: there is no containerd to import {file} into")
    if not file.is_file():
        raise LabError(f"no file {file} to import: expected an OCI or Docker image archive, or a static Linux program")
    archive = file if images.is_archive(file) else _wrapped(file, name)
    with ThreadPoolExecutor(len(layout.clusters)) as pool:
        found = list(pool.map(lambda cluster: images.import_into(cluster, archive, name), layout.clusters))
    return found[0]


def cloudnativepg(say: Say = silent) -> None:
    """Have CloudNativePG's operator in every cluster, built first where it never was; raises LabError without real nodes."""
    layout = _layout()
    if why := databases.why_none(layout):
        raise LabError(f"{layout.directory} has no databases, and so no authority of theirs: {why}")
    operators.ensure(layout, say)


def _wrapped(file: Path, name: str | None) -> Path:
    return images.archive(images.around_program(file, name or f"localhost/{file.name}:lab"), binaries.cache() / "images")


def _cut_wholly(cluster: ClusterLayout) -> None:
    if cluster.real_node:
        network.cut(cluster)
    else:
        processes.pause(cluster, "kube-apiserver")


def _settings() -> Settings:
    folder = settings.directory()
    asked = settings.read(folder)
    if asked is None:
        raise LabError(f"there is no lab in {folder}: bring it up with `python -m lab up`")
    return asked


def _layout() -> Layout:
    return _settings().layout(settings.directory())


def _real(cluster: ClusterLayout) -> ClusterLayout:
    if not cluster.real_node:
        raise LabError(
            f"{cluster.name} has no network of its own, since its nodes are simulated: only `cut {cluster.name}` works"
        )
    return cluster


def _cluster(site: str) -> ClusterLayout:
    if site not in CLUSTERS:
        raise LabError(f"no site {site!r} in the lab: expected one of {', '.join(CLUSTERS)}")
    return _layout().cluster(site)


def _home(site: str) -> ClusterLayout | Hub:
    return _layout().hub if site == HUB else _cluster(site)


def _part(home: ClusterLayout | Hub, part: str) -> str:
    if part not in home.parts:
        raise LabError(f"{home.name} has no part {part!r}: expected one of {', '.join(home.parts)}")
    return part


def _slot(folder: Path) -> int | None:
    """Find the lab's slot for taking it down: by its own word, or by the register where its folder is damaged or gone."""
    registered = slots.find(folder)
    if registered is not None:
        return registered
    asked = settings.read(folder)
    return asked.slot if asked else None


def _with_time(say: Say) -> Say:
    started = time.monotonic()
    return lambda text: say(f"{time.monotonic() - started:6.1f} s  {text}")
