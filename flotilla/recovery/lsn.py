"""Positions in PostgreSQL's write-ahead log: integers in bytes here, ``0/5904028`` where people and PostgreSQL read them."""

from __future__ import annotations

import re

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")  # PostgreSQL: pg_lsn_in_internal


def parse(text: str) -> int:
    """Return a position in bytes; raises ValueError for what PostgreSQL would not take as pg_lsn."""
    found = _LSN.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no WAL position such as 0/5904028")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def show(lsn: int) -> str:
    """Return a position as PostgreSQL shows it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
