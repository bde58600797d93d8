"""The database of an agent whose site has it run by CloudNativePG: a Cluster, of which the operator does what it is asked.

Kubernetes starts what should run, so the boot rule comes after the start here: a primary that came up and may have been
replaced is stopped again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flotilla.errors import FlotillaError, Permanent
from flotilla.node import requests as ask
from flotilla.node.boot import boot
from flotilla.node.cnpg import let_up, put_down
from flotilla.node.config import OPERATOR_STOPS, AgentConfig
from flotilla.node.database import Alone, Answers, Go, Say, Told
from tasks import node_cnpg_acts as acts
from tasks import node_cnpg_replication as replication
from tasks.node_cnpg import API, Cnpg
from tasks.node_cnpg_copying import refuse_rewind, reseed
from tasks.node_cnpg_guard import guard_of
from tasks.node_cnpg_looks import Eyes, Sight
from tasks.node_files import Recollection, keep

AGAIN = 1.0  # seconds between tries to stop a primary, or to let one up
log = logging.getLogger("flotilla.agent")


class CloudNative:
    """``flotilla.node.database.Database`` for a Cluster of CloudNativePG."""

    stopping = OPERATOR_STOPS

    def __init__(self, config: AgentConfig, memory: Recollection) -> None:
        self.config, self.memory = config, memory
        self.cnpg, self._eyes = Cnpg(config, memory), Eyes(config, memory)
        self._last_word = Cnpg(config, memory)  # of the isolation rule, which waits for no act
        self.guard = guard_of(config, self.cnpg.path, config.isolation - OPERATOR_STOPS)
        self._server = config.state / "server"  # when the server was started that may be a primary, over the agent's death
        self._stopped = self._tried = float("-inf")

    def begin(self) -> None:
        """Look at the Cluster, and go on looking; an API server that does not answer is no reason to be no agent."""
        self._eyes.begin()

    def end(self, _: Callable[[], AbstractContextManager[None]], /) -> str:
        """Let go of the Cluster, which goes on."""
        runs = self.runs_as_primary()
        self._eyes.end()
        self.cnpg.close()
        self._last_word.close()
        told = f"{self.cnpg.name} goes on"
        return told + (f"; a primary without an agent is fenced within {self.config.isolation:g} s" if runs else "")

    def seen(self) -> dict[str, Any]:
        """Return what the Cluster showed at the last look."""
        return self._eyes.database()

    def act(self, act: ask.Act, epoch: int, answers: Answers) -> Told:
        """Do a short act, and look at what came of it."""
        try:
            return self._acted(act, epoch, answers)
        finally:
            self._eyes.look()

    def _acted(self, act: ask.Act, epoch: int, answers: Answers) -> Told:
        db = self.cnpg
        match act:
            case ask.Initialise():
                return self._let(acts.initialise(db, epoch, answers))
            case ask.Start():
                return self._let(acts.start(db, act.role, epoch, answers))
            case ask.Promote():
                return self._let(acts.promote(db, act.timeout, epoch, answers))
            case ask.Stop():
                return acts.stop(db, act.mode)
            case ask.Fence():
                return acts.fence(db)
            case ask.Unfence():
                return acts.unfence(db)
            case ask.Drain():
                return acts.drain(db, act.seconds)
            case ask.Undrain():
                return acts.undrain(db)
        return _replication(db, act)

    def copy(self, act: ask.Rewind | ask.Reseed, go: Go) -> Told:
        """Copy another site's database anew; a rewind is refused."""
        try:
            if isinstance(act, ask.Rewind):
                return refuse_rewind(self.cnpg)
            self._eyes.look()
            return reseed(self.cnpg, act.upstream, self._eyes.process(), go)
        finally:
            self._eyes.look()

    def is_standby(self) -> bool:
        """Return whether the Cluster is to be a standby, as it was seen last."""
        sight = self._eyes.last
        return sight is not None and sight.cluster is not None and sight.cluster.is_standby

    def runs_as_primary(self) -> bool:
        """Return whether the Cluster is a primary that nobody has put down, as it was seen last; looks if it never was."""
        sight = self._eyes.last or self._eyes.look()
        found = sight.cluster if sight else None
        return found is not None and not found.is_standby and self._eyes.process() != "stopped"

    def stop_now(self) -> None:
        """Have the operator stop every instance, and put clients out until it has; what fails is logged, and tried again."""
        now = time.monotonic()
        if now - self._stopped < AGAIN:
            return
        self._stopped = now
        try:
            sight = self._eyes.last
            if sight is None or sight.cluster is None or not sight.cluster.put_down:
                self._last_word.patch(put_down("it may have been replaced, as it is without a majority"), within=API)
        except FlotillaError as error:
            log.warning("site=%s %s", self.config.site, error)
        try:
            acts.put_out_at_once(self._last_word)
        except FlotillaError as error:
            log.info("site=%s nobody was put out: %s", self.config.site, error)

    def tend(self, alone: Alone, answers: Answers, say: Say) -> bool:
        """Let up a primary that was put down where the boot rule allows it; put down one that came up where it does not."""
        sight = self._eyes.last
        found = sight.cluster if sight else None
        if sight is None or found is None:
            return False
        if found.put_down or self._is_new(sight):
            if time.monotonic() - self._tried >= AGAIN:
                self._tried = time.monotonic()
                with alone() as free:
                    if free:
                        self._decide(sight, answers, say)
            return False
        return sight.in_recovery is not None

    def _is_new(self, sight: Sight) -> bool:
        """Return whether a primary answers whose server was started since the boot rule last allowed one."""
        if sight.served is None or sight.served.in_recovery or sight.cluster is None or sight.cluster.is_standby:
            return False
        return not self._server.is_file() or self._server.read_text() != sight.served.started

    def _decide(self, sight: Sight, answers: Answers, say: Say) -> None:
        """Apply the boot rule to a primary."""
        decided = boot(self.memory.now, is_standby=False, answers=answers() if self.memory.now.autostart else {})
        put = sight.cluster.put_down if sight.cluster else ""
        if decided.role is None:
            say(f"PostgreSQL is {'not started' if put else 'stopped'}: {decided.told}")
            if not put:
                self.stop_now()
        elif put:
            say(f"PostgreSQL may start: {decided.told}")
            self.cnpg.patch(let_up())
        elif sight.served:
            keep(self._server, sight.served.started)
        self._eyes.look()

    def _let(self, told: Told) -> Told:
        """Take note that the server of now may be a primary: an act has just made it one, by its epoch."""
        served = self.cnpg.served()
        if not served.in_recovery:
            keep(self._server, served.started)
        return told

    def beat(self, statements: str) -> None:
        """Write the heartbeat where transactions may write."""
        if self.cnpg.setting("default_transaction_read_only") == "off":
            self.cnpg.ask(statements)


def _replication(db: Cnpg, act: ask.Act) -> Told:
    match act:
        case ask.Checkpoint():
            return replication.checkpoint(db)
        case ask.SetSync():
            return replication.set_sync(db, act.names)
        case ask.CreateSlots():
            return replication.create_slots(db)
        case ask.DropSlots():
            return replication.drop_slots(db, act.names)
        case ask.Follow():
            return replication.follow(db, act.upstream)
        case ask.Detach():
            return replication.detach(db)
        case ask.ResumeReplay():
            return replication.resume_replay(db)
    raise Permanent(f"no act {act.kind} is known here")
