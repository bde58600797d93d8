"""Would each runbook work now? What is seen, against what its steps need; a finding names the step that it would break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flotilla.facts import Unknown
from flotilla.recovery.acts import AgentAct, SetTraffic
from flotilla.recovery.facts import ALIKE, AT_LEAST, SYNCHRONOUS, AgentSeen, ApplicationSeen, DatabaseSeen, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.planning import plan_for
from flotilla.recovery.publication import published
from flotilla.recovery.refusals import Asked, NotPlanned, primary_of, under_way
from flotilla.recovery.steps import Kind, Plan

DISK = 2.0  # times the database's size that a site has to have free: a rewind keeps a copy of it as evidence
FAR = 86_400.0 * 14  # seconds before its end at which a certificate is a finding


class Severity(StrEnum):
    """Whether a runbook would fail, or only be slower or less safe, or nobody can say."""

    RED = "red"
    YELLOW = "yellow"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it has to be: where, and which step of which runbooks it would break."""

    severity: Severity
    site: str
    what: str
    step: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.site}: {self.what}; would break: {self.step}"


@dataclass(frozen=True)
class Surroundings:
    """What is looked at besides the world.

    ``certificates``: by what they are of, when they end; ``approvers``: how many people may approve; ``cramped``: by site, what
    would find no node there.
    """

    certificates: tuple[tuple[str, float], ...] = ()
    approvers: int = 0
    cramped: tuple[tuple[str, str], ...] = ()


def findings(world: World, layout: Layout, around: Surroundings | None = None) -> tuple[Finding, ...]:
    """Return everything that would break a runbook now, the worst first."""
    primary = primary_of(world, layout)
    if isinstance(primary, Unknown):
        return (Finding(Severity.RED, "fleet", str(primary), "every runbook: nobody is known to be primary"),)
    found = [
        *_agents(world, layout),
        *_databases(primary, world, layout),
        *_replication(primary, world, layout),
        *_skew(primary, world, layout),
        *_leases(primary, world, layout),
        *_traffic(primary, world, layout),
        *_application(primary, world, layout),
        *_around(around or Surroundings(), world, layout),
    ]
    found += _refused(found, world, layout)
    order = list(Severity)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (order.index(one.severity), one.site, one.what)))


def runbooks(world: World, layout: Layout) -> dict[str, Plan | NotPlanned]:
    """Return for each runbook that could be asked for now the plan that it would be, or why it is refused."""
    primary = primary_of(world, layout)
    if isinstance(primary, Unknown):
        return {}
    asked = [Asked(kind, site) for site in layout.others(primary) for kind in (Kind.SWITCHOVER, Kind.FAILOVER)]
    away = [site for site in layout.others(primary) if not _follows(site, primary, world)]
    asked += [Asked(kind, site) for site in away for kind in (Kind.REPROTECT, Kind.FAILBACK)]
    return {f"{one.kind} to {one.target}": plan_for(one, world, layout) for one in asked}


def _follows(site: str, primary: str, world: World) -> bool:
    seen = world.database(site)
    return isinstance(seen, DatabaseSeen) and seen.in_recovery and seen.upstream == primary


def _refused(found: Sequence[Finding], world: World, layout: Layout) -> list[Finding]:
    """Return why runbooks would be refused now, as far as no other finding says it; while a recovery is under way all are."""
    if under_way(world):
        return []
    by_reason: dict[str, list[NotPlanned]] = {}
    for plan in runbooks(world, layout).values():
        if isinstance(plan, NotPlanned):
            for reason in plan.reasons:
                by_reason.setdefault(reason, []).append(plan)
    return [_refusal(reason, plans) for reason, plans in by_reason.items() if not _is_said(reason, found)]


def _refusal(reason: str, plans: Sequence[NotPlanned]) -> Finding:
    sites = {plan.asked.target for plan in plans}
    names = ", ".join(f"{plan.asked.kind} to {plan.asked.target}" for plan in plans)
    return Finding(Severity.RED, sites.pop() if len(sites) == 1 else "fleet", reason, f"{names}: refused before its first step")


