"""`flotilla recover approve`, `choose`, `sign` and `key`: what people say to a run, signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_recovery import As, Reason, RunName
from flows.console import DEFAULT_FLEET, FAILED, FleetFile

OwnKey = Annotated[Path, typer.Option("--key", help="Your private key.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether you mean it.")]


def register(recover: typer.Typer) -> None:
    """Add them to `flotilla recover`."""
    for command in (approve, choose, sign, key):
        recover.command()(command)


def approve(
    run: RunName,
    key: OwnKey,
    name: As,
    reason: Reason,
    fleet: FleetFile = DEFAULT_FLEET,
    reject: Annotated[bool, typer.Option("--reject", help="Say no: the run is taken back.")] = False,
    yes: Yes = False,
) -> None:
    """Agree to what a run asks, or refuse it, after being shown what it rests on."""
    from flotilla.recovery.approvals import APPROVE, REJECT

    _answer(run, REJECT if reject else APPROVE, fleet, (name, key, reason), yes)


def choose(
    run: RunName,
    choice: Annotated[str, typer.Argument(help="retry, 'go on', abort, ungraceful or end: what the run offers.")],
    key: OwnKey,
    name: As,
    reason: Reason,
    fleet: FleetFile = DEFAULT_FLEET,
    yes: Yes = False,
) -> None:
    """Say how a run that is stuck is to go on."""
    _answer(run, choice, fleet, (name, key, reason), yes)


def sign(
    run: RunName,
    key: OwnKey,
    name: As,
    reason: Reason,
    decision: Annotated[
        str, typer.Option("--decision", help="approve, reject, or what a run that is stuck offers.")
    ] = "approve",
    fleet: FleetFile = DEFAULT_FLEET,
) -> None:
    """Print your signed answer to what a run asks, to be pasted into Prefect's form or sent to its API."""
    from flows.answering import Person, question_of, token_of
    from flows.check import read_fleet
    from flows.recovering import opened
    from flows.telling import question_text

    with opened(read_fleet(fleet)) as ground:
        move = question_of(ground, run)
        typer.echo(question_text(move), err=True)
        typer.echo(token_of(run, move, decision, Person(name, key, reason)))


def key(to: Annotated[Path, typer.Option("--to", help="A file that is not there yet.")]) -> None:
    """Make a key to sign answers with; prints what belongs into the fleet file (recovery.approvers)."""
    from tasks.signing import new_key

    typer.echo(new_key(to))


def _answer(run: str, decision: str, fleet: str, person: tuple[str, Path, str], yes: bool) -> None:
    from flows.answering import Person, decided, question_of, woken
    from flows.check import read_fleet
    from flows.recovering import opened
    from flows.telling import question_text

    with opened(read_fleet(fleet)) as ground:
        move = question_of(ground, run)
        typer.echo(question_text(move))
        if not yes and not typer.confirm(f"\n{decision}?"):
            raise typer.Exit(FAILED)
        taken = decided(ground, run, move, decision, Person(*person))
        typer.echo(f"{decision}, signed by {person[0]}, lies in {', '.join(taken)}")
    if told := woken(run):
        typer.echo(told)
