"""How a site's database is looked at from elsewhere: as a role that may only look, by a connection that stays open.

A look is one question and one answer: to a far city each round trip costs, and facts of different moments contradict
each other. What comes back is plain data, named as ``flotilla.recovery.facts.DatabaseSeen`` names it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flotilla.errors import Permanent
from flotilla.node.config import site_of_slot
from flotilla.node.hba import MANAGED, MANAGER, OBSERVER, ROLES
from flotilla.node.settings import upstream_of
from flotilla.recovery import lsn
from flotilla.recovery.facts import SHOWN
from tasks.sql import Line

LOOK = 2.0  # seconds

# Settings of synchronous_commit with which a commit lies on the standby's disk; PostgreSQL keeps a role's as it was written,
# and takes other words for on. With remote_write it lies in the memory of the standby's kernel only.
STRONG = ("on", "true", "yes", "1", "remote_apply")

# pg_current_wal_*() and pg_walfile_name() are errors on a standby: `case` keeps them from being asked there. The timeline is
# that of the WAL itself, as pg_control's lags behind a promotion (recovery.md, finding 6); of a standby that receives nothing,
# that of its newest WAL file. A commit that waits for a standby is in doubt, and no client that could be put out.
_LOOK = f"""
with me as materialized (select pg_is_in_recovery() as standby),
receiver as materialized (select status, received_tli, sender_host, sender_port from pg_stat_wal_receiver),
client as materialized (
    select wait_event = 'SyncRep' as waits from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid() and usename <> all(array{[*ROLES, *MANAGED]!r}::name[])
        and not (client_addr is null and application_name = '{MANAGER}')
)
select json_build_object(
    'at', extract(epoch from clock_timestamp()),
    'system', (select system_identifier::text from pg_control_system()),
    'in_recovery', standby,
    'timeline', case when standby then coalesce(
        (select received_tli::text from receiver where received_tli > 0),
        (select ('x' || max(substr(name, 1, 8)))::bit(32)::int::text from pg_ls_waldir() where name ~ '^[0-9A-F]{{24}}$'))
        else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int::text end,
    'position', case when standby then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
        else pg_current_wal_flush_lsn() end,
    'replayed', case when standby then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end,
    'paused', case when standby then pg_get_wal_replay_pause_state() <> 'not paused' else false end,
    'conninfo', current_setting('primary_conninfo'),
    'receives', exists (select from receiver where status = 'streaming'),
    'read_only', (select reset_val = 'on' from pg_settings where name = 'default_transaction_read_only'),
    'synchronous', current_setting('synchronous_standby_names'),
    'followers', (select coalesce(json_agg(json_build_object('name', application_name, 'state', state, 'sync_state', sync_state,
        'flushed', flush_lsn, 'replayed', replay_lsn, 'lag', extract(epoch from replay_lag)) order by application_name), '[]')
        from pg_stat_replication),
    'slots', (select coalesce(json_agg(json_build_object('name', slot_name, 'active', active,
        'status', coalesce(wal_status, 'reserved')) order by slot_name), '[]')
        from pg_replication_slots where slot_type = 'physical' and not temporary),
    'clients', (select count(*) from client where waits is not true),
    'in_doubt', (select count(*) from client where waits),
    'weakened', (select coalesce(json_agg(coalesce(rolname::text, 'all roles') || ' in '
        || coalesce(datname::text, 'all databases') || ': ' || setting), '[]')
        from pg_db_role_setting cross join unnest(setconfig) as setting
        left join pg_roles r on r.oid = setrole left join pg_database d on d.oid = setdatabase
        where starts_with(setting, 'synchronous_commit=') and lower(split_part(setting, '=', 2)) <> all(array{list(STRONG)!r})),
    'commit', (select reset_val from pg_settings where name = 'synchronous_commit'),
    'checkpoint_timeline', (select timeline_id from pg_control_checkpoint()),
    'checkpoint_age', (select extract(epoch from clock_timestamp() - checkpoint_time) from pg_control_checkpoint()),
    'can_rewind', current_setting('data_checksums') = 'on' or current_setting('wal_log_hints') = 'on',
    'commits', (select sum(xact_commit) from pg_stat_database),
    'prepared', (select count(*) from pg_prepared_xacts),
    'settings', (select json_object_agg(name, current_setting(name)) from unnest(array{list(SHOWN)!r}) as name),
    'epoch', (select json_build_object('epoch', epoch, 'primary', primary_site) from flotilla.epoch),
    'beat', (select json_build_object('site', site, 'epoch', epoch, 'beat', beat, 'at', extract(epoch from at))
        from flotilla.heartbeat)
)::text from me
"""  # noqa: S608 - names of our own


@dataclass(frozen=True)
class Reach:
    """How databases are reached: each site's host and port, the business's database, the role's password, the authority."""

    places: Mapping[str, tuple[str, int]]
    database: str
    password: str
    ca: str
    user: str = OBSERVER


