"""The lab on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import lab
from lab import binaries as programs
from lab.layout import CLUSTERS, CONTROL_PLANE, HUB, NODE

_PARTS = f"{', '.join(CONTROL_PLANE + NODE)}; of the hub: {', '.join(HUB)}"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Three real Kubernetes clusters on this machine, without a container engine: production, same-city and remote. "
    "The lab lives in .lab of this checkout, or in FLOTILLA_LAB_DIR.",
)

Site = Annotated[str, typer.Argument(help=f"One of {', '.join(CLUSTERS)}.", metavar="SITE")]
SiteOrHub = Annotated[str, typer.Argument(help=f"One of {', '.join(CLUSTERS)}, hub.", metavar="SITE")]


@app.command()
def up(
    simulated_nodes: Annotated[
        int | None, typer.Option(min=0, max=5000, help="Simulated nodes in each cluster beside the real one.")
    ] = None,
    real_nodes: Annotated[
        bool | None, typer.Option(help="A real node in each cluster; without the option: where this machine allows it.")
    ] = None,
) -> None:
    """Bring the lab up, or repair what has died of it. Quick when all is well."""
    seen = lab.up(simulated_nodes=simulated_nodes, real_nodes=real_nodes, say=_say)
    _print(seen)
    store = f" FLOTILLA_STORE={seen.hub.store}" if seen.hub else ""
    print(f"\nexport KUBECONFIG={seen.kubeconfig}{store} PATH={seen.binaries}:$PATH")
    if not seen.is_up:
        raise typer.Exit(1)


@app.command()
def down() -> None:
    """Take the lab away: processes, namespaces, mounts, control groups, routes, files."""
    if not lab.down(say=_say):
        print("there is no lab")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False) -> None:
    """Look at the lab: exit code 0 if every cluster is up, 1 otherwise."""
    seen = lab.look()
    if as_json:
        print(seen.as_json())
    else:
        _print(seen)
    if not seen.is_up:
        raise typer.Exit(1)


@app.command()
def cut(site: Site) -> None:
    """Take a site's network away, both ways: silence outside, everything goes on inside."""
    lab.cut(site)
    print(f"{site} is cut; undo with: python -m lab heal {site}")


@app.command()
def heal(site: Site) -> None:
    """Give a site's network back."""
    lab.heal(site)
    print(f"{site} is connected")


@app.command()
def stop(
    site: SiteOrHub,
    part: Annotated[str | None, typer.Argument(help=f"One of {_PARTS}; without it all, as in a power failure.")] = None,
    kill: Annotated[bool, typer.Option("--kill", help="With SIGKILL instead of asking first.")] = False,
) -> None:
    """End one part of a site, or the whole site with its pods at once."""
    lab.stop(site, part, kill=kill)
    print(f"{site}: {part or 'everything'} ended; undo with: python -m lab start {site}{' ' + part if part else ''}")


@app.command()
def start(
    site: SiteOrHub, part: Annotated[str | None, typer.Argument(help=f"One of {_PARTS}; without it all.")] = None
) -> None:
    """Start one part of a site, or all that does not run."""
    lab.start(site, part)
    print(f"{site}: {part or 'everything'} runs")


@app.command()
def image(
    file: Annotated[Path, typer.Argument(help="An OCI or Docker image archive, or a static Linux program.")],
    name: Annotated[str | None, typer.Option(help="The image's name, e.g. localhost/tool:1.")] = None,
) -> None:
    """Import an image into every node; a static program is wrapped into an image first."""
    for found in lab.image(file, name):
        print(found)


@app.command()
def binaries() -> None:
    """Build what the lab runs, and no more: once a version, kept in the cache."""
    for name, path in programs.ensure(_say).paths.items():
        print(f"{name:24} {path}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(seen: lab.LabStatus) -> None:
    if not seen.clusters:
        print(f"there is no lab in {seen.lab}")
        return
    table = Table("cluster", "state", "server", "node", "pods", "services", "simulated", box=None)
    for cluster in seen.clusters:
        simulated = "?" if cluster.simulated_nodes is None else str(cluster.simulated_nodes)
        ranges = (cluster.node_address or "-", cluster.pod_range or "-", cluster.service_range)
        table.add_row(cluster.name, cluster.state, cluster.server, *ranges, simulated)
    # As wide as it is: a pipe has no width that would be worth cutting addresses for.
    Console(width=160).print(table)
    if seen.hub:
        print(f"hub is {seen.hub.state}: {seen.hub.reason or f'samples of all clusters at {seen.hub.store}'}")
    for cluster in seen.clusters:
        if cluster.reason:
            print(f"{cluster.name} is {cluster.state}: {cluster.reason}")


def main() -> None:
    """Run the command line; what the lab cannot do is one line, not a traceback."""
    try:
        app()
    except lab.LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(1)
