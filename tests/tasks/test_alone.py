"""What runs for good runs once, and once more after whoever did it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.alone import only_one
from tests.conftest import ROOT

HOLDER = (
    "import time\nfrom tasks.alone import only_one\nwith only_one('watch') as first: print(first, flush=True); time.sleep(60)\n"
)


def test_a_second_does_not_begin_and_a_killed_one_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_HOME", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert "True" == holder.stdout.readline().strip()
        with only_one("watch") as second, only_one("watch-too") as other:
            assert (False, True) == (second, other)
        holder.kill()
        holder.wait(30)

    with only_one("watch") as again:
        assert again
