"""What an approval is of, who may give it, and how many different people have to. Who signs what is checked elsewhere.

An approval is a signed token with claims in the manner of RFC 7519: the plan's hash, the hash of the evidence shown with it,
the gate, the run, the decision, name, reason, ``iat`` and ``exp``. It is void once any of them is not so any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flotilla.facts import Unknown
from flotilla.recovery.facts import AgentSeen, DatabaseSeen, World
from flotilla.recovery.publication import promotable
from flotilla.recovery.steps import Plan, Step

LIFETIME = 900.0  # seconds for which an approval holds: longer, and whoever gave it thinks of another situation
SKEW = 30.0  # seconds by which the clock of whoever signs may be ahead
APPROVE, REJECT = "approve", "reject"

Verify = Callable[[str], Mapping[str, Any]]
"""Returns the claims of a token whose signature is right, with ``name`` as the key's owner; raises ValueError otherwise."""


@dataclass(frozen=True)
class Gate:
    """What people are asked: ``people`` different ones, about this step of this plan on this evidence.

    ``initiator`` may not be one of them where two are needed. ``shown`` are the facts that ``evidence`` is the hash of.
    """

    key: str
    run: str
    plan: str
    evidence: str
    people: int
    question: str
    shown: tuple[str, ...] = ()
    initiator: str = ""


@dataclass(frozen=True)
class Approval:
    """A decision that was checked when it was given. Times are seconds since 1970."""

    gate: str
    run: str
    plan: str
    evidence: str
    decision: str
    name: str
    reason: str
    iat: float
    exp: float
    token: str = ""


def shown_facts(plan: Plan, world: World) -> tuple[str, ...]:
    """Return the facts that an approval rests on, as sentences: if one of them changes, it is void."""
    shown = [f"loss: {plan.loss}"]
    for site in sorted(world.agents):
        seen, agent = world.database(site), world.agent(site)
        if isinstance(seen, DatabaseSeen):
            role = "standby" if seen.in_recovery else "primary"
            shown.append(f"{site}: {role} on timeline {seen.timeline} of system {seen.system}")
        else:
            shown.append(f"{site}: database not seen")
        shown.append(f"{site}: agent {'does not answer' if isinstance(agent, Unknown) else 'answers'}")
    if plan.glass and not _is_stopped(plan.origin, world):
        both = f"if it lives, it and {plan.target} will both acknowledge writes"
        shown.append(f"{plan.origin} is not proved dead: {both}; whoever agrees answers for that")
    holders = promotable(world, plan.origin, plan.sites)
    told = "not known" if isinstance(holders, Unknown) else ", ".join(holders) or "nobody"
    shown.append(f"promotable without loss: {told}")
    return tuple(shown)


def _is_stopped(site: str, world: World) -> bool:
    agent = world.agent(site)
    return isinstance(agent, AgentSeen) and agent.is_stopped


def gate_of(plan: Plan, step: Step, world: World, run: str, initiator: str) -> Gate:
    """Return the gate before a step."""
    shown = shown_facts(plan, world)
    return Gate(
        key=step.key,
        run=run,
        plan=plan.hash,
        evidence=hashlib.sha256(json.dumps([plan.epoch, *shown]).encode()).hexdigest(),
        people=step.approvals,
        question=f"{plan.title}: {step.title}? {plan.loss}",
        shown=shown,
        initiator=initiator,
    )


def claims(gate: Gate, decision: str, name: str, reason: str, now: float) -> dict[str, Any]:
    """Return what whoever approves signs."""
    of_gate = {"gate": gate.key, "run": gate.run, "plan": gate.plan, "evidence": gate.evidence}
    return {**of_gate, "decision": decision, "name": name, "reason": reason, "iat": now, "exp": now + LIFETIME}


def accepted(token: str, verify: Verify, gate: Gate, approvers: Iterable[str], now: float) -> Approval | tuple[str, ...]:
    """Return the approval that a token is, or every reason why it counts for nothing at this gate."""
    try:
        said = verify(token)
        given = Approval(**{name: _typed(name, said[name]) for name in _CLAIMS}, token=token)
    except (KeyError, TypeError, ValueError) as error:
        return (f"the token is not an approval: {error}",)
    against = reasons_against(given, gate, now)
    if given.name not in approvers:
        against = (*against, f"{given.name} is not among the approvers of the fleet file")
    if len(given.reason.strip()) < 3:
        against = (*against, "a reason is needed")
    return against or given


def reasons_against(given: Approval, gate: Gate, now: float) -> tuple[str, ...]:
    """Return why an approval does not count at a gate now: of another question, too old, or of facts that changed."""
    against = []
    if given.decision not in (APPROVE, REJECT):
        against.append(f"{given.decision!r} is no decision: approve or reject")
    if (given.gate, given.run) != (gate.key, gate.run):
        against.append(f"it is of gate {given.gate!r} of run {given.run!r}, not of {gate.key!r} of {gate.run!r}")
    if given.plan != gate.plan:
        against.append(f"it is of plan {given.plan[:12]}, not of {gate.plan[:12]}")
    if given.evidence != gate.evidence:
        against.append("the facts have changed since: look again")
    if given.exp <= now or given.exp - given.iat > LIFETIME:
        against.append(f"it has expired: an approval holds for {LIFETIME:g} s")
    if given.iat > now + SKEW:
        against.append("it was signed in the future")
    return tuple(against)


def agreed(gate: Gate, given: Iterable[Approval], now: float) -> tuple[str, ...]:
    """Return the different people whose approval counts now; the initiator is none where two are needed."""
    return tuple(sorted({one.name for one in counting(gate, given, now)}))


def counting(gate: Gate, given: Iterable[Approval], now: float) -> tuple[Approval, ...]:
    """Return the approvals that count now."""
    found = (one for one in given if one.decision == APPROVE and not reasons_against(one, gate, now))
    return tuple(one for one in found if gate.people < 2 or one.name != gate.initiator)


def rejected(gate: Gate, given: Iterable[Approval], now: float) -> Approval | None:
    """Return the first rejection that counts now."""
    return next((one for one in given if one.decision == REJECT and not reasons_against(one, gate, now)), None)


def to_data(given: Approval) -> dict[str, Any]:
    """Return an approval as the journal keeps it."""
    return asdict(given)


_CLAIMS = ("gate", "run", "plan", "evidence", "decision", "name", "reason", "iat", "exp")


def _typed(name: str, value: object) -> Any:
    wanted = (int, float) if name in ("iat", "exp") else (str,)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ValueError(f"claim {name} is {value!r}")
    return value
