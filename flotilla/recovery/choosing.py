"""What people decide where a run is stuck, signed as approvals are: which choice, at which step of which run, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flotilla.recovery.approvals import LIFETIME, SKEW, Verify
from flotilla.recovery.memory import Choice
from flotilla.recovery.walking import Stuck


@dataclass(frozen=True)
class Chosen:
    """A choice that was checked: by whom and why."""

    choice: Choice
    name: str
    reason: str


def claims_of(run: str, move: Stuck, choice: Choice, name: str, reason: str, now: float) -> dict[str, Any]:
    """Return what whoever decides signs; ``now`` in seconds since 1970."""
    of_step = {"run": run, "gate": f"stuck-{move.step.key}", "epoch": move.epoch}
    return {**of_step, "decision": str(choice), "name": name, "reason": reason, "iat": now, "exp": now + LIFETIME}


def chosen(
    token: str, verify: Verify, run: str, move: Stuck, approvers: Iterable[str], *, now: float
) -> Chosen | tuple[str, ...]:
    """Return the choice that a token is, or every reason why it counts for nothing here."""
    try:
        said = verify(token)
        against = [*_reasons_against(said, run, move, now)]
        name, reason = str(said["name"]), str(said["reason"])
        if name not in approvers:
            against.append(f"{name} is not among the approvers of the fleet file")
        if len(reason.strip()) < 3:
            against.append("a reason is needed")
        return tuple(against) or Chosen(Choice(said["decision"]), name, reason)
    except (KeyError, TypeError, ValueError) as error:
        return (f"the token is no decision: {error}",)


def _reasons_against(said: Mapping[str, Any], run: str, move: Stuck, now: float) -> Iterable[str]:
    if said["run"] != run:
        yield f"it is of run {said['run']}, not of {run}"
    if said["gate"] != f"stuck-{move.step.key}" or said["epoch"] != move.epoch:
        yield f"it is of {said['gate']} at epoch {said['epoch']}, not of stuck-{move.step.key} at epoch {move.epoch}"
    if said["decision"] not in move.choices:
        yield f"{said['decision']!r} is no choice here: {', '.join(move.choices)}"
    if not said["iat"] <= now + SKEW or said["exp"] <= now or said["exp"] - said["iat"] > LIFETIME:
        yield f"it has expired, or is of the future: a decision holds for {LIFETIME:g} s"
