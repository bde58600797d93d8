"""The site that another is made like, asked as the role ``rewind``: is it the new primary, and where do the histories part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from types import TracebackType

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.node.controldata import ControlData
from flotilla.node.hba import REWIND
from flotilla.node.history import Stretch, history_file, newest_timeline, parse_history, parting
from flotilla.node.settings import CONNECT, SILENCE
from tasks.node_postgres import ACT, Node
from tasks.sql import Line

# The timeline of pg_control lags behind a promotion until a checkpoint; the name of the WAL file that is written does not.
_WHO = (
    "select (select system_identifier::text from pg_control_system()), pg_is_in_recovery(), "
    "(select timeline_id from pg_control_checkpoint()), "
    "case when pg_is_in_recovery() then '' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end"
)
_HISTORY = "select convert_from(pg_read_binary_file(%s, 0, 1048576, true), 'UTF8')"
_SIZE = "select sum(pg_database_size(oid))::bigint from pg_database"
_NAMES = (
    "select space, number, format('%%I.%%I', nspname, relname) from unnest(%s::bigint[], %s::bigint[]) as f(space, number) "
    "join pg_class c on c.oid = pg_filenode_relation(space::oid, number::oid) join pg_namespace n on n.oid = c.relnamespace"
)
_SLOT = "select coalesce(wal_status, 'reserved') from pg_replication_slots where slot_name = %s"


class Source:
    """Another site's running database."""

    def __init__(self, node: Node, site: str) -> None:
        config = node.config
        if site not in config.others:
            raise Permanent(f"{config.site} cannot be made like {site}: expected one of {', '.join(config.others)}")
        self.site = site
        place = config.sites[site]
        self._settings = {
            "host": place.host,
            "port": place.port,
            "user": REWIND,
            "dbname": "postgres",
            "password": node.password(REWIND),
            "sslmode": "verify-full",
            "sslrootcert": str(config.tls.ca),
            "tcp_user_timeout": SILENCE * 1000,
        }
        self._line = Line(f"PostgreSQL of {site}", self._settings)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._line.close()

    def must_be_new_primary_of(self, control: ControlData) -> None:
        """Raise unless it is a primary of the same database whose control file has its new timeline.

        From one without a checkpoint since its promotion pg_rewind goes back to the wrong place, and says "Done!"
        (recovery.md, finding 3).
        """
        system, in_recovery, timeline, written = self._line.ask(_WHO, within=ACT + CONNECT)[0]
        if system != control.system:
            raise Permanent(f"{self.site} is another database (system {system}, here {control.system}): reseed")
        if in_recovery:
            raise Transient(f"{self.site} is a standby: rewind to the primary")
        if timeline != int(written, 16):
            raise Transient(
                f"{self.site} has written no checkpoint on timeline {int(written, 16)} yet: have it write one first"
            )
        self.timeline = int(timeline)

    def history(self) -> tuple[Stretch, ...]:
        """Return the timelines that it went through."""
        if self.timeline == 1:
            return parse_history("", 1)
        text = self._line.ask(_HISTORY, (f"pg_wal/{history_file(self.timeline)}",), within=ACT)[0][0]
        if text is None:
            raise Permanent(f"{self.site} has no history of its timeline {self.timeline}: reseed")
        return parse_history(str(text), self.timeline)

    def size(self) -> int:
        """Return the bytes of its databases."""
        return int(self._line.ask(_SIZE, within=ACT + CONNECT)[0][0])

    def names(self, files: Iterable[str]) -> dict[str, str]:
        """Return schema.table for files of relations (tablespace/database/number), as far as it has and tells them.

        A table that was made or rewritten only on the other side has no name here.
        """
        wanted = defaultdict[int, list[tuple[int, int]]](list)
        for file in files:
            space, database, number = map(int, file.split("/"))
            wanted[database].append((space, number))
        return {file: name for database, some in wanted.items() for file, name in self._named(database, some).items()}

    def _named(self, database: int, files: list[tuple[int, int]]) -> dict[str, str]:
        try:
            found = self._line.ask("select datname from pg_database where oid = %s", (database,), within=ACT + CONNECT)
            line = Line(self._line.name, {**self._settings, "dbname": found[0][0]}) if found else None
            if line is None:
                return {}
            with closing(line):
                values = [space for space, _ in files], [number for _, number in files]
                rows = line.ask(_NAMES, values, within=ACT + CONNECT)
        except FlotillaError:
            return {}
        return {f"{space}/{database}/{number}": str(name) for space, number, name in rows}

    def slot(self, name: str) -> str:
        """Return what PostgreSQL says of a slot's WAL, "" where there is no such slot."""
        rows = self._line.ask(_SLOT, (name,), within=ACT)
        return str(rows[0][0]) if rows else ""


def parted(node: Node, control: ControlData, source: Source) -> tuple[int, int | None]:
    """Return where the node's history and the source's part: a timeline, and the position on it; None if nowhere yet."""
    return parting(own_history(node, control), source.history())


def own_history(node: Node, control: ControlData) -> tuple[Stretch, ...]:
    """Return the timelines that the node itself went through."""
    own = max(control.timeline, control.end_timeline, newest_timeline(one.name for one in node.wal.iterdir()) or 1)
    file = node.wal / history_file(own)
    if own > 1 and not file.exists():
        raise Permanent(f"{node.config.site} has no history of its timeline {own}: reseed")
    return parse_history(file.read_text() if own > 1 else "", own)
