"""What was seen of the three sites: their databases, agents, traffic, applications and leases, each or why it was not seen.

Times are seconds since 1970 by the clock of whoever looked, ages are seconds, WAL positions are bytes (``lsn.show``).
What could not be looked at is ``Unknown`` and decides nothing in anybody's favour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from flotilla.facts import Unknown
from flotilla.traffic.agreement import Useless
from flotilla.traffic.records import Record

Seen = TypeVar("Seen")
STREAMING = "streaming"
SYNCHRONOUS = frozenset({"sync", "quorum"})  # pg_stat_replication.sync_state of standbys that commits wait for
PLACES = ("data_directory", "config_file", "unix_socket_directories", "port", "ssl_ca_file")
AT_LEAST = (
    "max_connections", "max_wal_senders", "max_worker_processes", "max_prepared_transactions", "max_locks_per_transaction",
)  # fmt: skip
ALIKE = ("shared_preload_libraries", "data_checksums", "wal_log_hints", "server_version")
SHOWN = (*PLACES, *AT_LEAST, *ALIKE)
"""Settings that a look shows: where things lie on the node; what a standby must have no less of than its primary, or it ends
(PostgreSQL 15, 27.4.3); what is to be the same, as any site may become the primary."""
SLOTS, REWIND, EVIDENCE = "slots", "rewind", "evidence"
"""What an agent may say that its kind of database lacks: slots that keep WAL for standbys of other sites; a way back to where
histories part; a place for what a new copy discards."""
CLEANLY_STOPPED = "shut down"  # pg_controldata, "Database cluster state", of a primary that wrote its shutdown checkpoint


@dataclass(frozen=True)
class Follower:
    """A standby as its upstream sees it: a row of pg_stat_replication. Alone it proves nothing (recovery-lab.md, 0.4)."""

    name: str
    state: str
    sync_state: str
    flushed: int | None = None
    replayed: int | None = None
    lag: float | None = None

    @property
    def streams(self) -> bool:
        """Whether it is past catching up."""
        return self.state == STREAMING


@dataclass(frozen=True)
class Slot:
    """A physical replication slot. ``status`` is pg_replication_slots.wal_status; "lost" serves nobody any more."""

    name: str
    active: bool
    status: str = "reserved"


@dataclass(frozen=True)
class DatabaseSeen:
    """A running PostgreSQL, seen by SQL.

    ``timeline`` is that of the WAL written or received now, not pg_control's, which lags behind a promotion. ``position`` is
    what it has on disk: flushed on a primary, received on a standby. ``upstream`` is the site that it is told to follow,
    ``receives`` whether it does. ``clients`` counts the application's sessions but those that wait for a synchronous standby,
    which are ``in_doubt``. ``weakened`` names roles, databases and settings that commit without waiting for one.
    ``epoch`` and ``epoch_primary`` are the row of flotilla.epoch. ``settings`` are those of ``SHOWN``, as they are in force.
    """

    site: str
    at: float
    system: str
    in_recovery: bool
    timeline: int
    position: int
    replayed: int
    paused: bool = False
    upstream: str = ""
    receives: bool = False
    read_only: bool = False
    synchronous: tuple[str, ...] = ()
    followers: tuple[Follower, ...] = ()
    slots: tuple[Slot, ...] = ()
    clients: int = 0
    in_doubt: int = 0
    weakened: tuple[str, ...] = ()
    epoch: int = 0
    epoch_primary: str = ""
    checkpoint_timeline: int = 0
    checkpoint_age: float | None = None
    can_rewind: bool = True
    commits: int | None = None
    prepared: int = 0
    settings: tuple[tuple[str, str], ...] = ()

    def setting(self, name: str) -> str | None:
        """Return one of the settings in ``SHOWN``; None if it was not shown."""
        return dict(self.settings).get(name)

    def follower(self, name: str) -> Follower | None:
        """Return the standby of that name; None if none or several claim it, as then nobody knows which is which."""
        found = [one for one in self.followers if one.name == name]
        return found[0] if len(found) == 1 else None

    def slot(self, name: str) -> Slot | None:
        """Return the slot of that name."""
        return next((one for one in self.slots if one.name == name), None)

    @property
    def is_attached(self) -> bool:
        """Whether it is a standby that takes, or may soon take, WAL from another."""
        return self.in_recovery and bool(self.upstream or self.receives)

    @property
    def is_writable(self) -> bool:
        """Whether it is a primary that takes writes, as far as SQL tells."""
        return not self.in_recovery and not self.read_only


class Process(StrEnum):
    """PostgreSQL's process on its node."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
    ABSENT = "absent"


