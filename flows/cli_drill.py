"""`flotilla recover drill`: the business moved there and back, and what that was like."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_recovery import As, DryRun, KeyFile, Reason, To
from flows.console import DEFAULT_FLEET, FAILED, FleetFile

if TYPE_CHECKING:
    from flotilla.recovery.steps import Plan
    from flows.answering import Person
    from flows.drilling import Wish
    from flows.recovering import Ground

Ledger = Annotated[str, typer.Option(help="File or address of what a client outside of all sites notes while it writes.")]


def register(recover: typer.Typer) -> None:
    """Add `drill` to `flotilla recover`."""
    recover.command()(drill)


def drill(
    to: To,
    fleet: FleetFile = DEFAULT_FLEET,
    name: As = "",
    reason: Reason = "",
    key: KeyFile = None,
    ledger: Ledger = "",
    dry_run: DryRun = False,
) -> None:
    """Move the primary to a site as planned, verify and protect it there, move it back, and report what that was like."""
    from flows.answering import Person
    from flows.check import read_fleet
    from flows.drilling import Wish, plans
    from flows.logs import log_to_stderr
    from flows.recovering import new_name, opened

    log_to_stderr()
    who = name or getpass.getuser()
    wish = Wish(new_name("drill"), to, who, reason, ledger)
    with opened(read_fleet(fleet)) as ground:
        both = plans(ground, wish)
        if dry_run:
            _tell_plans(ground, both)
        else:
            _drill(ground, wish, Person(who, key, reason) if key else None)


def _tell_plans(ground: Ground, both: tuple[Plan, Plan]) -> None:
    from flows.rehearsing import past_ways
    from flows.telling import plan_text

    past = past_ways(ground.connections)
    for plan in both:
        typer.echo(plan_text(plan, past) + "\n")


def _drill(ground: Ground, wish: Wish, person: Person | None) -> None:
    from flotilla.recovery.drilling import drill_text
    from flows.agreeing import Agreeing
    from flows.consent import SignedAnswers
    from flows.drilling import drilled
    from flows.rehearsing import past_ways, write_files
    from flows.telling import plan_text

    past = past_ways(ground.connections)
    typer.echo(f"drill {wish.name}\n")
    signed = SignedAnswers(ground.recovery, ground.connections)
    agreeing = Agreeing(signed, ground, person) if person else None

    def show(plan: Plan) -> None:
        typer.echo(plan_text(plan, past) + "\n")
        if agreeing:
            agreeing.was_shown(plan)

    found = drilled(ground, wish, agreeing or signed, show)
    typer.echo(drill_text(found, past))
    typer.echo(f"kept in {write_files(ground.folder, found, past)} and in the clusters")
    if not found.is_well:
        raise typer.Exit(FAILED)
