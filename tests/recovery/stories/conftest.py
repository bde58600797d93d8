"""The field that all stories share: the lab with its databases, adopted; each story begins at home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lab
from tests.conftest import FleetLab
from tests.recovery.field import Field, opened_field


@pytest.fixture(scope="session")
def _field(fleet_lab: FleetLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    status = lab.look()
    if status.without_databases:
        pytest.skip(f"the lab has no databases: {status.without_databases}")
    with opened_field(status, tmp_path_factory.mktemp("field")) as made:
        yield made
        made.home()  # others find the lab as it was


@pytest.fixture
def field(_field: Field) -> Iterator[Field]:
    """Yield the field with production the primary, all protected; orchestrators do not outlive their test."""
    _field.home()
    yield _field
    _field.end_all()
