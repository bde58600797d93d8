"""The lab on the command line."""

from __future__ import annotations

import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import lab
from lab import binaries as programs
from lab import load as loads
from lab.cables import ROUND_TRIP
from lab.layout import AGENT, CLUSTERS, CONTROL_PLANE, DNS, HUB, NODE, ORDERS_PORT, PORTS, POSTGRES

_PARTS = f"{', '.join((*CONTROL_PLANE, *NODE, DNS, AGENT, POSTGRES))}; of the hub: {', '.join(HUB)}"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Three real Kubernetes clusters on this machine, without a container engine: production, same-city and remote. "
    "The lab lives in .lab of this checkout, or in FLOTILLA_LAB_DIR.",
)


class Distance(StrEnum):
    """Whether the cities are apart."""

    ON = "on"
    OFF = "off"


Site = Annotated[str, typer.Argument(help=f"One of {', '.join(CLUSTERS)}.", metavar="SITE")]
Cuttable = Annotated[str | None, typer.Argument(help=f"One of {', '.join(PORTS)}; without it all.", metavar="[PART]")]
OneWay = Annotated[str | None, typer.Option(help="in: the site hears nothing; out: nobody hears it.", metavar="in|out")]
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
    print(f'\neval "$({sys.executable} -m lab env)"    # kubectl and flotilla act on it from this shell then')
    if not seen.is_up:
        raise typer.Exit(1)


@app.command()
def env() -> None:
    """Print the variables with which this shell's programs act on the lab: eval "$(python -m lab env)"."""
    seen = lab.look()
    if not seen.kubeconfig.exists():
        print("there is no lab: python -m lab up", file=sys.stderr)
        raise typer.Exit(1)
    for name, value in seen.variables.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(f'{seen.binaries}:{Path(sys.executable).parent}')}:$PATH")


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
def cut(site: Site, part: Cuttable = None, one_way: OneWay = None) -> None:
    """Take a site's network away, or that of one part: silence outside, everything goes on inside."""
    lab.cut(site, part, way=one_way)
    print(f"{site}: {part or 'everything'} is cut{_way(one_way)}; undo with: python -m lab heal {site}{_word(part)}")


@app.command()
def slow(site: Site, milliseconds: Annotated[float, typer.Argument(min=0, metavar="MS")], one_way: OneWay = None) -> None:
    """Have all that goes to and from a site take that much longer each way, or one way; 0 ends it."""
    lab.slow(site, milliseconds, way=one_way)
    print(f"{site} is slower by {milliseconds:g} ms{_way(one_way) or ' each way'}; undo with: python -m lab heal {site}")


@app.command()
def heal(site: Site, part: Cuttable = None) -> None:
    """Undo what was cut or slowed at a site, or at one part of it."""
    lab.heal(site, part)
    print(f"{site}: {part or 'everything'} is connected")


@app.command()
def wan(
    state: Annotated[Distance, typer.Argument(metavar="on|off")],
    round_trip: Annotated[float, typer.Option(min=0.1, help="Milliseconds from one city to the other and back.")] = ROUND_TRIP,
) -> None:
    """Have the remote city as far away as it would be, or not; it stays so until it is changed, also over `up`."""
    distance = round_trip if state is Distance.ON else 0.0
    lab.wan(distance)
    print(f"the cities are {distance:g} ms apart" if distance else "the cities are next to each other")


@app.command()
def kill(
    site: SiteOrHub, part: Annotated[str | None, typer.Argument(help=f"One of {_PARTS}, postgres; else all.")] = None
) -> None:
    """End one part of a site with SIGKILL, or the whole site with its pods at once, as a power failure does."""
    lab.kill(site, part)
    print(f"{site}: {part or 'everything'} killed; undo with: python -m lab start {site}{_word(part)}")


@app.command()
def load(
    ledger: Annotated[Path, typer.Option(help="The file that attempts are appended to.")],
    name: Annotated[str, typer.Option(help="The DNS name that users know.")] = "orders.fleet.test.",
    port: Annotated[int, typer.Option()] = ORDERS_PORT,
    dns: Annotated[list[str] | None, typer.Option(help="DNS servers, ADDRESS or ADDRESS:PORT; without it the lab's.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Orders a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(min=0.1)] = 30.0,
    connections: Annotated[int, typer.Option(min=1, max=500)] = 16,
    ignore_ttl: Annotated[bool, typer.Option("--ignore-ttl", help="Keep the first answer of DNS for good.")] = False,
) -> None:
    """Place orders as users do, outside all sites, keep a ledger, and compare it with the orders that are there at the end."""
    servers = [_server(one) for one in dns or [cluster.node_address or "" for cluster in lab.look().clusters]]
    asked = loads.Asked(name, port, servers, rate, seconds, connections, keeps_ttl=not ignore_ttl)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where whoever started this in the background ignores them
        signal.signal(number, signal.default_int_handler)
    attempts = loads.run(asked, ledger, _say)
    verdict = loads.judged(attempts, _applications())
    print(verdict)
    if not verdict.is_clean:
        raise typer.Exit(1)


@app.command()
def ledger(
    file: Path,
    url: Annotated[
        list[str] | None, typer.Option(help="An application to ask for all ids; the first that answers counts.")
    ] = None,
) -> None:
    """Compare a ledger with the orders that are there: exit code 0 if no promise was broken, 1 otherwise."""
    verdict = loads.compare(file, url or _applications())
    print(verdict)
    if not verdict.is_clean:
        raise typer.Exit(1)


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
def cloudnativepg() -> None:
    """Have CloudNativePG's operator, and an image with PostgreSQL 15, in every cluster; it is built once, in minutes."""
    lab.cloudnativepg(_say)
    print("CloudNativePG is ready: image localhost/postgresql:15, volumes of class lab, Secrets in namespace orders")


@app.command()
def binaries() -> None:
    """Build what the lab runs, and no more: once a version, kept in the cache."""
    for name, path in programs.ensure(_say).paths.items():
        print(f"{name:24} {path}")


def _word(part: str | None) -> str:
    return f" {part}" if part else ""


def _way(one_way: str | None) -> str:
    return f", {one_way} only" if one_way else ""


def _applications() -> list[str]:
    return [f"http://{cluster.node_address}:{ORDERS_PORT}" for cluster in lab.look().clusters]


def _server(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise lab.LabError(f"no DNS server {text!r}: expected ADDRESS or ADDRESS:PORT")
    return address, int(port or 53)


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
    for database in seen.databases:
        where = f"PostgreSQL at {database.host}:{database.port}, agent at {database.agent}"
        print(f"database of {database.site} is {database.state}: {database.reason or f'{database.role}; {where}'}")
    if seen.without_databases:
        print(f"without databases: {seen.without_databases}")
    for cluster in seen.clusters:
        if cluster.round_trip:
            print(f"{cluster.name} is {cluster.round_trip:g} ms away, there and back")
        if cluster.reason:
            print(f"{cluster.name} is {cluster.state}: {cluster.reason}")


def main() -> None:
    """Run the command line; what the lab cannot do is one line, not a traceback."""
    try:
        app()
    except (lab.LabError, OSError) as error:  # a file that is not there, or cannot be written, among them
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(1)
