"""`flotilla dashboards`: check, hand out and serve the dashboards. ``register`` adds the commands to the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flotilla.dashboards.findings import Finding
    from flows.dashboard_checks import Cost

FILES = "deployments/dashboards"
FLEET = "deployments/fleet.yaml"
FAILED = 1  # exit code: something was found
SLOWEST = 12  # panels whose cost is told

dashboards = typer.Typer(no_args_is_help=True, help="Dashboards over all clusters: check them, hand them out, serve them.")

Files = Annotated[list[str] | None, typer.Argument(help=f"Files or directories; else {FILES}.")]
StoreUrl = Annotated[str, typer.Option("--store", help="The store's address, up to /api/v1.", envvar="FLOTILLA_STORE")]
TokenEnv = Annotated[str, typer.Option("--token-env", help="The variable that holds a bearer token for the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="For other programs.")]
FleetFile = Annotated[str, typer.Option("--fleet", help="The fleet file.", envvar="FLOTILLA_FLEET")]


class Form(StrEnum):
    """What dashboards are written for."""

    GRAFANA = "grafana"
    VMUI = "vmui"


def register(app: typer.Typer) -> None:
    """Add `dashboards` to the command line."""
    app.add_typer(dashboards, name="dashboards")


@dashboards.command()
def serve(
    files: Files = None,
    store: StoreUrl = "http://127.0.0.1:8428",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8429,
    fleet: FleetFile = FLEET,
    token_env: TokenEnv = "",
    host: Annotated[
        str, typer.Option(help="Where to listen; other than this machine only behind something that asks who.")
    ] = "127.0.0.1",
) -> None:
    """Serve a page with every dashboard, tables and Top N included, until ctrl-C."""
    from flows.check import read_fleet
    from flows.dashboards import open_desk, read_dashboards, serve_page
    from tasks.promql import engine_at

    desk = open_desk(read_dashboards(files or []), read_fleet(fleet), engine_at(store, token_env))
    serve_page(desk, host, port, lambda address: typer.echo(f"dashboards: {address}"))


@dashboards.command()
def lint(
    files: Annotated[list[str] | None, typer.Argument(help="Dashboards, rules or directories; else all deployed ones.")] = None,
    store: Annotated[str, typer.Option("--store", help="Also ask this store every question, and tell what each costs.")] = "",
    scrape: Annotated[float, typer.Option("--scrape-interval", help="Seconds between two scrapes of the members.")] = 30.0,
    most: Annotated[int, typer.Option("--most-series", help="What one expression may read.")] = 300_000,
    any_metric: Annotated[bool, typer.Option("--any-metric", help="Take metrics for known that we do not know.")] = False,
    token_env: TokenEnv = "",
    as_json: AsJson = False,
) -> None:
    """Check every expression: joins that forget the cluster, rates of gauges, topk per step, unknown names, cost."""
    from flotilla.dashboards.checks import Ground
    from flows.dashboard_checks import ask_all, ground_of, lint_sheets, read_sheets
    from tasks.promql import engine_at

    sheets = read_sheets(files or [])
    ground = Ground(scrape=scrape, most=most)
    found: list[Cost] = []
    findings: list[Finding] = []
    if store:
        ground = ground_of(engine_at(store, token_env), sheets, ground)
        refused, costs = ask_all(engine_at(store, token_env), sheets)
        findings += refused
        found += costs
    findings += lint_sheets(sheets, replace(ground, known=None) if any_metric else ground)
    _tell(findings, found, as_json)
    if findings:
        raise typer.Exit(FAILED)


@dashboards.command()
def export(
    files: Files = None,
    form: Annotated[Form, typer.Option("--format", help="What is to draw them.")] = Form.GRAFANA,
    to: Annotated[str, typer.Option("--to", help="A directory, made where it is not there.")] = "",
    fleet: FleetFile = FLEET,
) -> None:
    """Write dashboards for Grafana to provision, or for vmui (-vmui.customDashboardsPath)."""
    from flows.check import read_fleet
    from flows.dashboards import export_dashboards, read_dashboards

    for path in export_dashboards(
        read_dashboards(files or []), form.value, to or f"dashboards-{form.value}", read_fleet(fleet)
    ):
        typer.echo(path)


def _tell(findings: list[Finding], costs: list[Cost], as_json: bool) -> None:
    if as_json:
        told = [{**asdict(one), "line": one.line, "column": one.column} for one in findings]
        typer.echo(json.dumps({"findings": told, "costs": [asdict(one) for one in costs]}, indent=2))
        return
    for one in findings:
        typer.echo(str(one))
    for cost in costs[:SLOWEST]:
        typer.echo(f"{cost.seconds:6.2f} s  up to {cost.series:>9,} series  {cost.place.file}: {cost.place.panel}")
    typer.echo(f"{len(findings)} findings" if findings else "nothing to find fault with")
