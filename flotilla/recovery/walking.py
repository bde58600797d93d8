"""The next move of a recovery, from its plan, the world and its journal: the only decider.

The flow, the watcher, the command line and the model in the tests all walk by it: ask for the next move, write it down
(``recorded``), do it, look again. Nothing is remembered but what the journal tells, and whether something is done is told by
the world; so a run whose process died is started again and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from flotilla.facts import Unknown
from flotilla.recovery import acts
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.approvals import Gate, agreed, counting, gate_of, rejected
from flotilla.recovery.compensating import HALTED, compensation
from flotilla.recovery.facts import DatabaseSeen, World
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.memory import Choice, Failures, Memory
from flotilla.recovery.standing import Standing, State, standing
from flotilla.recovery.steps import Kind, OnFailure, Plan, Step

SLOWEST = 15.0  # seconds between two tries, at most
POLL = 0.05  # seconds until a wait is looked at again, at least
UNSEEN = 3.0  # seconds for which nothing is seen of the origin before people are asked: a look that was missed is no reason


class Outcome(StrEnum):
    """How a run ended."""

    VERIFIED = "verified"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    ENDED_BY_HAND = "ended by hand"


@dataclass(frozen=True)
class Do:
    """These acts are to be done now, side by side, under ``epoch``."""

    step: Step
    acts: tuple[Act, ...]
    epoch: int


@dataclass(frozen=True)
class Undo(Do):
    """These acts take back what was done, on the way back."""


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done until the world changes or, at the latest, ``until``; ``unseen`` is the site that is missed."""

    step: Step
    why: str
    until: float
    epoch: int
    unseen: str = ""


@dataclass(frozen=True)
class Ask:
    """People have to agree before a step; ``given`` have."""

    step: Step
    gate: Gate
    given: tuple[str, ...]
    epoch: int


@dataclass(frozen=True)
class Decide:
    """The plan itself decides: to be written into the journal, as a person's decision would be."""

    step: Step
    choice: Choice
    why: str
    epoch: int


@dataclass(frozen=True)
class Replan:
    """A person chose to go on without the origin, at a step: the same run plans a failover from what is so (``replanning``)."""

    step: Step
    target: str
    why: str
    epoch: int


@dataclass(frozen=True)
class Stuck:
    """The run cannot go on by itself: a person chooses one of ``choices``."""

    step: Step
    why: str
    choices: tuple[Choice, ...]
    epoch: int


@dataclass(frozen=True)
class Ended:
    """The run is over. ``owed`` is what somebody still has to see to."""

    outcome: Outcome
    told: str
    owed: tuple[str, ...] = ()


Move = Do | Wait | Ask | Decide | Replan | Stuck | Ended


def pause_before(attempt: int) -> float:
    """Return the seconds before an act is tried again after so many failures.

    Without jitter: runs exclude each other, so nobody else tries the same act of the same site at the same time.
    """
    return min(SLOWEST, 0.25 * 2.0 ** max(0, attempt - 1)) if attempt else 0.0


def next_move(plan: Plan, world: World, journal: Journal) -> Move:
    """Return what a run does next."""
    memory = Memory(journal, plan.epoch)
    if memory.ended:
        return Ended(Outcome(memory.ended.said["outcome"]), str(memory.ended.said["told"]), plan.owed)
    world = replace(world, rewound_in_vain=memory.rewound_in_vain)
    if memory.turn and (turned := _turned(plan, world, memory, memory.turn)):
        return turned
    if _has_begun(journal, plan.epoch + 1):  # the way back: the promotion that was under way came to its end meanwhile
        plan = replace(plan, epoch=plan.epoch + 2)
    return _forward(plan, world, Memory(journal, plan.epoch))


def _turned(plan: Plan, world: World, memory: Memory, turn: Entry) -> Move | None:
    """Return the next move of a run that was turned; None if it goes forward all the same, as its target is promoted."""
    why = str(turn.said.get("why", ""))
    if memory.is_turned(Choice.END):
        return Ended(Outcome.ENDED_BY_HAND, why, _left_over(plan, memory))
    if memory.is_turned(Choice.ABORT) and not memory.has_touched:
        return Ended(Outcome.ABORTED, f"{plan.title}: nothing was touched: {why}")
    if _is_past_return(plan, world) or _has_begun(memory.journal, plan.epoch + 2):
        return None
    if memory.is_turned(Choice.ABORT):
        return _way_back(plan, world, memory)
    steps = (*plan.steps, *compensation(plan, promoting=True).steps)
    step = next((one for one in steps if one.key == turn.step), plan.steps[0])
    return Replan(step, plan.target, why, plan.epoch)


