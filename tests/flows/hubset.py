"""A store of a test's own, with rules and an Alertmanager where they are wanted: those of the lab have other users."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lab import binaries, processes
from lab import hub as hubs
from lab.layout import Hub
from tasks.store import Store


@contextmanager
def opened(folder: Path, *parts: str) -> Iterator[Hub]:
    """Have some parts of a hub running meanwhile; all of them where none is named."""
    one, programs = Hub(folder, free_ports(4)), binaries.ensure(lambda _: None)
    for part in parts or one.parts:
        hubs.start(one, part, programs)
    try:
        yield one
    finally:
        for part in one.parts:
            processes.stop(one, part)


def free_ports(count: int) -> int:
    """Return the first of some ports in a row on which nobody listens."""
    for first in range(20_000 + secrets.randbelow(2000), 26_000, count):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")


def shown(store: Store, expr: str, holds: Callable[[list[Any]], object] = bool, *, within: float = 60) -> list[Any]:
    """Wait until a store answers so; VictoriaMetrics shows what it was given after a second or so."""
    deadline = time.monotonic() + within
    while not holds(found := store.engine.query(expr)):
        assert time.monotonic() < deadline, f"{expr}: {str(found)[:500]}"
        time.sleep(0.2)
    return found
