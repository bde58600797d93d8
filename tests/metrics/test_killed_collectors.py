"""A collector that is killed at any step of its work, and another one that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from flotilla.metrics.completeness import Outcome
from tests.conftest import ROOT
from tests.metrics.dying import KILLED
from tests.metrics.ground import Ground, outcomes, usual

pytestmark = pytest.mark.programs

STEPS = [*range(1, 15), *range(15, 75, 10), 1000]  # each one of a first cycle, some of those after


def test_a_collector_that_is_killed_at_any_step_loses_nothing_and_doubles_nothing(ground, tmp_path):
    del ground.members["west"]
    ground.fill("east", usual(2))
    grounds = [replace(ground, suffix=f"-{step}", folder=tmp_path / str(step)) for step in STEPS]
    ended = killed(grounds)
    again = [one.collected(one.collector()) for one in grounds]

    assert KILLED == ended[0] == ended[13]
    assert 0 == ended[-1]
    for one, cycles in zip(grounds, again, strict=True):
        one.is_whole()
        assert set(outcomes(cycles, one.name("east"))) <= {Outcome.EQUAL}  # nothing had to be found missing first


def killed(grounds: list[Ground]) -> list[int]:
    """Have a collector die for each ground, one step later each time, and return how each ended."""
    asked = [
        {"step": step, "time": one.time, "folder": str(one.folder / "state"), "fleet": one.fleet.model_dump(mode="json")}
        for step, one in zip(STEPS, grounds, strict=True)
    ]
    command = [sys.executable, "-m", "tests.metrics.dying"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(asked), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))
