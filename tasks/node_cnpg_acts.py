"""The short acts on a site's Cluster of CloudNativePG: each looks, patches if needed, and proves by what the database does."""

from __future__ import annotations

import time
from contextlib import suppress

from flotilla.errors import Permanent, Transient
from flotilla.node.boot import Role, may_be_primary
from flotilla.node.cnpg import (
    MARK,
    NO_SITE,
    ClusterSeen,
    let_up,
    parse_token,
    put_down,
    read_only,
    replica,
    rules,
    token_for,
)
from flotilla.node.database import Answers, Told
from flotilla.node.hba import MANAGED, MANAGER, ROLES
from flotilla.recovery import lsn
from tasks.node_cnpg import ACT, CHECKPOINT, CONFIGURED, EVERY, Changed, Cnpg
from tasks.node_cnpg_replication import sourced
from tasks.node_initialise import FURNITURE, must_be_first
from tasks.node_postgres import until, write_epoch, written_epoch

TRIES = 5  # to change a Cluster whose operator writes to it, too
MADE = 80.0  # seconds for a first database: less than whoever asks waits for an answer, and the act may be repeated
MOVED = 80.0  # seconds for a demotion, which is 5 in the lab: a checkpoint and an orderly stop are part of it
_CLIENTS = (
    "select pid, coalesce(wait_event = 'SyncRep', false), xact_start from pg_stat_activity "
    "where backend_type = 'client backend' and pid <> pg_backend_pid() and usename <> all(%s) "
    "and not (client_addr is null and application_name = %s)"
)

_REPLAYED = "select coalesce(pg_last_wal_receive_lsn(), '0/0') <= pg_last_wal_replay_lsn()"


def initialise(db: Cnpg, epoch: int, answers: Answers) -> Told:
    """Have a Cluster that is a primary with Flotilla's tables; raises Permanent where another site has a database."""
    site, seen = db.config.site, db.look()
    if db.memory.now.unfinished:
        raise Permanent(f"{db.memory.now.unfinished} was begun at {site} and not ended: reseed it")
    if seen is None:
        must_be_first(site, answers())
        db.memory.change(primary_epoch=epoch, autostart=True, like="")
        db.create()
    elif seen.is_standby:
        raise Permanent(f"{site} is a standby: there is nothing to initialise")
    elif not seen.primary:
        raise Permanent(f"{db.name} was not made by an agent: it is in no distributed topology; make it one, or delete it")
    until(lambda: not db.in_recovery(), MADE, f"{db.name} to take connections", EVERY)
    db.ask(FURNITURE)
    wrote = write_epoch(db, epoch) if seen is None or written_epoch(db)[0] == 0 else False
    return Told(f"{site} has a database and is its {Role.PRIMARY}", seen is None or wrote)


def fence(db: Cnpg) -> Told:
    """Have no client in the database and let none in: first the door, then those inside, then a count of nobody.

    The door is pg_hba.conf and not the operator's fence, which stops PostgreSQL: a fenced primary still has to send its last
    WAL. Local sessions of the superuser are the operator's manager's; who may enter a pod is Kubernetes' to say.
    """
    was = db.memory.now.fenced
    db.memory.change(fenced=True)
    changed = _door(db, fenced=True) or not was
    out, in_doubt = _put_out(db) if _answers(db) else (0, 0)
    told = f"{out} put out" + (f", {in_doubt} wait for a standby and are in doubt" if in_doubt else "")
    return Told(f"{db.config.site} lets no client in; {told}", changed or bool(out))


def unfence(db: Cnpg) -> Told:
    """Let clients in."""
    was = db.memory.now.fenced
    db.memory.change(fenced=False)
    changed = _door(db, fenced=False) or was
    return Told(f"{db.config.site} lets clients in", changed)


def _door(db: Cnpg, *, fenced: bool) -> bool:
    """Have the rules of the fence in force, or gone; a Cluster that is yet to be made has them by the agent's memory."""
    changed = _ruled(db, fenced=fenced)
    until(lambda: not _answers(db) or db.lets_in() is not fenced, CONFIGURED, "pg_hba.conf to be read again", EVERY)
    return changed


def _ruled(db: Cnpg, *, fenced: bool) -> bool:
    """Have the rules in the Cluster's list: it is replaced as a whole, so not over what somebody has written meanwhile."""
    for left in reversed(range(TRIES)):
        seen = db.look()
        if seen is None or list(seen.pg_hba) == (wanted := rules(seen.pg_hba, fenced=fenced)):
            return False
        try:
            db.patch({"spec": {"postgresql": {"pg_hba": wanted}}}, seen)
            return True
        except Changed:
            if not left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def _answers(db: Cnpg) -> bool:
    """Return whether the database takes connections; a Cluster that was put down has none to put out."""
    try:
        db.in_recovery()
    except Transient:
        seen = db.look()
        if seen is not None and seen.ready and not seen.put_down:
            raise
        return False
    return True


