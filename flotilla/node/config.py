"""The file that a site agent is started with: its site, its PostgreSQL, the other sites, where secrets lie.

Times are seconds. Secrets are names of files, never values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from flotilla.errors import InvalidInput, Permanent, Problem, phrase
from flotilla.fleet import DnsLabel
from flotilla.metrics.config import Address, Listen
from flotilla.traffic.config import AgentTraffic, ExternalDnsTraffic
from flotilla.validation import Strict, checked, read_documents

OPERATOR_STOPS = 20.0  # seconds in which CloudNativePG has stopped a primary that it is told to fence (switchoverDelay: 15)
LEAST_ISOLATION = OPERATOR_STOPS + 5  # seconds; what is left is the patience with a network that stutters
LONGEST_SOCKET = 107 - len("/.s.PGSQL.65535")  # bytes in sockaddr_un


def _absolute(value: Path) -> Path:
    if not value.is_absolute() or ".." in value.parts:
        raise ValueError("an absolute path without ..")
    return value


def _socket_folder(value: Path) -> Path:
    if len(str(_absolute(value)).encode()) > LONGEST_SOCKET:
        raise ValueError(f"an absolute path of at most {LONGEST_SOCKET} bytes: a socket lies in it")
    return value


def _setting(value: dict[str, str]) -> dict[str, str]:
    if taken := sorted(set(value) & OWN_SETTINGS):
        raise ValueError(f"settings that the agent does not make itself (offending: {', '.join(taken)})")
    return value


OWN_SETTINGS = frozenset(
    {
        "cluster_name", "config_file", "data_directory", "default_transaction_read_only", "external_pid_file", "hba_file",
        "ident_file", "listen_addresses", "port", "primary_conninfo", "primary_slot_name", "ssl", "ssl_ca_file",
        "ssl_cert_file", "ssl_key_file", "synchronous_standby_names", "unix_socket_directories", "recovery_target_timeline",
        "password_encryption", "hot_standby", "restart_after_crash",
    }
)  # fmt: skip
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
SocketFolder = Annotated[Path, AfterValidator(_socket_folder)]
Port = Annotated[int, Field(gt=0, lt=65536)]
SecretName = Annotated[str, Field(min_length=1, max_length=253)]
Settings = Annotated[dict[str, str], AfterValidator(_setting)]


class Place(Strict):
    """Where a site's PostgreSQL and its agent are reached by the other sites."""

    host: str = Field(min_length=1)
    port: Port = 5432
    agent: Address


class Tls(Strict):
    """The agent's and PostgreSQL's certificate and key, and the authority that all sites' certificates are of."""

    cert: AbsolutePath
    key: AbsolutePath
    ca: AbsolutePath


class Passwords(Strict):
    """The files that hold the roles' passwords; ``app`` may be left out where others make the application's role."""

    repl: AbsolutePath
    rewind: AbsolutePath
    observer: AbsolutePath
    app: AbsolutePath | None = None


class Postgres(Strict):
    """The node's PostgreSQL 15.

    ``data`` is its PGDATA and nothing else's; ``run`` holds its socket. ``networks`` may connect, in CIDR notation.
    ``database`` is the business's. ``keepRunning``: whether PostgreSQL goes on when the agent is told to end.
    ``user`` is whom it runs as: the agent is the same, or root. ``settings`` are added to those that the agent makes.
    """

    user: str = Field(default="postgres", min_length=1)
    bin: AbsolutePath = Path("/usr/lib/postgresql/15/bin")
    data: AbsolutePath
    run: SocketFolder
    listen: str = Field(min_length=1)
    port: Port = 5432
    networks: tuple[str, ...] = Field(min_length=1)
    database: DnsLabel = "orders"
    passwords: Passwords
    keep_running: bool = True
    settings: Settings = Field(default_factory=dict)


class CloudNativePG(Strict):
    """A ``Cluster`` of CloudNativePG in the site's Kubernetes cluster, ``name`` in ``namespace``; reached as ``sites`` says.

    ``manifest`` is the file with the Cluster as it is to be made, without what the agent says of it itself (``OWN_FIELDS`` of
    ``flotilla.node.cnpg``). ``database`` is the business's. The others are names of Secrets in the namespace: ``authority``
    has the ca.crt that all sites' certificates are of; ``operator`` and ``observer`` have name and password of those roles
    (kubernetes.io/basic-auth), the same in all sites.
    """

    kubeconfig: AbsolutePath
    context: str = Field(min_length=1)
    namespace: DnsLabel
    name: DnsLabel
    manifest: AbsolutePath
    database: DnsLabel = "orders"
    authority: SecretName
    operator: SecretName
    observer: SecretName


