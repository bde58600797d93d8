"""The lab's verbs: up, down, status, cut, heal, stop, start, image. Each may be repeated, and looks before it acts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import (
    addons,
    binaries,
    cgroups,
    cleanup,
    controlplane,
    images,
    kubeconfig,
    mountspace,
    network,
    nodes,
    processes,
    settings,
    slots,
    status,
    system,
)
from lab.binaries import Binaries
from lab.errors import LabError
from lab.layout import CLUSTERS, ClusterLayout, Layout, overlapping
from lab.settings import Settings
from lab.status import LabStatus

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing: for callers that want the result only."""


def up(*, simulated_nodes: int | None = None, real_nodes: bool | None = None, say: Say = silent) -> LabStatus:
    """Have the lab running: brought up, or repaired where something of it has died; raises LabError if it cannot be.

    What is not given stays as it is, or is as good as this machine allows in a new lab.
    """
    folder, say = settings.directory(), _with_time(say)
    settings.check_path(folder)
    with slots.alone_in(folder):
        asked = _asked(folder, simulated_nodes, real_nodes, say)
        layout = asked.layout(folder)
        if layout.real_nodes:
            system.ensure_packages(say)
        programs = binaries.ensure(say)
        say(f"lab {folder}, slot {asked.slot}")
        _bring_up(layout, programs, asked, say)
        return status.look(layout, kubeconfig.tools(layout))


def down(*, say: Say = silent) -> bool:
    """Have nothing left of the lab; tell whether there was one."""
    folder, say = settings.directory(), _with_time(say)
    slot = _slot(folder)
    if slot is None:
        return False
    with slots.alone_in(folder):
        cleanup.remove(Layout(folder, slot), say)
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


def cut(site: str) -> None:
    """Take a site's network away in both directions; inside the site everything goes on."""
    cluster = _cluster(site)
    if cluster.real_node:
        network.cut(cluster)
    else:
        processes.pause(cluster, "kube-apiserver")


def heal(site: str) -> None:
    """Give a site's network back."""
    cluster = _cluster(site)
    if cluster.real_node:
        network.heal(cluster)
    else:
        processes.unpause(cluster, "kube-apiserver")


def stop(site: str, part: str | None = None, *, kill: bool = False) -> None:
    """End one part of a site, or, without a part, all of its processes and pods at once, as a power failure does."""
    cluster = _cluster(site)
    if part is None:
        cleanup.kill(cluster)
    else:
        processes.stop(cluster, _part(cluster, part), grace=0 if kill else 5)


def start(site: str, part: str | None = None) -> None:
    """Start one part of a site, or, without a part, all that does not run, and wait until it serves again."""
    cluster, programs = _cluster(site), binaries.ensure(silent)
    if part is None:
        _start_all(cluster, programs)
    elif nodes.is_node_part(_part(cluster, part)):
        nodes.start(cluster, part, programs)
    else:
        controlplane.start(cluster, part)
        controlplane.wait_ready(cluster)


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


def _wrapped(file: Path, name: str | None) -> Path:
    return images.archive(images.around_program(file, name or f"localhost/{file.name}:lab"), binaries.cache() / "images")


def _asked(folder: Path, simulated_nodes: int | None, real_nodes: bool | None, say: Say) -> Settings:
    """Settle what the lab is to be from what is asked now and what it was before; claim its slot."""
    before = settings.read(folder)
    real = _real_nodes(before, real_nodes, say)
    if simulated_nodes is None:
        simulated_nodes = before.simulated_nodes if before else int(not real)
    slot = slots.find(folder)
    if slot is None:
        slot = slots.claim(folder, _objection(folder, real), wanted=before.slot if before else None)
    asked = Settings(slot, real, simulated_nodes)
    if before and before.slot != slot:
        raise LabError(
            f"another lab has taken slot {before.slot} since this one stopped: run `python -m lab down`, then up again"
        )
    settings.write(folder, asked)
    return asked