def _put_out(db: Cnpg) -> tuple[int, int]:
    """Terminate clients until there are none but those in doubt; return how many were put out and how many are in doubt."""
    deadline, told = time.monotonic() + ACT, set[int]()
    while True:
        clients = _clients(db)
        inside = {pid for pid, waits, _ in clients if not waits}
        if not inside:
            return len(told), len(clients)
        if time.monotonic() > deadline:
            raise Transient(f"{len(inside)} clients of {db.config.site} are still in after {ACT:.0f} s")
        db.ask("select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", list(inside))
        told |= inside
        time.sleep(EVERY)


def _clients(db: Cnpg) -> list[tuple[int, bool, object]]:
    rows = db.ask(_CLIENTS, [*ROLES, *MANAGED], MANAGER)
    return [(int(pid), bool(waits), since) for pid, waits, since in rows]


def put_out_at_once(db: Cnpg) -> None:
    """Terminate every client that is in, once: those in doubt too are never told that they committed."""
    db.ask(f"select pg_terminate_backend(pid) from ({_CLIENTS}) as client", [*ROLES, *MANAGED], MANAGER, within=1.0)  # noqa: S608 - our own


def drain(db: Cnpg, seconds: float) -> Told:
    """Have new transactions read-only, and wait so long for those that are open. A courtesy to those who keep to it."""
    changed = _set_read_only(db, on=True)
    began = db.ask("select clock_timestamp()")[0][0]
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid, waits, since in _clients(db) if since is not None and since <= began and not waits]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(EVERY)
    told = f"{len(left)} transactions are still open after {seconds:g} s" if left else "no earlier transaction is open"
    return Told(f"new transactions at {db.config.site} are read-only; {told}", changed)


def undrain(db: Cnpg) -> Told:
    """Let transactions write."""
    return Told(f"transactions at {db.config.site} may write", _set_read_only(db, on=False))


def _set_read_only(db: Cnpg, *, on: bool) -> bool:
    wanted = "on" if on else "off"
    db.must_be()
    changed = db.setting("default_transaction_read_only") != wanted
    db.patch(read_only(on))
    until(
        lambda: db.setting("default_transaction_read_only") == wanted,
        CONFIGURED,
        f"default_transaction_read_only to be {wanted}",
        EVERY,
    )
    return changed


def stop(db: Cnpg, mode: str) -> Told:
    """Have no primary, and no standby that takes WAL: a primary is demoted, which stops it in order and shows where it ended.

    What is left of it runs as a standby of nobody, and shows as stopped.
    """
    if mode != "fast":
        raise Permanent(f"CloudNativePG stops {db.config.site} in order only: expected mode fast, not {mode}")
    seen, was = db.look(), db.memory.now.autostart
    db.memory.change(autostart=False)
    if seen is None:
        return Told(f"{db.config.site} has no database", was)
    if seen.put_down:
        return Told(f"PostgreSQL of {db.config.site} is stopped, as it was put down: {seen.put_down}", was)
    if seen.is_standby and not seen.moves and _is_standby(db):
        return _stopped_standby(db, seen, was=was)
    return _demoted(db, seen)


def _is_standby(db: Cnpg) -> bool:
    """Return whether the database says that it is a standby: it does not while it is being demoted."""
    try:
        return db.in_recovery()
    except Transient:
        return False


def _stopped_standby(db: Cnpg, seen: ClusterSeen, *, was: bool) -> Told:
    """Have a standby take WAL from nobody. One whose last checkpoint is where its token ends has been nothing else since."""
    changed = sourced(db, seen, NO_SITE)
    control = db.served().control
    mark = MARK + token_for(control, [seen.token] if seen.token else [])
    changed |= db.memory.change(like=mark)
    return Told(f"{db.config.site} is a standby of nobody, and stands still", changed or was)