def _has_begun(journal: Journal, epoch: int) -> bool:
    """Return whether anything was set about under an epoch."""
    return any(entry.kind is Wrote.INTENDED for entry in journal.of(epoch))


def asked_last(plan: Plan, world: World, journal: Journal) -> Ask | None:
    """Return the gate that a run asked at last and is not past yet: steps before it may be due again when people answer."""
    memory = Memory(journal, plan.epoch)
    keys = [entry.step for entry in memory.entries if entry.kind is Wrote.ASKED]
    step = next((one for one in plan.steps if keys and one.key == keys[-1]), None)
    if step is None or memory.ended or memory.turn or (gated := _gated(step, plan, world, memory)) is None:
        return None
    gate = gate_of(plan, gated, world, journal.run, memory.initiator)
    return Ask(gated, gate, agreed(gate, memory.approvals, world.at), plan.epoch)


def parting(plan: Plan) -> tuple[Act, ...]:
    """Return what is to be done once a run has ended, wherever it can be: its leases are given back."""
    taken = [act.site for step in plan.steps for act in step.acts if isinstance(act, acts.TakeLease)]
    return tuple(acts.ReleaseLease(site) for site in dict.fromkeys(taken))


def aim_of(plan: Plan, memory: Memory) -> Aim:
    """Return on whose behalf a plan's acts are judged."""
    promoting = next((act.site for step in plan.steps if step.key == HALTED for act in step.acts), "")
    run, waived = memory.journal.run, memory.waived(plan)
    return Aim(run, plan.epoch, plan.sites, plan.glass, waived, promoting, memory.asked_to_begin)


def _forward(plan: Plan, world: World, memory: Memory) -> Move:
    aim = aim_of(plan, memory)
    if by := _superseded(world, aim):
        return Ended(Outcome.SUPERSEDED, by)
    for step in steps_left(plan, world, memory):
        if step.key in memory.passed_by:
            continue
        if move := _move(step, plan, world, memory):
            return move
    outcome = Outcome.ABORTED if plan.kind is Kind.ABORT else Outcome.VERIFIED
    if plan.steps[-1].key in memory.passed_by:  # whoever goes on without the proof at the end has none
        outcome = Outcome.ENDED_BY_HAND
    return Ended(outcome, f"{plan.title}: {outcome}", _left_over(plan, memory))


def _way_back(plan: Plan, world: World, memory: Memory) -> Move:
    target, promoting = world.database(plan.target), _is_promoting(plan, memory)
    if promoting and isinstance(target, Unknown):
        step = plan.steps[plan.no_return or 0]
        return Stuck(step, f"{plan.target} may have been promoted: {target.reason}", (Choice.RETRY, Choice.END), plan.epoch)
    back = compensation(plan, promoting=promoting)
    move = _forward(back, world, Memory(memory.journal, back.epoch))
    if isinstance(move, Stuck) and plan.no_return is not None and is_unseen(plan.origin, world):
        return replace(move, choices=(*move.choices[:-1], Choice.UNGRACEFUL, Choice.END))
    return Undo(move.step, move.acts, move.epoch) if isinstance(move, Do) else move


def steps_left(plan: Plan, world: World, memory: Memory) -> tuple[Step, ...]:
    """Return the steps that are still looked at, in order: those after the last milestone, and the firm ones before.

    What is past the point of no return never asks for what was before it, but for what is lasting: the run's own leases.
    """
    aim, steps = aim_of(plan, memory), plan.steps
    promoted = plan.no_return is not None and _may_be_promoted(plan, world, memory)
    first = (plan.no_return or 0) if promoted else 0
    end = len(steps) if promoted or plan.no_return is None else plan.no_return
    past = [index for index in range(first, end) if steps[index].milestone and is_done(steps[index], world, aim)]
    last = max(past, default=first - 1)
    lasting = tuple(step for step in steps[:first] if step.lasting)
    firm = tuple(step for step in steps[first : last + 1] if step.firm or step.lasting or step.point_of_no_return)
    return (*lasting, *firm, *steps[last + 1 :])


