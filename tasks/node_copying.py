"""A node's database made like another site's: rewound with pg_rewind, or copied anew with pg_basebackup.

Both take long and may die half-way. What they were at stands in the agent's memory before they touch PGDATA.
"""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.node import settings
from flotilla.node.config import slot_of
from flotilla.node.controldata import ControlData
from flotilla.node.database import Go, Told
from flotilla.node.hba import REPLICATION, REWIND
from flotilla.recovery import lsn
from tasks.node_evidence import keep_evidence
from tasks.node_files import sync_folder
from tasks.node_postgres import SIGNAL, Node
from tasks.node_processes import run
from tasks.node_replication import as_standby
from tasks.node_source import Source, parted

HOURS = 12 * 3600.0  # seconds that a copy may take
_A_REWIND, _KEPT = "a rewind", "-epoch-"
_DIVERGED = re.compile(r"servers diverged at WAL location ([0-9A-F]+/[0-9A-F]+) on timeline (\d+)")

FOR_NOBODY = ("-c", "hot_standby=off", "-c", "listen_addresses=", "-c", "primary_conninfo=")
"""What makes a standby one that lets nobody in and follows nobody."""


def rewind(node: Node, upstream: str, evidence: bool, go: Go) -> Told:
    """Have the stopped database hold nothing that its new primary has not, and follow it from its next start on.

    Raises Transient where the upstream has to do something first, Permanent where it can't be done: reseed then.
    """
    site = node.config.site
    if _is_already_like(node, upstream):
        return Told(f"{site} was made like {upstream} already, and runs", changed=False)
    _must_be_still(node)
    if node.server.state() == "absent":
        raise Permanent(f"{site} has no database to rewind: reseed it")
    if node.memory.now.unfinished:
        raise Permanent(f"{node.memory.now.unfinished} was begun at {site} and not ended: reseed it")
    control = node.control()
    if node.memory.now.like == _mark(node, upstream, control) and node.signal.exists():
        return Told(f"{site} was rewound to {upstream} already", as_standby(node, upstream))
    go(f"look at {upstream}")
    with Source(node, upstream) as source:
        source.must_be_new_primary_of(control)
        timeline, fork = parted(node, control, source)
        if fork is None:
            return _same_timeline(node, upstream)
        go("keep evidence")
        kept = keep_evidence(node, source, timeline, fork) if evidence else ""
    go(f"rewind to {upstream}")
    _rewound(node, upstream, (timeline, fork))
    return Told(f"{site} is rewound to {upstream}" + (f"; {kept}" if kept else ""), changed=True)


def _same_timeline(node: Node, upstream: str) -> Told:
    """Return that there is nothing to take back: a standby of a timeline has only what that timeline's primary wrote."""
    if not node.signal.exists():
        raise Permanent(
            f"{node.config.site} and {upstream} were primaries on one timeline: what differs cannot be told; reseed"
        )
    return Told(f"{node.config.site} has nothing that {upstream} has not", as_standby(node, upstream))


def _rewound(node: Node, upstream: str, parting: tuple[int, int]) -> None:
    _recover(node)
    node.memory.change(unfinished=f"{_A_REWIND} to {upstream}", like="")
    program = node.config.postgres.bin / "pg_rewind"
    source = settings.conninfo(node.config, upstream, REWIND)
    command: list[str | Path] = [program, "--target-pgdata", node.data, "--source-server", source, "--no-ensure-shutdown"]
    said = run(command, node.account, within=HOURS, record=node.program)
    found = _DIVERGED.search(said)
    if found and (int(found[2]), lsn.parse(found[1])) != parting:
        shown = f"{lsn.show(parting[1])} on timeline {parting[0]}"
        raise Permanent(f"pg_rewind went back to {found[1]} on timeline {found[2]}, the histories part at {shown}: reseed")
    as_standby(node, upstream)
    node.memory.change(unfinished="", like=_mark(node, upstream, node.control()))


def _recover(node: Node) -> None:
    """Have an orderly end of what crashed, in a server for nobody: pg_rewind needs one, and would make it by itself.

    What was a primary replays its WAL in a single-user server, which then writes a checkpoint. A standby must not: that record
    would stand on a timeline that is another's, and nothing would ever show it. So it is started as a standby, and stopped.
    """
    if node.control().is_clean:
        return
    if node.signal.exists():
        node.server.pass_through(FOR_NOBODY, HOURS)
        return
    node.server.clear()
    postgres, *words = node.server.command
    alone = [postgres, "--single", *words, "-c", "synchronous_standby_names=", "template1"]
    try:
        run(alone, node.account, within=HOURS, record=node.program)
    except Permanent as error:
        raise Permanent(f"{node.config.site} does not recover from its crash, reseed it: {error}") from None


