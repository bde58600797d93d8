"""`flotilla` in a process whose wall clock jumps an hour ahead, and back, each time that it gets SIGUSR1."""

from __future__ import annotations

import signal
import sys
import time

from flows import cli

HOUR = 3600.0
_right = time.time
_ahead = 0.0


def jump(*_: object) -> None:
    """Jump."""
    global _ahead
    _ahead = HOUR - _ahead


if __name__ == "__main__":
    time.time = lambda: _right() + _ahead
    signal.signal(signal.SIGUSR1, jump)
    sys.argv = ["flotilla", *sys.argv[1:]]
    cli.main()
