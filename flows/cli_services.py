"""Commands about services across clusters."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flotilla.errors import InvalidInput
from flows.console import DEFAULT_FLEET, FAILED, AsJson, FleetFile, print_rows


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (keep, explain, withdrawals):
        app.command()(command)


def keep(
    fleet: FleetFile = DEFAULT_FLEET,
    state: Annotated[str, typer.Option(help="A file to tell counts, lag and held withdrawals in, as JSON.")] = "",
) -> None:
    """Keep services wired across the clusters, until told to end (SIGTERM, ctrl-C). Needs no Prefect."""
    from flows.check import read_fleet
    from flows.keeping import keep_wired

    keep_wired(read_fleet(fleet), state)


def explain(
    service: Annotated[str, typer.Argument(help="NAME, NAMESPACE/NAME, or NAME.NAMESPACE.svc.clusterset.local.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "",
    consumer: Annotated[list[str] | None, typer.Option("--in", help="A consumer cluster; repeatable; else all.")] = None,
    fleet: FleetFile = DEFAULT_FLEET,
    as_json: AsJson = False,
) -> None:
    """Tell why SERVICE answers as it does in each cluster: export, conflicts, slices, lease, probes, Service, DNS."""
    from dataclasses import asdict

    from flows.check import read_fleet
    from flows.explaining import explain_service, service_key

    clusters = read_fleet(fleet)
    for name in consumer or ():
        if name not in clusters.names:
            from flotilla.errors import Problem

            raise InvalidInput([Problem("command line", "--in", name, "one of " + ", ".join(clusters.names))])
    found = explain_service(clusters, service_key(service, namespace), consumer or clusters.names)
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "broken": asdict(one.broken) if one.broken else None} for one in found]))
    for one in () if as_json else found:
        typer.echo(f"\nin {one.consumer}:")
        print_rows(
            [{"link": s.link, "at": s.cluster, "": "BROKEN" if s.blame else "ok", "what is so": s.text} for s in one.steps]
        )
        if one.broken:
            typer.echo(f"first broken link: {one.broken.link} at {one.broken.cluster or 'no cluster'} ({one.broken.blame})")
    if any(one.broken for one in found):
        raise typer.Exit(FAILED)


def withdrawals(
    fleet: FleetFile = DEFAULT_FLEET,
    agree: Annotated[bool, typer.Option("--approve", help="Agree to those that wait now, and to no later ones.")] = False,
    name: Annotated[str, typer.Option("--as", help="Who you are; kept in the clusters.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the clusters.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the exporters whose withdrawal waits for a person (services.withdrawalCap), or agree to it."""
    from dataclasses import asdict

    from flotilla.errors import Problem, phrase
    from flows.check import read_fleet
    from flows.withdrawals import approve_withdrawals, waiting_withdrawals

    if agree and not (name and reason):
        raise InvalidInput([Problem("command line", "--approve", phrase("stands alone"), "--approve --as NAME --reason TEXT")])
    held = approve_withdrawals(read_fleet(fleet), name, reason) if agree else waiting_withdrawals(read_fleet(fleet))
    rows = [
        {field: str(value) for field, value in asdict(one).items()} | {"consumers": ", ".join(one.consumers)} for one in held
    ]
    print_rows(rows, [asdict(one) for one in held] if as_json else None)
    if agree and not as_json:
        typer.echo(f"approved by {name}: {len(held)}; the keeper withdraws them within seconds")
