"""What is mounted where, and taking away what containerd and the kubelets mounted for the lab."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import CommandFailed, LabError

_MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo: where, and which kind of file system."""

    point: Path
    kind: str


def parse(mountinfo: str) -> list[Mount]:
    """Read mounts in the kernel's own format, proc(5): optional fields end at a lone dash; octal escapes in paths."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        found.append(Mount(Path(_unescape(fields.split()[4])), rest.split()[0]))
    return found


def mounts() -> list[Mount]:
    """Everything mounted in this mount namespace, oldest first; nothing on systems without /proc."""
    return parse(_MOUNTINFO.read_text()) if _MOUNTINFO.exists() else []


def below(folder: Path) -> list[Path]:
    """List the mount points strictly below a folder, newest first."""
    return [mount.point for mount in reversed(mounts()) if folder in mount.point.parents]


def unmount_below(folder: Path) -> int:
    """Unmount everything below a folder; say how many there were.

    A mount that stays busy is detached: its last user is already killed, and the kernel lets go in its own time.
    """
    count = 0
    for _ in range(50):
        points = below(folder)
        if not points:
            return count
        for point in points:
            count += _unmount(point)
        time.sleep(0.05)
    raise LabError(
        f"{points[0]} is still mounted after 50 tries: see what uses it (fuser -m {points[0]}), unmount it, run down again"
    )


def kind_at(folder: Path) -> str:
    """Tell the kind of file system that a folder lies on."""
    holders = [mount for mount in mounts() if mount.point == folder or mount.point in folder.parents]
    return max(holders, key=lambda mount: len(str(mount.point)), default=Mount(folder, "unknown")).kind


def _unmount(point: Path) -> int:
    try:
        run("umount", point)
    except CommandFailed:
        try:
            run("umount", "--lazy", point)
        except CommandFailed:
            return 0
    return 1


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
