"""One cell played: a run stands at a step, something breaks, is mended, and the run is brought to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum

import lab
from flotilla.errors import FlotillaError
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.memory import Choice
from flotilla.recovery.steps import Kind
from flotilla.recovery.walking import Ask, Stuck
from flows.answering import Person, decided, question_of
from lab.layout import AGENT
from tests.recovery.chaos.cells import OF_THE_LOST, Cell, step_at
from tests.recovery.chaos.faults import FAULTS, LOST, ORCHESTRATOR, RETURNS, lose
from tests.recovery.chaos.standing import begin_to_stand
from tests.recovery.field import CITY, Field, Going
from tests.recovery.users import Primaries, Users

HELD = 4.0  # seconds that a fault lasts, at least
END = 240.0  # seconds in which a run that is not disturbed any more comes to its end, or to a gate
RETRIES = 3  # answers "retry" at a gate before people give up


class End(StrEnum):
    """How a cell ended."""

    VERIFIED = "verified"
    TAKEN_BACK = "taken back"
    AT_GATE = "at a gate"
    PASSED_BY = "passed by"
    FAILED = "failed"


@dataclass
class Result:
    """What became of a cell. ``gates`` are the steps at which the run asked people what to do."""

    cell: Cell
    end: End
    told: str = ""
    gates: list[str] = field(default_factory=list)
    seconds: float = 0.0
    lost: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    acknowledged: int = 0
    two: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether no promise was broken and the run ended as it may."""
        return self.end is not End.FAILED and not self.lost and not self.twice and not self.two


class Striking:
    """Plays cells, one after the other, on one field under one load."""

    def __init__(self, of: Field, load: Users, seen: Primaries) -> None:
        self._of, self._load, self._seen = of, load, seen

    def played(self, cell: Cell) -> Result:
        """Play a cell; what of the field is broken afterwards is mended by recoveries, else the cell has failed."""
        began, overlaps = time.monotonic(), len(self._seen.overlaps())
        result = Result(cell, End.FAILED)
        try:
            self._strike(cell, result)
            self._of.settle()
            self._load.wait(10)
            self._judge(result)
        except (AssertionError, FlotillaError, lab.LabError, OSError) as error:
            result.end, result.told = End.FAILED, f"{result.told}; {error}"
        result.two = self._seen.overlaps()[overlaps:]
        result.seconds = time.monotonic() - began
        return result

    def _judge(self, result: Result) -> None:
        verdict = self._load.judged()
        result.lost, result.twice, result.acknowledged = verdict.lost, verdict.duplicated, verdict.acknowledged

    def _strike(self, cell: Cell, result: Result) -> None:
        origin = self._of.primary
        target = next(site for site in CITY if site != origin)
        if cell.runbook is not Kind.SWITCHOVER:
            self._of.sampled()
            lose(origin)
        if cell.runbook in OF_THE_LOST:  # of the site that was lost, once the other one has taken over
            self._of.move("failover", target).well()
            lab.start(origin, AGENT)
            origin, target = target, origin
        sites = {"origin": origin, "target": target}
        step = step_at(cell.step, origin, target)
        standing = begin_to_stand(self._of, step, cell.moment, cell.runbook, "--to", target, *self._of.by("alice"))
        try:
            if standing.stands():
                result.told = self._break(cell, sites, standing.going)
                going = (
                    self._of.begin("resume", standing.going.run, "--as", "bob") if standing.going.is_over else standing.go_on()
                )
            else:
                going, result.told = standing.going, "nothing was to be done there"
            self._hold(going)
            if cell.fault == LOST:  # for good, as far as this run is concerned
                self._bring_to_end(going, result)
        finally:
            self._mend(cell, sites)
        if cell.fault != LOST:
            self._bring_to_end(going, result)

    def _break(self, cell: Cell, sites: dict[str, str], going: Going) -> str:
        """Have it go wrong; return why it cannot, "" if it did."""
        role, fault = FAULTS.get(cell.fault, ("", None))
        if cell.fault == ORCHESTRATOR:
            going.kill()
        elif cell.fault == LOST:
            lose(sites["origin"])
        elif cell.fault == RETURNS:
            lab.start(sites["origin"], AGENT)
        elif fault:
            try:
                fault.strike(sites[role])
            except lab.LabError as error:  # what does not run any more, by the run's own doing, cannot be killed
                return f"the fault found nothing to break: {error}"
        return ""

    def _mend(self, cell: Cell, sites: dict[str, str]) -> None:
        if cell.fault in FAULTS:
            role, fault = FAULTS[cell.fault]
            fault.mend(sites[role])
        if cell.runbook is Kind.FAILOVER or cell.fault == LOST:
            lab.start(sites["origin"], AGENT)

    def _hold(self, going: Going) -> None:
        deadline = time.monotonic() + HELD
        while time.monotonic() < deadline and not going.is_over:
            time.sleep(0.1)

    def _bring_to_end(self, going: Going, result: Result) -> None:
        """Answer what the run asks until it has ended; go on with it where its process ended and it has not."""
        deadline, run = time.monotonic() + END, going.run
        while (ended := _ended(going.journal)) is None or not going.is_over:
            assert time.monotonic() < deadline, f"{run} comes to no end: {going.text[-1500:]}"
            if going.is_over:
                assert ended is None, going.text
                going = self._of.begin("resume", run, "--as", "bob")
            elif (entry := going.journal.entries[-1]).kind is Wrote.ASKED:
                self._answer(going, entry, result)
            time.sleep(0.1)
        outcome = str(ended.said["outcome"])
        passed = result.told and outcome == "verified"
        ends = {"verified": End.PASSED_BY if passed else End.VERIFIED, "aborted": End.TAKEN_BACK}
        result.end = ends.get(outcome, End.AT_GATE if result.gates else End.FAILED)
        result.told = "; ".join(filter(None, (result.told, str(ended.said["told"]))))

    def _answer(self, going: Going, entry: Entry, result: Result) -> None:
        ground = self._of.on(going)
        try:
            move = question_of(ground, going.run)
            decision = "approve" if isinstance(move, Ask) else self._choice(move, result)
            person = Person("alice", self._of.keys / "alice.pem", f"chaos {len(going.journal.entries)}")
            decided(ground, going.run, move, decision, person)
        except FlotillaError:  # it asks no more, or something else: look again
            return
        self._wait_taken(going, entry)

    def _choice(self, move: Stuck, result: Result) -> str:
        result.gates.append(move.step.key)
        if result.cell.fault == LOST and Choice.UNGRACEFUL in move.choices:
            return Choice.UNGRACEFUL
        if result.gates.count(move.step.key) <= RETRIES:
            return Choice.RETRY
        return Choice.ABORT if Choice.ABORT in move.choices else Choice.END

    def _wait_taken(self, going: Going, entry: Entry) -> None:
        deadline = time.monotonic() + 20
        while going.journal.entries[-1].hash == entry.hash and not going.is_over and time.monotonic() < deadline:
            time.sleep(0.1)


def _ended(journal: Journal) -> Entry | None:
    return next((entry for entry in journal.entries if entry.kind is Wrote.ENDED), None)
