"""The Makefile hands what a lab says of itself to what is started on it, also where that lab was not there before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAB = """#!/bin/sh
mkdir -p "$FLOTILLA_LAB_DIR/hub" "$FLOTILLA_LAB_DIR/secrets"
echo http://127.0.0.1:1 > "$FLOTILLA_LAB_DIR/hub/url"
echo of-the-agents > "$FLOTILLA_LAB_DIR/secrets/token"
touch "$FLOTILLA_LAB_DIR/recovery.yaml"
"""


def test_what_is_started_on_a_new_lab_knows_it(tmp_path: Path) -> None:
    for name, text in {"python": LAB, "flotilla": "#!/bin/sh\nenv\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    given = [f"PYTHON={tmp_path}/python", f"FLOTILLA={tmp_path}/flotilla", f"FLOTILLA_LAB_DIR={tmp_path}/lab"]
    told = subprocess.run(["make", "-o", "env", "up", *given], cwd=ROOT, capture_output=True, text=True, check=True)

    known = dict(line.split("=", 1) for line in told.stdout.splitlines() if line.startswith("FLOTILLA_"))
    assert "http://127.0.0.1:1" == known["FLOTILLA_STORE"]
    assert "of-the-agents" == known["FLOTILLA_AGENT_TOKEN"]
    assert f"{tmp_path}/lab/recovery.yaml" == known["FLOTILLA_RECOVERY"]


@pytest.mark.parametrize(("status", "used"), [(0, f"{ROOT}/.lab-tests"), (1, "mine")])
def test_tests_keep_out_of_a_lab_on_which_make_up_lives(tmp_path: Path, status: int, used: str) -> None:
    for name, text in {"python": 'echo "$@ in $FLOTILLA_LAB_DIR"', "flotilla": f"exit {status}"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    given = [f"PYTHON={tmp_path}/python", f"FLOTILLA={tmp_path}/flotilla"]
    command = ["make", "-o", "env", "-o", "lint", "test", *given]
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
    told = subprocess.run(
        command, cwd=ROOT, env={**alone, "FLOTILLA_LAB_DIR": "mine"}, capture_output=True, text=True, check=True
    )

    where = [line.rpartition(" in ")[2] for line in told.stdout.splitlines() if "pytest -v -m lab or prefect" in line]
    assert [used, used] == where