def reseed(node: Node, upstream: str, go: Go) -> Told:
    """Have a new copy of another site's database in the place of this site's, which is moved aside.

    What the old one may have and the other has not is kept as evidence, as far as it can be told, and the old one with it.
    """
    site, fresh = node.config.site, fresh_folder(node)
    if _is_already_like(node, upstream):
        return Told(f"{site} was made like {upstream} already, and runs", changed=False)
    _must_be_still(node)
    go(f"look at {upstream}")
    with Source(node, upstream) as source:
        size, slot = source.size(), source.slot(slot_of(site))
    if slot == "lost":
        raise Transient(f"the slot of {site} at {upstream} has lost its WAL: have it created again there first")
    make_room(node)
    _must_fit(node, size)
    go(f"copy {size >> 20} MB from {upstream}")
    _copy(node, upstream, makes_slot=not slot)
    go("keep evidence")
    with Source(node, upstream) as source:
        kept = _kept(node, source)
    go("put the copy in place")
    as_standby(node, upstream, fresh)
    put_in_place(node, fresh, "a new copy", keep=bool(kept))
    node.memory.change(unfinished="", like=_mark(node, upstream, node.control()))
    told = f"; {kept}" if kept else ""
    if old := _asides(node, f"{_KEPT}*"):
        told += f"; kept until somebody deletes it: {', '.join(old)}"
    return Told(f"{site} is a new copy of {upstream}, {size >> 20} MB{told}", changed=True)


def _kept(node: Node, source: Source) -> str:
    """Keep evidence of what a new copy discards; return what is told of it, "" where the old database has nothing of its own.

    A new copy is what is left where a rewind cannot be done: so it is made even if none of this can be told.
    """
    unfinished = node.memory.now.unfinished
    if node.server.state() == "absent":
        return "what was there is no database" if node.data.exists() and any(node.data.iterdir()) else ""
    if unfinished.startswith(_A_REWIND):
        return f"{unfinished} was begun on what was there: see what that kept as evidence"
    try:
        control = node.control()
        source.must_be_new_primary_of(control)
        timeline, fork = parted(node, control, source)
        if fork is not None:
            return keep_evidence(node, source, timeline, fork) or "no WAL of what is discarded is left"
    except (FlotillaError, OSError) as error:
        return f"what is discarded cannot be told: {error}"
    return "" if node.signal.exists() else f"both were primaries on timeline {timeline}: what is discarded cannot be told"


def _must_fit(node: Node, size: int) -> None:
    free = shutil.disk_usage(node.data.parent).free
    if free < size * 1.1:
        old = _asides(node, "*")
        room = f": if nobody needs what an earlier database had any more, delete {' or '.join(old)}" if old else ""
        left = f"{node.config.site} has {free >> 20} MB left at {node.data.parent}, the copy takes {size >> 20}"
        raise Permanent(left + room)


def _asides(node: Node, which: str) -> list[str]:
    return sorted(str(one) for one in node.data.parent.glob(f"{node.data.name}.aside{which}"))


def _copy(node: Node, upstream: str, *, makes_slot: bool) -> None:
    source = settings.conninfo(node.config, upstream, REPLICATION)
    command: list[str | Path] = [node.config.postgres.bin / "pg_basebackup", "-d", source, "-D", fresh_folder(node)]
    command += ["-X", "stream", "-c", "fast", "-S", slot_of(node.config.site), *(["-C"] if makes_slot else [])]
    run(command, node.account, within=HOURS, record=node.program)


def fresh_folder(node: Node) -> Path:
    """Return where a new PGDATA is made before it takes the place of the old one."""
    return node.data.with_name(f"{node.data.name}.new")


def aside_folder(node: Node) -> Path:
    """Return where the PGDATA before this one lies if it had nothing of its own."""
    return node.data.with_name(f"{node.data.name}.aside")


def kept_folder(node: Node) -> Path:
    """Return where to move a PGDATA that may be the only one with something in it: only people delete it."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return node.data.with_name(f"{node.data.name}.aside{_KEPT}{node.memory.now.epoch}-{now}")


def make_room(node: Node) -> None:
    """Have a folder to make a new PGDATA in, and nothing of an earlier try."""
    emptied(fresh_folder(node))
    if not node.data.parent.exists():
        node.data.parent.mkdir(mode=0o755, parents=True)
        node.account.own(node.data.parent)


def emptied(folder: Path) -> None:
    """Have a folder gone: what is left of an earlier try."""
    if folder.exists():
        shutil.rmtree(folder)


def put_in_place(node: Node, fresh: Path, what: str, *, keep: bool) -> Path:
    """Have a finished PGDATA take the place of the old one; return where that is now, by a name of its own if it is to be kept.

    A death in between leaves no database, and never half of one.
    """
    node.memory.change(unfinished=what, like="")
    aside = kept_folder(node) if keep else aside_folder(node)
    if node.data.exists():
        _cleared(aside, node)
        node.data.rename(aside)
    fresh.rename(node.data)
    sync_folder(node.data.parent)
    return aside


def _cleared(aside: Path, node: Node) -> None:
    """Have nothing where a PGDATA is to be moved; what lies there and was a primary is moved on, and not deleted."""
    if (aside / "PG_VERSION").is_file() and not (aside / SIGNAL).exists():
        aside.rename(kept_folder(node))
    emptied(aside)


def _is_already_like(node: Node, upstream: str) -> bool:
    """Tell whether the server that runs is a standby made like a site at this very epoch: an act that is repeated."""
    made = node.memory.now.like.startswith(_made_like(node, upstream))
    return made and node.server.pid() is not None and node.signal.exists()


def _made_like(node: Node, upstream: str) -> str:
    return f"{node.memory.now.epoch} {upstream} "


def _must_be_still(node: Node) -> None:
    state = node.server.state()
    if state not in ("stopped", "absent"):
        raise Permanent(f"PostgreSQL of {node.config.site} is {state}: stop it before its files are changed")


def _mark(node: Node, upstream: str, control: ControlData) -> str:
    return _made_like(node, upstream) + " ".join(map(str, control.shown().values()))
