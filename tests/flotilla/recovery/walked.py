"""Plans walked over the modelled fleet by ``next_move``, with faults put in between, and what must hold all the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from flotilla.recovery import goals, recording
from flotilla.recovery.approvals import Approval
from flotilla.recovery.journal import Journal
from flotilla.recovery.layout import Layout, Place
from flotilla.recovery.memory import Choice, Memory
from flotilla.recovery.planning import Terms, plan_for
from flotilla.recovery.recording import Decision
from flotilla.recovery.refusals import Asked, NotPlanned
from flotilla.recovery.replanning import asked_anew, made_anew
from flotilla.recovery.steps import Kind, Mode, Plan, from_dict
from flotilla.recovery.walking import Ask, Decide, Do, Ended, Move, Outcome, Replan, Stuck, Wait, next_move, parting
from tests.flotilla.recovery.modelled import SIZE, Fleet, P, R, S

LAYOUT = Layout(
    (Place(P, "hangzhou", "10.0.0.1"), Place(S, "hangzhou", "10.0.0.2"), Place(R, "beijing", "10.0.0.3")), synchronous=(S,)
)
PEOPLE = ("ann", "bob")
STEPS = 400  # moves after which a walk that has come to no end never will


class Violated(AssertionError):
    """An invariant does not hold: the text is the timeline that led there."""


@dataclass(repr=False)
class Walk:
    """A run over a fleet: its journal is all that outlives its process."""

    fleet: Fleet
    plan: Plan
    journal: Journal
    timeline: list[str] = field(default_factory=list)
    choose: Callable[[Stuck], Choice | None] = lambda stuck: None
    approves: bool = True
    last: Move | None = None
    stuck_for: int = 0

    @classmethod
    def begin(cls, fleet: Fleet, asked: Asked, terms: Terms | None = None) -> Walk:
        plan = plan_for(asked, fleet.world(), LAYOUT, terms or Terms(stable=300))
        if isinstance(plan, NotPlanned):
            raise AssertionError(str(plan))
        run = asked.run or "run-1"
        journal = recording.planned(Journal(run), plan, fleet.now, "zoe", "because")
        return cls(fleet, plan, journal)

    def __repr__(self) -> str:
        return f"<{self.journal.run}: {self.plan.title}>"

    # -- one move -----------------------------------------------------------------------------------------------------

    def think(self) -> Move:
        """Return the next move, decided on what is seen now, and write it down."""
        move = next_move(self.plan, self.fleet.world(), self.journal)
        if isinstance(move, Replan) and isinstance(found := self._anew(move), Stuck):
            move = found
        self.journal = recording.recorded(self.journal, move, self.fleet.now, "model")
        self.last = move
        return move

    def make(self, move: Move, only: slice | None = None, *, tell: bool = True) -> None:
        """Make a move, or some of its acts; without ``tell`` the process died before it could write what came of it."""
        if isinstance(move, Do):
            self._do(move, only or slice(None), tell)
        elif isinstance(move, Wait):
            self.note(f"waits at {move.step.key}: {move.why}")
            self.fleet.now = max(self.fleet.now + 0.05, move.until)
            self.fleet.tick()
        elif isinstance(move, Ask):
            self._approve(move)
        elif isinstance(move, Decide):
            self.note(f"decides {move.choice} at {move.step.key}: {move.why}")
        elif isinstance(move, Replan):
            self._replan(move)
        elif isinstance(move, Stuck):
            self._choose(move)
        self.check()

    def _do(self, move: Do, only: slice, tell: bool) -> None:
        for act in move.acts[only]:
            done, told = self.fleet.act(act, move.epoch, self.journal.run)
            self.note(f"{move.step.key}: {act}: {told}")
            self.fleet.now += 0.05
            self.fleet.tick()
            self.check()
            if not tell:
                continue
            if done:
                self.journal = recording.told(self.journal, move, act, told, at=self.fleet.now, who="model")
            else:
                self.journal = recording.failed(
                    self.journal, move, act, told, at=self.fleet.now, who="model", for_good="stale" in told
                )

    def _approve(self, move: Ask) -> None:
        if not self.approves:
            return
        gate = move.gate
        for name in PEOPLE[: gate.people]:
            now = self.fleet.now
            given = Approval(
                gate.key, gate.run, gate.plan, gate.evidence, "approve", name, "agreed", now, now + 600, f"token of {name}"
            )
            self.journal = recording.approved(self.journal, given, move.epoch, now)
        self.note(f"approved at {gate.key}")

    def _anew(self, move: Replan) -> Plan | Stuck:
        asked = asked_anew(self.plan, move, self.journal)
        return made_anew(plan_for(asked, self.fleet.world(), LAYOUT), move, self.journal)

    def _replan(self, move: Replan) -> None:
        plan = self._anew(move)
        assert isinstance(plan, Plan)
        self.plan = plan
        self.journal = recording.planned(self.journal, plan, self.fleet.now, "zoe", "it is not graceful any more")
        self.note(f"replanned: {plan.title} under epoch {plan.epoch}")

    def _choose(self, move: Stuck) -> None:
        choice = self.choose(move)
        self.note(f"stuck at {move.step.key}: {move.why}; chosen: {choice}")
        if not move.choices:
            raise Violated(self.told(f"stuck at {move.step.key} without a named next action"))
        self.stuck_for += 1
        self.fleet.now += 1
        self.fleet.tick()
        if choice:
            decision = Decision(self.fleet.now, move.epoch, "ann", "chosen")
            self.journal = recording.decided(self.journal, move.step.key, choice, decision)

    # -- a whole run --------------------------------------------------------------------------------------------------

    def copy(self) -> Walk:
        return replace(self, fleet=self.fleet.copy(), timeline=list(self.timeline))

    def restarted(self) -> Walk:
        """Return the run in a new process: it knows the journal, and nothing else."""
        stored = self.journal.plan
        assert stored
        plan = from_dict(stored["plan"])
        journal = recording.resumed(self.journal, plan, self.fleet.now, "another")
        return Walk(self.fleet, plan, journal, self.timeline, self.choose, self.approves)

    def to_the_end(self, limit: int = STEPS) -> Move:
        """Return the last move: the end, or a gate at which nobody says anything."""
        for _ in range(limit):
            move = self.think()
            if isinstance(move, Ended):
                self.note(f"ended: {move.outcome}")
                for act in parting(self.plan) if move.outcome is not Outcome.SUPERSEDED else ():
                    self.fleet.act(act, self.plan.epoch, self.journal.run)
                self.check()
                if move.outcome is Outcome.VERIFIED and (why := as_promised(self)):
                    raise Violated(self.told(why))
                return move
            if isinstance(move, Ask) and not self.approves:
                return move
            if isinstance(move, Stuck) and (self.choose(move) is None or self.stuck_for > 6):
                return move
            self.make(move)
        raise Violated(self.told(f"no end after {limit} moves; the last is {self.last}"))

    def note(self, text: str) -> None:
        self.timeline += [f"{self.fleet.now:8.2f}  {line}" for line in [*self.fleet.told, text]]
        self.fleet.told.clear()

    def told(self, what: str) -> str:
        return "\n".join([what, "", *self.timeline[-60:]])

    # -- what must hold -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Let clients write wherever they can, then see that nothing is broken."""
        self.fleet.clients()
        for invariant in (one_primary, nothing_lost, traffic_is_safe, nothing_broken):
            if why := invariant(self.fleet, self.plan):
                raise Violated(self.told(why))
        forgive(self.fleet, self.plan)


