"""`flotilla alerts`: which there are, what they would start, and the receiver that starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.console import DEFAULT_FLEET, AsJson, FleetFile

alerts = typer.Typer(no_args_is_help=True, help="Alerts over all clusters: what they say, and what they start.")


def register(app: typer.Typer) -> None:
    """Add `alerts` to the command line."""
    app.add_typer(alerts, name="alerts")


@alerts.command()
def receive(fleet: FleetFile = DEFAULT_FLEET) -> None:
    """Take Alertmanager's webhook and start what alerts are to start, until told to end."""
    from flows.check import read_fleet
    from flows.logs import log_to_stderr
    from flows.receiving import receive_for_good

    log_to_stderr()
    receive_for_good(read_fleet(fleet))


@alerts.command("list")
def list_(
    fleet: FleetFile = DEFAULT_FLEET,
    *,
    as_json: AsJson = False,
) -> None:
    """List the alerts that fire, whether what they are made of is fresh, and what each starts."""
    from flotilla.metrics.alerts import Start, sense_of
    from flotilla.metrics.words import moment
    from flows.alerts import Watch
    from flows.check import read_fleet
    from flows.console import print_rows

    watch = Watch(read_fleet(fleet))
    situation, found = watch.situation(), watch.firing()
    rows = [
        {
            "alert": alert.name,
            "of": alert.about,
            "since": moment(alert.started),
            "says": str(sense_of(alert, situation)),
            "starts": decision.deployment if isinstance(decision, Start) else f"nothing: {decision.why}",
        }
        for alert, decision in zip(found, watch.decisions(found), strict=True)
    ]
    print_rows(rows, rows if as_json else None)
    typer.echo(situation.freshness.said(situation.clusters), err=True)


@alerts.command("try")
def try_(
    file: Annotated[Path, typer.Argument(help="The body of a webhook of Alertmanager, version 4, as JSON.")],
    fleet: FleetFile = DEFAULT_FLEET,
) -> None:
    """Say what the alerts in a file would start now. Nothing is started."""
    from flotilla.metrics.webhook import parse_webhook
    from flows.alerts import Watch, said
    from flows.check import read_fleet
    from tasks.manifests import read_texts

    (body,) = read_texts([file]).values()
    for decision in Watch(read_fleet(fleet)).decisions(parse_webhook(body).alerts):
        typer.echo(said(decision))
