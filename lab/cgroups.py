"""Control groups: one tree a lab, in every hierarchy, so that nothing which it started can get lost.

The kubelets hang their pods below it, and the lab's own processes stand in its `system` leaves: killing the tree kills
containers and their shims without knowing any name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from lab.errors import TookTooLong
from lab.mounts import mounts

_V2_ROOT = Path("/sys/fs/cgroup")
_FREEZER = _V2_ROOT / "freezer"


def hierarchies() -> list[Path]:
    """Where control groups are mounted: once for v2, once a controller for v1."""
    return [mount.point for mount in mounts() if mount.kind in {"cgroup", "cgroup2"}]


def unified() -> bool:
    """Whether this machine has cgroup v2 throughout."""
    return (_V2_ROOT / "cgroup.controllers").exists()


def create(cgroup: str) -> None:
    """Make the group in every hierarchy, ready for a kubelet to make pods below it, with a leaf for processes."""
    for root in hierarchies():
        group = root
        for name in cgroup.strip("/").split("/"):
            group = group / name
            group.mkdir(exist_ok=True)
            _inherit_cpuset(group)
            _delegate(group.parent)
        _delegate(group)
    _leaf(cgroup).mkdir(exist_ok=True)


def hold(cgroup: str, pid: int) -> None:
    """Put a process, and with it all that it will start, into the group's leaf."""
    with contextlib.suppress(ProcessLookupError):
        (_leaf(cgroup) / "cgroup.procs").write_text(str(pid))


def members(cgroup: str) -> set[int]:
    """All processes in the group and below it."""
    found: set[int] = set()
    for folder, _, _ in os.walk(_tracker() / cgroup.strip("/")):
        with contextlib.suppress(OSError):
            found |= {int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()}
    return found


def kill(cgroup: str, *, within: float = 20) -> int:
    """Kill every process in the group, however fast they fork, frozen ones too; say how many there were."""
    deadline, killed = time.monotonic() + within, set[int]()
    while left := members(cgroup):
        if time.monotonic() > deadline:
            raise TookTooLong(
                f"processes {sorted(left)} of control group {cgroup} outlive SIGKILL: are they in uninterruptible I/O?"
            )
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _thaw(cgroup)
        killed |= left
        time.sleep(0.05)
    return len(killed)


def remove(cgroup: str, *, within: float = 10) -> None:
    """Take the group away in every hierarchy, from its leaves up."""
    deadline = time.monotonic() + within
    for root in hierarchies():
        while left := _remove_tree(root / cgroup.strip("/")):
            if time.monotonic() > deadline:
                raise TookTooLong(f"control group {left} could not be removed: a process has entered it from outside the lab")
            time.sleep(0.05)


def exists(cgroup: str) -> bool:
    """Whether the group exists in any hierarchy."""
    return any((root / cgroup.strip("/")).exists() for root in hierarchies())


def _thaw(cgroup: str) -> None:
    """Let frozen processes go on, which in v1 do not even die: runc freezes what it kills, and may be killed meanwhile."""
    for folder, _, files in os.walk(_FREEZER / cgroup.strip("/")):
        with contextlib.suppress(OSError):
            if "freezer.state" in files:
                (Path(folder) / "freezer.state").write_text("THAWED")


def _tracker() -> Path:
    """Return the hierarchy that is asked which processes there are."""
    return _V2_ROOT if unified() else _V2_ROOT / "pids"


def _leaf(cgroup: str) -> Path:
    return _tracker() / cgroup.strip("/") / "system"


def _inherit_cpuset(group: Path) -> None:
    """In v1 a fresh cpuset is empty and lets no process in until it names processors and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        own, parents = group / name, group.parent / name
        if not unified() and own.exists() and not own.read_text().strip():
            own.write_text(parents.read_text())


def _delegate(group: Path) -> None:
    """In v2 a group's children have only the controllers that it hands down."""
    if unified():
        for controller in (group / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):  # some controllers cannot be handed down; the kubelet names those it misses
                (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_tree(top: Path) -> Path | None:
    """Remove what can be removed; return a group that could not, or nothing."""
    stuck = None
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            stuck = Path(folder)
    return stuck
