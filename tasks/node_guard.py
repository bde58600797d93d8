"""A guard of its own process: it stops a primary whose agent no longer lives, or hangs, as nobody else there could.

A failover that cannot reach a site relies on its agent to stop a primary that is cut off. An agent that was killed while
PostgreSQL went on would break that promise, so this process keeps it: it watches a file in which the agent's isolation rule
writes the time, and needs nothing but Python itself. It is run as a program; ``Guard`` is how an agent has one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

EVERY = 0.25  # seconds
STOPPING = 1.0  # seconds for each kind of stop


def steady() -> float:
    """Return seconds of a clock that never goes back, and goes on while the machine sleeps where there is one that does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Guard:
    """The guard of one agent's PostgreSQL."""

    def __init__(self, state: Path, data: Path, patience: float) -> None:
        self._alive, self._lock = state / "alive", state / "guard.lock"
        self._words = [sys.executable, "-I", "-S", __file__, str(self._alive), str(self._lock), str(data), str(patience)]
        self._log = state / "guard.log"
        self._process: subprocess.Popen[bytes] | None = None

    def renew(self) -> None:
        """Say that the agent lives."""
        handle = os.open(self._alive, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(handle, f"{steady():020.3f}\n".encode(), 0)
        finally:
            os.close(handle)

    def ensure(self) -> None:
        """Have a guard that was begun by this agent: an earlier one's may have another patience."""
        if self._process is None:
            self.renew()
            _end(self._lock)
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
                )


def watch(alive: Path, data: Path, patience: float) -> None:
    """Watch until the agent's folder is gone."""
    while True:
        time.sleep(EVERY)
        try:
            age = steady() - float(alive.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            continue  # being written
        if age > patience and not (data / "standby.signal").exists() and (pid := server_of(data)):
            now = time.strftime("%Y-%m-%dT%H:%M:%S")
            sys.stdout.write(f"{now} the agent has been silent for {age:.1f} s: PostgreSQL (pid {pid}) is stopped\n")
            sys.stdout.flush()
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
        if Path("/proc/self/cwd").exists() and os.readlink(f"/proc/{pid}/cwd") != str(data.resolve()):
            return None
    except (OSError, ValueError, IndexError):
        return None
    return pid


def _end(lock: Path) -> None:
    """Have no guard hold the lock."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
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


def _main(alive: str, lock: str, data: str, patience: str) -> None:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # another one guards
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    watch(Path(alive), Path(data), float(patience))


if __name__ == "__main__":
    _main(*sys.argv[1:])
