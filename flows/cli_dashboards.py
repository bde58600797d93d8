"""`flotilla dashboards`: check, hand out and serve the dashboards. ``register`` adds the commands to the command line."""

from __future__ import annotations

from typing import Annotated

import typer

FILES = "deployments/dashboards"

dashboards = typer.Typer(no_args_is_help=True, help="Dashboards over all clusters: check them, hand them out, serve them.")

Files = Annotated[list[str] | None, typer.Argument(help=f"Files or directories; else {FILES}.")]
StoreUrl = Annotated[str, typer.Option("--store", help="The store's address, up to /api/v1.", envvar="FLOTILLA_STORE")]
TokenEnv = Annotated[str, typer.Option("--token-env", help="The variable that holds a bearer token for the store.")]
FleetFile = Annotated[str, typer.Option("--fleet", help="The fleet file.", envvar="FLOTILLA_FLEET")]


def register(app: typer.Typer) -> None:
    """Add `dashboards` to the command line."""
    app.add_typer(dashboards, name="dashboards")


@dashboards.command()
def serve(
    files: Files = None,
    store: StoreUrl = "http://127.0.0.1:8428",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8429,
    fleet: FleetFile = "deployments/fleet.yaml",
    token_env: TokenEnv = "",
    host: Annotated[
        str, typer.Option(help="Where to listen; other than this machine only behind something that asks who.")
    ] = "127.0.0.1",
) -> None:
    """Serve a page with every dashboard, tables and Top N included, until ctrl-C."""
    from flows.check import read_fleet
    from flows.dashboards import open_desk, read_dashboards, serve_page
    from tasks.promql import Store

    desk = open_desk(read_dashboards(files or [FILES]), read_fleet(fleet), Store(store, token_env))
    serve_page(desk, host, port, lambda address: typer.echo(f"dashboards: {address}"))
