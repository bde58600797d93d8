"""Commands about metrics."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.console import DEFAULT_FLEET, FAILED, FleetFile


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(collect)
    app.command()(report)


def collect(
    fleet: FleetFile = DEFAULT_FLEET,
    state: Annotated[str, typer.Option(help="The folder in which is kept what was collected.")] = ".flotilla/metrics",
) -> None:
    """Collect the samples of every cluster's Prometheus into the store, until told to end. Needs no Prefect."""
    from flows.check import read_fleet
    from flows.collecting import collect_for_good

    collect_for_good(read_fleet(fleet), state)


def report(
    fleet: FleetFile = DEFAULT_FLEET,
    at: Annotated[str, typer.Option(help="Its end, as 2026-11-23T06:00 (UTC where it names no zone); else now.")] = "",
    days: Annotated[float, typer.Option(help="How long it is.")] = 1.0,
    output: Annotated[str, typer.Option(help="Write the markdown to this file.")] = "",
    picture: Annotated[str, typer.Option(help="Also draw it, to this file (.svg).")] = "",
) -> None:
    """Tell what ran where, whether the others would hold a loss, what moved, and how whole the view is. Needs no Prefect."""
    import time

    from flotilla.daily import picture as drawing
    from flotilla.daily.asked import period_of
    from flotilla.daily.text import markdown
    from flows.check import read_fleet
    from flows.reporting import check_picture, fleet_report, write_file

    check_picture(picture)
    found = fleet_report(read_fleet(fleet), period_of(at, days, time.time()))
    for file, text in ((output, markdown(found)), (picture, drawing.picture(found))):
        if file:
            write_file(file, text)
    if not output:
        typer.echo(markdown(found), nl=False)
    if found.silence:
        raise typer.Exit(FAILED)
