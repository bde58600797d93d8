"""The field that all stories share: the lab with its databases, adopted; each story begins at home."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import lab
from lab import settings
from tests.conftest import FleetLab, opened_lab
from tests.recovery.field import Field, opened_field


@pytest.fixture(scope="session")
def fleet_lab(request: pytest.FixtureRequest) -> Iterator[FleetLab]:
    """Yield the lab of the other tests, or one beside it where another process has those: here whole sites are killed."""
    with pytest.MonkeyPatch.context() as patch:
        if "PYTEST_XDIST_WORKER" in os.environ:
            patch.setenv("FLOTILLA_LAB_DIR", f"{settings.directory()}-stories")
        with opened_lab(request) as opened:
            yield opened


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
