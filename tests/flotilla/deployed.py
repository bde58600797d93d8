"""The dashboards and rules that Flotilla ships, read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from flotilla.dashboards.model import Dashboard
from flotilla.dashboards.parsing import parse_dashboards
from flotilla.dashboards.rules import Rules, parse_rules

ROOT = Path(__file__).parent.parent.parent / "deployments"


@cache
def dashboards() -> dict[str, Dashboard]:
    return parse_dashboards({str(file): file.read_text() for file in sorted((ROOT / "dashboards").glob("*.yaml"))})


@cache
def rules() -> dict[str, Rules]:
    return {str(file): parse_rules(file.read_text(), str(file)) for file in sorted((ROOT / "rules").glob("*.yaml"))}


def page(rows: str, *, variables: str = "", parts: str = "") -> str:
    """Return the YAML of a dashboard around some panels, written as flow mappings, one a line."""
    panels = "".join(f"      - {line}\n" for line in rows.strip().splitlines())
    head = "name: mine\ntitle: Mine\n"
    return f"{head}variables: [{variables}]\nparts: {{{parts}}}\nrows:\n  - title: Row\n    panels:\n{panels}"
