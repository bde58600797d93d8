"""PowerDNS at each site: answers users at port 53 of the site's address; its API listens inside the site only.

Each server has a database of its own and asks the sites' health for itself: none depends on another site to answer.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import debian, dns, processes
from lab.commands import wait_until
from lab.layout import DNS, ClusterLayout, Layout
from lab.processes import Life

ZONE = "fleet.test."
API_PORT = 8081  # on loopback inside the site
_PACKAGES = ("pdns-server", "pdns-backend-sqlite3")
_SCHEMA = "schema.sqlite3.sql"
_PATIENCE = 20  # seconds; below 1 is usual
_UNKNOWN = "version.bind"  # any question will do: a server that holds no zone yet refuses it, and so shows that it is there


@dataclass(frozen=True)
class Listening:
    """Where a server listens: users at ``address`` and ``port`` by DNS, the site's agent at ``api_port`` of loopback."""

    address: str
    port: int = 53
    api_port: int = API_PORT


def ensure(cluster: ClusterLayout, say: Callable[[str], None]) -> None:
    """Have the site's server running and answering."""
    folder = directory(cluster)
    prepare(folder, Listening(cluster.node_address), say)
    if processes.life(cluster, DNS) is Life.DEAD:
        processes.start(cluster, DNS, command(folder, say))
    wait_until(f"{cluster.name}: an answer of its DNS server", lambda: not_answering(cluster), within=_PATIENCE)


def not_answering(cluster: ClusterLayout) -> str:
    """Say that the server does not answer, or nothing."""
    if dns.replies(cluster.node_address, _UNKNOWN):
        return ""
    return f"the DNS server at {cluster.node_address} does not answer"


def directory(cluster: ClusterLayout) -> Path:
    """Return where the server's configuration, key and database are."""
    return cluster.directory / "dns"


def key_file(folder: Path) -> Path:
    """Return the file with the API's key: random, of this lab, for the site's agent."""
    return folder / "key"


def nameservers(layout: Layout) -> dict[str, str]:
    """Return the names of the sites' servers in the zone, with their addresses."""
    return {f"ns-{cluster.name}.{ZONE}": cluster.node_address for cluster in layout.clusters}


def agent_file(cluster: ClusterLayout, layout: Layout) -> dict[str, object]:
    """Return what the site's agent is told of the server: the part ``traffic`` of its file."""
    return {
        "api": f"http://127.0.0.1:{API_PORT}",
        "keyFile": str(key_file(directory(cluster))),
        "dns": {"address": cluster.node_address},
        "zone": ZONE,
        "nameservers": nameservers(layout),
    }


def prepare(folder: Path, listening: Listening, say: Callable[[str], None]) -> None:
    """Have a server's configuration, key and database; what is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if not key_file(folder).exists():
        key_file(folder).touch(mode=0o600)
        key_file(folder).write_text(secrets.token_hex(16))
    configuration = folder / "pdns.conf"
    configuration.touch(mode=0o600)
    configuration.write_text("".join(f"{name}={value}\n" for name, value in _settings(folder, listening, say).items()))
    if not (folder / "zones.sqlite3").exists():
        _make_database(folder, say)


def command(folder: Path, say: Callable[[str], None]) -> list[str]:
    """Say how the server is started: this machine's own, or Debian's, unpacked into the cache and never installed."""
    own = shutil.which("pdns_server")
    program = [own] if own else debian.command(debian.unpacked(_PACKAGES, say), "usr/sbin/pdns_server")
    return [*program, f"--config-dir={folder}"]


def _settings(folder: Path, listening: Listening, say: Callable[[str], None]) -> dict[str, object]:
    modules = {} if shutil.which("pdns_server") else {"module-dir": _tree(say) / "usr/lib" / debian.triplet() / "pdns"}
    return modules | {
        "launch": "gsqlite3",
        "gsqlite3-database": folder / "zones.sqlite3",
        "gsqlite3-pragma-synchronous": 1,
        "socket-dir": folder,
        "local-address": listening.address,
        "local-port": listening.port,
        "webserver": "yes",
        "webserver-address": "127.0.0.1",
        "webserver-port": listening.api_port,
        "webserver-allow-from": "127.0.0.1",
        "api": "yes",
        "api-key": key_file(folder).read_text(),
        "enable-lua-records": "yes",
        "lua-health-checks-interval": 1,  # seconds; one failed check withdraws a site in 4.7, one good one brings it back
        "lua-health-checks-expire-delay": 86400,  # a site that is drained for an hour comes back without a cold check
        "cache-ttl": 0,
        "query-cache-ttl": 0,
        "negquery-cache-ttl": 0,
        "receiver-threads": 1,
        "distributor-threads": 1,
        "version-string": "anonymous",
        "security-poll-suffix": "",  # else it asks its makers' servers once an hour
        "loglevel": 4,
    }


def _make_database(folder: Path, say: Callable[[str], None]) -> None:
    here = Path("/usr/share") if shutil.which("pdns_server") else _tree(say) / "usr/share"
    schema = next(iter(sorted(here.glob(f"**/{_SCHEMA}"))))
    unfinished = folder / "zones.unfinished"
    unfinished.unlink(missing_ok=True)
    with sqlite3.connect(unfinished) as database:
        database.executescript(schema.read_text())
    database.close()
    unfinished.rename(folder / "zones.sqlite3")


def _tree(say: Callable[[str], None]) -> Path:
    return debian.unpacked(_PACKAGES, say)
