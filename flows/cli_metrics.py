"""Commands about metrics."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.console import DEFAULT_FLEET, FleetFile


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(collect)


def collect(
    fleet: FleetFile = DEFAULT_FLEET,
    state: Annotated[str, typer.Option(help="The folder in which is kept what was collected.")] = ".flotilla/metrics",
) -> None:
    """Collect the samples of every cluster's Prometheus into the store, until told to end. Needs no Prefect."""
    from flows.check import read_fleet
    from flows.collecting import collect_for_good

    collect_for_good(read_fleet(fleet), state)
