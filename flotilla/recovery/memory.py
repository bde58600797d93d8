"""What a journal tells the walker: since when a step is tried, how often it failed, what people decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from flotilla.recovery.acts import Begin, BreakGlass, TakeLease
from flotilla.recovery.approvals import Approval
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.steps import Plan


class Choice(StrEnum):
    """What people, or a step's ``on_failure``, decide where a run cannot go on by itself."""

    RETRY = "retry"
    GO_ON = "go on"
    ABORT = "abort"
    UNGRACEFUL = "ungraceful"
    END = "end"


TURNS = (Choice.ABORT, Choice.UNGRACEFUL, Choice.END)  # what turns the whole run: the last of them that was said counts


@dataclass(frozen=True)
class Failures:
    """How often an act failed, and whether for good; how often it was done, and when it was last tried either way."""

    count: int = 0
    last: float = 0.0
    for_good: bool = False
    told: str = ""
    done: int = 0


@dataclass(frozen=True)
class Memory:
    """A run's journal, asked about the plan of one epoch."""

    journal: Journal
    epoch: int

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of the plan."""
        return tuple(self.journal.of(self.epoch))

    @cached_property
    def _decisions(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind is Wrote.DECIDED)

    def begun(self, step: str) -> float | None:
        """Return when the walker came to a step, None if it is not there: other steps, decisions, a new process begin anew."""
        since = None
        for entry in self.entries:
            if entry.kind in (Wrote.INTENDED, Wrote.WAITED) and not entry.said.get("unseen"):
                since = (entry.at if since is None else since) if entry.step == step else None
            elif entry.kind in (Wrote.DECIDED, Wrote.RESUMED, Wrote.WAITED):
                since = None
        return since

    @property
    def unseen_since(self) -> float | None:
        """Since when the run waits for a site of which nothing is seen, None if it does not: any other move ends that."""
        since = None
        for entry in self.entries:
            if entry.kind is Wrote.WAITED and entry.said.get("unseen"):
                since = entry.at if since is None else since
            elif entry.kind in (Wrote.INTENDED, Wrote.WAITED, Wrote.DECIDED, Wrote.RESUMED) or "evidence" in entry.said:
                since = None
        return since

    def is_intended(self, step: str) -> bool:
        """Return whether anybody ever set about a step."""
        return any(entry.kind is Wrote.INTENDED and entry.step == step for entry in self.entries)

    def is_under_way(self, step: str = "") -> bool:
        """Return whether the process that walks now set about a step, or about any: it passed the gate before it then."""
        for entry in reversed(self.entries):
            if entry.kind is Wrote.RESUMED:
                return False
            if entry.kind is Wrote.INTENDED and step in ("", entry.step):
                return True
        return False

    @property
    def is_taken_up(self) -> bool:
        """Whether another process took the run up, and has not set about anything yet."""
        return any(entry.kind is Wrote.RESUMED for entry in self.entries) and not self.is_under_way()

    def failures(self, step: str, act: str) -> Failures:
        """Return how an act of a step fared since somebody decided to try it again.

        What was done, and still is not so, is tried again, too, but ever more slowly.
        """
        found = Failures()
        for entry in self.entries:
            if entry.step != step:
                continue
            if entry.kind is Wrote.DECIDED:
                found = Failures()
            elif entry.kind is Wrote.FAILED and entry.said.get("act") == act:
                for_good, told = bool(entry.said.get("for_good")), str(entry.said.get("told", ""))
                found = Failures(found.count + 1, entry.at, for_good, told, found.done)
            elif entry.kind is Wrote.TOLD and entry.said.get("act") == act:
                found = Failures(found.count, entry.at, done=found.done + 1)
        return found

    def decided(self, choice: Choice) -> tuple[Entry, ...]:
        """Return the decisions of a kind."""
        return tuple(entry for entry in self._decisions if entry.said.get("choice") == choice)

    @cached_property
    def turn(self) -> Entry | None:
        """The last decision on where the run goes, made on the plan, on its way back or on what followed that; None if none."""
        said = (entry for entry in reversed(self.journal.entries) if entry.kind is Wrote.DECIDED)
        return next((one for one in said if one.said.get("choice") in TURNS and one.epoch >= self.epoch), None)

    def is_turned(self, choice: Choice) -> bool:
        """Return whether a choice is the last word on where the run goes."""
        return self.turn is not None and self.turn.said.get("choice") == choice

    @cached_property
    def passed_by(self) -> frozenset[str]:
        """The steps that the run goes on without."""
        return frozenset(entry.step for entry in self.decided(Choice.GO_ON))

    @property
    def has_touched(self) -> bool:
        """Whether anybody set about anything but taking leases, which are given back at the end of any run."""
        intended = (entry.said["acts"] for entry in self.journal.entries if entry.kind is Wrote.INTENDED)
        return any(act["kind"] != TakeLease.kind for acts in intended for act in acts)

    @property
    def has_acted(self) -> bool:
        """Whether anybody set about anything of the plan but its beginning: what is so may be its own making since."""
        beginning = (TakeLease.kind, Begin.kind, BreakGlass.kind)
        intended = (entry.said["acts"] for entry in self.entries if entry.kind is Wrote.INTENDED)
        return any(act["kind"] not in beginning for acts in intended for act in acts)

    @property
    def ended(self) -> Entry | None:
        """The entry that ended the run."""
        return next((entry for entry in self.journal.entries if entry.kind is Wrote.ENDED), None)

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """The approvals that were given, whether they still count or not."""
        found = (entry.said for entry in self.entries if entry.kind is Wrote.APPROVED)
        return tuple(Approval(**data) for data in found)

    @property
    def initiator(self) -> str:
        """Who started the run."""
        said: Any = next((entry.said for entry in self.journal.entries if entry.kind is Wrote.PLANNED), {})
        return str(said.get("initiator", ""))

    @property
    def rewound_in_vain(self) -> frozenset[str]:
        """The sites at which a rewind failed for good: they are seeded anew."""
        failed = (entry.said for entry in self.journal.entries if entry.kind is Wrote.FAILED)
        return frozenset(str(said.get("site")) for said in failed if said.get("kind") == "rewind" and said.get("for_good"))

    @property
    def asked_to_begin(self) -> frozenset[str]:
        """The sites whose agents were, or were about to be, asked to accept the epoch."""
        intended = (act for entry in self.entries if entry.kind is Wrote.INTENDED for act in entry.said["acts"])
        return frozenset(str(act["site"]) for act in intended if act["kind"] in (Begin.kind, BreakGlass.kind))

    def waived(self, plan: Plan) -> frozenset[str]:
        """Return the guards that people took upon themselves when they let the run go on without a step, or agreed to one.

        What the plan itself passes by waives nothing.
        """
        by_people = {entry.step for entry in self.decided(Choice.GO_ON) if entry.said.get("name")}
        by_people |= {step.key for step in plan.steps if step.approvals and self.is_intended(step.key)}
        return frozenset(guard for step in plan.steps if step.key in by_people for guard in step.waives)
