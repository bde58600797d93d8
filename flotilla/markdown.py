"""Markdown, as artifacts and reports are written in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as a markdown table."""
    lines = list(rows)
    if not lines:
        return "nothing"
    head = list(lines[0])
    cells = [[str(row[name]).replace("|", "\\|").replace("\n", "<br>") for name in head] for row in lines]
    return "\n".join(["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells]])
