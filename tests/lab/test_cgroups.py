"""Control groups of real processes: none outlives the group."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cgroups

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0 or not cgroups.hierarchies(), reason="control groups need root and Linux"),
]


@pytest.fixture
def cgroup() -> Iterator[str]:
    name = f"/flotilla-test-{os.getpid()}"
    cgroups.create(name)
    yield name
    cgroups.remove(name)


def test_a_frozen_process_is_killed_too(cgroup: str):
    process = subprocess.Popen(["sleep", "600"])
    cgroups.hold(cgroup, process.pid)
    freeze(cgroup, process.pid)

    assert 1 == cgroups.kill(cgroup)
    assert process.wait(timeout=10) < 0
    assert set() == cgroups.members(cgroup)


def freeze(cgroup: str, pid: int) -> None:
    """Freeze a process as runc does; in v2 it would die all the same."""
    if cgroups.unified():
        (Path("/sys/fs/cgroup") / cgroup.strip("/") / "system" / "cgroup.freeze").write_text("1")
        return
    group = Path("/sys/fs/cgroup/freezer") / cgroup.strip("/")
    (group / "cgroup.procs").write_text(str(pid))
    (group / "freezer.state").write_text("FROZEN")