def one_primary(fleet: Fleet, plan: Plan) -> str:
    """Never two primaries that acknowledge: whoever could is in the history of the last promotion."""
    newest = max((node.newest for node in fleet.nodes.values()), key=_epoch, default="")
    for node in fleet.nodes.values():
        if newest and fleet.serves(node) and fleet.has_word(node) and newest not in node.wal:
            return f"{node.site} acknowledges writes although {newest[1:]} was promoted"
    return ""


def nothing_lost(fleet: Fleet, plan: Plan) -> str:
    """What was acknowledged is in the history that goes on, as far as the plan's statement promised."""
    newest = max((node.newest for node in fleet.nodes.values()), key=_epoch, default="")
    if not newest or plan.loss_bytes is None:
        return ""
    kept = next(node for node in fleet.nodes.values() if newest in node.wal)
    history = max((node.wal for node in fleet.nodes.values() if newest in node.wal), key=len, default=kept.wal)
    missing = sorted(fleet.acked - set(history))
    if SIZE * len(missing) > (plan.loss_bytes or 0):
        return f"acknowledged, and lost: {', '.join(missing)}; the statement said {plan.loss_bytes} bytes"
    return ""


def nothing_broken(fleet: Fleet, plan: Plan) -> str:
    """No database that can never start again, and no DNS server that goes back to an older epoch."""
    for node in fleet.nodes.values():
        if node.broken:
            return f"{node.site} was rewound to the wrong point and can never start"
    for site, (epoch, _, _) in fleet.dns.items():
        if epoch < fleet.highest.get(site, 0):
            return f"DNS of {site} went back from epoch {fleet.highest[site]} to {epoch}"
        fleet.highest[site] = epoch
    return ""


