"""The head of a runbook for people: what differs between sites as the shell's variables, and the functions that use them.

What PostgreSQL shows of how its agent started it is filled in; what was not seen is a question mark, and for people to fill in.
Nobody but the node's own PostgreSQL user may change a database, so everything is done there, by its socket, as ``operator``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from shlex import quote

from flotilla.node.hba import OPERATOR
from flotilla.recovery.config import Recovery
from flotilla.recovery.facts import DatabaseSeen, World
from flotilla.recovery.layout import Layout

HERE = """\
# Where things lie, as the fleet file and PostgreSQL itself tell; an agent's file says the same (state, postgres.data, ...).
# NODE: how ssh finds it. HOST, PORT: its PostgreSQL for the other sites. DNS: its DNS server. ACCOUNT: PostgreSQL's user."""
MISSING = "?"  # what has to be filled in before the first command is of use
_OF_A_SITE = ("NODE", "HOST", "PORT", "DNS", "ACCOUNT", "STATE", "PGDATA", "RUN", "CA", "PGBIN")
_FUNCTIONS = """\
as_user() {  # as_user USER SITE: runs, on the site's node as that user of it, the script that it is given
  (site "$2" && { declare -p SITE DB %(variables)s; cat; } | ssh "$1@$NODE" bash -euo pipefail -s)
}
on() { (site "$1" && as_user "$ACCOUNT" "$1"); }  # on SITE: the same as PostgreSQL's user
sql() {  # sql SITE: asks its database what it is given, on the node, by the socket
  (site "$1" && ssh "$ACCOUNT@$NODE" "$(declare -p PGBIN RUN PORT DB)
    exec \\"\\$PGBIN/psql\\" -qAtX -v ON_ERROR_STOP=1 -h \\"\\$RUN\\" -p \\"\\$PORT\\" -U %(operator)s -d \\"\\$DB\\"")
}
setting() {  # setting SITE NAME VALUE: sets it for good, and shows what it is from then on
  sql "$1" <<< "ALTER SYSTEM SET $2 = '$3'" && on "$1" <<< '"$PGBIN/pg_ctl" -D "$PGDATA" reload >&2; sleep 1' &&
    sql "$1" <<< "SHOW $2"
}
remember() {  # remember SITE FIELD VALUE: has the stopped agent know, once it is back, what was done without it
  as_user root "$1" <<< "sed -i -E 's/^( *\\"$2\\"): [^,]*/\\1: $3/' \\"\\$STATE/memory.json\\""
}
link() {  # link SITE UPSTREAM ROLE: how the one connects to the other
  (site "$1" && mine="passfile=$STATE/pgpass sslmode=verify-full sslrootcert=$CA" &&
    site "$2" && echo "host=$HOST port=$PORT user=$3 $mine connect_timeout=3 tcp_user_timeout=5000 keepalives_idle=5")
}"""


def preamble(recovery: Recovery, world: World, layout: Layout) -> tuple[str, ...]:
    """Return the lines to be pasted into bash before anything else."""
    return tuple(_lines(recovery, world, layout))


def _lines(recovery: Recovery, world: World, layout: Layout) -> Iterator[str]:
    application, database = recovery.application, recovery.database
    yield from HERE.splitlines()
    yield f"DB={quote(database.name)}; NAME={quote(f'{layout.name}.{layout.zone}')}"
    deployments = " ".join(f"deployment/{name}" for name in application.deployments)
    yield f"NAMESPACE={quote(application.namespace)}; DEPLOYMENTS={quote(deployments)}; REPLICAS={application.replicas}"
    yield f"PDNS_KEY={quote(MISSING)}  # key of the PowerDNS API, which listens on the node's loopback only"
    yield "site() {  # site SITE: has its variables set"
    yield '  SITE=$1; case "$1" in'
    for site in layout.sites:
        yield f"  {site}) {' '.join(f'{name}={quote(value)}' for name, value in _of(site, recovery, world).items())};;"
    yield '  *) echo "there is no site $1" >&2; return 1;;'
    yield "  esac"
    yield f'  case "{" ".join(f"${name}" for name in _OF_A_SITE)}" in'
    yield f"""  *'{MISSING}'*) echo "of $1 something is not filled in" >&2; return 1;; esac"""
    yield "}"
    yield from (_FUNCTIONS % {"variables": " ".join(_OF_A_SITE), "operator": OPERATOR}).splitlines()


def _of(site: str, recovery: Recovery, world: World) -> Mapping[str, str]:
    database, seen = recovery.database, world.database(site)
    shown = dict(seen.settings) if isinstance(seen, DatabaseSeen) else {}
    server, file = shown.get("server_version", MISSING), shown.get("config_file", MISSING)
    host = database.hosts[site]
    values = (
        host,
        host,
        shown.get("port", str(database.port)),
        recovery.traffic.servers.get(site, recovery.traffic.addresses[site]),
        "postgres",
        MISSING if file == MISSING else str(PurePosixPath(file).parent),
        shown.get("data_directory", MISSING),
        shown.get("unix_socket_directories", MISSING),
        shown.get("ssl_ca_file", MISSING),
        MISSING if server == MISSING else f"/usr/lib/postgresql/{server.split('.')[0]}/bin",
    )
    return dict(zip(_OF_A_SITE, values, strict=True))
