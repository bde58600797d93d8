"""A drill: the business moved to another site and back, as planned; what came of it, and what it says of the plans of today."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from flotilla.errors import Permanent
from flotilla.ledger import Attempt, judge, outages
from flotilla.recovery import switchover
from flotilla.recovery.journal import Journal
from flotilla.recovery.layout import Layout
from flotilla.recovery.reporting import Ledger, Report, Took, report_of, to_markdown
from flotilla.recovery.steps import Phase, Plan
from flotilla.recovery.walking import Outcome

THERE, BACK = "there", "back"
OUTAGE = (Phase.DRAIN, Phase.FENCE, Phase.CATCH_UP, Phase.PROMOTE, Phase.TRAFFIC)  # while nobody can write


@dataclass(frozen=True)
class Drill:
    """A drill as it was: its name, who had it done and why, its ways in order, and what an outside client's ledger says."""

    name: str
    initiator: str
    reason: str
    legs: tuple[Report, ...]
    owed: tuple[str, ...] = ()
    ledger: Ledger | None = None

    @property
    def title(self) -> str:
        """The drill's name for people."""
        first = self.legs[0]
        when = datetime.fromtimestamp(first.begun, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"drill {first.origin} -> {first.target} and back, {when}"

    @property
    def verdict(self) -> tuple[str, ...]:
        """Everything that was not as promised; nothing if all was well."""
        against = [f"{leg.origin} -> {leg.target}: {why}" for leg in self.legs for why in leg.verdict]
        if self.ledger and self.ledger.lost:
            against.append(f"of all that was acknowledged {len(self.ledger.lost)} are lost")
        if self.ledger and self.ledger.duplicated:
            against.append(f"of all that was written {len(self.ledger.duplicated)} stand twice")
        return (*against, *(f"owed: {one}" for one in self.owed))

    @property
    def is_home(self) -> bool:
        """Whether it went there and came back, both verified."""
        return len(self.legs) == 2 and all(leg.outcome == Outcome.VERIFIED for leg in self.legs)

    @property
    def is_well(self) -> bool:
        """Whether it is home, and a ledger, if one was kept, has nothing against it."""
        return self.is_home and (self.ledger is None or not self.verdict)


@dataclass(frozen=True)
class Noted:
    """What an outside client noted, and the ids of all that is there now; read in this order.

    Its clock is taken to be ours: what it saw is put beside a run's times.
    """

    attempts: Sequence[Attempt]
    present: Sequence[str]

    def between(self, begun: float, ended: float) -> Ledger:
        """Return what became of what was sent between two times (seconds since 1970), and the longest outage meanwhile."""
        found = judge([one for one in self.attempts if begun <= one.sent <= ended], self.present)
        touching = [one for one in outages(self.attempts) if one.began <= ended and (one.ended is None or one.ended >= begun)]
        longest = max(touching, key=lambda one: one.seconds, default=None)
        return Ledger(
            found.acknowledged,
            found.lost,
            len(found.unacknowledged),
            found.duplicated,
            longest.began if longest else None,
            longest.ended if longest else None,
        )


def way_back(plan: Plan, layout: Layout) -> Plan:
    """Return the plan of the way back of a drill, before it is so far: the same steps, and the same hash, as it will have."""
    steps = switchover.steps(plan.target, plan.origin, layout)
    return replace(plan, origin=plan.target, target=plan.origin, steps=steps, epoch=plan.epoch + 1, forced="")


def drill_of(name: str, journals: Iterable[Journal], noted: Noted | None) -> Drill:
    """Return the report of a drill from the journals of its ways, and what a client noted; raises Permanent without a plan."""
    found = [report_of(journal) for journal in journals if journal.plan]
    said = [journal.plan for journal in journals if journal.plan]
    if not found:
        raise Permanent(f"drill {name}: no way of it has begun: there is nothing to report")
    legs = tuple(replace(one, ledger=noted.between(one.begun, one.ended)) if noted else one for one in found)
    whole = noted.between(legs[0].begun, max(one.sent for one in noted.attempts)) if noted and noted.attempts else None
    return Drill(name, str(said[0]["initiator"]), str(said[0]["reason"]), legs, owed_after(legs), whole)


def owed_after(legs: Sequence[Report]) -> tuple[str, ...]:
    """Return what is left to do for the business to be where it was, if it went away and did not come back."""
    first, last = legs[0], legs[-1]
    if first.outcome == Outcome.ABORTED or (len(legs) == 2 and last.outcome == Outcome.VERIFIED):
        return ()
    return (f"the way home: recovery/switchover to {first.origin}, unless it is primary again",)


# -- kept, and found by the next one --------------------------------------------------------------------------------------


def to_json(drill: Drill) -> str:
    """Return a drill as JSON, with what is worked out from it."""
    worked_out = [
        {"phases": leg.phases, "seconds": leg.seconds, "outage": leg.ledger.outage if leg.ledger else None}
        for leg in drill.legs
    ]
    return json.dumps({**asdict(drill), "worked_out": worked_out, "verdict": drill.verdict}, indent=1)


def from_json(text: str) -> Drill:
    """Return the drill of some JSON; raises Permanent where another version of Flotilla wrote it."""
    try:
        data = json.loads(text)
        legs = tuple(_leg(one) for one in data["legs"])
        return Drill(data["name"], data["initiator"], data["reason"], legs, tuple(data["owed"]), _ledger(data["ledger"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Permanent(f"this is no report of a drill, or another version's: {error!r}") from None


def _leg(data: Mapping[str, Any]) -> Report:
    steps = tuple(Took(**step) for step in data["steps"])
    lists = {name: tuple(data.get(name, ())) for name in ("owed", "people", "answered_for")}
    return Report(**{**data, **lists, "steps": steps, "ledger": _ledger(data["ledger"])})


def _ledger(data: Mapping[str, Any] | None) -> Ledger | None:
    return Ledger(**{**data, "lost": tuple(data["lost"]), "duplicated": tuple(data["duplicated"])}) if data else None


# -- what past drills say of a plan ---------------------------------------------------------------------------------------


def rehearsals(drills: Iterable[Drill]) -> tuple[Report, ...]:
    """Return the verified ways of all drills, oldest first."""
    ways = [leg for drill in drills for leg in drill.legs if leg.outcome == Outcome.VERIFIED]
    return tuple(sorted(ways, key=lambda leg: leg.begun))


def last_of(past: Iterable[Report], like: Report | Plan) -> Report | None:
    """Return the last of some ways that led from the same site to the same one, None if none did."""
    wanted = (like.kind, like.origin, like.target)
    return next((leg for leg in reversed(list(past)) if (leg.kind, leg.origin, leg.target) == wanted), None)


def rehearsed(past: Iterable[Report], plan: Plan) -> str:
    """Return in a sentence whether what was drilled is what would run, and how long writes would be away."""
    found = list(past)
    same = next((leg for leg in reversed(found) if leg.plan == plan.hash), None)
    if same is None:
        last = last_of(found, plan)
        return f"not what was drilled: on {_day(last)} that was plan {last.plan[:12]}" if last else "never drilled"
    aim = plan.objectives.get("rto")
    against = "" if aim is None else f", {aim:g} s is the objective"
    return f"drilled as it is on {_day(same)}: expect {expected_outage(same):.2f} s without writes{against}"


def expected_outage(report: Report) -> float:
    """Return for how long nobody could write: as a client's ledger has it, or else the sum of the steps in which that is so."""
    if report.ledger and report.ledger.outage is not None:
        return report.ledger.outage
    return sum(seconds for phase, seconds in report.phases.items() if phase in OUTAGE)


def drill_text(drill: Drill, past: Iterable[Report]) -> str:
    """Return a drill for people, each of its ways beside the last drill of the same one."""
    earlier = [leg for leg in past if leg.begun < drill.legs[0].begun]
    verdict = [f"- {one}" for one in drill.verdict] or ["All as promised, there and back."]
    lines = [f"# {drill.title}", "", f"By {drill.initiator}: {drill.reason}.", "", *verdict, ""]
    if told := drill.ledger:
        kept = f"{told.acknowledged:,} acknowledged, {len(told.lost)} lost, {len(told.duplicated)} twice"
        lines += [f"Over all: {kept}, {told.unacknowledged_present} present that were never acknowledged.", ""]
    return "\n".join([*lines, *(to_markdown(leg, last_of(earlier, leg)).replace("# ", "## ", 1) for leg in drill.legs)])


def drill_sentence(drill: Drill) -> str:
    """Return how a drill went, in a line."""
    ways = "; ".join(f"{leg.origin} -> {leg.target} {leg.outcome}, {_without(leg)}" for leg in drill.legs)
    return f"{ways}; {'; '.join(drill.verdict) or 'all as promised'}"


def _without(leg: Report) -> str:
    seen = leg.ledger is not None and leg.ledger.outage is not None
    return f"{expected_outage(leg):.2f} s without writes{'' if seen else ' by its steps'}"


def _day(report: Report) -> str:
    return datetime.fromtimestamp(report.begun, UTC).strftime("%Y-%m-%d")