def as_promised(walk: Walk) -> str:
    """What a verified run says of its sites is so: writes are acknowledged, and who was made a follower follows."""
    fleet, target = walk.fleet, walk.fleet.nodes[walk.plan.target if walk.plan.no_return else walk.plan.origin]
    passed_by = Memory(walk.journal, walk.plan.epoch).passed_by
    fleet.pump()
    if not (fleet.serves(target) and fleet.has_word(target)):
        return f"{target.site} is said to be verified, and acknowledges nothing"
    for step in walk.plan.steps:
        for act in step.acts:
            promised = isinstance(act, goals.Rejoin) and step.key not in passed_by and act.upstream == target.site
            if promised and not fleet.streams(act.site) and fleet.reaches(act.site, target.site):
                return f"{act.site} is said to follow {target.site}, and does not"
    return ""


def forgive(fleet: Fleet, plan: Plan) -> None:
    """What was lost as stated, and agreed to, is no later plan's loss."""
    newest = max((node.newest for node in fleet.nodes.values()), key=_epoch, default="")
    if newest and _epoch(newest) == plan.epoch and plan.loss_bytes != 0:
        fleet.acked &= {record for node in fleet.nodes.values() if newest in node.wal for record in node.wal}


def traffic_is_safe(fleet: Fleet, plan: Plan) -> str:
    """Never no site, and remote only where it is primary. A server that could not be reached says what was so before."""
    newest = max(epoch for epoch, _, _ in fleet.dns.values())
    for site, (epoch, primary, sites) in fleet.dns.items():
        if epoch < newest:
            continue
        if not sites:
            return f"DNS of {site} leads nowhere (epoch {epoch})"
        if R in sites and (primary != R or fleet.nodes[R].signal):
            return f"DNS of {site} leads to {R}, which is no primary (epoch {epoch})"
    return ""


def _epoch(mark: str) -> int:
    return int(mark[1:].partition(":")[0]) if mark else 0


def switchover(target: str = S) -> Asked:
    return Asked(Kind.SWITCHOVER, target, run="run-1")


def failover(target: str = S, *, glass: bool = False) -> Asked:
    return Asked(Kind.FAILOVER, target, mode=Mode.UNGRACEFUL, run="run-1", glass=glass)


def ended(move: Move) -> Outcome | None:
    return move.outcome if isinstance(move, Ended) else None
