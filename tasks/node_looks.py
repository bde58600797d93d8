"""What a node shows of its database without asking it anything, so that nothing waits for it: process, files, control data."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flotilla.errors import FlotillaError
from flotilla.node.history import forks, histories, history_file, parse_history
from flotilla.recovery import lsn
from tasks.node_postgres import Node

SIZED_EVERY = 60.0  # seconds between looks at how large the data are


class Looks:
    """Looks at a node; remembers only how large its data were, which takes long to find out."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._bytes: int | None = None
        self._sized = 0.0

    def database(self) -> dict[str, Any]:
        """Return what the API tells of the database; a part that can't be looked at says why."""
        node, memory = self._node, self._node.memory.now
        state = node.server.state()
        return {
            "process": {"stopping": "running"}.get(state, state),
            "standby_signal": node.signal.exists(),
            "autostart": memory.autostart,
            "fenced": memory.fenced,
            "fence": rungs(state, autostart=memory.autostart, fenced=memory.fenced),
            "primary_epoch": memory.primary_epoch,
            "unfinished": memory.unfinished,
            "control": or_unseen(lambda: node.control().shown()),
            "forks": or_unseen(lambda: _forks(node.wal)),
            "disk_free": or_unseen(lambda: shutil.disk_usage(_existing(node.data)).free),
            "data_bytes": self._bytes,
        }

    def size(self) -> None:
        """Look at how large the data are, if that is long ago."""
        now = time.monotonic()
        if not self._bytes or now - self._sized > SIZED_EVERY:
            self._bytes, self._sized = _bytes(self._node.data), now


def rungs(state: str, *, autostart: bool, fenced: bool) -> list[str]:
    """Return what keeps clients off, weakest first: recovery.md 2.3."""
    stopped = state in ("stopped", "absent")
    held = {"pg_hba reject": fenced, "stopped": stopped, "no autostart": stopped and not autostart}
    return [rung for rung, holds in held.items() if holds]


def _forks(wal: Path) -> list[dict[str, Any]]:
    begun: dict[int, int] = {}
    for timeline in histories(one.name for one in wal.iterdir()):
        begun |= forks(parse_history((wal / history_file(timeline)).read_text(), timeline))
    return [{"timeline": timeline, "at": lsn.show(at)} for timeline, at in sorted(begun.items())]


def or_unseen(look: Callable[[], Any]) -> Any:
    """Return what a look finds, or that it could not be looked at and why."""
    try:
        return look()
    except (FlotillaError, OSError) as error:
        return {"unseen": str(error)}


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _bytes(folder: Path) -> int:
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(here, name)).st_size
            except OSError:
                continue  # gone meanwhile
    return total