def is_done(step: Step, world: World, aim: Aim) -> bool:
    """Return whether enough of a step's acts are done."""
    return sum(standing(act, world, aim).state is State.DONE for act in step.acts) >= step.needed


def _is_past_return(plan: Plan, world: World) -> bool:
    """Return whether the target is seen to be promoted: then there is no way back."""
    target = world.database(plan.target)
    return plan.no_return is not None and isinstance(target, DatabaseSeen) and not target.in_recovery


def _may_be_promoted(plan: Plan, world: World, memory: Memory) -> bool:
    unseen = isinstance(world.database(plan.target), Unknown)
    return _is_past_return(plan, world) or (unseen and _is_promoting(plan, memory))


def _is_promoting(plan: Plan, memory: Memory) -> bool:
    """Return whether the promotion was asked for, whatever became of it."""
    return plan.no_return is not None and memory.is_intended(plan.steps[plan.no_return].key)


def is_unseen(site: str, world: World) -> bool:
    """Return whether nothing is seen of a site: neither its agent nor its database."""
    return isinstance(world.agent(site), Unknown) and isinstance(world.database(site), Unknown)


def _superseded(world: World, aim: Aim) -> str:
    for agent in world.seen_agents():
        if agent.epoch > aim.epoch:
            return f"{agent.site} has accepted epoch {agent.epoch} of run {agent.run}: this one, of {aim.epoch}, is over"
    for lease in world.seen_leases():
        if lease.epoch > aim.epoch:
            return f"run {lease.holder or '(ended)'} holds, or held, the lease of {lease.site} at epoch {lease.epoch}"
    return ""


def _move(step: Step, plan: Plan, world: World, memory: Memory) -> Move | None:
    """Return what is to be done about a step; None if it is done."""
    aim = aim_of(plan, memory)
    found = [standing(act, world, aim) for act in step.acts]
    if sum(one.state is State.DONE for one in found) >= step.needed:
        return None
    failed = {one.act: memory.failures(step.key, str(one.act)) for one in found}
    possible = [one for one in found if one.state is not State.IMPOSSIBLE and not _is_used_up(failed[one.act], step)]
    begun, alone = memory.begun(step.key), _without_origin(step, plan, world, memory)
    if len(possible) < step.needed:
        return alone or _failed(step, plan, world, why=_reasons(found, failed), epoch=plan.epoch)
    if begun is not None and world.at - begun > step.patience:
        why = f"{step.patience:g} s are over; {_reasons(found, failed)}"
        return alone or _failed(step, plan, world, why=why, epoch=plan.epoch)
    gated = _gated(step, plan, world, memory)
    if gated and (asked := alone or _asked(gated, plan, world, memory)):
        return asked
    ready = [one.act for one in possible if one.state is State.READY]
    due = [act for act in ready if world.at >= _next_try(failed[act])]
    if due:
        return Do(step, tuple(_armed(act, step, plan, world, memory=memory) for act in due), plan.epoch)
    if alone:
        return alone
    pauses = [_next_try(failed[act]) for act in ready]
    until = min([(world.at if begun is None else begun) + step.patience, *pauses])
    return Wait(step, _reasons(found, failed), max(until, world.at + POLL), plan.epoch)


def _without_origin(step: Step, plan: Plan, world: World, memory: Memory) -> Move | None:
    """Return what becomes of a planned move, or of a way back, where nothing is seen of the origin.

    It would undo what it did, which needs the origin as well, while its lease keeps the watcher silent: people are asked at
    once, since a failover is what remains if the origin is gone.
    """
    planned = plan.kind in (Kind.SWITCHOVER, Kind.FAILBACK) and step in plan.steps[: plan.no_return]
    if not (planned or plan.kind is Kind.ABORT) or not is_unseen(plan.origin, world):
        return None
    since, why = memory.unseen_since, f"nothing is seen of {plan.origin}"
    if since is not None and world.at - since >= UNSEEN:
        why += f" for {UNSEEN:g} s: a failover is what remains if it does not come back"
        return Stuck(step, why, choices_at(step, plan, world), plan.epoch)
    return Wait(step, why, (world.at if since is None else since) + UNSEEN, plan.epoch, plan.origin)


