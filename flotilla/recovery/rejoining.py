"""How a site comes to follow: what is due next, from what its agent and its database show."""

from __future__ import annotations

from flotilla.facts import Unknown
from flotilla.recovery import acts, goals
from flotilla.recovery.acts import Act
from flotilla.recovery.facts import CLEANLY_STOPPED, REWIND, AgentSeen, Control, DatabaseSeen, Process, World


def due(goal: Act, world: World) -> Act | str:
    """Return the act that brings a site nearer to ``Rejoin`` or ``Quarantined``, or what is waited for."""
    if isinstance(goal, goals.Quarantined):
        return acts.Stop(goal.site)
    assert isinstance(goal, goals.Rejoin)
    agent, upstream = world.agent(goal.site), world.database(goal.upstream)
    if isinstance(agent, Unknown) or isinstance(upstream, Unknown):
        return str(agent if isinstance(agent, Unknown) else upstream)
    if agent.job:
        return f"{goal.site} works at {agent.job}"
    if agent.process is Process.STARTING:
        return f"PostgreSQL of {goal.site} starts"
    fork = _fork(goal.upstream, upstream, world)
    if agent.process is Process.RUNNING:
        return _due_running(goal, agent, upstream, world, fork)
    return _due_stopped(goal, agent, upstream, world, fork=fork)


def _due_running(goal: goals.Rejoin, agent: AgentSeen, upstream: DatabaseSeen, world: World, fork: int | None) -> Act | str:
    own = world.database(goal.site)
    if isinstance(own, Unknown):
        return str(own)
    if not own.in_recovery:
        return acts.Stop(goal.site)
    diverged = own.timeline > upstream.timeline or (own.timeline < upstream.timeline and (fork is None or own.position > fork))
    if diverged or (own.timeline == upstream.timeline and _has_other_past(agent, own.timeline, fork)):
        return acts.Stop(goal.site)
    if own.upstream != goal.upstream:
        return acts.Follow(goal.site, goal.upstream)
    if own.paused:
        return acts.ResumeReplay(goal.site)
    return f"{goal.site} is at timeline {own.timeline}, {upstream.position - own.replayed} bytes behind {goal.upstream}"


def is_of_history(site: str, upstream: str, world: World) -> bool:
    """Return whether a standby is seen to have nothing that another has not, as far as it goes: following discards nothing."""
    own, up, agent = world.database(site), world.database(upstream), world.agent(site)
    if isinstance(own, Unknown) or isinstance(up, Unknown) or isinstance(agent, Unknown) or not own.in_recovery:
        return False
    fork = _fork(upstream, up, world)
    if own.timeline < up.timeline:
        return fork is not None and own.position <= fork
    same = own.timeline == up.timeline and own.position <= up.position
    return same and (own.timeline == 1 or (fork is not None and agent.fork(own.timeline) == fork))


def _due_stopped(goal: goals.Rejoin, agent: AgentSeen, upstream: DatabaseSeen, world: World, *, fork: int | None) -> Act | str:
    """Return what is due at a stopped server: what it may still hold beyond the fork is only gone after a rewind.

    A primary that was stopped in order before the fork follows as it is. A standby that has been rewound, or copied, is on the
    upstream's timeline by its control file. Whoever was a primary on the timeline of that very number, or came to it
    elsewhere, is a rival: a rewind cannot tell its WAL from the upstream's. Anything else may have WAL in its folder that it
    would replay (recovery.md, finding 4), so it is rewound, which does nothing where that is not so, or seeded anew if that
    fails, or if its kind of database cannot be rewound: then also where nothing shows what it has.
    """
    control = agent.control
    if agent.unfinished:
        return acts.Reseed(goal.site, goal.upstream)
    if agent.process is Process.ABSENT or goal.site in world.rewound_in_vain or not upstream.can_rewind:
        return _begun_anew(goal, agent, upstream)
    if isinstance(control, Unknown):
        return acts.Reseed(goal.site, goal.upstream) if REWIND in agent.lacks else str(control)
    if control.timeline == upstream.timeline and (not agent.standby_signal or _has_other_past(agent, control.timeline, fork)):
        return acts.Reseed(goal.site, goal.upstream)
    if _is_consistent(control, upstream, fork):
        return acts.Start(goal.site) if agent.standby_signal else acts.Follow(goal.site, goal.upstream)
    if REWIND in agent.lacks:
        return acts.Reseed(goal.site, goal.upstream)
    if upstream.checkpoint_timeline != upstream.timeline:
        return acts.Checkpoint(goal.upstream)
    return acts.Rewind(goal.site, goal.upstream)


def _begun_anew(goal: goals.Rejoin, agent: AgentSeen, upstream: DatabaseSeen) -> Act | str:
    seeded = isinstance(agent.control, Control) and agent.standby_signal and agent.control.timeline == upstream.timeline
    return acts.Start(goal.site) if seeded and agent.process is not Process.ABSENT else acts.Reseed(goal.site, goal.upstream)


def _is_consistent(control: Control, upstream: DatabaseSeen, fork: int | None) -> bool:
    if control.timeline == upstream.timeline:
        return control.state != "in production"
    stopped_before = control.state == CLEANLY_STOPPED and fork is not None and control.checkpoint < fork
    return control.timeline < upstream.timeline and stopped_before


def _has_other_past(agent: AgentSeen, timeline: int, fork: int | None) -> bool:
    """Return whether a site's timeline of a number is known to have begun elsewhere than the upstream's of that number."""
    own = agent.fork(timeline)
    return None not in (own, fork) and own != fork


def _fork(site: str, upstream: DatabaseSeen, world: World) -> int | None:
    agent = world.agent(site)
    return agent.fork(upstream.timeline) if isinstance(agent, AgentSeen) else None
