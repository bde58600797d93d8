"""Bare processes on loopback: started, waited for, their CPU and memory read, ended by their own ids."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil

from tests.conftest import ROOT

PATIENCE = 120.0  # seconds until one answers
ENDS_WITHIN = 60.0


class Program:
    """A process that listens on a port of its own; its output is in a file beside the others'."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.port = name, folder / name, free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, command: Sequence[object], answers_at: str) -> None:
        """Start it, and wait until it answers at a path."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers(answers_at):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} does not answer: {(self.folder / 'log').read_text()[-800:]}")
            time.sleep(0.1)

    def end(self) -> None:
        """End it, by force where it will not."""
        process, self.process = self.process, None
        if process:
            end(process)

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        assert self.process
        return cpu_of(self.process.pid)

    def rss(self) -> float:
        """Return the memory that it holds, in MiB."""
        assert self.process
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def text(self, path: str) -> str:
        """Return what it answers at a path."""
        return httpx.get(self.url + path, timeout=60, trust_env=False).raise_for_status().text

    def _answers(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=5, trust_env=False).status_code < 500
        except httpx.HTTPError:
            return False


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started, by force where it will not end."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU, user and system, that a process has used: utime and stime of /proc/PID/stat."""
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


def available() -> float:
    """Return the memory of this machine that is free to be used, in MiB."""
    return float(psutil.virtual_memory().available) / 2**20


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
