"""What a client in a pod of same-city finds, attempt by attempt."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.stand import Members, Stand
from tests.conftest import ROOT

CONSUMER = "same-city"


class Attempt(NamedTuple):
    """One new connection: when, whether the name was found, whether it was answered, and what was said."""

    name: str
    begun: float
    ended: float
    found: bool
    answered: bool
    said: str


class Calls:
    """A client process in a pod's network, and all that it has found."""

    def __init__(self, process: subprocess.Popen[str], dns: str) -> None:
        self._process, self._dns = process, dns
        self._told = threading.Condition()
        self._ready = False
        self._attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
        threading.Thread(target=self._listen, name="calls", daemon=True).start()
        with self._told:
            assert self._told.wait_for(lambda: self._ready, 60), "the client did not begin within 60 s"

    def begin(self, name: str, every: float = 0.02) -> None:
        """Ask a service by its clusterset name every few seconds from now on, and nothing else."""
        self._say({"name": name, "every": every, "dns": self._dns})

    def pause(self) -> None:
        """Ask nobody; attempts under way still end."""
        self._say({})

    def of(self, name: str, since: float = 0.0) -> list[Attempt]:
        """Return the attempts at a service that were begun since a time, in the order of their beginning."""
        with self._told:
            return sorted((one for one in self._attempts[name] if one.begun >= since), key=lambda one: one.begun)

    def first(self, name: str, since: float, holds: Callable[[Attempt], bool], seconds: float = 30.0) -> Attempt:
        """Return the attempt, begun since a time, that was the first to end as asked for."""

        def found() -> list[Attempt]:
            return [one for one in self._attempts[name] if one.begun >= since and holds(one)]

        with self._told:
            assert self._told.wait_for(found, seconds), f"{name}: {seconds} s in vain; last: {self._attempts[name][-1:]}"
            return min(found(), key=lambda one: one.ended)

    def end(self) -> None:
        """End the client."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _say(self, asked: dict[str, object]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            told = json.loads(line)
            with self._told:
                if isinstance(told, list):
                    self._attempts[told[0]].append(Attempt(*told))
                self._ready = True
                self._told.notify_all()


@contextmanager
def client_in(stand: Stand, members: Members) -> Iterator[Calls]:
    """Yield a client in a pod of its own in same-city."""
    members[CONSUMER].client()
    (pod,) = members[CONSUMER].pods("client")
    command = ["nsenter", f"--net={_network_of(pod['metadata']['uid'])}", "--", sys.executable, "-m", "tests.bench.caller"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    dns = stand.running.cluster(CONSUMER).dns_address
    assert dns
    try:
        calls = Calls(process, dns)
        yield calls
        calls.end()
    finally:
        process.kill()
        process.wait()


def _network_of(uid: str) -> Path:
    """Return the network namespace of a pod, by way of any of its processes."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and f"pod{uid}" in (folder / "cgroup").read_text():
                    return folder / "ns" / "net"
            except OSError:
                continue  # it ended meanwhile
        time.sleep(0.2)
    raise AssertionError(f"no process of pod {uid} on this machine")
