"""The sites' databases: PostgreSQL and an agent in each site, started as users of Flotilla start them.

Everything of a site that PostgreSQL's user has to read lies in one folder outside the lab's, whose path that user may not be
allowed to pass. What is done to a database is done by its agent: the same acts that a recovery uses.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import certificates, dnsservers, people
from lab.commands import run
from lab.errors import LabError
from lab.layout import AGENT_PORT, POSTGRES_PORT, ClusterLayout, Layout

PASSWORDS = ("repl", "rewind", "observer", "app")
BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
_PACKAGE = "postgresql-15"
_CREATES_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")


@dataclass(frozen=True)
class Database:
    """One site's PostgreSQL and agent: ``home`` is the folder of all sites, ``host`` the address that both listen on."""

    site: str
    home: Path
    host: str
    port: int = POSTGRES_PORT
    agent_port: int = AGENT_PORT

    @property
    def folder(self) -> Path:
        """What is this site's only."""
        return self.home / self.site

    @property
    def data(self) -> Path:
        """PGDATA, once there is one."""
        return self.folder / "data"

    @property
    def config(self) -> Path:
        """The agent's file."""
        return self.folder / "agent.yaml"

    @property
    def agent(self) -> str:
        """The agent's URL."""
        return f"https://{self.host}:{self.agent_port}"

    @property
    def token(self) -> Path:
        """The file with the agents' bearer token."""
        return self.home / "token"

    @property
    def ca(self) -> Path:
        """The file with the authority of all certificates."""
        return self.home / "tls" / "ca.pem"

    def password(self, role: str) -> Path:
        """Return the file with a role's password."""
        return self.home / "passwords" / role


def of(cluster: ClusterLayout) -> Database:
    """Return a site's database."""
    return Database(cluster.name, cluster.databases, cluster.node_address)


def why_none(layout: Layout) -> str:
    """Say why there are no databases in a lab, or nothing."""
    if not layout.real_nodes:
        return "they need real nodes: a network of each site's own"
    if not (BINARIES / "initdb").exists():
        return f"there is no PostgreSQL 15 in {BINARIES}; get it with: apt-get install {_PACKAGE}"
    return "" if _has_user() else f"this system has no user {USER}"


def ensure_package(say: Callable[[str], None]) -> None:
    """Have PostgreSQL 15, where apt can get it; a lab is of use without, so it is only said where it can't be had."""
    if (BINARIES / "initdb").exists() or not shutil.which("apt-get"):
        return
    say(f"installing with apt: {_PACKAGE}")
    env, words = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}, ("install", "-y", "-qq", "--no-install-recommends")
    try:
        run("apt-get", *words, "postgresql-common", env=env, timeout=900)
        before = _CREATES_CLUSTER.read_text()
        _CREATES_CLUSTER.write_text(f"{before}\ncreate_main_cluster = false\n")  # the package would start a server of its own
        try:
            run("apt-get", *words, _PACKAGE, env=env, timeout=900)
        finally:
            _CREATES_CLUSTER.write_text(before)
    except (LabError, OSError) as error:
        say(f"{_PACKAGE} is not installed: {error}")


def write(layout: Layout) -> None:
    """Have all files of a lab's databases, as PostgreSQL's user has them."""
    found = [of(cluster) for cluster in layout.clusters]
    approvers = {name: people.public_key(layout, name) for name in people.NAMES}
    prepare(found, [str(layout.network)], approvers=approvers)
    for cluster, one in zip(layout.clusters, found, strict=True):
        said = json.loads(one.config.read_text())
        one.config.write_text(json.dumps(said | {"traffic": dnsservers.agent_file(cluster, layout)}, indent=2))
    for one in found:
        give_away(one.folder, USER, contents=False)
        give_away(one.ca.with_name(f"{one.site}.key"), USER)


def remove(layout: Layout) -> None:
    """Have nothing left of a lab's databases."""
    home = layout.clusters[0].databases
    shutil.rmtree(home, ignore_errors=True)
    if home.parent.exists() and not any(home.parent.iterdir()):
        home.parent.rmdir()


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def prepare(databases: Sequence[Database], networks: Sequence[str], **changes: Any) -> None:
    """Have every file that the agents read; secrets are made once. ``changes`` go into each agent's file, by its fields."""
    home = databases[0].home
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    certificates.ensure(home / "tls", {one.site: one.host for one in databases})
    for file in (home / "token", *(databases[0].password(role) for role in PASSWORDS)):
        if not file.exists():
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(24))
    for one in databases:
        one.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        one.config.write_text(json.dumps(agent_file(one, databases, networks) | changes, indent=2))


def agent_file(own: Database, databases: Sequence[Database], networks: Sequence[str]) -> dict[str, Any]:
    """Return what a site's agent is told; JSON is YAML."""
    tls = own.home / "tls"
    return {
        "site": own.site,
        "listen": f"{own.host}:{own.agent_port}",
        "tokenFile": str(own.token),
        "tls": {"cert": str(tls / f"{own.site}.pem"), "key": str(tls / f"{own.site}.key"), "ca": str(own.ca)},
        "state": str(own.folder / "state"),
        "postgres": {
            "bin": str(BINARIES),
            "data": str(own.data),
            "run": str(own.folder / "run"),
            "listen": own.host,
            "port": own.port,
            "networks": list(networks),
            "database": "orders",
            "passwords": {role: str(own.password(role)) for role in PASSWORDS},
            "settings": dict(_SETTINGS),
        },
        "sites": {one.site: {"host": one.host, "port": one.port, "agent": one.agent} for one in databases},
    }


_SETTINGS: Mapping[str, str] = {"shared_buffers": "32MB", "max_connections": "60", "max_slot_wal_keep_size": "512MB"}


def give_away(folder: Path, user: str, *, contents: bool = True) -> None:
    """Have a file or folder belong to a user, with all that is in it or alone."""
    shutil.chown(folder, user, user)
    for path in folder.iterdir() if contents and folder.is_dir() else ():
        give_away(path, user)