@dataclass(frozen=True)
class Control:
    """What pg_controldata tells, of a running server or of a stopped one. ``end`` is its minimum recovery ending location."""

    state: str
    system: str
    timeline: int
    checkpoint: int
    end: int = 0


@dataclass(frozen=True)
class Fork:
    """Where a timeline began: a line of a .history file."""

    timeline: int
    at: int


@dataclass(frozen=True)
class Peer:
    """How an agent sees another site's agent; ``ago`` is since the last answer, None if there never was one.

    ``glass``: people broke the glass for its epoch. ``isolation``: so many seconds it lets its primary be alone.
    """

    site: str
    reached: bool
    ago: float | None = None
    epoch: int | None = None
    error: str = ""
    glass: bool = False
    isolation: float | None = None


@dataclass(frozen=True)
class TrafficSeen:
    """What a site's DNS server holds or answers: which sites are authorised at which epoch.

    ``addresses`` are those that users are given, of the healthy among those sites; None if nobody looked at them. ``texts`` is
    how many records say an epoch; of several the highest is shown.
    """

    site: str
    epoch: int
    primary: str
    authorised: tuple[str, ...]
    records: tuple[Record, ...] = ()
    serving: bool = True
    addresses: tuple[str, ...] | None = None
    texts: int = 1

    def astray(self, addresses: tuple[str, ...]) -> str:
        """Return why users may not arrive at ``addresses`` and nowhere else, "" if they do: fewer of them are fine."""
        if self.texts != 1:
            return f"DNS of {self.site} has {self.texts} records of its epoch, where one is expected"
        if self.addresses is None or not addresses:
            return ""
        if strange := set(self.addresses) - set(addresses):
            return f"DNS of {self.site} answers {', '.join(sorted(strange))}; allowed: {', '.join(addresses)}"
        return "" if self.addresses else f"DNS of {self.site} answers no address"


@dataclass(frozen=True)
class AgentSeen:
    """What a site's agent says of its node.

    ``epoch`` is the highest it has accepted, of ``run``, ``epoch_age`` seconds ago by its own steady clock. ``forks`` are
    the beginnings of the timelines that its database went through. ``job`` is the long act that it works at, "" if none;
    ``unfinished`` a copy that was begun and not ended, which leaves nothing there to start. ``isolation``: so many seconds its
    primary may be without a majority, None if it does not say. ``lacks`` are things that its kind of database has not:
    ``SLOTS``, ``REWIND``, ``EVIDENCE``.
    """

    site: str
    at: float
    epoch: int
    run: str
    process: Process
    standby_signal: bool
    autostart: bool
    fenced: bool
    control: Control | Unknown
    epoch_age: float | None = None
    fence: tuple[str, ...] = ()
    disk_free: int | None = None
    data_bytes: int | None = None
    traffic: TrafficSeen | Unknown | None = None
    peers: tuple[Peer, ...] = ()
    forks: tuple[Fork, ...] = ()
    job: str = ""
    unfinished: str = ""
    isolation: float | None = None
    lacks: tuple[str, ...] = ()

    @property
    def is_stopped(self) -> bool:
        """Whether no PostgreSQL runs there and none starts by itself."""
        return self.process in (Process.STOPPED, Process.ABSENT) and not self.autostart

    def fork(self, timeline: int) -> int | None:
        """Return where a timeline began, None if the agent does not say."""
        return next((one.at for one in self.forks if one.timeline == timeline), None)


