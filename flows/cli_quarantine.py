"""`flotilla quarantine`: what the store refused, shown and sent again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.console import DEFAULT_FLEET, FAILED, AsJson, FleetFile, print_rows

State = Annotated[str, typer.Option(help="The folder in which the collector keeps what it collected.")]
ClusterName = Annotated[str, typer.Option("--cluster", help="Only what was refused of this cluster.")]
Match = Annotated[str, typer.Option(help="Only series that this selector picks, as kube_pod_info{namespace=~'shop.*'}.")]
DEFAULT_STATE = ".flotilla/metrics"

quarantine = typer.Typer(no_args_is_help=True, help="What the store refused: list it, send it again.")


def register(app: typer.Typer) -> None:
    """Add `quarantine` to the command line."""
    app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def list_records(state: State = DEFAULT_STATE, cluster: ClusterName = "", match: Match = "", as_json: AsJson = False) -> None:
    """Show what the store refused, why, and of which time; the newest first."""
    from flotilla.metrics.resending import rows
    from flows.resending import pick_of, quarantine_in

    found = rows(pick_of(cluster, match).of(quarantine_in(state).records()))
    print_rows(found, found if as_json else None)


@quarantine.command()
def send(
    fleet: FleetFile = DEFAULT_FLEET,
    state: State = DEFAULT_STATE,
    cluster: ClusterName = "",
    match: Match = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send what the store refused to it again; what it refuses again is kept, and makes the exit code 1."""
    from flows.check import read_fleet
    from flows.resending import pick_of, planned, quarantine_in, send_again

    clusters, held = read_fleet(fleet), quarantine_in(state)
    pick = pick_of(cluster, match, clusters.names)
    done = planned(pick.of(held.records())) if dry_run else send_again(clusters, held, pick)
    print_rows([one.row() for one in done], [asdict(one) for one in done] if as_json else None)
    if any(one.refused for one in done):
        raise typer.Exit(FAILED)
