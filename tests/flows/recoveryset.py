"""A run whose only acts are leases: walked for real, against the lab's API servers, and nothing of the lab is touched by it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flotilla.fleet import Fleet
from flotilla.recovery import acts, recording
from flotilla.recovery.config import Approver, Recovery
from flotilla.recovery.journal import Journal
from flotilla.recovery.steps import Kind, Mode, Phase, Plan, Step
from flotilla.recovery.walking import Ask, Ended, Replan, Stuck
from flows.doing import Doer
from flows.eyes import Eyes
from flows.walker import Run, Walker
from tasks import recovery_leases
from tasks.clusters import Connection
from tasks.step_journal import StepJournal

SITES = ("production", "same-city", "remote")
NAME = "flotilla-recovery-walked"


def plan(epoch: int = 3, **of_the_step: object) -> Plan:
    """Return a plan that takes the leases, and nothing else; it can be gone back from."""
    given = {"need": 2, "patience": 20.0, **of_the_step}
    leases = Step("leases", "the run holds the leases", Phase.PREPARE, tuple(acts.TakeLease(site) for site in SITES), **given)  # type: ignore[arg-type]
    return Plan(Kind.REPROTECT, "production", "remote", Mode.GRACEFUL, epoch, (leases,))


def recovery_of(**people: str) -> Recovery:
    """Return what a fleet file says of recovery, as far as people go: their public keys by name."""
    approvers = tuple(Approver(name=name, key=key) for name, key in people.items())
    return Recovery.model_construct(approvers=approvers)


class Silence:
    """People who answer nothing; told of what was asked."""

    def __init__(self) -> None:
        self.asked: list[Ask | Stuck] = []

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the same journal."""
        self.asked.append(move)
        time.sleep(0.02)
        return journal


class Gone(Exception):
    """The process died, as far as the run can tell."""


@dataclass
class Stand:
    """Eyes on the leases of the lab and hands for them, and runs of the test's own."""

    fleet: Fleet
    ways: Mapping[str, Connection]
    folder: Path
    runs: list[StepJournal] = field(default_factory=list)

    def begin(self, made: Plan, run: str = "", who: str = "walker") -> Run:
        """Return a new run of a plan."""
        run = run or f"walked-{secrets.token_hex(3)}"
        found = self.taken_up(run, who)
        found.kept.keep(recording.planned(found.kept.journal, made, time.time(), who, "test"))
        return found

    def taken_up(self, run: str, who: str = "another") -> Run:
        """Return a run as another process finds it."""
        kept = StepJournal(self.folder, run, self.ways)
        kept.open()
        self.runs.append(kept)
        return Run(run, who, kept)

    def walk(self, run: Run, made: Plan, people: object) -> Ended:
        """Walk a run to its end; it begins once every lease was looked at, so that no wait for a look is noted."""
        lookers = {(site, acts.LEASE): self._looker(site) for site in SITES}
        with Eyes(lookers) as eyes:
            eyes.world(set(lookers), time.monotonic())
            doer = Doer(self.fleet, recovery_of(), {})
            return Walker(run, eyes, doer, people, _no_replan).walk(made)  # type: ignore[arg-type]

    def in_background(self, run: Run, made: Plan, people: object) -> tuple[threading.Thread, list[Ended]]:
        """Walk a run in a thread; what it ends with is put into the list."""
        ended: list[Ended] = []
        thread = threading.Thread(target=lambda: ended.append(self.walk(run, made, people)), daemon=True)
        thread.start()
        return thread, ended

    def holders(self) -> list[str]:
        """Return who holds the leases."""
        return [getattr(recovery_leases.seen(self.ways[site]), "holder", "?") for site in SITES]

    def clean(self) -> None:
        """Leave nothing behind."""
        for kept in self.runs:
            kept.close(5)
        for one in self.ways.values():
            one.request("DELETE", recovery_leases.KIND.path(recovery_leases.NAMESPACE, NAME))
            for kept in self.runs:
                path = f"/api/v1/namespaces/{recovery_leases.NAMESPACE}/configmaps/flotilla-recovery-{kept.run}"
                one.request("DELETE", path)
                one.request("DELETE", f"{path}-answers")

    def _looker(self, site: str) -> Callable[[], object]:
        return lambda: recovery_leases.seen(self.ways[site])


def _no_replan(made: Plan, move: Replan) -> Plan:
    raise AssertionError(f"{made.title} is not to be planned anew: {move.why}")