_SAYINGS = (
    "does not answer", "is not seen", "does not stream", "replay is paused", "bytes behind", "is on timeline",
    "system identifier", "not synchronous",
)  # fmt: skip


def _is_said(reason: str, found: Sequence[Finding]) -> bool:
    red = [one for one in found if one.severity is Severity.RED and one.site in reason]
    return any(words in reason and words in one.what for one in red for words in _SAYINGS)


def sites_of(plan: Plan) -> tuple[str, ...]:
    """Return the sites whose agents a plan needs."""
    needed = (act for step in plan.steps for act in step.acts if isinstance(act, AgentAct) and not isinstance(act, SetTraffic))
    return tuple(dict.fromkeys(act.site for act in needed))


def _agents(world: World, layout: Layout) -> Iterator[Finding]:
    for site in layout.sites:
        agent = world.agent(site)
        if isinstance(agent, Unknown):
            yield Finding(
                Severity.RED, site, f"its agent does not answer: {agent.reason}", "begin; stop; everything done there"
            )
            continue
        if agent.isolation is not None and agent.isolation != layout.isolation:
            told = f"its agent lets a primary be alone for {agent.isolation:g} s, the fleet file says {layout.isolation:g} s"
            yield Finding(Severity.RED, site, told, "fenced: a site may be taken for stopped that is not")
        if isinstance(agent.control, Unknown):
            yield Finding(Severity.RED, site, str(agent.control), "stop-proved: a clean stop could not be proved")
        if agent.fenced:
            yield Finding(Severity.RED, site, f"a fence was left standing: {', '.join(agent.fence) or 'pg_hba'}", "writable")
        if agent.disk_free is not None and agent.data_bytes is not None and agent.disk_free < DISK * agent.data_bytes:
            free = f"{agent.disk_free} bytes are free for a database of {agent.data_bytes}"
            yield Finding(Severity.RED, site, free, f"rejoin-{site}: evidence and a new copy")
        yield from _peers(agent)


def _peers(agent: AgentSeen) -> Iterator[Finding]:
    for peer in agent.peers:
        if not peer.reached:
            yield Finding(Severity.YELLOW, agent.site, f"does not reach {peer.site}: {peer.error}", "begin; witnesses")


def _databases(primary: str, world: World, layout: Layout) -> Iterator[Finding]:
    systems = {one.system for one in world.seen_databases()}
    for site in layout.sites:
        seen = world.database(site)
        if isinstance(seen, Unknown):
            yield Finding(
                Severity.RED, site, f"its database is not seen: {seen.reason}", f"promote, if to {site}; rejoin-{site}"
            )
            continue
        yield from _database(seen, primary)
        if len(systems) > 1:
            yield Finding(Severity.RED, site, f"system identifier {seen.system}: not all sites hold one database", "promote")


def _database(seen: DatabaseSeen, primary: str) -> Iterator[Finding]:
    site = seen.site
    if seen.paused:
        yield Finding(Severity.RED, site, "replay is paused", "drain; promote (recovery-lab.md, 0.6)")
    if seen.read_only:
        yield Finding(Severity.RED, site, "default_transaction_read_only is set", "open; writable (recovery.md, finding 2)")
    if site in seen.synchronous:
        yield Finding(Severity.RED, site, "synchronous_standby_names names itself", "open; promote (recovery.md, finding 1)")
    if not seen.can_rewind:
        yield Finding(
            Severity.YELLOW, site, "neither data checksums nor wal_log_hints", f"rejoin-{site}: reseeded, not rewound"
        )
    for who in seen.weakened:
        yield Finding(Severity.RED, site, f"{who} commits without waiting", "fenced; chosen: a loss of 0 cannot be proved")
    for slot in seen.slots:
        if slot.status not in ("reserved", "extended"):
            yield Finding(Severity.RED, site, f"slot {slot.name} is {slot.status}", f"rejoin-{slot.name}; cascade-{slot.name}")
        elif not slot.active:
            yield Finding(Severity.YELLOW, site, f"nobody uses slot {slot.name}, and WAL is kept for it", "tidy")
    if site != primary and not seen.in_recovery:
        yield Finding(Severity.RED, site, "runs as a second primary", f"quarantine-{site}")