def _real_nodes(before: Settings | None, asked: bool | None, say: Say) -> bool:
    if before and asked is not None and asked != before.real_nodes:
        kind = "real" if before.real_nodes else "simulated"
        raise LabError(f"the lab was brought up with {kind} nodes: run `python -m lab down` before changing that")
    reason = "" if before and before.real_nodes else system.why_no_real_nodes()
    if asked and reason:
        raise LabError(f"real nodes were asked for, but {reason}")
    real = before.real_nodes if before else asked is not False and not reason
    if not real:
        say(system.what_is_left_out(reason or "asked for"))
    return real


def _objection(folder: Path, real_nodes: bool) -> Callable[[int], str]:
    """Say what on this machine speaks against a slot: leftovers under its names, or routes into its addresses."""

    def objection(slot: int) -> str:
        if not real_nodes:
            return ""
        layout = Layout(folder, slot)
        if traces := cleanup.traces(layout):
            return f"{traces[0]} is there"
        route = overlapping(layout.network, network.routes())
        return f"this machine has a route to {route}, which overlaps {layout.network}" if route else ""

    return objection


def _bring_up(layout: Layout, programs: Binaries, asked: Settings, say: Say) -> None:
    archives = images.archives(programs, binaries.cache() / "images") if layout.real_nodes else []
    controlplane.end_strays(layout.clusters)
    kubeconfig.write(layout, programs)
    if layout.real_nodes:
        network.create(layout)
        _enclose(layout)
        say("networks and control groups ready")
    with ThreadPoolExecutor(len(layout.clusters)) as pool:
        futures = [pool.submit(_ensure_cluster, layout, cluster, programs, archives, asked, say) for cluster in layout.clusters]
    _raise_all([error for future in futures if (error := future.exception())])


def _enclose(layout: Layout) -> None:
    """Have control groups and mount namespaces; a site whose processes run outside such a namespace stays as it is."""
    for cluster in layout.clusters:
        cgroups.create(cluster.cgroup)
        if not cgroups.members(cluster.cgroup):
            mountspace.create(cluster)


def _raise_all(errors: list[BaseException]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise LabError("; ".join(str(error) for error in errors)) from errors[0]


def _ensure_cluster(
    layout: Layout, cluster: ClusterLayout, programs: Binaries, archives: list[Path], asked: Settings, say: Say
) -> None:
    heal(cluster.name)
    with ThreadPoolExecutor(2) as pool:
        plane = pool.submit(controlplane.ensure, cluster, programs)
        runtime = pool.submit(nodes.ensure_runtime, cluster, layout, archives) if cluster.real_node else plane
    _raise_all([error for future in dict.fromkeys((plane, runtime)) if (error := future.exception())])
    say(f"{cluster.name}: control plane ready")
    if cluster.real_node:
        _ensure_node(cluster, programs, say)
    addons.scale_simulated(cluster, programs, asked.simulated_nodes)


def _ensure_node(cluster: ClusterLayout, programs: Binaries, say: Say) -> None:
    started = nodes.ensure_agents(cluster, programs)
    addons.ensure_dns(cluster, programs)
    nodes.wait_ready(cluster, started)
    say(f"{cluster.name}: node Ready")
    addons.wait_dns(cluster)
    say(f"{cluster.name}: DNS answers")


def _start_all(cluster: ClusterLayout, programs: Binaries) -> None:
    controlplane.ensure(cluster, programs)
    if cluster.real_node:
        nodes.ensure_runtime(cluster, _layout(), [])
        _ensure_node(cluster, programs, silent)


def _layout() -> Layout:
    folder = settings.directory()
    asked = settings.read(folder)
    if asked is None:
        raise LabError(f"there is no lab in {folder}: bring it up with `python -m lab up`")
    return asked.layout(folder)


def _cluster(site: str) -> ClusterLayout:
    if site not in CLUSTERS:
        raise LabError(f"no site {site!r} in the lab: expected one of {', '.join(CLUSTERS)}")
    return _layout().cluster(site)


def _part(cluster: ClusterLayout, part: str) -> str:
    if part not in cluster.parts:
        raise LabError(f"{cluster.name} has no part {part!r}: expected one of {', '.join(cluster.parts)}")
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
