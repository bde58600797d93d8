"""What a recovery or a drill was: how long its phases took, what an outside client's ledger says, against the last one."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from flotilla.markdown import table
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.memory import Memory
from flotilla.recovery.steps import Plan, from_dict
from flotilla.recovery.walking import Outcome

SLOWER = 1.5  # times as long as in the last drill: said aloud


@dataclass(frozen=True)
class Took:
    """How long something took: from ``begin`` to ``end``, seconds since 1970."""

    key: str
    phase: str
    title: str
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Seconds between them."""
        return self.end - self.begin


@dataclass(frozen=True)
class Ledger:
    """What a client outside of all sites wrote and what was found afterwards, by the ids that it chose.

    ``last_before`` and ``first_after`` are its last acknowledgement before the outage and the first after, seconds since 1970.
    """

    acknowledged: int
    lost: tuple[str, ...]
    unacknowledged_present: int
    duplicated: tuple[str, ...]
    last_before: float | None = None
    first_after: float | None = None

    @property
    def outage(self) -> float | None:
        """Seconds without an acknowledged write, None where nobody saw both ends."""
        if self.last_before is None or self.first_after is None:
            return None
        return self.first_after - self.last_before


def ledger_of(acknowledged: Collection[str], tried: Collection[str], present: Sequence[str]) -> Ledger:
    """Return the verdict on what was ``acknowledged`` of what was ``tried``, given the ids ``present`` in the database.

    What was never acknowledged and is there is allowed (recovery.md, finding 5); what stands twice is not.
    """
    there, acked = set(present), set(acknowledged)
    twice = sorted({one for one in there if present.count(one) > 1}) if len(there) != len(present) else []
    return Ledger(len(acked), tuple(sorted(acked - there)), len((set(tried) - acked) & there), tuple(one for one in twice))


@dataclass(frozen=True)
class Report:
    """A recovery as it was. ``steps`` in order; times in seconds since 1970; ``loss`` is what had been stated before.

    ``people`` agreed; ``answered_for`` are the guards that people took upon them, as nothing proved what they stand for.
    """

    run: str
    kind: str
    origin: str
    target: str
    mode: str
    plan: str
    outcome: str
    begun: float
    ended: float
    steps: tuple[Took, ...]
    loss: str
    loss_bytes: int | None
    rto: float | None = None
    owed: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    ledger: Ledger | None = None
    answered_for: tuple[str, ...] = ()

    @property
    def phases(self) -> Mapping[str, float]:
        """Seconds by phase, in the order in which they began."""
        found: dict[str, float] = {}
        for step in self.steps:
            found[step.phase] = found.get(step.phase, 0.0) + step.seconds
        return found

    @property
    def seconds(self) -> float:
        """Seconds from beginning to end."""
        return self.ended - self.begun

    @property
    def verdict(self) -> tuple[str, ...]:
        """Everything that was not as promised; nothing if all was well."""
        against = [] if self.outcome == Outcome.VERIFIED else [f"the run ended {self.outcome}"]
        if self.ledger is None:
            return (*against, "no ledger was kept: what was lost is not known")
        if self.ledger.lost and self.loss_bytes == 0:
            against.append(f"{len(self.ledger.lost)} acknowledged were lost, and none had been stated")
        if self.ledger.duplicated:
            against.append(f"{len(self.ledger.duplicated)} stand twice")
        outage = self.ledger.outage
        if outage is not None and self.rto is not None and outage > self.rto:
            against.append(f"{outage:.2f} s without writes, {self.rto:g} s is the objective")
        return tuple(against)


def report_of(journal: Journal, ledger: Ledger | None = None) -> Report:
    """Return the report of a run that has ended, or of what there is of it."""
    planned = [entry for entry in journal.entries if entry.kind is Wrote.PLANNED]
    plan = from_dict(planned[-1].said["plan"])
    end = next((entry for entry in journal.entries if entry.kind is Wrote.ENDED), None)
    people = [entry.who for entry in journal.entries if entry.kind is Wrote.APPROVED]
    return Report(
        run=journal.run,
        kind=plan.kind,
        origin=plan.origin,
        target=plan.target,
        mode=plan.mode,
        plan=plan.hash,
        outcome=str(end.said["outcome"]) if end else "not ended",
        begun=planned[0].at,
        ended=(end or journal.entries[-1]).at,
        steps=tuple(times(journal, plan)),
        loss=plan.loss,
        loss_bytes=plan.loss_bytes,
        rto=plan.objectives.get("rto"),
        owed=tuple(end.said.get("owed", ())) if end else (),
        people=tuple(dict.fromkeys(people)),
        ledger=ledger,
        answered_for=tuple(sorted(Memory(journal, plan.epoch).waived(plan))),
    )


