"""Fixtures: three sites that tests share and leave as they found them, and three of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.databases import BINARIES
from tests.recovery.databases.trio import Trio, built, trio


def needs_postgresql() -> None:
    """Skip what needs programs that are not there."""
    if not Path(BINARIES, "initdb").exists():
        pytest.skip(f"there is no PostgreSQL 15 in {BINARIES}")


@pytest.fixture(scope="session")
def _shared() -> Iterator[Trio]:
    needs_postgresql()
    with built() as made:
        yield made


@pytest.fixture
def shared(_shared: Trio) -> Iterator[Trio]:
    """Yield the sites that are shared: production is the primary; after the test it is so again."""
    yield _shared
    _shared.restore()


@pytest.fixture
def own() -> Iterator[Trio]:
    """Yield three sites of this test's own, built."""
    needs_postgresql()
    with built() as made:
        yield made


@pytest.fixture
def bare() -> Iterator[Trio]:
    """Yield three agents without a database."""
    needs_postgresql()
    with trio() as made:
        yield made