@dataclass(frozen=True)
class ApplicationSeen:
    """The application at a site, all its deployments together: replicas wanted, ready, and the images they run."""

    site: str
    wanted: int
    ready: int
    images: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether it runs, whole."""
        return 0 < self.wanted <= self.ready


@dataclass(frozen=True)
class ServingSeen:
    """Whether users are served at a site, as it says where DNS servers ask: ``obstacle`` is why not, "" if they are."""

    site: str
    obstacle: str = ""


@dataclass(frozen=True)
class LeaseSeen:
    """The Lease flotilla-recovery of a cluster.

    ``holder`` is the run that holds it, "" if free or expired, at ``epoch``. What is published with it (who is primary, which
    sites are authorised, which may be promoted without loss) was written at epoch ``published``: a lease is taken without
    making what stands in it newer.
    """

    site: str
    holder: str = ""
    epoch: int = 0
    plan: str = ""
    published: int = 0
    primary: str = ""
    authorised: tuple[str, ...] = ()
    promotable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lag:
    """How far a standby was behind when the sample was taken: WAL flushed there, and seconds, as its primary saw it."""

    site: str
    flushed: int
    seconds: float | None


@dataclass(frozen=True)
class Sample:
    """Replication as it was at a time: kept away from the city, it is the only estimate once that is gone.

    ``commits`` is the primary's count of transactions since its statistics began, ``sync`` the standbys that it waited for,
    ``weakened`` who committed there without waiting.
    """

    at: float
    primary: str
    position: int
    lags: tuple[Lag, ...] = ()
    commits: int | None = None
    sync: tuple[str, ...] = ()
    weakened: tuple[str, ...] = ()

    def lag(self, site: str) -> Lag | None:
        """Return how far a site was behind, None if it was not connected."""
        return next((one for one in self.lags if one.site == site), None)


@dataclass(frozen=True)
class World:
    """All that is known at a time. ``earlier`` are databases as they were at least ``HELD`` seconds before their last look.

    ``answers`` are what the sites' DNS servers answered when asked as clients ask. ``samples`` are in order of time.
    """

    at: float
    agents: Mapping[str, AgentSeen | Unknown] = field(default_factory=dict)
    databases: Mapping[str, DatabaseSeen | Unknown] = field(default_factory=dict)
    leases: Mapping[str, LeaseSeen | Unknown] = field(default_factory=dict)
    applications: Mapping[str, ApplicationSeen | Unknown] = field(default_factory=dict)
    answers: Mapping[str, TrafficSeen | Unknown] = field(default_factory=dict)
    servings: Mapping[str, ServingSeen | Unknown] = field(default_factory=dict)
    earlier: Mapping[str, DatabaseSeen] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    rewound_in_vain: frozenset[str] = frozenset()

    def agent(self, site: str) -> AgentSeen | Unknown:
        """Return what is known of a site's agent."""
        return _of(self.agents, site)

    def database(self, site: str) -> DatabaseSeen | Unknown:
        """Return what is known of a site's database by SQL."""
        return _of(self.databases, site)

    def lease(self, site: str) -> LeaseSeen | Unknown:
        """Return what is known of a site's lease."""
        return _of(self.leases, site)

    def application(self, site: str) -> ApplicationSeen | Unknown:
        """Return what is known of the application at a site."""
        return _of(self.applications, site)

    def serving(self, site: str) -> ServingSeen | Unknown:
        """Return what is known of whether users are served at a site."""
        return _of(self.servings, site)

    def traffic(self, site: str) -> TrafficSeen | Unknown:
        """Return what a site's DNS server answers; where it could not be asked, what its agent says that it holds."""
        answer = _of(self.answers, site)
        agent = self.agents.get(site)
        could_ask = not isinstance(answer, Unknown) or isinstance(answer, Useless)
        if not could_ask and isinstance(agent, AgentSeen) and isinstance(agent.traffic, TrafficSeen):
            return agent.traffic
        return answer

    def seen_agents(self) -> tuple[AgentSeen, ...]:
        """Return the agents that answered."""
        return tuple(agent for agent in self.agents.values() if isinstance(agent, AgentSeen))

    def seen_databases(self) -> tuple[DatabaseSeen, ...]:
        """Return the databases that answered."""
        return tuple(one for one in self.databases.values() if isinstance(one, DatabaseSeen))

    def seen_leases(self) -> tuple[LeaseSeen, ...]:
        """Return the leases that could be read."""
        return tuple(one for one in self.leases.values() if isinstance(one, LeaseSeen))


HELD = 2.0  # seconds for which a follower must be seen to move: recovery-lab.md, 0.4


def _of(of_sites: Mapping[str, Seen | Unknown], site: str) -> Seen | Unknown:
    return of_sites.get(site, Unknown(site, "nobody has looked"))