def _replication(primary: str, world: World, layout: Layout) -> Iterator[Finding]:
    now = world.database(primary)
    if isinstance(now, Unknown):
        return
    wanted = layout.sync_names(primary)
    if now.synchronous != wanted:
        told = f"commits wait for {', '.join(now.synchronous) or 'nobody'}, not for {', '.join(wanted) or 'nobody'}"
        yield Finding(Severity.RED, primary, told, "fenced; chosen: re-protect first")
    names = [one.name for one in now.followers]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding(
            Severity.RED, primary, f"{names.count(name)} standbys are called {name}", "in-sync; caught-up (recovery.md, 2.1)"
        )
    for site in layout.others(primary):
        yield from _standby(site, now, world, layout)


def _skew(primary: str, world: World, layout: Layout) -> Iterator[Finding]:
    """Yield what is set otherwise at a site than at the primary and matters as soon as either has the other's role."""
    now = world.database(primary)
    for site in layout.others(primary):
        own = world.database(site)
        if isinstance(now, DatabaseSeen) and isinstance(own, DatabaseSeen):
            yield from _differences(own, now)


def _differences(own: DatabaseSeen, now: DatabaseSeen) -> Iterator[Finding]:
    for name in AT_LEAST:
        here, there = own.setting(name), now.setting(name)
        if here is not None and there is not None and here != there:
            less, more = (own, now) if int(here) < int(there) else (now, own)
            told = f"{name} is {less.setting(name)}, {more.site} has {more.setting(name)}"
            step = f"rejoin-{less.site}: a standby of {more.site} that has less does not start, or stops replaying"
            yield Finding(Severity.RED, less.site, told, step)
    for name in ALIKE:
        here, there = own.setting(name), now.setting(name)
        if None not in (here, there) and here != there:
            told = f"{name} is {here or 'empty'}, {now.site} has {there or 'none'}"
            yield Finding(Severity.YELLOW, own.site, told, f"promote, if to {own.site}: another setting or version would serve")


def _standby(site: str, now: DatabaseSeen, world: World, layout: Layout) -> Iterator[Finding]:
    own, seen = world.database(site), now.follower(site)
    if isinstance(own, DatabaseSeen) and own.upstream not in ("", now.site):
        yield Finding(Severity.YELLOW, site, f"follows {own.upstream}, not {now.site}", f"cascade-{site}")
        return
    if seen is None or not seen.streams:
        yield Finding(Severity.RED, site, f"does not stream from {now.site}", f"drain; promote, if to {site}")
        return
    if site in layout.sync_names(now.site) and site in now.synchronous and seen.sync_state not in SYNCHRONOUS | {"potential"}:
        yield Finding(Severity.RED, site, f"is {seen.sync_state}, not synchronous", "drain; chosen")
    if isinstance(own, DatabaseSeen) and (behind := now.position - own.replayed) > layout.lag:
        yield Finding(Severity.RED, site, f"is {behind} bytes behind", "drain; stable")
    if isinstance(own, DatabaseSeen) and own.timeline != now.timeline:
        yield Finding(Severity.RED, site, f"is on timeline {own.timeline}, not {now.timeline}", f"rejoin-{site}")