class Observer:
    """Looks at one site's database."""

    def __init__(self, site: str, reach: Reach) -> None:
        if site not in reach.places:
            raise Permanent(f"no address of {site}'s database is known: the sites are {', '.join(reach.places)}")
        self.site, self._places = site, reach.places
        host, port = reach.places[site]
        self._line = Line(
            f"PostgreSQL of {site} at {host}:{port}",
            {
                "host": host,
                "port": port,
                "user": reach.user,
                "dbname": reach.database,
                "password": reach.password,
                "sslmode": "verify-full",
                "sslrootcert": reach.ca,
                "application_name": "flotilla",
                "keepalives_idle": 5,
                "keepalives_interval": 1,
                "keepalives_count": 3,
            },
        )

    def look(self, within: float = LOOK) -> dict[str, Any]:
        """Return what the database shows.

        Raises Transient where it does not answer within so many seconds (a first connection may take two), Permanent
        where it refuses the question. Nothing of it is to be read as "nothing there".
        """
        began = time.time()
        found = json.loads(str(self._line.ask(_LOOK, within=within)[0][0]))
        return {"site": self.site, **_read(found, self._places), "at": began}

    def close(self) -> None:
        """Close the connection."""
        self._line.close()


def _read(found: Mapping[str, Any], places: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    """Return an answer with positions as numbers, and sites for connection strings and slots."""
    written, weakened = found["epoch"] or {}, list(found["weakened"])
    if found["commit"] not in STRONG:
        weakened.append(f"all roles: synchronous_commit={found['commit']}")
    kept = (
        "system", "in_recovery", "paused", "receives", "read_only", "clients", "in_doubt", "checkpoint_timeline",
        "checkpoint_age", "can_rewind", "commits", "prepared", "settings", "beat",
    )  # fmt: skip
    return {
        **{name: found[name] for name in kept},
        "timeline": int(found["timeline"] or 0),
        "position": lsn.parse(found["position"]),
        "replayed": lsn.parse(found["replayed"]),
        "upstream": upstream_of(found["conninfo"], places) if found["in_recovery"] else "",
        "synchronous": _names(found["synchronous"]),
        "followers": [_follower(one) for one in found["followers"]],
        "slots": [{**one, "name": site_of_slot(one["name"])} for one in found["slots"]],
        "weakened": weakened,
        "epoch": written.get("epoch", 0),
        "epoch_primary": written.get("primary", ""),
        "clock": found["at"],
    }


def _follower(one: Mapping[str, Any]) -> dict[str, Any]:
    positions = {name: lsn.parse(one[name]) if one[name] else None for name in ("flushed", "replayed")}
    return {**one, **positions}


def _names(setting: str) -> list[str]:
    """Return the standbys that commits wait for: of ``FIRST 1 ("a", "b")`` a and b."""
    if '"' in setting:
        return setting.split('"')[1::2]
    inner = setting.partition("(")[2].partition(")")[0] or setting
    return [name.strip() for name in inner.split(",") if name.strip()]
