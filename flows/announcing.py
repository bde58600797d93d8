"""A run that waits for people tells them: once for each question, by the fleet's webhook, and never a reason to wait longer."""

from __future__ import annotations

import threading

from flotilla.fleet import Fleet
from flotilla.recovery.journal import Journal
from flotilla.recovery.walking import Ask, Stuck
from flows.telling import counted
from flows.walker import People
from tasks.notify import tell_webhook


class Announcing:
    """People who are told what they are asked."""

    def __init__(self, people: People, fleet: Fleet) -> None:
        self._people, self._fleet = people, fleet
        self._told: set[tuple[str, object]] = set()

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with what people answered; they are told what is asked where they were not yet."""
        about = (move.step.key, move.gate.evidence if isinstance(move, Ask) else move.choices)
        name = self._fleet.approvals.webhook_env
        if name and about not in self._told:
            self._told.add(about)
            body = {"text": told(move, journal.run), "run": journal.run}
            # No daemon: a run that is suspended now ends its process, and people are told all the same.
            threading.Thread(target=tell_webhook, args=(f"env:{name}", body), name="announced").start()
        return self._people.answer(move, journal)


def told(move: Ask | Stuck, run: str) -> str:
    """Return what people are told: what waits for them, and how they answer."""
    if isinstance(move, Ask):
        return f"run {run}: {move.gate.question} {counted(move.gate.people)} to agree: flotilla recover approve {run}"
    choices = ", ".join(move.choices)
    return f"run {run} waits at {move.step.title}: {move.why}; flotilla recover choose {run}, one of: {choices}"
