"""The lab's processes: started for good, known by pid and start time, so that no other process is ever taken for one.

A pid alone means little: after a crash or a reboot it may belong to anybody. A record therefore also has the boot and
the process's start time in it, and only a process that matches all three is ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from lab import cgroups, mountspace
from lab.commands import run
from lab.errors import CommandFailed, TookTooLong
from lab.layout import ClusterLayout, Hub, Wires

Home = ClusterLayout | Hub | Wires
"""Whose process it is."""


class Life(Enum):
    """What a part's process does."""

    RUNNING = "running"
    STOPPED = "stopped"  # by SIGSTOP: there, and silent
    DEAD = "dead"


@dataclass(frozen=True)
class Process:
    """A process for certain: `started` is its start time as the system tells it, `boot` the boot that counts from."""

    pid: int
    started: str
    boot: str


def start(cluster: Home, part: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Start a part in its cluster's namespace and control group, in a session of its own, writing to its log."""
    words = [*entering(cluster), *command]
    log = cluster.log(part)
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.posix_spawnp(
        words[0],
        words,
        dict(os.environ) | dict(env or {}),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    adopt(cluster, part, pid)


def adopt(cluster: Home, part: str, pid: int) -> None:
    """Take a process as that part from now on."""
    record(cluster, part, pid)
    if isinstance(cluster, ClusterLayout) and cluster.real_node:
        cgroups.hold(cluster.cgroup, pid)


def record(cluster: Home, part: str, pid: int) -> None:
    """Remember a process as that part."""
    file = _record_file(cluster, part)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(Process(pid, _looked_at(pid)[0], _boot()))))


def life(cluster: Home, part: str) -> Life:
    """Look at what the part's process does now."""
    process = _recorded(cluster, part)
    if process is None or process.boot != _boot():
        return Life.DEAD
    started, state = _looked_at(process.pid)
    if started != process.started or state in {"", "Z", "X"}:
        return Life.DEAD
    return Life.STOPPED if state.startswith("T") else Life.RUNNING


def pid_of(cluster: Home, part: str) -> int | None:
    """Return the part's pid while it lives."""
    process = _recorded(cluster, part)
    return process.pid if process and life(cluster, part) is not Life.DEAD else None


def arguments(pid: int) -> str:
    """Read a process's command line, empty where there is none."""
    file = Path(f"/proc/{pid}/cmdline")
    try:
        return (
            file.read_text().replace("\0", " ") if Path("/proc/self").exists() else run("ps", "-o", "command=", "-p", str(pid))
        )
    except (OSError, CommandFailed):
        return ""


def tell(cluster: Home, part: str, what: signal.Signals) -> None:
    """Send a signal to the part, if it lives."""
    pid = pid_of(cluster, part)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def pause(cluster: Home, part: str) -> None:
    """Make the part silent: its connections stay open and nothing is answered."""
    tell(cluster, part, signal.SIGSTOP)


def unpause(cluster: Home, part: str) -> None:
    """Let the part go on."""
    tell(cluster, part, signal.SIGCONT)


def stop(cluster: Home, part: str, *, grace: float = 5) -> None:
    """End the part: asked first, killed when it has not ended after `grace` seconds (0: killed at once)."""
    if grace:
        tell(cluster, part, signal.SIGTERM)
        tell(cluster, part, signal.SIGCONT)
    deadline = time.monotonic() + grace
    while life(cluster, part) is not Life.DEAD and time.monotonic() < deadline:
        time.sleep(0.05)
    tell(cluster, part, signal.SIGKILL)
    _wait_dead(cluster, part)
    _record_file(cluster, part).unlink(missing_ok=True)


def _wait_dead(cluster: Home, part: str) -> None:
    deadline = time.monotonic() + 10
    while life(cluster, part) is not Life.DEAD:
        if time.monotonic() > deadline:
            raise TookTooLong(
                f"{cluster.name}: {part} (pid {pid_of(cluster, part)}) outlives SIGKILL: is it in uninterruptible I/O?"
            )
        time.sleep(0.02)


def entering(cluster: Home) -> list[str]:
    """Say how to begin a command that is to run in the cluster's namespaces."""
    # Not `ip netns exec`: that remounts /sys and hides the control groups from the kubelet.
    if not (isinstance(cluster, ClusterLayout) and cluster.real_node):
        return []
    mount = [f"--mount={mountspace.file(cluster)}"] if mountspace.exists(cluster) else []
    return ["nsenter", f"--net={cluster.namespace_path}", *mount, "--"]


def _record_file(cluster: Home, part: str) -> Path:
    return cluster.directory / "processes" / f"{part}.json"


def _recorded(cluster: Home, part: str) -> Process | None:
    try:
        return Process(**json.loads(_record_file(cluster, part).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else ""


def _looked_at(pid: int) -> tuple[str, str]:
    """Start time and state of a process, both empty where there is none."""
    if not Path("/proc/self/stat").exists():
        return _asked_of_ps(pid)
    try:
        # The command in parentheses may hold anything, parentheses too: count from the last one, proc(5).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[19], fields[0]


def _asked_of_ps(pid: int) -> tuple[str, str]:
    try:
        *started, state = run("ps", "-o", "lstart=,state=", "-p", str(pid)).split()
    except (CommandFailed, ValueError):
        return "", ""
    return " ".join(started), state
