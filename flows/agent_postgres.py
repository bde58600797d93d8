"""The database of an agent that has a PostgreSQL of its own: it starts it, stops it and copies it on its own node."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flotilla.errors import Permanent, Transient
from flotilla.keeping import Patience
from flotilla.node import requests as ask
from flotilla.node.boot import boot
from flotilla.node.config import AgentConfig
from flotilla.node.database import Alone, Answers, Go, Say, Told
from tasks import node_access, node_copying, node_postgres, node_replication
from tasks.node_files import Recollection
from tasks.node_guard import guard_of
from tasks.node_initialise import initialise
from tasks.node_looks import Looks
from tasks.node_postgres import Node, halt, launch
from tasks.node_processes import end_recorded, must_see

START = 5.0  # seconds that others wait for a start; a recovery from a crash goes on after them
STOPPING = 1.0  # seconds that each kind of stop is given; with all of them over, the site has stopped within its margin
log = logging.getLogger("flotilla.agent")


class OwnPostgres:
    """``flotilla.node.database.Database`` for a PostgreSQL whose files and processes are the agent's."""

    stopping = 0.0

    def __init__(self, config: AgentConfig, memory: Recollection) -> None:
        self.config, self.memory = config, memory
        self.node = Node(config, memory)
        self.guard = guard_of(config.state, self.node.data, config.isolation)
        self._looks = Looks(self.node)
        self._patience = Patience(first=1.0, longest=30.0)

    def begin(self) -> None:
        """End what an agent that died had begun, and have all files as this one writes them."""
        must_see(self.node.account)
        if end_recorded(self.node.program, self.node.account):
            log.warning("site=%s ended a program whose agent has died", self.config.site)
        if self.node.server.is_for_nobody():
            halt(self.node, "fast")
        self.node.write_files()
        self.node.server.reload()

    def end(self, alone: Callable[[], AbstractContextManager[None]]) -> str:
        """Leave PostgreSQL, or stop it, as the configuration says."""
        runs, keeps = self.node.server.pid() is not None, self.config.postgres.keep_running
        if runs and not keeps:
            with alone():
                halt(self.node, "fast")
        self.node.line.close()
        if not runs:
            return "PostgreSQL does not run"
        told = f"PostgreSQL {'goes on' if keeps else 'is stopped'}, as postgres.keepRunning is {str(keeps).lower()}"
        unguarded = keeps and not self.node.signal.exists()
        return told + (f"; a primary without an agent is stopped after {self.config.isolation:g} s" if unguarded else "")

    def seen(self) -> dict[str, Any]:
        """Return what the node shows: process, files, control data."""
        return self._looks.database()

    def act(self, act: ask.Act, epoch: int, answers: Answers) -> Told:
        """Do a short act."""
        node = self.node
        match act:
            case ask.Initialise():
                return initialise(node, epoch, answers)
            case ask.Fence():
                return node_access.fence(node)
            case ask.Unfence():
                return node_access.unfence(node)
            case ask.Drain():
                return node_access.drain(node, act.seconds)
            case ask.Undrain():
                return node_access.undrain(node)
            case ask.Start():
                return node_postgres.start(node, act.role, epoch, answers)
            case ask.Stop():
                return node_postgres.stop(node, act.mode)
            case ask.Promote():
                return node_postgres.promote(node, act.timeout, epoch)
        return _replication(node, act)

    def copy(self, act: ask.Rewind | ask.Reseed, go: Go) -> Told:
        """Rewind the database, or copy it anew."""
        if isinstance(act, ask.Rewind):
            return node_copying.rewind(self.node, act.upstream, act.keep_evidence, go)
        return node_copying.reseed(self.node, act.upstream, go)

    def is_standby(self) -> bool:
        """Return whether there is a standby.signal."""
        return self.node.signal.exists()

    def runs_as_primary(self) -> bool:
        """Return whether the server's process lives without a standby.signal."""
        return not self.node.signal.exists() and self.node.server.pid() is not None

    def stop_now(self) -> None:
        """Stop the server, in order or not."""
        for mode in ("fast", "immediate", "kill"):
            try:
                self.node.server.stop(mode, STOPPING)
                return
            except Transient as error:
                log.warning("site=%s %s", self.config.site, error)

    def tend(self, alone: Alone, answers: Answers, say: Say) -> bool:
        """Start PostgreSQL where it should run and does not, and end a server for nobody that an act left."""
        state = self.node.server.state()
        self._looks.size()
        if state == "running":
            self._patience.succeeded("start")
            return True
        if state == "stopped" and time.monotonic() >= self._patience.until("start"):
            with alone() as free:
                if free:
                    self._start(answers, say)
        elif self.node.server.is_for_nobody():
            self._end_orphan(alone, say)
        return False

    def beat(self, statements: str) -> None:
        """Write the heartbeat where transactions may write."""
        if self.node.setting("default_transaction_read_only") == "off":
            self.node.ask(statements)

    def _end_orphan(self, alone: Alone, say: Say) -> None:
        """End a server for nobody whose act died while it still recovered from a crash: no agent would know it by then."""
        with alone() as free:
            if free and self.node.server.is_for_nobody():
                say("a server for nobody, of an act that died, is ended")
                halt(self.node, "fast")

    def _start(self, answers: Answers, say: Say) -> None:
        """Start PostgreSQL if the boot rule allows it."""
        is_standby = self.node.signal.exists()
        silent = is_standby or not self.memory.now.autostart
        decided = boot(self.memory.now, is_standby=is_standby, answers={} if silent else answers())
        self._patience.failed("start", time.monotonic())
        if decided.role is None:
            return say(f"PostgreSQL is not started: {decided.told}")
        say(f"PostgreSQL is started as {decided.role}: {decided.told}")
        launch(self.node, within=START)
        return None


def _replication(node: Node, act: ask.Act) -> Told:
    match act:
        case ask.Checkpoint():
            return node_replication.checkpoint(node)
        case ask.SetSync():
            return node_replication.set_sync(node, act.names)
        case ask.CreateSlots():
            return node_replication.create_slots(node, act.names)
        case ask.DropSlots():
            return node_replication.drop_slots(node, act.names)
        case ask.Follow():
            return node_replication.follow(node, act.upstream)
        case ask.Detach():
            return node_replication.detach(node)
        case ask.ResumeReplay():
            return node_replication.resume_replay(node)
    raise Permanent(f"no act {act.kind} is known here")
