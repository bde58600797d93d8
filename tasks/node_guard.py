"""A guard of its own process: it stops a primary whose agent no longer lives, or hangs, as nobody else there could.

A failover that cannot reach a site relies on its agent to stop a primary that is cut off. An agent that was killed while
PostgreSQL went on would break that promise, so this process keeps it: it watches a file in which the agent's isolation rule
writes when the primary last was supported, and needs nothing but Python itself. It is run as a program; ``Guard`` is how an
agent has one. The next agent goes on from that time too: neither a death nor a new start gives a primary another patience.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

EVERY = 0.25  # seconds
STOPPING = 1.0  # seconds for each kind of stop
GRACE = 0.5  # seconds that are left to the agent, which looks more often and tells why it stops a primary


def steady() -> float:
    """Return seconds of a clock that never goes back, and goes on while the machine sleeps where there is one that does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Guard:
    """The guard of one agent's database: a program, told of its two files and then of ``more``."""

    def __init__(self, state: Path, program: Sequence[str], more: Sequence[str]) -> None:
        self._alive, self._lock = state / "alive", state / "guard.lock"
        self._words = [sys.executable, *program, str(self._alive), str(self._lock), *more]
        self._log = state / "guard.log"
        self._process: subprocess.Popen[bytes] | None = None

    def supported(self) -> float | None:
        """Return when the primary last was supported, as this agent or an earlier one knew; None where nothing is known.

        A time that is yet to come is of before the machine started.
        """
        try:
            return min(float(self._alive.read_text()), steady())
        except (OSError, ValueError):
            return None

    def renew(self, supported: float) -> None:
        """Say when the primary last was supported."""
        handle = os.open(self._alive, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(handle, f"{supported:020.3f}\n".encode(), 0)
        finally:
            os.close(handle)

    def ensure(self) -> None:
        """Have a guard that was begun by this agent: an earlier one's may have another patience."""
        if self._process is None:
            _end(self._lock)
        if self._process is None or self._process.poll() is not None:
            with open(self._log, "ab", opener=_unfollowed) as log:
                self._process = subprocess.Popen(
                    self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
                )


def guard_of(state: Path, data: Path, patience: float) -> Guard:
    """Return the guard of a PostgreSQL of this node's."""
    return Guard(state, ["-I", "-S", __file__], [str(data), str(patience)])


def watch(alive: Path, patience: float, late: Callable[[float], None]) -> None:
    """Watch until the agent's folder is gone; ``late`` is called, again and again, with the seconds that nothing was told."""
    while True:
        time.sleep(EVERY)
        try:
            age = steady() - float(alive.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            continue  # being written
        if age > patience + GRACE:
            late(age)


def tell(age: float, what: str) -> None:
    """Write a line of the guard's log."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    sys.stdout.write(f"{now} for {age:.1f} s the agent has told of no majority: {what}\n")
    sys.stdout.flush()


def _stop_primary(data: Path, age: float) -> None:
    if not (data / "standby.signal").exists() and (pid := server_of(data)):
        tell(age, f"PostgreSQL (pid {pid}) is stopped")
        stop(data)


def stop(data: Path) -> None:
    """Have no server, in order or not."""
    for what in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        pid, deadline = server_of(data), time.monotonic() + STOPPING
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)
        while server_of(data) is not None and time.monotonic() < deadline:
            time.sleep(0.02)


def server_of(data: Path) -> int | None:
    """Return the process of the server of a PGDATA."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
        if Path("/proc/self/cwd").exists() and not _is_inside(pid, data):
            return None
    except (OSError, ValueError, IndexError):
        return None
    return pid


def _is_inside(pid: int, data: Path) -> bool:
    """Tell whether a process works in PGDATA; if that cannot be seen, whether it is of the user whose PGDATA it is."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(data.resolve())
    except PermissionError:
        return os.stat(f"/proc/{pid}").st_uid == data.stat().st_uid


def _unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _end(lock: Path) -> None:
    """Have no guard hold the lock."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.kill(int(os.pread(handle, 32, 0) or b"x"), signal.SIGKILL)
                time.sleep(0.01)
            else:
                return
    finally:
        os.close(handle)


def alone(lock: str) -> bool:
    """Hold the lock for as long as this process lives; False where another guard does."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return True


def _main(alive: str, lock: str, data: str, patience: str) -> None:
    if alone(lock):
        watch(Path(alive), float(patience), lambda age: _stop_primary(Path(data), age))


if __name__ == "__main__":
    _main(*sys.argv[1:])
