"""Who follows whom, and who is waited for: upstream, slots, synchronous standbys, checkpoints, replay."""

from __future__ import annotations

from pathlib import Path

from flotilla.errors import Permanent, Transient
from flotilla.node.config import site_of_slot, slot_of
from flotilla.node.database import Told
from flotilla.node.settings import auto_conf, conninfo
from tasks.node_files import keep
from tasks.node_postgres import ACT, SIGNAL, Node, until

CHECKPOINT = 300.0  # seconds


def follow(node: Node, upstream: str) -> Told:
    """Have the database be a standby of another site: told to at once where it runs, else from its next start on."""
    site = node.config.site
    if upstream not in node.config.others:
        raise Permanent(f"{site} cannot follow {upstream}: expected one of {', '.join(node.config.others)}")
    state = node.server.state()
    if state == "absent":
        raise Permanent(f"{site} has no database that could follow: reseed it")
    if state != "stopped":
        return _followed_running(node, upstream)
    control = node.control()
    if node.memory.now.unfinished:
        raise Permanent(f"{node.memory.now.unfinished} was begun at {site} and not ended: reseed it")
    if not node.signal.exists() and not control.is_clean:
        # It would come up, answer, and replicate nothing: recovery.md, finding 4.
        raise Permanent(f"{site} was not stopped in order ({control.state!r}), and may hold what {upstream} has not: rewind it")
    return Told(f"{site} follows {upstream} once it runs", as_standby(node, upstream))


def as_standby(node: Node, upstream: str, data: Path | None = None) -> bool:
    """Have a stopped PGDATA be a standby's; tell whether it was not. What was copied into its settings is gone (finding 1)."""
    data = data or node.data
    changed = keep(data / "postgresql.auto.conf", auto_conf(node.config, upstream), node.account)
    return keep(data / SIGNAL, "", node.account) or changed


def _followed_running(node: Node, upstream: str) -> Told:
    node.must_run()
    if not node.in_recovery():
        raise Permanent(f"{node.config.site} is a primary: stop it before it follows {upstream}")
    changed = node.alter("primary_slot_name", slot_of(node.config.site))
    changed |= node.alter("primary_conninfo", conninfo(node.config, upstream))
    return Told(f"{node.config.site} follows {upstream}", changed)


def detach(node: Node) -> Told:
    """Have a running standby take WAL from nobody: proved by there being no receiver."""
    node.must_run()
    if not node.in_recovery():
        raise Permanent(f"{node.config.site} is a primary: it takes WAL from nobody")
    changed = node.alter("primary_conninfo", "")
    until(lambda: not node.ask("select 1 from pg_stat_wal_receiver"), ACT, "the receiver of WAL to end")
    return Told(f"{node.config.site} takes WAL from nobody", changed)


def resume_replay(node: Node) -> Told:
    """Have a standby replay; one that is paused and loses its connection would not come back (recovery-lab.md, 0.6)."""
    node.must_run()
    if not node.in_recovery():
        return Told(f"{node.config.site} is a primary: nothing is replayed", changed=False)
    if _is_replaying(node):
        return Told(f"{node.config.site} replays", changed=False)
    node.ask("select pg_wal_replay_resume()")
    until(lambda: _is_replaying(node), ACT, "replay to go on")
    return Told(f"{node.config.site} replays again", changed=True)


def _is_replaying(node: Node) -> bool:
    return bool(node.ask("select pg_get_wal_replay_pause_state() = 'not paused'")[0][0])


def set_sync(node: Node, names: str) -> Told:
    """Have commits wait for these standbys. Never for this site itself: those commits would never end (finding 1)."""
    if f'"{node.config.site}"' in names:
        raise Permanent(f"commits at {node.config.site} cannot wait for {node.config.site} itself: leave it out of {names!r}")
    if unknown := [name for name in names.split('"')[1::2] if name not in node.config.sites]:
        raise Permanent(f"commits cannot wait for {', '.join(unknown)}: the sites are {', '.join(node.config.sites)}")
    changed = node.alter("synchronous_standby_names", names)
    return Told(f"commits at {node.config.site} wait for {names or 'nobody'}", changed)


def checkpoint(node: Node) -> Told:
    """Have a checkpoint written: what a rewind from here begins with (recovery.md, finding 3)."""
    node.must_run()
    node.ask("checkpoint", within=CHECKPOINT)
    control = node.control()
    return Told(f"{node.config.site} has written a checkpoint on timeline {control.timeline}", changed=True)


def create_slots(node: Node, names: tuple[str, ...]) -> Told:
    """Have a slot that holds WAL back from now on for each site; one that lost its WAL is made anew."""
    node.must_run()
    if node.config.site in names:
        raise Permanent(f"{node.config.site} does not follow itself: no slot for it is made")
    slots = _slots(node)
    missing = [name for name in names if slots.get(name, ("lost", False))[0] == "lost"]
    for name in missing:
        if name in slots:
            node.ask("select pg_drop_replication_slot(%s)", slot_of(name))
        node.ask(
            "select pg_create_physical_replication_slot(%s, true) where not exists "
            "(select from pg_replication_slots where slot_name = %s)", slot_of(name), slot_of(name)
        )  # fmt: skip
    return Told(f"{node.config.site} has slots for {', '.join(names)}", bool(missing))


def drop_slots(node: Node, names: tuple[str, ...]) -> Told:
    """Have no slot for these sites; raises Transient where one of them streams through its."""
    node.must_run()
    slots = _slots(node)
    there = [name for name in names if name in slots]
    if used := [name for name in there if slots[name][1]]:
        raise Transient(
            f"{', '.join(used)} streams from {node.config.site} through its slot: have it follow another site first"
        )
    for name in there:
        node.ask("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", slot_of(name))
    return Told(f"{node.config.site} holds no WAL back for {', '.join(names) or 'anybody'}", bool(there))


def _slots(node: Node) -> dict[str, tuple[str, bool]]:
    rows = node.ask("select slot_name, coalesce(wal_status, 'reserved'), active from pg_replication_slots")
    return {site_of_slot(str(name)): (str(status), bool(active)) for name, status, active in rows}
