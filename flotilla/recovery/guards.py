"""What must hold before an act is done, each a guard with a name and the finding that it stands for.

A guard returns why not, or "". They stand beside the order of the steps, not instead of it: whatever a plan says, and whoever
walks it, an act whose guard objects is not done. People can waive those in ``WAIVABLE`` at a gate, by name. Findings: R are
those of reference/recovery.md section 0, L those of reference/recovery-lab.md section 0, L4 its section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import SLOTS, SYNCHRONOUS, AgentSeen, DatabaseSeen, Process, World
from flotilla.recovery.following import not_following
from flotilla.recovery.goal_proofs import not_fenced
from flotilla.recovery.loss import more_than_agreed
from flotilla.recovery.proofs import unproved
from flotilla.recovery.publication import promotable, published
from flotilla.recovery.waiting import not_waiting
from flotilla.traffic.rules import refusals
from flotilla.traffic.service import Desired

Check = Callable[[Any, World, Aim], str]
WAIVABLE = frozenset({"origin-fenced", "loss-as-stated"})


class Guard(NamedTuple):
    """A guard: its name, the acts that it stands before, what it prevents and whose finding that is."""

    name: str
    before: tuple[type[Act], ...]
    prevents: str
    check: Check


GUARDS: dict[str, Guard] = {}


def objections(act: Act, world: World, aim: Aim) -> Iterator[tuple[str, str]]:
    """Yield the name and the reason of each guard that objects to an act now, those apart that people waived."""
    for guard in GUARDS.values():
        if isinstance(act, guard.before) and guard.name not in aim.waived and (why := guard.check(act, world, aim)):
            yield guard.name, why


def _guard(name: str, before: tuple[type[Act], ...], prevents: str) -> Callable[[Check], Check]:
    def kept(check: Check) -> Check:
        GUARDS[name] = Guard(name, before, prevents, check)
        return check

    return kept


@_guard("agent-answers", (acts.AgentAct,), "an act that nobody can do")
def _agent_answers(act: Act, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    if isinstance(agent, Unknown):
        return str(agent)
    return f"{act.site} works at {agent.job}" if agent.job else ""


@_guard("epoch-accepted", (acts.AgentAct,), "two recoveries at once: a majority refuses whoever came before")
def _epoch_accepted(act: Act, world: World, aim: Aim) -> str:
    if isinstance(act, acts.Begin | acts.BreakGlass):
        return ""
    accepted = [one.site for one in world.seen_agents() if (one.epoch, one.run) == (aim.epoch, aim.run)]
    if len(accepted) < aim.needed:
        return f"epoch {aim.epoch} is accepted by {', '.join(accepted) or 'nobody'}: {aim.needed} of {aim.sites} have to"
    return "" if act.site in accepted else f"{act.site} has not accepted epoch {aim.epoch} yet"


@_guard("lease-free", (acts.TakeLease,), "two runs at once")
def _lease_free(act: Act, world: World, aim: Aim) -> str:
    lease = world.lease(act.site)
    if isinstance(lease, Unknown):
        return str(lease)
    return f"run {lease.holder} holds the lease of {act.site}" if lease.holder not in ("", aim.run) else ""


@_guard("lease-held", (acts.Publish,), "what is published is written by whoever holds the lease, and nobody else")
def _lease_held(act: Act, world: World, aim: Aim) -> str:
    lease = world.lease(act.site)
    if isinstance(lease, Unknown):
        return str(lease)
    held = (lease.holder, lease.epoch) == (aim.run, aim.epoch)
    return "" if held else f"the lease of {act.site} is not held by this run"


@_guard("no-majority", (acts.BreakGlass,), "breaking the glass where a majority could be had")
def _no_majority(act: Act, world: World, aim: Aim) -> str:
    there = [agent.site for agent in world.seen_agents()]
    return f"{', '.join(there)} answer, which is a majority" if len(there) >= aim.majority else ""


@_guard("target-able", (acts.Drain,), "an outage for a switchover that cannot succeed")
def _target_able(act: acts.Drain, world: World, aim: Aim) -> str:
    origin, target = world.database(act.site), world.database(act.target)
    if isinstance(origin, Unknown) or isinstance(target, Unknown):
        return str(origin if isinstance(origin, Unknown) else target)
    if not target.in_recovery:
        return f"{act.target} is no standby"
    seen = origin.follower(act.target)
    if seen is None or not seen.streams:
        return f"{act.target} does not stream from {act.site}, or two claim its name"
    if act.target in origin.synchronous and seen.sync_state not in SYNCHRONOUS:
        return f"{act.target} is {seen.sync_state}, not synchronous"
    behind = origin.position - target.position
    return f"{act.target} is {behind} bytes behind" if behind > act.lag else ""


@_guard(
    "replay-runs", (acts.Drain, acts.Promote), "a standby whose replay is paused: it does not come back when cut off (L 0.6)"
)
def _replay_runs(act: Any, world: World, aim: Aim) -> str:
    site = act.target if isinstance(act, acts.Drain) else act.site
    database = world.database(site)
    return f"replay is paused at {site}" if isinstance(database, DatabaseSeen) and database.paused else ""


@_guard("receiver-connected", (acts.Stop,), "WAL left behind: a stop sends it to those connected at that moment (R 7)")
def _receiver_connected(act: acts.Stop, world: World, aim: Aim) -> str:
    if not act.caught_up:
        return ""
    origin, receiver = world.database(act.site), world.database(act.caught_up)
    if isinstance(origin, Unknown) or isinstance(receiver, Unknown):
        return str(origin if isinstance(origin, Unknown) else receiver)
    seen = origin.follower(act.caught_up)
    if seen is None or not seen.streams:
        return f"{act.caught_up} is not connected to {act.site}"
    behind = origin.position - receiver.replayed
    return f"{act.caught_up} is {behind} bytes behind" if behind > 0 else ""


@_guard(
    "one-history",
    (acts.Drain, acts.Stop),
    "a hand-over to a rival: two promoted from one point have timelines of one number, and may be as long",
)
def _one_history(act: acts.Drain | acts.Stop, world: World, aim: Aim) -> str:
    target = act.target if isinstance(act, acts.Drain) else act.caught_up
    origin, other = world.database(act.site), world.database(target) if target else None
    if not isinstance(origin, DatabaseSeen) or not isinstance(other, DatabaseSeen):
        return ""  # that they have to be seen is another guard's word
    if (origin.epoch, origin.epoch_primary) == (other.epoch, other.epoch_primary):
        return ""
    held = f"{target} holds what {other.epoch_primary or 'nobody'} wrote at epoch {other.epoch}"
    return f"{held}, not what {origin.epoch_primary or 'nobody'} did at epoch {origin.epoch}: re-protect {target} first"


@_guard("standby-signal", (acts.Start,), "an old primary that comes back as one (R 2.3)")
def _standby_signal(act: acts.Start, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    if act.role != "standby" or isinstance(agent, Unknown):
        return ""
    return "" if agent.standby_signal else f"{act.site} would start as a primary: it has no standby.signal"


@_guard("nobody-promoted", (acts.Start,), "a second primary by way back: only while nobody was promoted (L4, abort)")
def _nobody_promoted(act: acts.Start, world: World, aim: Aim) -> str:
    own = world.database(act.site)
    if act.role != "primary" or (isinstance(own, DatabaseSeen) and not own.in_recovery):
        return ""
    asked = world.agent(aim.promoting) if aim.promoting else None
    if asked and (isinstance(asked, Unknown) or (asked.epoch, asked.run) != (aim.epoch, aim.run)):
        return f"{aim.promoting} may be at a promotion still: it has not accepted epoch {aim.epoch} since"
    for site in world.agents:
        other, agent = world.database(site), world.agent(site)
        if site == act.site or (isinstance(agent, AgentSeen) and agent.is_stopped and agent.standby_signal):
            continue
        if isinstance(other, Unknown):
            return f"{site} may have been promoted: {other.reason}"
        if not other.in_recovery:
            return f"{site} was promoted"
    return ""


@_guard("not-itself", (acts.SetSync, acts.Promote), "commits that wait for their own server, for ever (R 1)")
def _not_itself(act: Any, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    now = database.synchronous if isinstance(database, DatabaseSeen) else ()
    names = act.names if isinstance(act, acts.SetSync) else now
    return f"commits at {act.site} would wait for {act.site}" if act.site in names else ""


@_guard(
    "waits-for-nobody-absent", (acts.SetSync, acts.Promote), "commits that wait for a standby that is not there (R 1, L 0.2)"
)
def _waits_for_present(act: Any, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    if isinstance(act, acts.SetSync) and database.in_recovery:
        return ""
    names = act.names if isinstance(act, acts.SetSync) else database.synchronous
    absent = [_absence(name, act, database, world) for name in names]
    return f"commits at {act.site} would hang: {'; '.join(absent)}" if absent and all(absent) else ""


def _absence(name: str, act: Act, database: DatabaseSeen, world: World) -> str:
    if isinstance(act, acts.SetSync):
        return not_following(name, act.site, world)
    one = database.follower(name)
    return "" if one and one.streams else f"{name} does not stream from {act.site}"


@_guard("shrunk-first", (acts.SetSync,), "a site called promotable that acknowledged commits pass by (R 2.1, Patroni)")
def _shrunk_first(act: acts.SetSync, world: World, aim: Aim) -> str:
    database, said = world.database(act.site), published(world, aim.sites)
    if isinstance(database, Unknown) or database.in_recovery:
        return ""
    if not set(database.synchronous) - set(act.names):
        return ""
    if isinstance(said, Unknown):
        return "" if aim.glass else str(said)
    passed_by = [site for site in said.promotable if site not in act.names] if said.primary == act.site else []
    return f"the leases still call {', '.join(passed_by)} promotable" if passed_by else ""


@_guard("grown-last", (acts.Publish,), "a site called promotable before commits wait for it (R 2.1, Patroni)")
def _grown_last(act: acts.Publish, world: World, aim: Aim) -> str:
    if not act.promotable:
        return ""
    return unproved(goals.InSync(act.primary, act.promotable), world, aim)


@_guard("primary-seen", (acts.Publish,), "a primary published that is none")
def _primary_seen(act: acts.Publish, world: World, aim: Aim) -> str:
    database = world.database(act.primary)
    if isinstance(database, Unknown):
        return str(database)
    return f"{act.primary} is a standby" if database.in_recovery else ""


@_guard(
    "upstream-slot",
    (acts.Follow,),
    "WAL that is gone when it is asked for: standbys have none of their primary's slots (R 2.4)",
)
def _upstream_slot(act: acts.Follow, world: World, aim: Aim) -> str:
    agent, upstream = world.agent(act.upstream), world.database(act.upstream)
    if isinstance(upstream, Unknown):
        return str(upstream)
    if isinstance(agent, AgentSeen) and SLOTS in agent.lacks:
        return ""  # WAL is kept there in another way; what is gone when it is asked for is copied anew
    slot = upstream.slot(act.site)
    if slot is None or slot.status == "lost":
        return f"{act.upstream} has {'lost' if slot else 'no'} slot for {act.site}"
    return ""


@_guard("keeps-synchronous", (acts.Follow,), "the synchronous standby taken away from a primary that commits wait at")
def _keeps_synchronous(act: acts.Follow, world: World, aim: Aim) -> str:
    for primary in world.seen_databases():
        waits = not primary.in_recovery and act.site in primary.synchronous and primary.site != act.upstream
        if waits and (one := primary.follower(act.site)) and one.sync_state in SYNCHRONOUS:
            return f"commits at {primary.site} wait for {act.site}"
    return ""


@_guard("not-ahead", (acts.Follow, acts.Start), "a follower that is ahead of the fork and loops for ever (L 0.4, R 4)")
def _not_ahead(act: Any, world: World, aim: Aim) -> str:
    if isinstance(act, acts.Start):
        return ""
    own, upstream = world.database(act.site), world.database(act.upstream)
    if isinstance(own, Unknown) or isinstance(upstream, Unknown) or own.timeline >= upstream.timeline:
        return ""
    agent = world.agent(act.upstream)
    fork = agent.fork(upstream.timeline) if isinstance(agent, AgentSeen) else None
    if fork is None:
        return f"where timeline {upstream.timeline} of {act.upstream} began is not known"
    return f"{act.site} is {own.position - fork} bytes past the fork: it has to be rewound" if own.position > fork else ""


@_guard(
    "rewind-from-checkpoint", (acts.Rewind,), "a rewind to the wrong point from a primary without a new checkpoint (R 3, R 6)"
)
def _rewind_from_checkpoint(act: acts.Rewind, world: World, aim: Aim) -> str:
    upstream = world.database(act.upstream)
    if isinstance(upstream, Unknown):
        return str(upstream)
    if upstream.in_recovery:
        return f"{act.upstream} is no primary"
    if upstream.checkpoint_timeline != upstream.timeline:
        return f"{act.upstream} has written no checkpoint since it was promoted"
    return "" if upstream.can_rewind else f"{act.upstream} has neither data checksums nor wal_log_hints: reseed instead"


@_guard("rewound-while-stopped", (acts.Rewind, acts.Reseed), "files changed under a running server")
def _rewound_while_stopped(act: Any, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    running = isinstance(agent, AgentSeen) and agent.process in (Process.RUNNING, Process.STARTING)
    return f"PostgreSQL of {act.site} runs" if running else ""


@_guard("slots-unused", (acts.DropSlots,), "a slot dropped that somebody streams through (L4)")
def _slots_unused(act: acts.DropSlots, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    used = [slot.name for slot in database.slots if slot.name in act.names and slot.active]
    return f"{', '.join(used)} streams through its slot at {act.site}" if used else ""


@_guard("origin-fenced", (acts.Promote,), "two primaries that acknowledge (R 2, R 2.2, L 0.5)")
def _origin_fenced(act: acts.Promote, world: World, aim: Aim) -> str:
    if _is_promoted(act, world):
        return ""
    if act.clean:
        return unproved(goals.StopProved(act.origin, act.site), world, aim)
    return not_fenced(goals.Fenced(act.origin, act.site, act.wait), world, aim)


@_guard("loss-as-stated", (acts.Promote,), "more lost than people agreed to, as time went by since they were told (R 2.5)")
def _loss_as_stated(act: acts.Promote, world: World, aim: Aim) -> str:
    if act.clean or _is_promoted(act, world):
        return ""
    holders = promotable(world, act.origin, aim.sites)
    if act.at_most == 0 and not isinstance(holders, Unknown):
        return not_waiting(act.site, act.origin, holders, world)
    return more_than_agreed(act.site, act.origin, act.at_most, world)


@_guard("no-late-wal", (acts.Promote,), "WAL taken from a half-dead primary while its successor is chosen (R 2.5)")
def _no_late_wal(act: acts.Promote, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    attached = not act.clean and isinstance(database, DatabaseSeen) and database.is_attached
    return f"{act.site} still takes WAL from {act.origin}" if attached else ""


@_guard("not-read-only", (acts.Promote,), "a primary that is read-only from its first day: the setting outlives restarts (R 2)")
def _not_read_only(act: acts.Promote, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    return f"{act.site} is set read-only" if isinstance(database, DatabaseSeen) and database.read_only else ""


@_guard("lets-clients-in", (acts.Promote,), "a primary that lets nobody in: its own old fence still stands")
def _lets_clients_in(act: acts.Promote, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    return f"{act.site} is fenced" if isinstance(agent, AgentSeen) and agent.fenced else ""


@_guard(
    "remote-only-as-primary", (acts.SetTraffic,), "traffic led to a site that is no primary's, or to none at all (R 8, R 3.4)"
)
def _remote_only_as_primary(act: acts.SetTraffic, world: World, aim: Aim) -> str:
    seen = world.traffic(act.site)
    held = None if isinstance(seen, Unknown) else Desired(seen.epoch, seen.primary, frozenset(seen.authorised))
    wanted = Desired(aim.epoch, act.primary, frozenset(act.authorised))
    if against := "; ".join(refusals(wanted, dict(zip(act.authorised, act.cities, strict=False)), held)):
        return against
    return unproved(goals.Writable(act.primary), world, aim)


def _is_promoted(act: acts.Promote, world: World) -> bool:
    database = world.database(act.site)
    return isinstance(database, DatabaseSeen) and not database.in_recovery
