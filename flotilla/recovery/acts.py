"""Everything that a recovery can do, one frozen value each.

An ``AgentAct`` is one request to the agent of ``site`` (``bodies.body``), which refuses it if its epoch is stale. A
``ClusterAct`` is done through the site's API server. A ``Goal`` has no effect: it is waited for (``goals``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

AGENT, DATABASE, LEASE, APPLICATION, TRAFFIC, SERVING = "agent", "database", "lease", "application", "traffic", "serving"


@dataclass(frozen=True)
class Act:
    """Something done, or awaited, at a site. ``looks`` are the kinds of facts that tell whether it is so."""

    kind: ClassVar[str] = ""
    looks: ClassVar[tuple[str, ...]] = (AGENT, DATABASE)
    site: str

    def __str__(self) -> str:
        rest = {name: value for name, value in vars(self).items() if name != "site" and value not in ((), "")}
        told = ", ".join(f"{name} {_shown(value)}" for name, value in rest.items())
        return f"{self.kind} {self.site}" + (f" ({told})" if told else "")


class AgentAct(Act):
    """An effect on a site's database or DNS: through its agent, under the run's epoch."""


class ClusterAct(Act):
    """An effect on a site's Kubernetes cluster."""


class Goal(Act):
    """A fact to be waited for."""


@dataclass(frozen=True)
class Begin(AgentAct):
    """The agent accepts the run's epoch, and refuses any lower one from then on."""

    kind = "begin"
    looks = (AGENT,)


@dataclass(frozen=True)
class BreakGlass(AgentAct):
    """The agent accepts the epoch though no majority can be had: on the word of two different people, whom it verifies."""

    kind = "break_glass"
    looks = (AGENT,)
    approvals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fence(AgentAct):
    """No client gets in, none is left in: pg_hba reject first, then terminate, then none counted."""

    kind = "fence"


@dataclass(frozen=True)
class Unfence(AgentAct):
    """Clients get in again."""

    kind = "unfence"


@dataclass(frozen=True)
class Drain(AgentAct):
    """New transactions are read-only, open ones have ended or ``seconds`` are over. A courtesy, not a fence.

    It is what users feel first, so ``target`` must be able to take over, at most ``lag`` bytes behind.
    """

    kind = "drain"
    seconds: float = 2.0
    target: str = ""
    lag: int = 16 << 20


@dataclass(frozen=True)
class Undrain(AgentAct):
    """Transactions may write again."""

    kind = "undrain"


@dataclass(frozen=True)
class Checkpoint(AgentAct):
    """A checkpoint was written on the timeline of now, at most ``within`` seconds ago (0: at any time)."""

    kind = "checkpoint"
    within: float = 0.0


@dataclass(frozen=True)
class SetSync(AgentAct):
    """Commits wait for the first of these standbys that is connected; for none if there are no names."""

    kind = "set_sync"
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class CreateSlots(AgentAct):
    """A physical slot for each name: standbys have none of their primary's."""

    kind = "create_slots"
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class DropSlots(AgentAct):
    """No slot of these names is left to hold WAL back for nobody."""

    kind = "drop_slots"
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Follow(AgentAct):
    """The site's database is told to follow another's."""

    kind = "follow"
    upstream: str = ""


@dataclass(frozen=True)
class Detach(AgentAct):
    """A standby takes no more WAL from anybody: nothing that a half-dead primary writes from now on is acknowledged by it."""

    kind = "detach"


@dataclass(frozen=True)
class ResumeReplay(AgentAct):
    """Replay is not paused: a paused standby that loses its connection does not come back (recovery-lab.md, 0.6)."""

    kind = "resume_replay"


@dataclass(frozen=True)
class Stop(AgentAct):
    """PostgreSQL is stopped and does not start by itself. ``caught_up`` names who must have everything first, "" for nobody."""

    kind = "stop"
    mode: str = "fast"
    caught_up: str = ""


@dataclass(frozen=True)
class Start(AgentAct):
    """PostgreSQL runs, as ``role``: standby or primary."""

    kind = "start"
    role: str = "standby"


@dataclass(frozen=True)
class Promote(AgentAct):
    """The standby is the primary, and the epoch its first transaction. Nothing undoes this.

    ``origin`` is the primary that it takes over from; ``clean`` if that was stopped in order and has left nothing behind.
    Else no more than ``at_most`` bytes of its WAL are missing here: what people agreed to lose. 0: nothing acknowledged, which
    other guards prove; None: nobody knew, and they agreed to that.
    """

    kind = "promote"
    origin: str = ""
    clean: bool = True
    timeout: float = 60.0
    wait: float = 13.0
    at_most: int | None = 0


@dataclass(frozen=True)
class Rewind(AgentAct):
    """What the stopped database has and ``upstream`` has not is kept as evidence and gone from it: pg_rewind."""

    kind = "rewind"
    upstream: str = ""


@dataclass(frozen=True)
class Reseed(AgentAct):
    """The database is a new copy of ``upstream``'s: pg_basebackup; the old one is moved aside."""

    kind = "reseed"
    upstream: str = ""


@dataclass(frozen=True)
class SetTraffic(AgentAct):
    """The site's DNS server answers with healthy ones of the authorised sites, and says so under the run's epoch.

    ``addresses`` has the address of each authorised site, ``cities`` where it stands, ``port`` is where ``/dr/serving`` is
    asked for; nobody asks without ``health``, and all of them are answered.
    """

    kind = "set_traffic"
    looks = (TRAFFIC,)
    primary: str = ""
    authorised: tuple[str, ...] = ()
    zone: str = "fleet.test."
    name: str = "orders"
    ttl: int = 5
    port: int = 8080
    health: bool = True
    addresses: tuple[str, ...] = ()
    cities: tuple[str, ...] = ()


@dataclass(frozen=True)
class TakeLease(ClusterAct):
    """The run holds the site's Lease."""

    kind = "take_lease"
    looks = (LEASE,)


@dataclass(frozen=True)
class ReleaseLease(ClusterAct):
    """The run holds the site's Lease no more; what is published in it stays."""

    kind = "release_lease"
    looks = (LEASE,)


@dataclass(frozen=True)
class Publish(ClusterAct):
    """The site's Lease says who is primary, which sites are authorised, and which may be promoted without loss."""

    kind = "publish"
    looks = (LEASE,)
    primary: str = ""
    authorised: tuple[str, ...] = ()
    promotable: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScaleUp(ClusterAct):
    """The application is wanted at the site."""

    kind = "scale_up"
    looks = (APPLICATION,)


@dataclass(frozen=True)
class ScaleDown(ClusterAct):
    """The application is not wanted at the site any more."""

    kind = "scale_down"
    looks = (APPLICATION,)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else f"{value}"
