"""Follow a run from a terminal: its log lines, and its gates, answered here or elsewhere, whoever is quicker."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import Any

from tasks import prefect_api

EVERY = 0.5  # seconds between looks
CODES = {"COMPLETED": 0, "FAILED": 1, "CRASHED": 1, "CANCELLED": 3}
Say = Callable[[str], None]
Answer = tuple[str, str, str]
"""Decision, name and reason."""


def follow_run(run: str, say: Say, beforehand: Answer | None = None) -> int:
    """Return the exit code of a run once it has ended; its log lines go to ``say``.

    At a gate ``beforehand`` is the answer, if given; else a line typed at the terminal, or an answer that somebody gives in
    the UI or by `flotilla approve`, whichever comes first.
    """
    told: set[str] = set()
    gate = ""
    while True:
        state = prefect_api.run_of(run)
        kind = state["state_type"]
        if kind in CODES:
            time.sleep(2 * EVERY)  # the last lines are on their way
        _tell_news(run, told, say)
        if kind in CODES:
            say(f"{state['name']}: {state['state']['name']}: {state['state'].get('message') or ''}")
            return 2 if state["state"]["name"] == "BadInput" else CODES[kind]
        key = state["state"]["state_details"].get("pause_key") if kind == "PAUSED" else None
        if key and key != gate:
            gate = key
            _invite(state, say)
        if not (key and _answered(run, say, beforehand)):
            time.sleep(EVERY)


def _tell_news(run: str, told: set[str], say: Say) -> None:
    """Tell the log lines that have not been told; lines of tasks may arrive late, so a few older ones are looked at again."""
    for record in prefect_api.logs_of(run, max(0, len(told) - 50)):
        if record["id"] not in told:
            told.add(record["id"])
            say(f"  {record['timestamp'][11:19]} {record['message']}")


def _invite(state: dict[str, Any], say: Say) -> None:
    gate = state["state"]["state_details"]["pause_key"].rpartition("-")[0]
    say(f"{state['name']} waits for a person at {gate}: {prefect_api.ui_link(state['id'])}")
    say(f"or: flotilla approve {state['id']} --as NAME --reason WHY")
    if sys.stdin.isatty():
        say("or type here: approve NAME REASON | reject NAME REASON")


def _answered(run: str, say: Say, beforehand: Answer | None) -> bool:
    """Give an answer, if there is one; True if it was tried."""
    answer = beforehand or _typed(say)
    if answer is None:
        return False
    refusal = prefect_api.answer_gate(run, *answer)
    if refusal and prefect_api.run_of(run)["state_type"] == "PAUSED":
        say(f"the answer was not taken: {refusal}")
    time.sleep(EVERY)
    return True


def _typed(say: Say) -> Answer | None:
    """Return the answer typed at the terminal since the last look; a line that is none is told so."""
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return None
    words = sys.stdin.readline().split(maxsplit=2)
    if len(words) == 3 and words[0] in ("approve", "reject"):
        return words[0], words[1], words[2]
    say("type: approve NAME REASON | reject NAME REASON")
    return None
