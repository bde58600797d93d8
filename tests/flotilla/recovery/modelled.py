"""A modelled fleet: three PostgreSQL, their agents, leases and DNS, small enough to be in every state that matters.

A WAL is a tuple of records, so that "follows", "is ahead" and "diverged" are what they are: prefixes, or not. A record is 100
bytes. What agents do is as naive as a shell would be: a guard that is gone is not made up for here. Clients are rude: a
read-only setting stops none of them (findings R 2, L 0.5).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from flotilla.facts import Unknown
from flotilla.recovery import acts
from flotilla.recovery.acts import Act
from flotilla.recovery.facts import (
    AgentSeen,
    ApplicationSeen,
    Control,
    DatabaseSeen,
    Follower,
    Fork,
    Lag,
    LeaseSeen,
    Peer,
    Process,
    Sample,
    ServingSeen,
    Slot,
    TrafficSeen,
    World,
)

P, S, R = "production", "same-city", "remote"
SITES = (P, S, R)
SIZE = 100  # bytes of a record
ISOLATION = 10.0  # seconds: recovery.isolation of the fleet file
SYSTEM = "7200000000000000001"


class Heard(NamedTuple):
    """What an agent last heard of another one: when, its epoch, if people broke the glass for it, since when it is primary."""

    at: float
    epoch: int
    glass: bool
    made_primary: int


@dataclass
class Node:
    """A site's node: its PostgreSQL with what lies on its disk, and its agent's memory."""

    site: str
    wal: tuple[str, ...]
    signal: bool = True
    upstream: str = ""
    alive: bool = True
    running: bool = True
    autostart: bool = True
    slots: frozenset[str] = frozenset()
    sync: tuple[str, ...] = ()
    read_only: bool = False
    fenced: bool = False
    paused: bool = False
    stopped: str = ""  # what pg_controldata says of a stopped server; "" after a crash
    glass: bool = False  # the epoch was accepted without a majority: the isolation rule would stop the only one left
    checkpointed: int = 1
    broken: bool = False
    epoch: int = 0
    run: str = ""
    made_primary: int = 0  # the epoch at which it last was
    heard: int = 0  # the highest epoch that another agent ever spoke of to this one
    accepted: float = 0.0  # when the epoch was
    supported: float = 1000.0  # when its agent last heard of nobody with a higher epoch, from anybody
    contacts: dict[str, Heard] = field(default_factory=dict)  # how its agent last heard of the others: never changed in place

    @property
    def timeline(self) -> int:
        return 1 + sum(record.startswith("T") for record in self.wal)

    @property
    def primary(self) -> bool:
        return self.alive and self.running and not self.signal

    @property
    def newest(self) -> str:
        """The record that says who was promoted last in this history."""
        return next((record for record in reversed(self.wal) if record.startswith("T")), "")


@dataclass
class Lease:
    holder: str = ""
    epoch: int = 0
    published: int = 1
    primary: str = P
    authorised: tuple[str, ...] = (P, S)
    promotable: tuple[str, ...] = (S,)


@dataclass
class Fleet:
    """Everything there is. ``dark`` sites are seen by nobody who decides, ``cut`` ones are reached by nobody at all."""

    nodes: dict[str, Node]
    leases: dict[str, Lease]
    dns: dict[str, tuple[int, str, tuple[str, ...]]]
    wanted: dict[str, bool]
    acked: frozenset[str] = frozenset()
    dark: frozenset[str] = frozenset()
    cut: frozenset[str] = frozenset()
    apis_away: frozenset[str] = frozenset()
    lagging: frozenset[str] = frozenset()
    weakened: bool = False
    checks_epochs: ClassVar[bool] = True
    boots_by_rule: ClassVar[bool] = True
    now: float = 1000.0
    writes: int = 0
    sample: Sample | None = None
    told: list[str] = field(default_factory=list)
    highest: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Fleet:
        made = copy.copy(self)
        made.nodes = {site: copy.copy(node) for site, node in self.nodes.items()}
        made.leases = {site: copy.copy(lease) for site, lease in self.leases.items()}
        made.dns, made.wanted, made.told = dict(self.dns), dict(self.wanted), list(self.told)
        made.highest = dict(self.highest)
        return made

    # -- streams and clients ------------------------------------------------------------------------------------------

    def reaches(self, one: str, other: str) -> bool:
        both = (self.nodes[one], self.nodes[other])
        return all(node.alive for node in both) and not {one, other} & self.cut

    def connects(self, standby: str) -> bool:
        """Whether a standby and its upstream call each other streaming: that says little (finding L 0.4)."""
        node = self.nodes[standby]
        up = self.nodes.get(node.upstream)
        if up is None or not (node.running and node.signal and up.running) or node.broken:
            return False
        return self.reaches(standby, up.site) and standby in up.slots

    def streams(self, standby: str) -> bool:
        """Whether a standby really gets what its upstream writes: only if what it has is a beginning of that."""
        if not self.connects(standby):
            return False
        node = self.nodes[standby]
        return self.nodes[node.upstream].wal[: len(node.wal)] == node.wal

    def pump(self) -> None:
        """Ship what can be shipped, and acknowledge what is safe by then."""
        for _ in SITES:
            for standby in SITES:
                if self.streams(standby) and standby not in self.lagging:
                    self.nodes[standby].wal = self.nodes[self.nodes[standby].upstream].wal
        for node in self.nodes.values():
            if node.primary and self.has_word(node):
                self.acked |= {record for record in node.wal if record.startswith("w")}

    def has_word(self, node: Node) -> bool:
        """Whether a commit at a primary is acknowledged: its first synchronous standby that is there has it."""
        if self.weakened or not node.sync:
            return True
        there = [
            name for name in node.sync if name != node.site and self.streams(name) and self.nodes[name].upstream == node.site
        ]
        return bool(there) and there[0] not in self.lagging

    def serves(self, node: Node) -> bool:
        return node.primary and not node.fenced and not node.broken and not (node.paused and node.signal)

    def clients(self) -> None:
        """Clients write wherever somebody takes it, unless the last thing written there is acknowledged already."""
        for site in SITES:
            node = self.nodes[site]
            if self.serves(node) and not (node.wal[-1].startswith("w") and node.wal[-1] in self.acked):
                self.write(site)
        self.pump()
        self.take_sample()

    def write(self, site: str) -> None:
        node = self.nodes[site]
        if node.wal[-1].startswith("w") and node.wal[-1] not in self.acked:
            return  # somebody waits already
        self.writes += 1
        node.wal = (*node.wal, f"w{self.writes}")

    def take_sample(self) -> None:
        primaries = [node for node in self.nodes.values() if node.primary and node.site not in self.dark | self.cut]
        if len(primaries) == 1:
            node = primaries[0]
            lags = tuple(Lag(site, SIZE * len(self.nodes[site].wal), 0.1) for site in SITES if self.streams(site))
            weakened = ("role app",) if self.weakened else ()
            self.sample = Sample(self.now, node.site, SIZE * len(node.wal), lags, 100, node.sync, weakened)

    # -- time and faults ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Time has passed: agents notice that they are alone, and start what may start."""
        self.take_sample()
        self.hear()
        for site in SITES:
            node = self.nodes[site]
            reached = [self.nodes[one].epoch for one in SITES if one != site and self.reaches(site, one)]
            node.heard = max([node.heard, *reached]) if node.alive else node.heard
            friends = [one for one in SITES if one != site and self.reaches(site, one) and self.nodes[one].epoch <= node.epoch]
            replaced = any(one.made_primary > node.made_primary for one in node.contacts.values())
            node.supported = self.now if friends and not replaced else node.supported
            if node.primary and self.now - node.supported >= ISOLATION and not node.glass:
                node.running, node.stopped = False, ""
                self.told.append(f"isolation rule: {site} stopped by its own agent")
            if node.alive and not node.running and node.autostart:
                self.boot(site)

    def hear(self) -> None:
        """Agents ask each other, all the time."""
        for site, node in self.nodes.items():
            reached = {one: self.nodes[one] for one in SITES if one != site and self.reaches(site, one)}
            said = {
                one: Heard(self.now, other.epoch, other.glass, 0 if other.signal else other.made_primary)
                for one, other in reached.items()
            }
            node.contacts = {**node.contacts, **said}

    def boot(self, site: str) -> None:
        node = self.nodes[site]
        node.contacts = node.contacts if node.alive else {}
        node.alive = True
        if not node.autostart or node.broken:
            return
        others = [self.nodes[one] for one in SITES if one != site and self.reaches(site, one)]
        node.heard = max([node.heard, *(one.epoch for one in others)])
        newer = node.heard > node.epoch or any(one.made_primary > node.made_primary for one in others)
        doubtful = node.epoch > node.made_primary and len(others) < 2
        by_glass = node.glass and node.made_primary == node.epoch  # two people said so: there was nobody else to ask
        if node.signal or not self.boots_by_rule or by_glass or (others and not newer and not doubtful):
            node.running, node.stopped, node.supported = True, "", self.now
            self.told.append(f"{site} starts as {'standby' if node.signal else 'primary'}")

    def die(self, site: str) -> None:
        self.take_sample()
        self.hear()
        node = self.nodes[site]
        node.alive = node.running = False
        node.stopped = ""

    # -- acts ---------------------------------------------------------------------------------------------------------

    def act(self, act: Act, epoch: int, run: str) -> tuple[bool, str]:
        """Do an act as its agent or API server would; return whether it was done, and what was told."""
        if act.site in self.dark | self.cut:
            return False, f"{act.site} does not answer"
        if isinstance(act, acts.ClusterAct):
            return self._cluster_act(act, epoch, run)
        node = self.nodes[act.site]
        if not node.alive:
            return False, f"{act.site} does not answer"
        stale = epoch < node.epoch or (epoch == node.epoch and run != node.run)
        if stale and self.checks_epochs:
            return False, f"stale epoch {epoch}: {node.epoch} was accepted"
        if epoch > node.epoch and not isinstance(act, acts.Begin | acts.BreakGlass):
            return False, f"epoch {epoch} was not begun here"
        if epoch > node.epoch:
            node.epoch, node.run, node.accepted, node.glass = epoch, run, self.now, isinstance(act, acts.BreakGlass)
        getattr(self, f"_{act.kind}")(act, node, epoch)
        self.pump()
        return True, "done"

    def _begin(self, act: Act, node: Node, epoch: int) -> None:
        pass

    def _break_glass(self, act: acts.BreakGlass, node: Node, epoch: int) -> None:
        assert len(set(act.approvals)) >= 2

    def _fence(self, act: Act, node: Node, epoch: int) -> None:
        node.fenced = True

    def _unfence(self, act: Act, node: Node, epoch: int) -> None:
        node.fenced = False

    def _drain(self, act: Act, node: Node, epoch: int) -> None:
        node.read_only = True

    def _undrain(self, act: Act, node: Node, epoch: int) -> None:
        node.read_only = False

    def _checkpoint(self, act: Act, node: Node, epoch: int) -> None:
        node.checkpointed = node.timeline

    def _set_sync(self, act: acts.SetSync, node: Node, epoch: int) -> None:
        node.sync = act.names

    def _create_slots(self, act: acts.CreateSlots, node: Node, epoch: int) -> None:
        node.slots |= set(act.names)

    def _drop_slots(self, act: acts.DropSlots, node: Node, epoch: int) -> None:
        node.slots -= set(act.names)

    def _follow(self, act: acts.Follow, node: Node, epoch: int) -> None:
        node.upstream = act.upstream
        node.signal = node.signal or not node.running

    def _detach(self, act: Act, node: Node, epoch: int) -> None:
        node.upstream = ""

    def _resume_replay(self, act: Act, node: Node, epoch: int) -> None:
        node.paused = False

    def _stop(self, act: acts.Stop, node: Node, epoch: int) -> None:
        if node.running and not node.signal and act.mode == "fast":
            node.wal = (*node.wal, f"C{len(node.wal)}")
            node.checkpointed = node.timeline
            self.pump()
        if node.running:
            node.stopped = ("shut down in recovery" if node.signal else "shut down") if act.mode == "fast" else ""
        node.running = node.autostart = False

    def _start(self, act: Act, node: Node, epoch: int) -> None:
        if not node.broken:
            node.running = node.autostart = True
            node.stopped = ""
        if not node.signal:
            node.made_primary = epoch

    def _promote(self, act: Act, node: Node, epoch: int) -> None:
        if node.running and node.signal:
            node.signal, node.upstream, node.autostart, node.made_primary = False, "", True, epoch
            node.supported = self.now
            node.wal = (*node.wal, f"T{epoch}:{node.site}")
        elif node.primary and f"T{epoch}:{node.site}" not in node.wal:
            node.wal = (*node.wal, f"E{epoch}:{node.site}")

    def _rewind(self, act: acts.Rewind, node: Node, epoch: int) -> None:
        up = self.nodes[act.upstream]
        node.broken = up.checkpointed != up.timeline
        self._copied(node, up)

    def _reseed(self, act: acts.Reseed, node: Node, epoch: int) -> None:
        node.broken = False
        self._copied(node, self.nodes[act.upstream])

    def _copied(self, node: Node, up: Node) -> None:
        """Both copy more than data: the settings, too (findings R 1, L 0.7)."""
        if node.running:
            self.told.append("running")
        node.wal, node.sync, node.read_only, node.checkpointed = up.wal, up.sync, up.read_only, up.checkpointed
        node.signal, node.upstream, node.slots, node.stopped = True, up.site, frozenset(), ""

    def _set_traffic(self, act: acts.SetTraffic, node: Node, epoch: int) -> None:
        self.dns[act.site] = (epoch, act.primary, act.authorised)

    def _cluster_act(self, act: Act, epoch: int, run: str) -> tuple[bool, str]:
        if act.site in self.apis_away or not self.nodes[act.site].alive:
            return False, f"the API server of {act.site} is away"
        lease = self.leases[act.site]
        if isinstance(act, acts.ScaleUp | acts.ScaleDown):
            self.wanted[act.site] = isinstance(act, acts.ScaleUp)
        elif isinstance(act, acts.TakeLease):
            if lease.epoch > epoch or lease.holder not in ("", run):
                return False, f"lease of {act.site} is held by {lease.holder} at {lease.epoch}"
            lease.holder, lease.epoch = run, epoch
        elif isinstance(act, acts.ReleaseLease):
            lease.holder = "" if lease.holder == run else lease.holder
        elif isinstance(act, acts.Publish):
            if (lease.holder, lease.epoch) != (run, epoch):
                return False, f"lease of {act.site} is not ours"
            lease.published, lease.primary = epoch, act.primary
            lease.authorised, lease.promotable = act.authorised, act.promotable
        return True, "done"

    # -- seeing -------------------------------------------------------------------------------------------------------

    def world(self) -> World:
        """What can be seen, twice at once: before and after a heartbeat, which leaves nothing behind here."""
        after = self.copy()
        for node in after.nodes.values():
            if node.primary and not node.fenced and not node.read_only:
                node.wal = (*node.wal, "h")
        after.pump()
        return World(
            at=self.now,
            agents={site: after._agent(site) for site in SITES},
            databases={site: after._database(site, self.now) for site in SITES},
            leases={site: after._lease(site) for site in SITES},
            applications={site: after._application(site) for site in SITES},
            answers={site: after._dns(site) for site in SITES},
            servings={site: after._serving(site) for site in SITES},
            earlier={site: seen for site in SITES if isinstance(seen := self._database(site, self.now - 2.5), DatabaseSeen)},
            samples=self._samples(after),
        )

    def _samples(self, after: Fleet) -> tuple[Sample, ...]:
        if self.sample is None:
            return ()
        after.take_sample()
        newest = after.sample or self.sample
        return tuple(replace(newest, at=newest.at - ago) for ago in (1200.0, 600.0, 300.0, 0.0))

    def _unseen(self, site: str) -> bool:
        return site in self.dark | self.cut or not self.nodes[site].alive

    def _database(self, site: str, at: float) -> DatabaseSeen | Unknown:
        node = self.nodes[site]
        if self._unseen(site) or not node.running:
            return Unknown(site, "connection refused")
        marks = [record for record in node.wal if record[0] in "TE"]
        epoch, _, primary = marks[-1][1:].partition(":") if marks else ("1", "", P)
        followers = tuple(
            Follower(one, "streaming", "sync" if one in node.sync else "async", SIZE * len(self.nodes[one].wal))
            for one in SITES
            if self.nodes[one].upstream == site and self.connects(one)
        )
        slots = tuple(Slot(name, any(one.name == name for one in followers)) for name in sorted(node.slots))
        return DatabaseSeen(
            site,
            at,
            SYSTEM,
            in_recovery=node.signal,
            timeline=node.timeline,
            position=SIZE * len(node.wal),
            replayed=SIZE * len(node.wal),
            paused=node.paused,
            upstream=node.upstream if node.signal else "",
            receives=self.connects(site),
            read_only=node.read_only,
            synchronous=node.sync,
            followers=followers,
            slots=slots,
            weakened=("role app",) if self.weakened else (),
            epoch=int(epoch),
            epoch_primary=primary,
            checkpoint_timeline=node.checkpointed,
            checkpoint_age=1.0,
        )

    def _agent(self, site: str) -> AgentSeen | Unknown:
        node = self.nodes[site]
        if self._unseen(site):
            return Unknown(site, "timed out")
        state = "in production" if not node.signal else "in archive recovery"
        state = node.stopped or state
        begins = [index for index, record in enumerate(node.wal) if record.startswith("T")]
        forks = tuple(Fork(number, SIZE * index) for number, index in enumerate(begins, 2))
        last = SIZE * max(0, len(node.wal) - 1)
        return AgentSeen(
            site,
            self.now,
            node.epoch,
            node.run,
            Process.RUNNING if node.running else Process.STOPPED,
            standby_signal=node.signal,
            autostart=node.autostart,
            fenced=node.fenced,
            control=Control(state, SYSTEM, node.checkpointed, last),
            epoch_age=self.now - node.accepted,
            peers=self._peers(site),
            forks=forks,
            isolation=ISOLATION,
        )

    def _peers(self, site: str) -> tuple[Peer, ...]:
        self.hear()
        heard = {one: self.nodes[site].contacts.get(one) for one in SITES if one != site}
        return tuple(
            Peer(one, self.reaches(site, one), self.now - said.at, said.epoch, "", said.glass, ISOLATION)
            if said
            else Peer(one, reached=False)
            for one, said in heard.items()
        )

    def _lease(self, site: str) -> LeaseSeen | Unknown:
        lease = self.leases[site]
        if self._unseen(site) or site in self.apis_away:
            return Unknown(site, "API server away")
        return LeaseSeen(
            site, lease.holder, lease.epoch, "", lease.published, lease.primary, lease.authorised, lease.promotable
        )

    def _application(self, site: str) -> ApplicationSeen | Unknown:
        if self._unseen(site) or site in self.apis_away:
            return Unknown(site, "API server away")
        count = 2 if self.wanted[site] else 0
        return ApplicationSeen(site, count, count)

    def _serving(self, site: str) -> ServingSeen | Unknown:
        if self._unseen(site) or not self.wanted[site]:
            return Unknown(site, "connection refused")
        writable = [one for one in self.nodes.values() if one.primary and not one.fenced and not one.read_only]
        reached = any(one.site == site or self.reaches(site, one.site) for one in writable)
        return ServingSeen(site, "" if reached else "no database can be written")

    def _dns(self, site: str) -> TrafficSeen | Unknown:
        if self._unseen(site):
            return Unknown(site, "no answer")
        epoch, primary, sites = self.dns[site]
        return TrafficSeen(site, epoch, primary, sites)


def fleet() -> Fleet:
    """Return a fleet in which all is well: production primary, the others follow it."""
    base = ("b1", "b2")
    nodes = {
        P: Node(P, base, signal=False, slots=frozenset({S, R}), sync=(S,), epoch=1, made_primary=1),
        S: Node(S, base, upstream=P, epoch=1),
        R: Node(R, base, upstream=P, epoch=1),
    }
    made = Fleet(
        nodes,
        {site: Lease() for site in SITES},
        dict.fromkeys(SITES, (1, P, (P, S))),
        {P: True, S: True, R: False},
    )
    made.clients()
    made.hear()
    return made