def _gated(step: Step, plan: Plan, world: World, memory: Memory) -> Step | None:
    """Return the step whose gate is to be passed before this one is set about, None if there is none, or it was passed.

    What people, or the policy, let go by holds for the process that set about it: whoever takes the run up may do so hours
    later. Past the point of no return there is nothing left to ask.
    """
    if _is_promoting(plan, memory) or _is_past_return(plan, world):
        return None
    if step.approvals:
        glass = any(isinstance(act, acts.BreakGlass) for act in step.acts)  # each try needs words that count at that time
        return None if memory.is_under_way(step.key) and not glass else step
    first, by_itself = plan.steps[0], plan.kind is Kind.FAILOVER and not any(one.approvals for one in plan.steps)
    if memory.is_taken_up and (by_itself or (first.approvals and not memory.has_acted)):
        return replace(first, approvals=max(1, first.approvals))
    return None


def _next_try(failures: Failures) -> float:
    return failures.last + pause_before(failures.count + failures.done)


def _is_used_up(failures: Failures, step: Step) -> bool:
    return failures.for_good or failures.count > step.retries


def _armed(act: Act, step: Step, plan: Plan, world: World, *, memory: Memory) -> Act:
    """Return an act with what only the journal knows: the signed words, that count now, of those who break the glass.

    An agent refuses all of them for one that has expired.
    """
    if not isinstance(act, acts.BreakGlass):
        return act
    gate = gate_of(plan, step, world, memory.journal.run, memory.initiator)
    return replace(act, approvals=tuple(sorted({one.token for one in counting(gate, memory.approvals, world.at)})))


def _asked(step: Step, plan: Plan, world: World, memory: Memory) -> Move | None:
    gate = gate_of(plan, step, world, memory.journal.run, memory.initiator)
    no = rejected(gate, memory.approvals, world.at)
    if no and not _is_past_return(plan, world):
        return Decide(step, Choice.ABORT, f"{no.name} said no: {no.reason}", plan.epoch)
    given = agreed(gate, memory.approvals, world.at)
    return None if len(given) >= gate.people else Ask(step, gate, given, plan.epoch)


def _failed(step: Step, plan: Plan, world: World, *, why: str, epoch: int) -> Move:
    if step.on_failure is OnFailure.CONTINUE:
        return Decide(step, Choice.GO_ON, why, epoch)
    may_return = plan.no_return is not None and not _is_past_return(plan, world) and plan.kind is not Kind.ABORT
    if step.on_failure is OnFailure.COMPENSATE and may_return:
        return Decide(step, Choice.ABORT, why, epoch)
    return Stuck(step, why, choices_at(step, plan, world), epoch)


def choices_at(step: Step, plan: Plan, world: World) -> tuple[Choice, ...]:
    """Return what a person may choose at a step that went wrong."""
    choices = [Choice.RETRY]
    if not step.point_of_no_return and not all(isinstance(act, acts.Begin) for act in step.acts):
        choices.append(Choice.GO_ON)  # not without the epoch, which is what keeps everybody else from acting
    if plan.kind is not Kind.ABORT and plan.no_return is not None and not _is_past_return(plan, world):
        choices.append(Choice.ABORT)
        if plan.kind in (Kind.SWITCHOVER, Kind.FAILBACK):
            choices.append(Choice.UNGRACEFUL)
    return (*choices, Choice.END)


def _reasons(found: Iterable[Standing], failed: dict[Act, Failures]) -> str:
    told = [one.told for one in found if one.state is not State.DONE and one.told]
    told += [f"{act}: {one.told}" for act, one in failed.items() if one.told]
    return "; ".join(dict.fromkeys(told))


def _left_over(plan: Plan, memory: Memory) -> tuple[str, ...]:
    went_on = (*memory.decided(Choice.GO_ON), *Memory(memory.journal, memory.epoch + 1).decided(Choice.GO_ON))
    return (*(f"{entry.step}: {entry.said.get('why', '')}" for entry in went_on), *plan.owed)