def _leases(primary: str, world: World, layout: Layout) -> Iterator[Finding]:
    for site in layout.sites:
        lease = world.lease(site)
        if isinstance(lease, Unknown):
            yield Finding(Severity.RED, site, f"its lease cannot be read: {lease.reason}", "leases; publish")
        elif lease.holder:
            yield Finding(Severity.YELLOW, site, f"run {lease.holder} holds the lease", "leases: another run waits")
    said = published(world, len(layout.places))
    if isinstance(said, Unknown):
        yield Finding(Severity.RED, "fleet", said.reason, "fenced; chosen: a loss of 0 cannot be proved")
    elif said.primary != primary:
        yield Finding(Severity.RED, "fleet", f"the leases call {said.primary} primary, {primary} is", "chosen; verify")
    elif set(said.promotable) != set(layout.sync_names(primary)):
        told = f"may be promoted without loss: {', '.join(said.promotable) or 'nobody'}"
        yield Finding(Severity.RED, "fleet", told, "chosen: re-protect first")


def _traffic(primary: str, world: World, layout: Layout) -> Iterator[Finding]:
    wanted = set(layout.authorised(primary))
    seen = {site: world.traffic(site) for site in layout.sites}
    newest = max((one.epoch for one in seen.values() if not isinstance(one, Unknown)), default=0)
    for site, one in seen.items():
        if isinstance(one, Unknown):
            yield Finding(Severity.RED, site, f"its DNS server does not answer: {one.reason}", "traffic")
        elif (one.primary, set(one.authorised)) != (primary, wanted) or one.epoch < newest:
            told = f"DNS says epoch {one.epoch}, primary {one.primary}, sites {', '.join(one.authorised)}"
            yield Finding(Severity.RED, site, f"{told}; wanted {', '.join(sorted(wanted))}", "traffic; verify")
        elif astray := one.astray(layout.addresses(layout.authorised(primary))):
            yield Finding(Severity.RED, site, astray, "traffic; verify")


def _application(primary: str, world: World, layout: Layout) -> Iterator[Finding]:
    seen = {site: one for site in layout.sites if isinstance(one := world.application(site), ApplicationSeen)}
    for site in layout.sites:
        if site not in seen:
            yield Finding(Severity.UNKNOWN, site, "the application is not seen", "ready")
    for site in layout.authorised(primary):
        if site in seen and not seen[site].is_ready:
            told = f"{seen[site].ready} of {seen[site].wanted} replicas are ready"
            yield Finding(Severity.RED, site, told, "ready; traffic")
        if layout.health and (why := _unserved(site, world)):
            yield Finding(why[0], site, why[1], "traffic; verify")
    images = {site: frozenset(one.images) for site, one in seen.items() if one.images}
    for site, own in images.items():
        if primary in images and own != images[primary]:
            told = f"runs {', '.join(sorted(own))}, {primary} runs {', '.join(sorted(images[primary]))}"
            yield Finding(Severity.YELLOW, site, told, "ready: another version would serve")


def _unserved(site: str, world: World) -> tuple[Severity, str] | None:
    """Return why users may not be served at a site whose traffic it is, and how bad that is; None if they are."""
    seen = world.serving(site)
    if isinstance(seen, Unknown):
        return Severity.UNKNOWN, f"nobody could ask whether users are served: {seen.reason}"
    return (Severity.RED, f"users are not served: {seen.obstacle}") if seen.obstacle else None


def _around(around: Surroundings, world: World, layout: Layout) -> Iterator[Finding]:
    for what, ends in around.certificates:
        if ends - world.at < FAR:
            severity = Severity.RED if ends <= world.at else Severity.YELLOW
            days = (ends - world.at) / 86_400
            yield Finding(severity, what, f"its certificate ends in {days:.1f} days", "begin; rejoin: TLS is verified")
    for site, told in around.cramped:
        yield Finding(Severity.RED, site, told, "scale; ready")
    needed: Sequence[int] = (2, layout.approvals)
    if around.approvers < max(needed):
        told = f"{around.approvers} approvers: breaking the glass takes two different people"
        yield Finding(Severity.RED, "fleet", told, "glass")
