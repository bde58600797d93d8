"""Running programs to their end: arguments as lists, output kept, failures that name the command."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lab.errors import CommandFailed, LabError, TookTooLong


def run(
    *command: str | Path,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> str:
    """Run a program to its end and return what it printed; raise CommandFailed with its output otherwise."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True)
    except FileNotFoundError:
        raise CommandFailed(words, "cannot start", f"no program {words[0]} here") from None
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(words, f"did not end within {timeout:.0f} s", str(late.stderr or "")) from None
    if done.returncode:
        raise CommandFailed(words, f"ended with {done.returncode}", done.stderr or done.stdout)
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Whether a program ends well: for the questions that programs answer by their exit code."""
    try:
        run(*command)
    except CommandFailed:
        return False
    return True


def wait_until(what: str, look: Callable[[], str], *, within: float, every: float = 0.2) -> None:
    """Wait until `look` returns nothing more to complain about; raise TookTooLong with its last complaint."""
    deadline = time.monotonic() + within
    while complaint := look():
        if time.monotonic() > deadline:
            raise TookTooLong(f"{what} did not happen within {within:.0f} s; last seen: {complaint}")
        time.sleep(every)


def complaint_of(look: Callable[[], object]) -> str:
    """Give the error of an attempt as a complaint for `wait_until`, or nothing where it succeeds."""
    try:
        look()
    except (LabError, OSError) as error:
        return str(error)
    return ""