class AgentConfig(Strict):
    """Everything a site agent is told. ``sites`` are all sites, its own among them; ``state`` is where it remembers.

    Its database is a PostgreSQL of its own (``postgres`` in the file) or ``cloudNativePG``, one of the two.

    ``traffic`` is its DNS server, or ``externalDns`` what others make DNS of; ``approvers`` are the public keys of those who
    may break the glass, by name.
    ``isolation``: so long a primary may be without a majority of agents that have accepted no higher epoch than its own.
    """

    site: DnsLabel
    listen: Listen
    token_file: AbsolutePath
    tls: Tls
    state: AbsolutePath
    own_postgres: Postgres | None = Field(default=None, alias="postgres")
    cloud_native_pg: CloudNativePG | None = Field(default=None, alias="cloudNativePG")
    sites: dict[DnsLabel, Place] = Field(min_length=1)
    traffic: AgentTraffic | None = None
    external_dns: ExternalDnsTraffic | None = None
    approvers: dict[str, PublicKey] = Field(default_factory=dict)
    isolation: float = Field(default=10.0, ge=1, le=300)

    @property
    def postgres(self) -> Postgres:
        """The PostgreSQL of its own; raises Permanent where it has none."""
        if self.own_postgres is None:
            raise Permanent(f"the agent of {self.site} has no PostgreSQL of its own: its database is run by CloudNativePG")
        return self.own_postgres

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the other sites."""
        return tuple(name for name in self.sites if name != self.site)

    @property
    def majority(self) -> int:
        """How many agents are more than half of all."""
        return len(self.sites) // 2 + 1


def parse_agent_config(text: str, file: str) -> AgentConfig:
    """Return what a file says; raises InvalidInput with every problem by file, field, value and what is allowed."""
    documents = read_documents(text, file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InvalidInput(
            [Problem(file, "", phrase(f"holds {len(documents)} documents"), "one mapping: see `flotilla agent`")]
        )
    found = checked(AgentConfig, documents[0], file)
    if problems := list(_contradictions(found, file)):
        raise InvalidInput(problems)
    return found


def _contradictions(config: AgentConfig, file: str) -> Iterator[Problem]:
    """Yield what no single field shows: above all, PGDATA must hold nothing that belongs to this site only.

    What lies in it is copied from site to site by pg_basebackup and pg_rewind (recovery-lab.md, 0.7).
    """
    if config.site not in config.sites:
        yield Problem(file, "site", config.site, f"one of sites: {', '.join(config.sites)}")
    if config.traffic and config.external_dns:
        yield Problem(file, "externalDns", config.external_dns.name, "traffic or externalDns, not both")
    if config.own_postgres is None or config.cloud_native_pg is not None:
        yield from _against_databases(config, file)
        return
    data = config.own_postgres.data
    own = {
        "state": config.state,
        "postgres.run": config.own_postgres.run,
        "tls.key": config.tls.key,
        "tokenFile": config.token_file,
    }
    for field, path in own.items():
        if path.is_relative_to(data):
            yield Problem(file, field, str(path), f"outside postgres.data, {data}, which is copied from site to site")
    if data.is_relative_to(config.state):
        yield Problem(file, "postgres.data", str(data), f"outside state, {config.state}")


def _against_databases(config: AgentConfig, file: str) -> Iterator[Problem]:
    found = config.cloud_native_pg
    if found is None:
        yield Problem(file, "postgres", phrase("is missing"), "postgres or cloudNativePG, one of the two")
        return
    if config.own_postgres is not None:
        yield Problem(file, "cloudNativePG", found.name, "postgres or cloudNativePG, not both")
    if config.isolation < LEAST_ISOLATION:
        told = f"at least {LEAST_ISOLATION:g} with cloudNativePG: {OPERATOR_STOPS:g} of them are the operator's to stop it"
        yield Problem(file, "isolation", config.isolation, told)


def slot_of(site: str) -> str:
    """Return the replication slot of a site: its name, as PostgreSQL allows no hyphen in a slot's (only a-z, 0-9 and _)."""
    return site.replace("-", "_")


def site_of_slot(slot: str) -> str:
    """Return the site whose slot has a name; sites' names are DNS labels, which have no underscore."""
    return slot.replace("_", "-")