def times(journal: Journal, plan: Plan) -> Iterable[Took]:
    """Yield how long each step took: from when the walker came to it until it came to the next one.

    Waiting for people is no step's time: a gate has an entry of its own.
    """
    marks = [entry for entry in journal.of(plan.epoch) if entry.kind in (Wrote.INTENDED, Wrote.WAITED, Wrote.ASKED)]
    last = journal.entries[-1].at
    titles = {step.key: step for step in plan.steps}
    for index, entry in enumerate(marks):
        if index and _same(marks[index - 1], entry):
            continue
        end = next((after.at for after in marks[index + 1 :] if not _same(entry, after)), last)
        if step := titles.get(entry.step):
            asked = entry.kind is Wrote.ASKED
            title = f"people agree: {step.title}" if asked else step.title
            yield Took(entry.step, "people" if asked else step.phase, title, entry.at, end)


def _same(one: Entry, other: Entry) -> bool:
    return one.step == other.step and (one.kind is Wrote.ASKED) == (other.kind is Wrote.ASKED)


def to_json(report: Report) -> str:
    """Return a report as JSON, with what is worked out from it."""
    outage = report.ledger.outage if report.ledger else None
    worked_out = {"phases": report.phases, "seconds": report.seconds, "outage": outage, "verdict": report.verdict}
    return json.dumps({**asdict(report), **worked_out}, indent=2)


def to_markdown(report: Report, last: Report | None = None) -> str:
    """Return a report for people, beside the last drill of the same kind if there was one."""
    verdict = [f"- {one}" for one in report.verdict] or ["All as promised."]
    lines = [f"# {title(report)}", "", *verdict, "", *_facts(report, last), "", table(_rows(report, last))]
    if report.owed:
        lines += ["", "## Still owed", *(f"- {one}" for one in report.owed)]
    return "\n".join(lines) + "\n"


def title(report: Report) -> str:
    """Return a report's name."""
    when = datetime.fromtimestamp(report.begun, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{report.kind} {report.origin} -> {report.target} ({report.mode}), {when}: {report.outcome}"


def _facts(report: Report, last: Report | None) -> list[str]:
    facts = [f"Run `{report.run}`, plan `{report.plan[:12]}`{_rehearsed(report, last)}.", f"Stated before: {report.loss}."]
    if report.people:
        facts.append(f"Agreed: {', '.join(report.people)}.")
    if report.answered_for:
        facts.append(f"Not proved, and answered for by people: {', '.join(report.answered_for)}.")
    if ledger := report.ledger:
        outage = "not seen" if ledger.outage is None else f"{ledger.outage:.2f} s"
        facts.append(
            f"Writes: {ledger.acknowledged:,} acknowledged, {len(ledger.lost)} lost, {ledger.unacknowledged_present} present "
            f"that were never acknowledged, {len(ledger.duplicated)} twice; without writes: {outage}."
        )
    return ["  \n".join(facts)]


def _rehearsed(report: Report, last: Report | None) -> str:
    if last is None:
        return " (never rehearsed before)"
    return " (as rehearsed last)" if last.plan == report.plan else f" (not as rehearsed last: that was `{last.plan[:12]}`)"


def _rows(report: Report, last: Report | None) -> Iterable[dict[str, object]]:
    before = last.phases if last else {}
    for phase, seconds in report.phases.items():
        slower = (
            f" ({seconds / before[phase]:.1f} times as long)"
            if before.get(phase, 0) and seconds > SLOWER * before[phase]
            else ""
        )
        now, then = f"{seconds:.2f} s{slower}", f"{before[phase]:.2f} s" if phase in before else ""
        yield {"phase": phase, "took": now, "last drill": then}
    yield {"phase": "**all**", "took": f"{report.seconds:.2f} s", "last drill": f"{last.seconds:.2f} s" if last else ""}


def took_last(reports: Iterable[Report], plan: Plan) -> dict[str, float]:
    """Return how long each step took in the last drill of the very same plan, by key, for ``steps.plan_table``."""
    same = [report for report in reports if report.plan == plan.hash]
    return {step.key: step.seconds for step in same[-1].steps if step.phase != "people"} if same else {}