def _demoted(db: Cnpg, seen: ClusterSeen) -> Told:
    """Have a primary demoted, and its token kept in mind once it is seen to end what the primary wrote."""
    site, before = db.config.site, None
    if not seen.is_standby:
        db.memory.change(like="")
        try:
            before = db.served().control
        except Transient as error:
            return _put_down(db, str(error))
        db.patch({"spec": {"replica": replica(db.topology, NO_SITE)}})
    until(lambda: _is_over(db), MOVED, f"{db.name} to be demoted", EVERY)
    token = db.must_be().token
    end = parse_token(token)
    if before and ((end.system, end.timeline) != (before.system, before.timeline) or end.checkpoint <= before.checkpoint):
        raise Transient(f"the demotion token of {site} is of an earlier end: {lsn.show(end.checkpoint)}; look again")
    db.memory.change(like=MARK + token)
    told = f"where its WAL ends, {lsn.show(end.checkpoint)} on timeline {end.timeline}, stands in its demotion token"
    return Told(f"{site} was stopped in order, and is a standby of nobody; {told}", changed=True)


def _put_down(db: Cnpg, why: str) -> Told:
    """Have a primary that does not answer kept from coming back: it cannot be demoted, and nothing shows where it ended."""
    db.patch(put_down(f"stopped while it did not answer: {why}"))
    until(lambda: not db.must_be().ready, CONFIGURED, f"{db.name} to have no instance that is ready", EVERY)
    return Told(f"PostgreSQL of {db.config.site} is kept from starting; where its WAL ends is not known", changed=True)


def _is_over(db: Cnpg) -> bool:
    seen = db.must_be()
    return bool(seen.token) and not seen.moves and seen.follows_nobody and db.in_recovery()


def start(db: Cnpg, role: Role, epoch: int, answers: Answers) -> Told:
    """Have the database run as what it is said to be; raises Permanent where it is something else, or may not be that.

    As primary what was demoted is promoted again, on a timeline of its own: nothing but a promotion makes a standby that.
    """
    site, seen, memory = db.config.site, db.must_be(), db.memory.now
    if memory.unfinished:
        raise Permanent(f"{memory.unfinished} was begun at {site} and not ended: reseed it")
    if role is Role.STANDBY:
        if not seen.is_standby:
            raise Permanent(f"{site} is no standby: stop it before it follows another site")
        until(db.in_recovery, CONFIGURED, f"{db.name} to take connections", EVERY)
        changed = db.memory.change(autostart=True, like="")
        return Told(f"PostgreSQL of {site} runs as {role}", changed)
    was_demoted = memory.like.startswith(MARK) and memory.like != MARK
    if seen.is_standby and not was_demoted:
        raise Permanent(f"{site} is a standby: promote it")
    if not seen.is_standby and not seen.put_down and not db.in_recovery():
        return Told(f"PostgreSQL of {site} runs as {role}", db.memory.change(autostart=True))
    allowed = may_be_primary(memory, answers())
    if allowed.role is None:
        raise Permanent(f"{site} is not started as primary: {allowed.told}")
    db.memory.change(primary_epoch=epoch, autostart=True, like="")
    db.patch({**let_up(), "spec": {"replica": replica(db.topology, site)}})
    until(lambda: not db.in_recovery(), MOVED, f"{db.name} to be the primary again", EVERY)
    return Told(f"PostgreSQL of {site} runs as {role}", changed=True)


def promote(db: Cnpg, timeout: float, epoch: int, answers: Answers) -> Told:
    """Have the standby be the primary, and the epoch written in it before anything else.

    With the token of the primary that was stopped in order where an agent shows one that ends just where this standby is;
    else without: the operator promotes it at once. The memory says so first: see ``node_postgres.promote``.
    """
    site, seen = db.config.site, db.must_be()
    was_standby, how = seen.is_standby, ""
    if was_standby:
        token = _token(db, answers)
        how = ", with the demotion token of the one before" if token else ", without a demotion token: as in a failover"
        db.memory.change(primary_epoch=epoch, autostart=True, like="")
        db.patch({"spec": {"replica": replica(db.topology, site, token)}})
    elif db.memory.now.primary_epoch != epoch and written_epoch(db)[0] != epoch:
        raise Permanent(f"{site} is a primary since epoch {db.memory.now.primary_epoch}: nothing to promote")
    until(lambda: not db.in_recovery(), timeout, "the standby to be promoted", EVERY)
    wrote = write_epoch(db, epoch)
    timeline = int(str(db.ask("select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")[0][0]), 16)
    return Told(f"{site} is the primary of epoch {epoch} on timeline {timeline}{how}", was_standby or wrote)


def _token(db: Cnpg, answers: Answers) -> str:
    with suppress(Transient):  # half a record at the end of what a dead primary sent is never replayed
        until(lambda: bool(db.ask(_REPLAYED)[0][0]), ACT, "all to be replayed that was received", EVERY)
    db.ask("checkpoint", within=CHECKPOINT)  # of a standby: its control file then says how far it is
    shown = [one.token for one in answers().values() if one is not None and one.is_standby and one.token]
    return token_for(db.served().control, shown)
