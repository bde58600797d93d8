"""Processes of a node: PostgreSQL's programs run to their end, and its server started, watched, stopped.

What runs is told from postmaster.pid, so that a server goes on while agents come and go.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from flotilla.errors import Permanent, Transient
from tasks.node_account import Account
from tasks.node_files import unfollowed

POLL = 0.005  # seconds between looks; pg_ctl's own are 100 ms apart (recovery-lab.md, 0.9)
_STATUS_LINE = 7  # of postmaster.pid: src/include/utils/pidfile.h, LOCK_FILE_LINE_PM_STATUS
_TOLD = 2000  # characters of output that are shown; what went wrong stands at the end


def run(command: Sequence[str | Path], account: Account, *, within: float, record: Path | None = None) -> str:
    """Run a program to its end, as PostgreSQL's user, and return what it printed on both outputs.

    ``record`` takes note of its process, so that ``end_recorded`` finds it when this one has died. Raises Permanent with the
    end of its output where it failed, Transient where it did not end in time (it was killed, with its children).
    """
    program = _started([str(word) for word in command], account)
    name = Path(command[0]).name
    try:
        if record:
            with open(record, "w", opener=unfollowed) as noted:
                noted.write(f"{program.pid} {psutil.Process(program.pid).create_time()}")
        said = str(program.communicate(timeout=within)[0], errors="replace")
    except subprocess.TimeoutExpired:
        raise Transient(f"{name} did not end within {within:.0f} s") from None
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.communicate()
        if record:
            record.unlink(missing_ok=True)
    if program.returncode:
        raise Permanent(f"{name} ended with {program.returncode}: {said.strip()[-_TOLD:]}")
    return said


def _started(words: list[str], account: Account) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            **account.how,
        )
    except OSError as error:
        raise Permanent(f"{words[0]} cannot be run: {error.strerror}") from None


def end_recorded(record: Path, account: Account) -> bool:
    """Have the program that ``run`` took note of not run any more: its caller died, and would not know what it has done.

    Only a program of PostgreSQL's user is ended, whatever stands there.
    """
    try:
        pid, created = record.read_text().split()
        process = psutil.Process(int(pid))
        if process.create_time() != float(created) or process.uids().real != account.uid:
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    except (OSError, ValueError, psutil.Error):
        return False
    finally:
        record.unlink(missing_ok=True)
    return True


def must_see(account: Account) -> None:
    """Prove that the folder in which a process of PostgreSQL's user works can be seen: raises Permanent where it can't.

    By it a server that lives is told from a file that a dead one left behind.
    """
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", **account.how) as shown:
        try:
            seen = psutil.Process(shown.pid).cwd()
        except (psutil.Error, OSError) as error:
            seen = f"nothing ({type(error).__name__})"
    if seen != "/":
        raise Permanent(
            f"{account.agent} sees {seen} of where a process of {account.name} works, and would take PostgreSQL that runs for "
            f"dead: run the agent as {account.name}, or as root with CAP_SYS_PTRACE, and mount /proc without hidepid"
        )


@dataclass
class Server:
    """The PostgreSQL server of one PGDATA."""

    data: Path
    command: Sequence[str]
    log: Path
    account: Account
    socket_lock: Path
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def state(self) -> str:
        """Return absent (no PGDATA), stopped, starting, running or stopping."""
        if not (self.data / "PG_VERSION").is_file():
            return "absent"
        pid = self.pid()
        if pid is None:
            return "stopped"
        return {"ready": "running", "stopping": "stopping"}.get(self._status(), "starting")

    def _status(self) -> str:
        return _line(self.data / "postmaster.pid", _STATUS_LINE)

    def pid(self) -> int | None:
        """Return the server's process id; a file that a dead server left behind is not taken for one."""
        if self._child is not None:
            self._child.poll()  # takes leave of a child that has ended, which would be shown as a zombie
        text = _line(self.data / "postmaster.pid", 0)
        if not text.isdecimal():
            return None
        try:
            process = psutil.Process(int(text))
        except psutil.Error:
            return None
        return process.pid if self._is_inside(process) else None

    def start(self, within: float) -> None:
        """Have the server take connections; raises Permanent where it ended instead, Transient where it is still starting."""
        self._launch(self.command)
        self._wait_for(("ready",), within)

    def pass_through(self, words: Sequence[str], within: float) -> None:
        """Start the server with more words, and stop it in order once its recovery has begun; raises as ``start`` does."""
        self._launch([*self.command, *words])
        self._wait_for(("ready", "standby"), within)
        self.stop("fast", within)

    def clear(self) -> None:
        """Have no lock files of a server that is dead; raises Transient while some of its processes outlive it.

        PostgreSQL takes whatever has the dead server's process id for it, a zombie too. And two servers on one PGDATA ruin it:
        so the file stays while any process is in there, as the backends of a server that was killed are for a moment.
        """
        locks = [file for file in (self.data / "postmaster.pid", self.socket_lock) if file.exists()]
        if self.pid() is not None or not locks:
            return
        if left := [process.pid for process in psutil.process_iter() if self._is_inside(process)]:
            raise Transient(
                f"processes {', '.join(map(str, left))} of a dead PostgreSQL are still in {self.data}: wait for them"
            )
        for file in locks:
            file.unlink(missing_ok=True)

    def _is_inside(self, process: psutil.Process) -> bool:
        """Tell whether a process works in PGDATA: one of PostgreSQL's user of which that cannot be seen is taken to."""
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            try:
                return Path(process.cwd()) == self.data.resolve()
            except (psutil.AccessDenied, PermissionError):
                return process.uids().real == self.account.uid
        except (psutil.Error, OSError):
            return False

    def is_for_nobody(self) -> bool:
        """Tell whether what runs is a server that ``pass_through`` started: it lets nobody in, ever."""
        return self.pid() is not None and self._status() == "standby"

    def _launch(self, command: Sequence[str]) -> None:
        if self.pid() is None:
            self.clear()
            with open(self.log, "ab", opener=unfollowed) as log:
                self._child = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    **self.account.how,
                )

    def _wait_for(self, statuses: Sequence[str], within: float) -> None:
        deadline = time.monotonic() + within
        while self.pid() is None or self._status() not in statuses:
            if self._child is not None and self._child.poll() is not None and self.pid() is None:
                raise Permanent(f"PostgreSQL ended with {self._child.returncode} when it was started: {self.last_words()}")
            if time.monotonic() > deadline:
                raise Transient(f"PostgreSQL is still starting after {within:.0f} s: {self.last_words()}")
            time.sleep(POLL)

    def stop(self, mode: str, within: float) -> bool:
        """Have no server: asked in a mode (fast, immediate, or kill). False if there was none, Transient if it outlives it."""
        signals = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
        pid = self.pid()
        if pid is None:
            return False
        _send(pid, signals[mode])
        deadline = time.monotonic() + within
        while self.pid() is not None:
            if time.monotonic() > deadline:
                raise Transient(f"PostgreSQL (pid {pid}) has not ended {within:.0f} s after a {mode} stop: {self.last_words()}")
            time.sleep(POLL)
        return True

    def reload(self) -> None:
        """Have the server read its configuration files again."""
        pid = self.pid()
        if pid is not None:
            _send(pid, signal.SIGHUP)

    def backend(self, pid: int, what: signal.Signals) -> None:
        """Send a signal to a backend of this server; nothing where it is gone or is another's process."""
        try:
            ours = psutil.Process(pid).ppid() == self.pid()
        except psutil.Error:
            return
        if ours:
            _send(pid, what)

    def children(self) -> set[int]:
        """Return the server's processes, but the one that writes its log."""
        server, found = self.pid(), set[int]()
        try:
            children = psutil.Process(server).children() if server else []
        except psutil.Error:
            return found
        for child in children:
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()  # none of one that has ended
                if words and "logger" not in words[0]:
                    found.add(child.pid)
        return found

    def last_words(self) -> str:
        """Return the end of its log."""
        try:
            lines = self.log.read_text(errors="replace")[-_TOLD:].splitlines()
        except OSError:
            return f"there is nothing in {self.log}"
        return " | ".join(lines[-5:])


def _send(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Permanent(f"process {pid} is another user's: run the agent as the user that PostgreSQL runs as") from None


def _line(file: Path, number: int) -> str:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return ""
    return lines[number].strip() if len(lines) > number else ""
