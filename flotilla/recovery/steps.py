"""Plans: what will be done in which order, printable, comparable, with a hash that people approve and drills rehearse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from flotilla.errors import Permanent
from flotilla.markdown import table
from flotilla.recovery import bodies
from flotilla.recovery.acts import Act


class Kind(StrEnum):
    """What a plan is for."""

    SWITCHOVER = "switchover"
    FAILOVER = "failover"
    FAILBACK = "failback"
    REPROTECT = "reprotect"
    DEGRADE = "degrade"
    ABORT = "abort"


class Mode(StrEnum):
    """Whether the origin is asked, and nothing lost, or is done without."""

    GRACEFUL = "graceful"
    UNGRACEFUL = "ungraceful"


class Phase(StrEnum):
    """Parts of a recovery, as its report adds times up."""

    PREPARE = "prepare"
    DRAIN = "drain"
    FENCE = "fence"
    CATCH_UP = "catch up"
    PROMOTE = "promote"
    TRAFFIC = "traffic"
    REPROTECT = "re-protect"
    VERIFY = "verify"


class Left(StrEnum):
    """What an abort does about a step that nothing takes back."""

    SAFE_TO_LEAVE = "safe to leave"
    NONE_AFTER_THIS = "none after this"


class OnFailure(StrEnum):
    """What becomes of the run when a step's patience or its tries are used up."""

    PAUSE = "pause"
    COMPENSATE = "compensate"
    CONTINUE = "continue"


@dataclass(frozen=True)
class Step:
    """What is done at once, side by side: ``need`` of the acts have to be done, all if 0.

    ``undo`` takes it back; ``milestone``: once it is done, what was before it is past, apart from what is ``firm``. What is
    ``lasting`` is looked at again even past the point of no return.
    ``patience`` is how many seconds it may take from its first move, ``retries`` how often an act is tried again.
    ``approvals`` is how many different people agree before its first act. ``waives`` names the guards that a person who lets
    the run go on without this step, or agrees to it at its gate, takes upon them.
    """

    key: str
    title: str
    phase: Phase
    acts: tuple[Act, ...]
    undo: tuple[Act, ...] | Left = Left.SAFE_TO_LEAVE
    need: int = 0
    point_of_no_return: bool = False
    milestone: bool = False
    firm: bool = False
    lasting: bool = False
    patience: float = 30.0
    retries: int = 3
    on_failure: OnFailure = OnFailure.PAUSE
    approvals: int = 0
    waives: tuple[str, ...] = ()

    @property
    def needed(self) -> int:
        """How many of the acts have to be done."""
        return self.need or len(self.acts)


@dataclass(frozen=True)
class Plan:
    """A recovery: who is primary and who is to be, the epoch that it acts under, its steps, and what it may lose.

    ``loss`` is the statement to be accepted, with ``loss_bytes`` as its bound (0: nothing acknowledged is lost, None: not
    known). ``sites`` is how many there are; ``glass``: without a majority, on the word of two people. ``owed`` is what will
    still have to be done for the sites that are lost. ``automatic``: no person has to agree.
    """

    kind: Kind
    origin: str
    target: str
    mode: Mode
    epoch: int
    steps: tuple[Step, ...]
    sites: int = 3
    loss: str = ""
    loss_bytes: int | None = 0
    objectives: Mapping[str, float] = field(default_factory=dict)
    glass: bool = False
    owed: tuple[str, ...] = ()
    forced: str = ""

    @property
    def hash(self) -> str:
        """What is approved, and what a drill rehearses: all that would be done, but no times, epochs or figures of the day."""
        shape = {"kind": self.kind, "origin": self.origin, "target": self.target, "mode": self.mode, "glass": self.glass}
        steps = [{**_step_dict(step), "acts": [_shape(act) for act in step.acts]} for step in self.steps]
        return hashlib.sha256(json.dumps({**shape, "steps": steps}, sort_keys=True).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The plan's name for people."""
        return f"{self.kind} {self.origin} -> {self.target}" if self.origin != self.target else f"{self.kind} {self.target}"

    def step(self, key: str) -> Step:
        """Return a step; raises KeyError."""
        return next((step for step in self.steps if step.key == key), None) or _no_step(key, self)

    @property
    def no_return(self) -> int | None:
        """The index of the step that nothing undoes, None if there is none."""
        return next((index for index, step in enumerate(self.steps) if step.point_of_no_return), None)


def _no_step(key: str, plan: Plan) -> Step:
    raise KeyError(f"{plan.title} has no step {key!r}; there are {', '.join(step.key for step in plan.steps)}")


def plan_table(plan: Plan, took: Mapping[str, float] | None = None) -> str:
    """Return a plan as a markdown table; ``took`` has the seconds that steps took in past drills, by key."""
    return table(_row(number, step, took or {}) for number, step in enumerate(plan.steps, 1))


def _row(number: int, step: Step, took: Mapping[str, float]) -> dict[str, object]:
    undo = step.undo if isinstance(step.undo, Left) else "; ".join(map(str, step.undo))
    return {
        "#": number,
        "phase": step.phase,
        "step": f"**{step.title}**" if step.point_of_no_return else step.title,
        "acts": "\n".join(map(str, step.acts)),
        "undo": undo,
        "people": step.approvals or "",
        "patience": f"{step.patience:g} s, {step.retries} retries",
        "if it fails": step.on_failure,
        "last took": f"{took[step.key]:.2f} s" if step.key in took else "",
    }


def to_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data: what the journal keeps, so that a run started again walks the very same."""
    data = {name: value for name, value in asdict(plan).items() if name != "steps"}
    return {**data, "steps": [_step_dict(step) for step in plan.steps]}


def from_dict(data: Mapping[str, Any]) -> Plan:
    """Return the plan that ``to_dict`` made data of; raises Permanent where another version of Flotilla wrote it."""
    try:
        steps = tuple(_step_of(one) for one in data["steps"])
        given = {**data, "kind": Kind(data["kind"]), "mode": Mode(data["mode"]), "steps": steps, "owed": tuple(data["owed"])}
        return Plan(**given)
    except (KeyError, TypeError, ValueError) as error:
        raise Permanent(f"the journal's plan cannot be read ({error}): walk it with the Flotilla that wrote it") from None


def _shape(act: Act) -> dict[str, Any]:
    return {name: value for name, value in bodies.to_dict(act).items() if name != "at_most"}


def _step_dict(step: Step) -> dict[str, Any]:
    undo = step.undo if isinstance(step.undo, Left) else [bodies.to_dict(act) for act in step.undo]
    plain = {name: value for name, value in vars(step).items() if name not in ("acts", "undo")}
    return {**plain, "acts": [bodies.to_dict(act) for act in step.acts], "undo": undo}


def _step_of(data: Mapping[str, Any]) -> Step:
    undo = Left(data["undo"]) if isinstance(data["undo"], str) else tuple(bodies.from_dict(act) for act in data["undo"])
    given = {**data, "phase": Phase(data["phase"]), "on_failure": OnFailure(data["on_failure"]), "undo": undo}
    done = tuple(bodies.from_dict(act) for act in data["acts"])
    return Step(**{**given, "acts": done, "waives": tuple(data["waives"])})
