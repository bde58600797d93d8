"""What a rewind takes back, kept: the WAL files themselves, what is in them in words, and a count."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from flotilla.node.history import segments_from
from flotilla.node.waldump import Discarded, discarded
from flotilla.recovery import lsn
from tasks.node_files import sync_folder
from tasks.node_postgres import Node

DUMP = 3600.0  # seconds


def keep_evidence(node: Node, timeline: int, fork: int) -> str:
    """Keep what the database has beyond a fork; return where and what, "" where there is nothing.

    The WAL files are there already when a rewind is repeated, and are then kept again: more is better than less.
    """
    files = segments_from((one.name for one in node.wal.iterdir()), timeline, fork)
    if not files:
        return ""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = node.config.state / "evidence" / f"{now}-timeline-{timeline}-from-{lsn.show(fork).replace('/', '-')}"
    (folder / "wal").mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in files:
        shutil.copy2(node.wal / name, folder / "wal" / name)
    found = _dumped(node, folder, timeline, fork)
    shown = {"site": node.config.site, "timeline": timeline, "fork": lsn.show(fork), "files": files, **found.shown()}
    (folder / "discarded.json").write_text(json.dumps(shown, indent=2))
    sync_folder(folder)
    return f"discarded {found.told()}; kept in {folder}"


def _dumped(node: Node, folder: Path, timeline: int, fork: int) -> Discarded:
    """Write the records in words and return their count; pg_waldump always ends with an error where the WAL ends."""
    program = node.config.postgres.bin / "pg_waldump"
    command = [program, "-p", folder / "wal", "-t", str(timeline), "-s", lsn.show(fork)]
    with gzip.open(folder / "waldump.txt.gz", "wt") as out:
        dump = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
        assert dump.stdout
        with dump:
            return discarded(line for line in dump.stdout if out.write(line))
