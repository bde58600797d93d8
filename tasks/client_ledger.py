"""What an outside client noted while it wrote, and which of it the application has: read for a drill's report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import httpx

from flotilla.errors import InvalidInput, Problem, Transient, phrase
from flotilla.ledger import Attempt, parse_ledger
from tasks.trust import trusted

PATIENCE = 60.0  # seconds for the list of all ids
EXPECTED = "a file, or an http(s) address, of a load client's ledger: a line of JSON for each attempt"


def attempts_in(where: str) -> list[Attempt]:
    """Return the attempts of a ledger in a file or at an address; raises InvalidInput where there is none that can be read."""
    try:
        return parse_ledger(_fetched(where) if where.startswith(("http://", "https://")) else Path(where).read_text("utf-8"))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise InvalidInput([Problem("ledger", where, phrase(f"cannot be read: {error}"), EXPECTED)]) from None


def _fetched(address: str) -> str:
    answer = httpx.get(address, timeout=PATIENCE, verify=trusted())
    answer.raise_for_status()
    return answer.text


def ids_at(addresses: Iterable[str]) -> list[str]:
    """Return the ids of all that was written, of the first application that tells all of them (GET ADDRESS/orders/ids).

    Raises Transient where none does.
    """
    problems = []
    for address in addresses:
        try:
            return _fetched(f"{address}/orders/ids").split()
        except httpx.HTTPError as error:
            problems.append(f"{address}: {error or type(error).__name__}")
    raise Transient(f"no application tells which orders there are: {'; '.join(problems)}")
