"""The acts on a site's Cluster of CloudNativePG that are about other sites' databases: who waits for whom, who follows whom."""

from __future__ import annotations

from contextlib import closing

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.node.cnpg import NO_SITE, ClusterSeen, replica, synchronous
from flotilla.node.database import Told
from flotilla.node.settings import upstream_of
from tasks.node_cnpg import ACT, CHECKPOINT, CONFIGURED, EVERY, Cnpg
from tasks.node_postgres import until


def checkpoint(db: Cnpg) -> Told:
    """Have a checkpoint written."""
    db.ask("checkpoint", within=CHECKPOINT)
    return Told(f"{db.config.site} has written a checkpoint on timeline {db.served().control.timeline}", changed=True)


def set_sync(db: Cnpg, names: str) -> Told:
    """Have commits wait for these standbys, other sites' Clusters by their names. Never for this site itself (finding 1)."""
    sites = names.split('"')[1::2]
    if db.config.site in sites:
        raise Permanent(f"commits at {db.config.site} cannot wait for {db.config.site} itself: leave it out of {names!r}")
    db.must_be()
    changed = _waited_for(db) != sites
    db.patch({"spec": {"postgresql": {"synchronous": synchronous(sites)}}})
    until(lambda: _waited_for(db) == sites, CONFIGURED, f"synchronous_standby_names to be {names!r}", EVERY)
    return Told(f"commits at {db.config.site} wait for {', '.join(sites) or 'nobody'}", changed)


def _waited_for(db: Cnpg) -> list[str]:
    return db.setting("synchronous_standby_names").split('"')[1::2]


def follow(db: Cnpg, upstream: str) -> Told:
    """Have the Cluster be a standby of another site's; one that is put down runs as that from now on."""
    site = db.config.site
    if upstream not in db.config.others:
        raise Permanent(f"{site} cannot follow {upstream}: expected one of {', '.join(db.config.others)}")
    seen = db.must_be()
    if not seen.is_standby:
        raise Permanent(f"{site} is a primary: stop it before it follows {upstream}")
    if db.memory.now.unfinished:
        raise Permanent(f"{db.memory.now.unfinished} was begun at {site} and not ended: reseed it")
    db.memory.change(autostart=True, like="")
    changed = sourced(db, seen, upstream)
    return Told(f"{site} follows {upstream}", changed)


def detach(db: Cnpg) -> Told:
    """Have a running standby take WAL from nobody: proved by there being no receiver."""
    seen = db.must_be()
    if not seen.is_standby:
        raise Permanent(f"{db.config.site} is a primary: it takes WAL from nobody")
    changed = sourced(db, seen, NO_SITE)
    return Told(f"{db.config.site} takes WAL from nobody", changed)


def sourced(db: Cnpg, seen: ClusterSeen, source: str) -> bool:
    """Have a standby take WAL from a site, or nobody, proved by what its server was told; tell whether it did not."""
    wanted = replica(db.topology, source)
    changed = (seen.primary, seen.source) != (wanted["primary"], wanted["source"])
    if changed:
        db.patch({"spec": {"replica": wanted}})
    until(lambda: _upstream(db) == ("" if source == NO_SITE else source), CONFIGURED, f"{source} to be its source", EVERY)
    if source == NO_SITE:
        until(lambda: not db.ask("select 1 from pg_stat_wal_receiver where status = 'streaming'"), ACT, "no receiver", EVERY)
    return changed


def _upstream(db: Cnpg) -> str:
    return upstream_of(db.setting("primary_conninfo"), db.topology.places)


def resume_replay(db: Cnpg) -> Told:
    """Have a standby replay; one that is paused and loses its connection would not come back (recovery-lab.md, 0.6)."""
    if not db.in_recovery():
        return Told(f"{db.config.site} is a primary: nothing is replayed", changed=False)
    if _replays(db):
        return Told(f"{db.config.site} replays", changed=False)
    db.ask("select pg_wal_replay_resume()")
    until(lambda: _replays(db), ACT, "replay to go on", EVERY)
    return Told(f"{db.config.site} replays again", changed=True)


def _replays(db: Cnpg) -> bool:
    return bool(db.ask("select pg_get_wal_replay_pause_state() = 'not paused'")[0][0])


def create_slots(db: Cnpg) -> Told:
    """Refuse: a standby of another site's Cluster cannot be told of a slot."""
    raise Permanent(
        f"CloudNativePG gives standbys of other sites no slots: {db.config.site} keeps WAL for them by wal_keep_size, or in "
        "an archive, as the Cluster's manifest says"
    )


def drop_slots(db: Cnpg, names: tuple[str, ...]) -> Told:
    """Have no slots of other sites, as there are none."""
    return Told(f"{db.config.site} holds no WAL back for {', '.join(names) or 'anybody'}", changed=False)


def must_lead(db: Cnpg, upstream: str) -> None:
    """Raise unless another site's database answers as a primary: who is copied from it follows it."""
    with closing(db.line_as_operator(upstream)) as line:
        try:
            standby = bool(line.ask("select pg_is_in_recovery()", within=ACT)[0][0])
        except FlotillaError as error:
            raise Transient(f"{upstream} cannot be copied: {error}") from None
    if standby:
        raise Transient(f"{upstream} is a standby: copy the primary")
