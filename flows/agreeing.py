"""A person at the terminal who has seen the plan: each gate of its run is signed with their key, at once."""

from __future__ import annotations

from flotilla.recovery.journal import Journal
from flotilla.recovery.steps import Plan
from flotilla.recovery.walking import Ask, Stuck
from flows.answering import Person, counts, decided
from flows.recovering import Ground
from flows.walker import People


class Agreeing:
    """Somebody who agreed to a plan as it was shown, and signs each of its gates, and those of no other; others answer too."""

    def __init__(self, others: People, ground: Ground, person: Person) -> None:
        self._others, self._ground, self._person = others, ground, person
        self._shown: set[str] = set()
        self._signed: set[str] = set()

    def was_shown(self, plan: Plan) -> None:
        """Take note of a plan that the person was shown."""
        self._shown.add(plan.hash)

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Sign a gate once; what else is asked is for others, or for later."""
        if isinstance(move, Ask) and self._agrees(move):
            self._signed.add(move.gate.evidence)
            decided(self._ground, move.gate.run, move, "approve", self._person)
        return self._others.answer(move, journal)

    def _agrees(self, move: Ask) -> bool:
        shown = move.gate.plan in self._shown  # a run that goes on as a failover is another plan, with a loss of its own
        return shown and counts(move, self._person.name) and move.gate.evidence not in self._signed
