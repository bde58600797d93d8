"""Several clusters side by side: collect, then judge. One that fails hides nothing about the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from flotilla.errors import FlotillaError

Name = TypeVar("Name")
Result = TypeVar("Result")


def side_by_side(names: Iterable[Name], act: Callable[[Name], Result], limit: int = 16) -> dict[Name, Result | FlotillaError]:
    """Return what ``act`` returned, or the FlotillaError that it raised, by name; at most ``limit`` at once.

    Any other exception is a defect and is raised.
    """

    def outcome(name: Name) -> Result | FlotillaError:
        try:
            return act(name)
        except FlotillaError as error:
            return error

    chosen = list(names)
    with ThreadPoolExecutor(max(1, min(limit, len(chosen)))) as pool:
        futures = {name: pool.submit(copy_context().run, outcome, name) for name in chosen}
        return {name: future.result() for name, future in futures.items()}
