"""The proof of each act: why it is not so yet in a world, or "" if it is. ``Never`` if waiting will not make it so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flotilla.facts import Unknown
from flotilla.recovery import acts
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.facts import SLOTS, AgentSeen, DatabaseSeen, Process, World
from flotilla.recovery.goal_proofs import GOAL_PROOFS, Never, rejoined


def unproved(act: Act, world: World, aim: Aim) -> str:
    """Return why an act is not done; "" if the world shows that it is."""
    return PROOFS[act.kind](act, world, aim)


def _begin(act: Act, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    if isinstance(agent, Unknown):
        return str(agent)
    if agent.epoch > aim.epoch or (agent.epoch == aim.epoch and agent.run != aim.run):
        return Never(f"{act.site} has accepted epoch {agent.epoch} of run {agent.run}, and so refuses {aim.epoch}")
    return "" if agent.epoch == aim.epoch else f"{act.site} is at epoch {agent.epoch}"


def _fence(act: acts.Fence, world: World, aim: Aim) -> str:
    agent, database = world.agent(act.site), world.database(act.site)
    if isinstance(agent, Unknown):
        return str(agent)
    if agent.is_stopped:
        return ""
    if not agent.fenced:
        return f"{act.site} lets clients in"
    if isinstance(database, Unknown):
        return str(database)
    return f"{database.clients} clients are still in at {act.site}" if database.clients else ""


def _unfence(act: Act, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    if isinstance(agent, Unknown):
        return str(agent)
    return f"{act.site} lets no clients in" if agent.fenced else ""


def _drain(act: Act, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    return "" if database.read_only else f"{act.site} takes writes"


def _undrain(act: Act, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    return f"{act.site} is set read-only" if database.read_only else ""


def _checkpoint(act: acts.Checkpoint, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    if database.checkpoint_timeline != database.timeline:
        return f"the last checkpoint of {act.site} is of timeline {database.checkpoint_timeline}, not {database.timeline}"
    if act.within and (database.checkpoint_age is None or database.checkpoint_age > act.within):
        return f"the last checkpoint of {act.site} is older than {act.within:g} s"
    return ""


def _set_sync(act: acts.SetSync, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    told = ", ".join(database.synchronous) or "nobody"
    return "" if database.synchronous == act.names else f"commits at {act.site} wait for {told}"


def _create_slots(act: acts.CreateSlots, world: World, aim: Aim) -> str:
    """Where there are no slots there are none to wait for: such a database keeps WAL for its standbys in another way."""
    agent, database = world.agent(act.site), world.database(act.site)
    if isinstance(agent, AgentSeen) and SLOTS in agent.lacks:
        return ""
    if isinstance(database, Unknown):
        return str(database)
    bad = [name for name in act.names if (slot := database.slot(name)) is None or slot.status == "lost"]
    return f"{act.site} has no usable slot for {', '.join(bad)}" if bad else ""


def _drop_slots(act: acts.DropSlots, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    left = [name for name in act.names if database.slot(name)]
    return f"{act.site} still holds WAL back for {', '.join(left)}" if left else ""


def _follow(act: acts.Follow, world: World, aim: Aim) -> str:
    agent, database = world.agent(act.site), world.database(act.site)
    if isinstance(database, DatabaseSeen):
        follows = database.in_recovery and database.upstream == act.upstream
        return (
            ""
            if follows
            else f"{act.site} {'follows ' + (database.upstream or 'nobody') if database.in_recovery else 'is a primary'}"
        )
    if isinstance(agent, AgentSeen) and agent.process is Process.STOPPED and agent.standby_signal:
        return ""
    return f"{act.site} is not told to follow {act.upstream}: {database.reason}"


def _detach(act: Act, world: World, aim: Aim) -> str:
    agent, database = world.agent(act.site), world.database(act.site)
    if isinstance(agent, AgentSeen) and agent.is_stopped:
        return ""
    if isinstance(database, Unknown):
        return str(database)
    return f"{act.site} still takes WAL from {database.upstream or 'somebody'}" if database.is_attached else ""


def _resume_replay(act: Act, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    return f"replay is paused at {act.site}" if database.paused else ""


def _stop(act: Act, world: World, aim: Aim) -> str:
    agent = world.agent(act.site)
    if isinstance(agent, Unknown):
        return str(agent)
    starts = ", and starts by itself" if agent.autostart else ""
    return "" if agent.is_stopped else f"PostgreSQL of {act.site} is {agent.process}{starts}"


def _start(act: acts.Start, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    runs_as, agent = "standby" if database.in_recovery else "primary", world.agent(act.site)
    if runs_as != act.role:
        return f"{act.site} runs as {runs_as}"
    # An agent that accepts a new epoch lets its primary not start by itself until it is told to: see compensating, degrade.
    barred = act.role == "primary" and isinstance(agent, AgentSeen) and not agent.autostart
    return f"{act.site} would not start by itself again" if barred else ""


def _promote(act: Act, world: World, aim: Aim) -> str:
    database = world.database(act.site)
    if isinstance(database, Unknown):
        return str(database)
    if database.in_recovery:
        return f"{act.site} is a standby"
    if (database.epoch, database.epoch_primary) != (aim.epoch, act.site):
        return f"{act.site} is promoted, and epoch {aim.epoch} is not written in it yet"
    return ""


def _set_traffic(act: acts.SetTraffic, world: World, aim: Aim) -> str:
    seen = world.traffic(act.site)
    if isinstance(seen, Unknown):
        return str(seen)
    same = (seen.epoch, seen.primary, set(seen.authorised)) == (aim.epoch, act.primary, set(act.authorised))
    told = f"DNS of {act.site} says epoch {seen.epoch}, primary {seen.primary}, sites {', '.join(seen.authorised)}"
    return seen.astray(act.addresses) if same and seen.serving else told


def _take_lease(act: Act, world: World, aim: Aim) -> str:
    lease = world.lease(act.site)
    if isinstance(lease, Unknown):
        return str(lease)
    if lease.epoch > aim.epoch:
        return Never(f"the lease of {act.site} is at epoch {lease.epoch}, above {aim.epoch}")
    return "" if (lease.holder, lease.epoch) == (aim.run, aim.epoch) else f"the lease of {act.site} is not held"


def _release_lease(act: Act, world: World, aim: Aim) -> str:
    lease = world.lease(act.site)
    if isinstance(lease, Unknown):
        return str(lease)
    return f"the lease of {act.site} is still held" if lease.holder == aim.run else ""


def _publish(act: acts.Publish, world: World, aim: Aim) -> str:
    lease = world.lease(act.site)
    if isinstance(lease, Unknown):
        return str(lease)
    said = (lease.published, lease.primary, set(lease.authorised), set(lease.promotable))
    wanted = (aim.epoch, act.primary, set(act.authorised), set(act.promotable))
    told = f"the lease of {act.site} says epoch {lease.published}, primary {lease.primary}, may be promoted: "
    return "" if said == wanted else told + (", ".join(lease.promotable) or "nobody")


def _scale_up(act: Act, world: World, aim: Aim) -> str:
    seen = world.application(act.site)
    return str(seen) if isinstance(seen, Unknown) else "" if seen.wanted else f"the application is scaled down at {act.site}"


def _scale_down(act: Act, world: World, aim: Aim) -> str:
    seen = world.application(act.site)
    return str(seen) if isinstance(seen, Unknown) else f"the application is wanted at {act.site}" if seen.wanted else ""


PROOFS: dict[str, Callable[[Any, World, Aim], str]] = {
    **GOAL_PROOFS,
    "begin": _begin,
    "break_glass": _begin,
    "fence": _fence,
    "unfence": _unfence,
    "drain": _drain,
    "undrain": _undrain,
    "checkpoint": _checkpoint,
    "set_sync": _set_sync,
    "create_slots": _create_slots,
    "drop_slots": _drop_slots,
    "follow": _follow,
    "detach": _detach,
    "resume_replay": _resume_replay,
    "stop": _stop,
    "start": _start,
    "promote": _promote,
    "rewind": rejoined,
    "reseed": rejoined,
    "set_traffic": _set_traffic,
    "take_lease": _take_lease,
    "release_lease": _release_lease,
    "publish": _publish,
    "scale_up": _scale_up,
    "scale_down": _scale_down,
}
