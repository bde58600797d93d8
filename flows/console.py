"""What every command shares: options, exit codes, tables."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

FAILED, BAD_INPUT, REFUSED = 1, 2, 3
"""Exit codes; 0 is success."""

FleetFile = Annotated[str, typer.Option("--fleet", help="The fleet file.", envvar="FLOTILLA_FLEET")]
AsJson = Annotated[bool, typer.Option("--json", help="For other programs.")]
DEFAULT_FLEET = "deployments/fleet.yaml"


def print_rows(rows: list[dict[str, str]], as_json: object = None) -> None:
    """Print rows as a table, or what is meant for other programs as JSON."""
    if as_json is not None:
        typer.echo(json.dumps(as_json, indent=2, default=str))
        return
    if not rows:
        typer.echo("nothing")
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
