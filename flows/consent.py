"""What people say to a recovery: their signed answers are looked for, checked, and written into its journal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from flotilla.errors import FlotillaError, Permanent
from flotilla.recovery import recording
from flotilla.recovery.approvals import Approval, Verify, accepted
from flotilla.recovery.choosing import Chosen, chosen
from flotilla.recovery.config import Recovery
from flotilla.recovery.journal import Entry, Journal, Wrote
from flotilla.recovery.memory import Choice
from flotilla.recovery.recording import BY_PLAN, Decision
from flotilla.recovery.walking import Ask, Stuck
from tasks import answer_box
from tasks.clusters import Connection
from tasks.fanout import side_by_side
from tasks.signing import verifier

LOOK_AGAIN = 1.0  # seconds
log = logging.getLogger("flotilla.recovery")


class SignedAnswers:
    """Takes the answers that lie in the clusters' boxes; waits a moment where there are none."""

    def __init__(self, recovery: Recovery, connections: Mapping[str, Connection]) -> None:
        self._names = tuple(one.name for one in recovery.approvers)
        self._verify = verifier({one.name: one.public_key for one in recovery.approvers})
        self._connections = connections
        self._refused: dict[str, str] = {}

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with the answers that count; the same one, after a moment, where there are none."""
        found = journal
        for token in self.tokens(journal.run):
            found = self.taken(token, move, found)
        if found is journal:
            time.sleep(LOOK_AGAIN)
        return found

    def tokens(self, run: str) -> Iterable[str]:
        """Return the answers that lie in any cluster, each once."""
        boxes = side_by_side(self._connections, lambda name: answer_box.tokens(self._connections[name], run))
        return dict.fromkeys(token for box in boxes.values() if not isinstance(box, FlotillaError) for token in box)

    def taken(self, token: str, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with an answer, if it counts for this question; if not, why not is logged once."""
        if _is_known(token, journal):
            return journal
        now = time.time()
        if isinstance(move, Ask):
            given = accepted(token, self._verify, move.gate, self._names, now)
            if isinstance(given, Approval):
                log.info("%s: %s by %s: %s", move.step.title, given.decision, given.name, given.reason)
                return recording.approved(journal, given, move.epoch, now)
            return self._not_taken(token, given, journal)
        choice = chosen(token, self._verify, journal.run, move, self._names, now=now)
        if not isinstance(choice, Chosen):
            return self._not_taken(token, choice, journal)
        log.info("%s: %s, says %s: %s", move.step.title, choice.choice, choice.name, choice.reason)
        decision = Decision(now, move.epoch, choice.name, choice.reason, token)
        return recording.decided(journal, move.step.key, choice.choice, decision)

    def _not_taken(self, token: str, why: tuple[str, ...], journal: Journal) -> Journal:
        told = "; ".join(why)
        if self._refused.get(token) != told:
            self._refused[token] = told
            log.warning("an answer to %s does not count: %s", journal.run, told)
        return journal

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why answers that were looked at do not count."""
        return tuple(dict.fromkeys(self._refused.values()))


def vouched_for(journal: Journal, recovery: Recovery) -> Journal:
    """Return a journal whose people have signed all that stands there as theirs; raises Permanent for one that was forged.

    Its chain of hashes has no key: whoever may write a ConfigMap could add an entry to it.
    """
    verify = verifier({one.name: one.public_key for one in recovery.approvers})
    turned = False
    for number, entry in enumerate(journal.entries, 1):
        why = _unsigned(entry, journal.run, verify)
        if entry.kind is Wrote.PLANNED and number > 1 and not turned:
            why = "nobody decided that the run goes on by another plan"
        if why:
            raise Permanent(f"the journal of {journal.run} was forged: entry {number} ({entry.kind} by {entry.who}): {why}")
        turned |= entry.kind is Wrote.DECIDED and entry.said.get("choice") == Choice.UNGRACEFUL
    return journal


def _unsigned(entry: Entry, run: str, verify: Verify) -> str:
    """Return why an entry is not what its signature says, "" if it is, or needs none."""
    if entry.kind is Wrote.APPROVED:
        wanted = {name: entry.said.get(name) for name in ("gate", "plan", "evidence", "decision", "name", "reason")}
    elif entry.kind is Wrote.DECIDED and (entry.who != BY_PLAN or entry.said.get("choice") == Choice.UNGRACEFUL):
        at = {"gate": f"stuck-{entry.step}", "epoch": entry.epoch}
        wanted = {**at, "decision": entry.said.get("choice"), "name": entry.who, "reason": entry.said.get("why")}
    else:
        return ""
    try:
        said = verify(str(entry.said.get("token", "")))
    except ValueError as error:
        return str(error)
    other = [name for name, value in {**wanted, "run": run}.items() if said.get(name) != value]
    return f"what was signed differs in {', '.join(other)}" if other else ""


def _is_known(token: str, journal: Journal) -> bool:
    """Return whether an answer stands in the journal already: it is taken once."""
    return any(entry.said.get("token") == token for entry in journal.entries if entry.kind in (Wrote.APPROVED, Wrote.DECIDED))
