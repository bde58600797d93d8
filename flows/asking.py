"""A recovery's gates in Prefect: the run is suspended until its form brings a signed answer, or one lies where others look."""

from __future__ import annotations

import json

import httpx
from prefect import get_client, runtime
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from flotilla.recovery.journal import Journal
from flotilla.recovery.walking import Ask, Stuck
from flows.answering import LOOK_THERE
from flows.consent import SignedAnswers
from flows.journey import say, show
from flows.recovering import Ground
from flows.telling import question_text
from tasks.prefect_api import ui_link

PATIENCE = 86_400  # seconds for which a run waits for its people


class Signed(RunInput):
    """What a person answers a recovery's gate with."""

    code: str = Field(
        min_length=20, description="What `flotilla recover sign RUN` printed for you: it names you and your reason."
    )


class Form:
    """Asks by Prefect's form. Answers that were laid down by command line or API count as well."""

    def __init__(self, ground: Ground) -> None:
        self._signed = SignedAnswers(ground.recovery, ground.connections)

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with the answers that are there; suspends the run where there is none."""
        try:
            return self._answered(move, journal)
        except httpx.HTTPError as error:  # Prefect went away: whoever answers does so by command line or API meanwhile
            say("Prefect does not answer (%s): answers are looked for in the clusters", error)
            return self._signed.answer(move, journal)

    def _answered(self, move: Ask | Stuck, journal: Journal) -> Journal:
        found = journal
        for token in self._signed.tokens(journal.run):
            found = self._signed.taken(token, move, found)
        if found is not journal:
            return found
        filled_in = _given(move)
        for token in (one for one in filled_in if one != LOOK_THERE):
            found = self._signed.taken(token, move, found)
        if found is not journal:
            return found
        why = "".join(f"\n\nan answer does not count: {one}" for one in self._signed.refusals)
        run, text = str(runtime.flow_run.id), question_text(move) + why
        link = ui_link(run)
        say("waits for people: %s; answer at %s, or: flotilla recover approve %s", move.step.title, link, journal.run)
        by_hand = f"`flotilla recover approve {journal.run}`"
        how = f"[answer here]({link}) with what `flotilla recover sign {journal.run}` prints; or {by_hand}"
        show("waiting-for-you-recovery", f"{journal.run}: {move.step.title}", f"## {move.step.title}\n\n{text}\n\n{how}")
        suspend_flow_run(
            wait_for_input=Signed.with_initial_data(description=text), timeout=PATIENCE, key=_key(move, len(filled_in))
        )
        return journal


def _key(move: Ask | Stuck, asked: int) -> str:
    """Return the key of a pause: other evidence is another question, and so is one that was answered in vain."""
    about = move.gate.evidence[:12] if isinstance(move, Ask) else str(move.epoch)
    return f"{move.step.key}-{about}-{asked}"


def _given(move: Ask | Stuck) -> tuple[str, ...]:
    """Return what the form brought for a question so far."""
    found = list[str]()
    with get_client(sync_client=True) as client:
        while True:
            answer = client.request(
                "POST",
                "/flow_runs/{id}/input/filter",
                path_params={"id": str(runtime.flow_run.id)},
                json={"prefix": f"suspended-{_key(move, len(found))}-response", "limit": 1, "exclude_keys": []},
            )
            if not (given := answer.json()):
                return tuple(found)
            found.append(str(json.loads(given[0]["value"])["code"]))
