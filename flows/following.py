"""Follow a run from a terminal: its log lines, and its gates asked where somebody can answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import typer

from tasks import orchestrator

EVERY = 0.5  # seconds between looks
CODES = {"COMPLETED": 0, "FAILED": 1, "CRASHED": 1, "CANCELLED": 3}
Answering = Callable[[dict[str, Any]], tuple[str, str, str] | None]
"""Return decision, name and reason for the gate at which a run waits, None to leave it to others."""


def follow_run(run: str, say: Callable[[str], None], answering: Answering | None = None) -> int:
    """Return the exit code of a run once it has ended; its log lines go to ``say``.

    Where it waits at a gate the person at the terminal is asked; without a terminal, how to answer is said, and waited for.
    """
    seen, told = 0, ""
    while True:
        state = orchestrator.run_of(run)
        for record in orchestrator.logs_of(run, seen):
            say(f"  {record['timestamp'][11:19]} {record['message']}")
            seen += 1
        kind = state["state_type"]
        if kind in CODES:
            say(f"{state['name']}: {state['state']['name']}: {state['state'].get('message') or ''}")
            return CODES[kind]
        key = state["state"]["state_details"].get("pause_key") if kind == "PAUSED" else None
        if key and key != told:
            told = key
            _ask(state, say, answering or _at_the_terminal)
        time.sleep(EVERY)


def _ask(state: dict[str, Any], say: Callable[[str], None], answering: Answering) -> None:
    while True:
        answer = answering(state)
        if answer is None:
            link = orchestrator.ui_link(state["id"])
            say(f"waits for a person: flotilla approve {state['id']} --as NAME --reason WHY, or {link}")
            return
        refusal = orchestrator.answer_gate(state["id"], *answer)
        if not refusal:
            return
        say(f"the answer was not taken: {refusal}")
        if orchestrator.run_of(state["id"])["state_type"] != "PAUSED":
            return  # somebody else was quicker


def _at_the_terminal(state: dict[str, Any]) -> tuple[str, str, str] | None:
    """Ask the person at the terminal; None where there is no terminal, or they leave it to others."""
    if not sys.stdin.isatty():
        return None
    typer.echo(f"{state['name']} waits at {state['state']['state_details']['pause_key'].rpartition('-')[0]}; "
               f"or answer in the UI: {orchestrator.ui_link(state['id'])}")  # fmt: skip
    decision = typer.prompt("approve, reject, or leave it to others", default="leave")
    if decision not in ("approve", "reject"):
        return None
    return decision, typer.prompt("your name"), typer.prompt("reason")
