"""A site's Cluster made anew as a copy of another site's: the old one is deleted, and what it had alone with it.

It takes long and may die half-way: that a copy was begun stands in the agent's memory before anything is deleted.
"""

from __future__ import annotations

from flotilla.errors import Permanent
from flotilla.node.database import Go, Told
from flotilla.node.settings import upstream_of
from tasks.node_cnpg import EVERY, Cnpg
from tasks.node_cnpg_replication import must_lead
from tasks.node_postgres import until

HOURS = 12 * 3600.0  # seconds that a copy may take
GONE = 300.0  # seconds for the pods and claims of a Cluster to go
_LOST = (
    "what the old one had alone is gone, as CloudNativePG keeps no evidence of it: only its volumes have it still, where their "
    "storage class retains them"
)


def refuse_rewind(db: Cnpg) -> Told:
    """Refuse: nothing rewinds a Cluster to another one."""
    raise Permanent(f"CloudNativePG rewinds no Cluster to that of another site: reseed {db.config.site}")


def reseed(db: Cnpg, upstream: str, state: str, go: Go) -> Told:
    """Have a new Cluster whose database is a copy of another site's, and which follows it; ``state`` is how it runs now."""
    site, mark = db.config.site, f"{db.memory.now.epoch} {upstream} "
    if upstream not in db.config.others:
        raise Permanent(f"{site} cannot be made like {upstream}: expected one of {', '.join(db.config.others)}")
    if db.memory.now.like == mark and state == "running":
        return Told(f"{site} was made like {upstream} already, and runs", changed=False)
    if state not in ("stopped", "absent"):
        raise Permanent(f"PostgreSQL of {site} is {state}: stop it before its Cluster is made anew")
    go(f"look at {upstream}")
    must_lead(db, upstream)
    db.manifest()  # nothing is deleted that could not be made again
    db.memory.change(unfinished="a new copy", like="")
    go("delete the Cluster")
    if (seen := db.look()) is not None:
        db.delete(seen)
    db.close()
    until(db.is_gone, GONE, f"{db.name} to be gone, with its pods and claims", EVERY)
    go(f"copy {upstream}")
    db.create(upstream)
    until(lambda: _follows(db, upstream, go), HOURS, f"{db.name} to follow {upstream}", EVERY)
    db.memory.change(unfinished="", like=mark, autostart=True)
    return Told(f"{site} is a new copy of {upstream}; {_LOST}", changed=True)


def _follows(db: Cnpg, upstream: str, go: Go) -> bool:
    go(f"copy {upstream}")  # ends the wait where another epoch has been accepted: the operator goes on with what it copies
    led = upstream_of(db.setting("primary_conninfo"), db.topology.places) == upstream
    return db.in_recovery() and led and bool(db.ask("select 1 from pg_stat_wal_receiver where status = 'streaming'"))
