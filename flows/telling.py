"""A recovery as people are shown it: how things stand, what would be done, how it went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flotilla.facts import Unknown
from flotilla.recovery import lsn
from flotilla.recovery.drilling import rehearsed
from flotilla.recovery.facts import AgentSeen, DatabaseSeen, TrafficSeen, World
from flotilla.recovery.journal import Journal
from flotilla.recovery.layout import Layout
from flotilla.recovery.loss import statements
from flotilla.recovery.refusals import primary_of
from flotilla.recovery.reporting import Report, took_last
from flotilla.recovery.steps import Kind, Plan, plan_table
from flotilla.recovery.walking import Ask, Ended, Stuck

WIDEST = 160  # characters of a cell
DRILLED = (Kind.SWITCHOVER, Kind.FAILOVER, Kind.FAILBACK)  # what moves the primary: whether it was drilled is worth a line


def sites_rows(world: World, layout: Layout) -> list[dict[str, str]]:
    """Return a row for each site: database, agent, traffic, application, lease."""
    return [_row(site, world) for site in layout.sites]


def _row(site: str, world: World) -> dict[str, str]:
    database, agent, traffic = world.database(site), world.agent(site), world.traffic(site)
    application, lease = world.application(site), world.lease(site)
    return {
        "site": site,
        "database": _database(database) if isinstance(database, DatabaseSeen) else f"? {database.reason}",
        "agent": f"epoch {agent.epoch}, {agent.process}" if isinstance(agent, AgentSeen) else f"? {agent.reason}",
        "traffic": _traffic(traffic) if isinstance(traffic, TrafficSeen) else f"? {traffic.reason}",
        "application": f"? {application.reason}"
        if isinstance(application, Unknown)
        else f"{application.ready} of {application.wanted}",
        "lease": f"? {lease.reason}" if isinstance(lease, Unknown) else lease.holder or "free",
    }


def _database(seen: DatabaseSeen) -> str:
    where = f"timeline {seen.timeline}, {lsn.show(seen.position)}"
    if seen.in_recovery:
        return f"standby of {seen.upstream or 'nobody'}, {where}" + ("" if seen.receives else ", receives nothing")
    waits = f", commits wait for {', '.join(seen.synchronous)}" if seen.synchronous else ", commits wait for nobody"
    return f"primary, {where}{waits}"


def _traffic(seen: TrafficSeen) -> str:
    return f"to {', '.join(seen.authorised)} (epoch {seen.epoch})"


def loss_lines(world: World, layout: Layout) -> Iterator[str]:
    """Yield what a failover to each other site would lose now."""
    primary = primary_of(world, layout)
    if isinstance(primary, Unknown):
        yield str(primary)
        return
    yield from (str(one) for one in statements(primary, world, layout))


def plan_text(plan: Plan, past: Iterable[Report] = ()) -> str:
    """Return a plan as markdown: what it loses, what past drills say of it (oldest first), its steps."""
    found = list(past)
    lines = [f"## {plan.title} ({plan.mode})", "", f"plan `{plan.hash[:12]}`, epoch {plan.epoch}", "", f"loss: {plan.loss}", ""]
    if plan.kind in DRILLED:
        lines += [rehearsed(found, plan), ""]
    lines += [f"owed afterwards: {one}" for one in plan.owed]
    return "\n".join([*lines, plan_table(plan, took_last(found, plan))])


def question_text(move: Ask | Stuck) -> str:
    """Return what a person is asked."""
    if isinstance(move, Stuck):
        return f"{move.step.title}: stuck: {move.why}\n\nchoose one of: {', '.join(move.choices)}"
    facts = "\n".join(f"- {one}" for one in move.gate.shown)
    given = f"\n\nagreed so far: {', '.join(move.given)}" if move.given else ""
    gate = move.gate
    other = f" other than {gate.initiator}, who started it" if gate.people > 1 and gate.initiator else ""
    return f"{gate.question}\n\n{facts}\n\n{counted(gate.people)}{other} to agree, plan `{gate.plan[:12]}`{given}"


def counted(people: int) -> str:
    """Return how many people have to agree, in words."""
    return "1 person has" if people == 1 else f"{people} people have"


def ended_text(ended: Ended) -> str:
    """Return how a run ended, and what somebody still has to see to."""
    return "\n".join([f"{ended.told} ({ended.outcome})", *(f"owed: {one}" for one in ended.owed)])


def journal_rows(journal: Journal, widest: int | None = WIDEST) -> list[dict[str, str]]:
    """Return a journal as rows, oldest first; times in seconds since its first entry. None for ``widest`` cuts nothing off."""
    begin = journal.entries[0].at if journal.entries else 0.0
    return [
        {
            "s": f"{entry.at - begin:.2f}",
            "what": str(entry.kind),
            "step": entry.step,
            "who": entry.who,
            "said": _cut(_said(entry.said), widest),
        }
        for entry in journal.entries
    ]


def _said(said: object) -> str:
    if not isinstance(said, dict):
        return ""
    for name in ("told", "why", "question", "reason", "decision"):
        if said.get(name):
            return str(said[name])
    return "; ".join(str(one.get("kind", "")) + " " + str(one.get("site", "")) for one in said.get("acts", ()))


def _cut(text: str, widest: int | None) -> str:
    return text if widest is None or len(text) <= widest else f"{text[: widest - 1]}…"
