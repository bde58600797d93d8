"""What a rewind or a new copy takes back, kept: the WAL files themselves, what is in them in words, and a count."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from flotilla.errors import Permanent
from flotilla.node.history import Piece, beyond, segments_from
from flotilla.node.waldump import Discarded, discarded
from flotilla.recovery import lsn
from tasks.node_files import sync_folder
from tasks.node_postgres import Node
from tasks.node_source import Source, own_history

DUMP = 3600.0  # seconds for all of it
_END_OF_WAL = "could not find a valid record"  # how pg_waldump says that there is no more: it always ends with an error there


def keep_evidence(node: Node, source: Source, timeline: int, fork: int) -> str:
    """Keep what the database has beyond a fork from another's; return where and what, "" where there is nothing.

    The WAL files are there already when it is repeated, and are then kept again: more is better than less. Raises Permanent
    where it cannot be kept.
    """
    files = segments_from((one.name for one in node.wal.iterdir()), timeline, fork)
    if not files:
        return ""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = node.config.state / "evidence" / f"{now}-timeline-{timeline}-from-{lsn.show(fork).replace('/', '-')}"
    try:
        _copied(node, folder, files)
        found, unread = _dumped(node, folder, beyond(own_history(node, node.control()), timeline, fork))
        names = source.names(found.relations)
        shown = {"site": node.config.site, "timeline": timeline, "fork": lsn.show(fork), "files": files, "unread": unread}
        (folder / "discarded.json").write_text(json.dumps(shown | found.shown(names), indent=2))
        for made in ("discarded.json", "waldump.txt.gz"):
            _on_disk(folder / made)
        for changed in (folder, folder.parent, node.config.state):
            sync_folder(changed)
    except OSError as error:
        raise Permanent(f"what {node.config.site} has beyond {lsn.show(fork)} cannot be kept in {folder}: {error}") from None
    counted = found.told(names) if found.records or not unread else "what could not be counted"
    not_read = f"; not read: {'; '.join(unread)}" if unread else ""
    return f"discarded: {counted}{not_read}; kept in {folder}"


def _copied(node: Node, folder: Path, files: Sequence[str]) -> None:
    """Have copies of WAL files on disk: the originals may be gone in a moment."""
    (folder / "wal").mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in files:
        shutil.copy2(node.wal / name, folder / "wal" / name, follow_symlinks=False)
        _on_disk(folder / "wal" / name)
    sync_folder(folder / "wal")


def _on_disk(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _dumped(node: Node, folder: Path, pieces: Sequence[Piece]) -> tuple[Discarded, list[str]]:
    """Write the records of each piece in words; return their count, and what could not be read and why."""
    found, unread, deadline = Discarded(), list[str](), time.monotonic() + DUMP
    program = str(node.config.postgres.bin / "pg_waldump")
    with gzip.open(folder / "waldump.txt.gz", "wt") as out:
        for piece in pieces:
            where = ["-p", str(folder / "wal"), "-t", str(piece.timeline), "-s", lsn.show(piece.begin)]
            where += ["-e", lsn.show(piece.end)] if piece.end is not None else []
            count, why = _read([program, *where], out, deadline)
            found.add(count)
            if why and (piece.end is not None or not count.records):
                unread.append(f"timeline {piece.timeline} from {lsn.show(piece.begin)}: {why}")
    return found, unread


def _read(command: Sequence[str], out: TextIO, deadline: float) -> tuple[Discarded, str]:
    """Return what pg_waldump counts, and why it ended early: where the WAL ends it does so with an error, too."""
    dump = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    assert dump.stdout
    assert dump.stderr
    killer = threading.Timer(max(0.0, deadline - time.monotonic()), dump.kill)
    killer.daemon = True
    killer.start()
    with dump:
        count = discarded(line for line in dump.stdout if out.write(line))
        said = " ".join(dump.stderr.read().split())
    killer.cancel()
    if dump.returncode == -signal.SIGKILL:
        return count, f"it took more than {DUMP:g} s"
    return count, said if dump.returncode and _END_OF_WAL not in said else ""
