"""Taking a lab away so that nothing stays: processes, mounts, namespaces, rules, control groups, files.

It works from what is there, not from what the lab remembers, so that it also ends a lab that crashed half way up, and one
whose machine was switched off.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lab import cgroups, controlplane, databases, mounts, mountspace, network, processes, slots, system
from lab.errors import LabError
from lab.layout import AGENT, ClusterLayout, Layout


def remove(layout: Layout, say: Callable[[str], None]) -> None:
    """Remove every trace of a lab; what is not there is fine."""
    if _is_linux_root():
        cgroups.kill(layout.cgroup)
    controlplane.end_strays(layout.clusters)
    for cluster in layout.clusters:
        kill(cluster)
    for home in (layout.hub, layout.wires):
        for part in home.parts:
            processes.stop(home, part, grace=0)
    say("processes ended")
    if _is_linux_root():
        _remove_from_machine(layout)
        databases.remove(layout)
        say("mounts, networks and control groups removed")
    remove_files(layout.directory)
    say("files removed")


def after_last_lab() -> None:
    """Remove what all labs share on this machine."""
    if _is_linux_root():
        mountspace.remove_last()
        system.restore_instances(slots.limit_before())


def kill(cluster: ClusterLayout) -> None:
    """Kill all processes and pods of a cluster at once."""
    if _is_linux_root() and cluster.real_node:
        cgroups.kill(cluster.cgroup)
    for part in (*cluster.parts, AGENT):
        processes.stop(cluster, part, grace=0)


def traces(layout: Layout) -> list[str]:
    """List what there is of a lab on this machine outside its folder."""
    groups = [layout.cgroup] if cgroups.exists(layout.cgroup) else []
    homes = {str(cluster.databases) for cluster in layout.clusters if cluster.databases.exists()}
    return [*network.traces(layout), *groups, *homes]


def _remove_from_machine(layout: Layout) -> None:
    for cluster in layout.clusters:
        mountspace.remove(cluster)
    mounts.unmount_below(layout.directory)
    network.remove(layout)
    cgroups.remove(layout.cgroup)


def remove_files(directory: Path) -> None:
    """Delete the lab's folder, never through a mount, and never a folder that no lab has made."""
    if left := mounts.below(directory):
        raise LabError(f"{directory} is not deleted: {left[0]} is still mounted in it")
    if any(directory.iterdir()) and not (directory / "lab.json").exists():
        raise LabError(f"{directory} is not deleted: it has no lab.json, so it may be more than a lab. Delete it by hand")
    shutil.rmtree(directory)


def _is_linux_root() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0
