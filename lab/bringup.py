"""Bringing a lab up: what it is to be, and then every site side by side, each step a no-op where it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lab import (
    addons,
    agents,
    binaries,
    cgroups,
    cleanup,
    controlplane,
    dnsservers,
    faults,
    hub,
    images,
    kubeconfig,
    monitoring,
    mountspace,
    network,
    nodes,
    orders,
    processes,
    recovery,
    services,
    settings,
    shop,
    slots,
    system,
)
from lab.binaries import Binaries, Say
from lab.errors import LabError
from lab.layout import ClusterLayout, Layout, overlapping
from lab.settings import Settings


def settle(folder: Path, simulated_nodes: int | None, real_nodes: bool | None, say: Say) -> Settings:
    """Settle what the lab is to be from what is asked now and what it was before; have its slot registered."""
    before = settings.read(folder)
    real = _real_nodes(before, real_nodes, say)
    if simulated_nodes is None:
        simulated_nodes = before.simulated_nodes if before else int(not real)
    slot = slots.reclaim(folder, before.slot) if before else slots.claim(folder, _objection(folder, real))
    asked = Settings(slot, real, simulated_nodes, before.round_trip if before else 0.0)
    settings.write(folder, asked)
    return asked


def everything(layout: Layout, programs: Binaries, asked: Settings, say: Say) -> None:
    """Have all sites serving, with as many simulated nodes in each, and as far from each other, as is asked for."""
    archives = _archives(programs, say) if layout.real_nodes else []
    controlplane.end_strays(layout.clusters)
    kubeconfig.write(layout, programs)
    hub.ensure(layout.hub, programs)
    if layout.real_nodes:
        network.create(layout)
        _enclose(layout)
        say("networks and control groups ready")

    def one(cluster: ClusterLayout) -> None:
        connect(cluster, layout, asked.round_trip)
        site(cluster, layout, programs, say, archives)
        addons.scale_simulated(cluster, programs, asked.simulated_nodes)

    with ThreadPoolExecutor(len(layout.clusters)) as pool:
        sites = [pool.submit(one, cluster) for cluster in layout.clusters]
    _raise_errors(sites)
    agents.ensure(layout, say)
    recovery.write(layout)
    shop.ensure(layout)


def site(cluster: ClusterLayout, layout: Layout, programs: Binaries, say: Say, archives: Iterable[Path] = ()) -> None:
    """Have one site serving: control plane and container runtime side by side, then the node's agents, then DNS."""
    with ThreadPoolExecutor(2) as pool:
        steps: list[Future[None]] = [pool.submit(_control_plane, cluster, programs)]
        if cluster.real_node:
            steps.append(pool.submit(nodes.ensure_runtime, cluster, layout, list(archives)))
    _raise_errors(steps)
    say(f"{cluster.name}: control plane ready")
    if cluster.real_node:
        _node(cluster, programs, say)
    else:
        services.wait_definitions(cluster)


def connect(cluster: ClusterLayout, layout: Layout, round_trip: float) -> None:
    """Have a site's network as if it had never been cut or slowed; ``round_trip`` is the distance of the cities in ms."""
    if cluster.real_node:
        network.heal(cluster)
        faults.heal(cluster, None)
        faults.forget_slowness(cluster)
        faults.set_pace(layout, cluster, round_trip)
    else:
        processes.unpause(cluster, "kube-apiserver")


def _control_plane(cluster: ClusterLayout, programs: Binaries) -> None:
    controlplane.ensure(cluster, programs)
    services.install_definitions(cluster)


def _node(cluster: ClusterLayout, programs: Binaries, say: Say) -> None:
    dnsservers.ensure(cluster, say)
    started = nodes.ensure_agents(cluster, programs)
    services.wait_definitions(cluster)
    addons.ensure_dns(cluster, programs)
    nodes.wait_ready(cluster, started)
    services.declare_pod_range(cluster)
    say(f"{cluster.name}: node Ready")
    addons.wait_dns(cluster)
    say(f"{cluster.name}: DNS answers")
    monitoring.ensure(cluster, programs)


def _archives(programs: Binaries, say: Say) -> list[Path]:
    folder = binaries.cache() / "images"
    found = images.archives(programs, folder)
    try:
        return [*found, images.archive(orders.image(say), folder)]
    except LabError as error:  # everything else of the lab is there without it
        say(f"without the image {orders.NAME}: {error}")
        return found


def _enclose(layout: Layout) -> None:
    """Have control groups and mount namespaces; a site whose processes run outside such a namespace stays as it is."""
    for cluster in layout.clusters:
        cgroups.create(cluster.cgroup)
        if not cgroups.members(cluster.cgroup):
            mountspace.create(cluster)


def _raise_errors(steps: Iterable[Future[None]]) -> None:
    errors = [error for step in steps if (error := step.exception())]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise LabError("; ".join(str(error) for error in errors)) from errors[0]


def _real_nodes(before: Settings | None, asked: bool | None, say: Say) -> bool:
    """Decide whether the nodes are real: as before, else as asked, else as this machine allows."""
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
