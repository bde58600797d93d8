"""A lab that tests of the lab take apart, and that is not the one which other tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import lab


@pytest.fixture(scope="package")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab of our own with real nodes, where this machine has them; each file finds it whole, and leaves it so."""
    folder = tmp_path_factory.mktemp("lab") / "l"
    before = os.environ.get("FLOTILLA_LAB_DIR")
    os.environ["FLOTILLA_LAB_DIR"] = str(folder)
    try:
        seen = lab.up(simulated_nodes=2)
        if not seen.cluster("production").real_nodes:
            pytest.skip("no real nodes on this machine")
        yield folder
    finally:
        lab.down()
        os.environ.pop("FLOTILLA_LAB_DIR")
        if before is not None:
            os.environ["FLOTILLA_LAB_DIR"] = before
