"""The first primary: a new, empty database with Flotilla's roles and tables, made only where no site has one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from flotilla.errors import Permanent, Transient
from flotilla.node.boot import Answer, Role
from flotilla.node.database import Answers, Told
from flotilla.node.hba import ADMIN, OBSERVER, OPERATOR, REPLICATION, REWIND
from tasks.node_copying import fresh_folder, make_room, put_in_place
from tasks.node_postgres import ACT, Node, launch, write_epoch
from tasks.node_processes import run
from tasks.sql import Line

INITDB = 120.0  # seconds
FIRST = "a first database"  # what is unfinished while a new database is put in the place of none
APP = "app"

# What each role may, and no more (recovery-lab.md, section 1: with these grants a whole switchover was done).
_ROLES = {
    REPLICATION: "login replication",
    REWIND: "login",
    OBSERVER: "login in role pg_monitor",
    OPERATOR: "login replication in role pg_monitor, pg_checkpoint",
}
_REWIND_GRANTS = (
    "grant execute on function pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), "
    f"pg_read_binary_file(text, bigint, bigint, boolean) to {REWIND}"
)
FURNITURE = f"""
grant execute on function pg_promote(boolean, integer), pg_wal_replay_resume() to {OPERATOR};
grant alter system on parameter default_transaction_read_only, synchronous_standby_names, primary_conninfo, primary_slot_name
    to {OPERATOR};
create schema if not exists flotilla authorization {OPERATOR};
grant usage on schema flotilla to public;
create table if not exists flotilla.epoch (one boolean primary key default true check (one), epoch bigint not null,
    primary_site text not null, at timestamptz not null default clock_timestamp());
create table if not exists flotilla.heartbeat (one boolean primary key default true check (one), site text not null,
    epoch bigint not null, beat bigint not null, at timestamptz not null default clock_timestamp());
insert into flotilla.epoch (epoch, primary_site) values (0, '') on conflict do nothing;
insert into flotilla.heartbeat (site, epoch, beat) values ('', 0, 0) on conflict do nothing;
alter table flotilla.epoch owner to {OPERATOR};
alter table flotilla.heartbeat owner to {OPERATOR};
grant select on flotilla.epoch, flotilla.heartbeat to public;
"""  # noqa: S608 - names of our own
"""Flotilla's schema in the business's database; every statement may be repeated."""


def initialise(node: Node, epoch: int, answers: Answers) -> Told:
    """Have a primary with Flotilla's roles and tables; raises Permanent where another site has a database, or may have one."""
    made = node.server.state() == "absent"
    if made:
        must_be_first(node.config.site, answers())
        _make(node)
    if node.signal.exists():
        raise Permanent(f"{node.config.site} is a standby: there is nothing to initialise")
    _must_be_whole(node)
    if not node.runs():
        if node.memory.now.primary_epoch not in (0, epoch):
            raise Permanent(f"{node.config.site} was made primary at epoch {node.memory.now.primary_epoch}: start it instead")
        node.memory.change(primary_epoch=epoch, autostart=True)
        launch(node)
    furnished = _furnished(node)
    wrote = write_epoch(node, epoch) if made or furnished else False
    return Told(f"{node.config.site} has a database and is its {Role.PRIMARY}", made or furnished or wrote)


def _must_be_whole(node: Node) -> None:
    """Take note that a first database is in its place, also where whoever put it there died before it could.

    It was moved there in one step, to where no database was: what is there is that one.
    Of a rewind or a copy this can't be said.
    """
    if node.memory.now.unfinished not in ("", FIRST):
        raise Permanent(f"{node.memory.now.unfinished} was begun at {node.config.site} and not ended: reseed it")
    node.memory.change(unfinished="")


def must_be_first(site: str, answers: Mapping[str, Answer | None]) -> None:
    """Raise unless no other site has a database: Transient where one does not say."""
    silent = [name for name, one in answers.items() if one is None]
    if silent:
        raise Transient(f"{', '.join(silent)} do not answer, and may have a database: no other is begun at {site}")
    owners = [name for name, one in answers.items() if one is not None and one.process != "absent"]
    if owners:
        raise Permanent(f"{', '.join(owners)} has a database: reseed {site} from it")


def _make(node: Node) -> None:
    fresh = fresh_folder(node)
    make_room(node)
    command: list[str | Path] = [
        node.config.postgres.bin / "initdb",
        "-D",
        fresh,
        "-U",
        ADMIN,
        "-A",
        "peer",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "-k",
    ]
    run(command, node.account, within=INITDB, record=node.program)
    put_in_place(node, fresh, FIRST, keep=False)


def _furnished(node: Node) -> bool:
    """Have the roles, the database and the tables; tell whether something was missing."""
    line, name = node.admin(), node.config.postgres.database
    try:
        changed = bool([role for role in _ROLES if _role(line, role, node)])
        line.ask(_REWIND_GRANTS)
        owner = _application(line, node)
        if not line.ask("select 1 from pg_database where datname = %s", (name,)):
            line.ask(f'create database "{name}"' + (f" owner {owner}" if owner else ""), within=INITDB)
            changed = True
    finally:
        line.close()
    inside = node.admin(name)
    try:
        inside.ask(FURNITURE, within=ACT)
    finally:
        inside.close()
    return changed


def _application(line: Line, node: Node) -> str:
    if node.config.postgres.passwords.app is None:
        return ""
    _make_role(line, APP, "login", node.password(APP))
    return APP


def _role(line: Line, role: str, node: Node) -> bool:
    # The operator comes in by the socket, as the system's user: nobody knows its password.
    password = secrets.token_hex(32) if role == OPERATOR else node.password(role)
    return _make_role(line, role, _ROLES[role], password)


def _make_role(line: Line, role: str, may: str, password: str) -> bool:
    if line.ask("select 1 from pg_roles where rolname = %s", (role,)):
        return False
    rights, _, groups = may.partition(" in role ")
    line.ask(
        f"create role {role} {rights} password '{line.encrypted(role, password)}'" + (f" in role {groups}" if groups else "")
    )
    return True
