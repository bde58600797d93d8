"""The lab on the command line: `python -m lab --help`. Any Python 3.11 will do: the checkout's own environment is found."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ENVIRONMENT = Path(__file__).parent.parent / ".venv" / "bin" / "python"


def _main() -> None:
    if importlib.util.find_spec("typer"):
        from lab.commandline import main

        main()
    elif ENVIRONMENT.exists():
        os.execv(ENVIRONMENT, [str(ENVIRONMENT), "-m", "lab", *sys.argv[1:]])  # noqa: S606 - our own file
    else:
        sys.exit("lab: the environment is not there yet; make it: make env")


if __name__ == "__main__":
    _main()
