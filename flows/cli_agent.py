"""The command that is a site's agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(agent)


def agent(
    config: Annotated[str, typer.Option("--config", help="The agent's file: its site, PostgreSQL, the other sites, secrets.")],
    check: Annotated[bool, typer.Option("--check", help="Say whether the file would do, and end.")] = False,
) -> None:
    """Be this site's agent until told to end (SIGTERM, ctrl-C): guard its PostgreSQL, and do what recoveries ask for.

    Runs on the node that has the data, as the user that PostgreSQL runs as, or as root; beside a Cluster of CloudNativePG
    anywhere in its site, as anybody. Needs no Prefect.
    """
    from flotilla.errors import InvalidInput, Problem, phrase
    from flotilla.node.config import parse_agent_config
    from flows.agent_parts import glass_of, traffic_of
    from flows.agent_server import serve_for_good
    from flows.logs import log_to_stderr

    try:
        text = Path(config).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem(config, "", phrase(f"cannot be read: {error}"), "a file as YAML")]) from None
    parsed = parse_agent_config(text, config)
    if check:
        part = parsed.cloud_native_pg
        where = f"Cluster {part.namespace}/{part.name}" if part else f"PostgreSQL in {parsed.postgres.data}"
        typer.echo(f"{config}: agent of {parsed.site} at https://{parsed.listen}, {where}")
        return
    log_to_stderr()
    serve_for_good(parsed, traffic_of(parsed), glass_of(parsed))
