"""What an agent does by itself: starts what may run, stops a primary that may have been replaced, lets the heart beat."""

from __future__ import annotations

import logging
import threading
import time

from flotilla.errors import FlotillaError, Transient
from flotilla.keeping import Patience
from flotilla.node.boot import boot
from flotilla.node.isolation import Watch
from flows.agent import SiteAgent
from tasks.node_guard import Guard, steady
from tasks.node_postgres import halt, launch

EVERY = 0.2  # seconds between looks
BEAT = 1.0  # seconds between heartbeats
START = 5.0  # seconds that others wait for a start; a recovery from a crash goes on after them
STOPPING = 1.0  # seconds that each kind of stop is given; with all of them over, the site has stopped within its margin
log = logging.getLogger("flotilla.agent")

# It waits for no standby: a beat that hung would say that nothing is there, and nobody was promised that it is kept.
_BEAT = (
    "begin read write; set local synchronous_commit = local; update flotilla.heartbeat "
    "set site = '{site}', epoch = {epoch:d}, beat = beat + 1, at = clock_timestamp(); commit"
)


class Supervisor:
    """Looks after the PostgreSQL of one agent until it is told to end."""

    def __init__(self, agent: SiteAgent) -> None:
        self._agent = agent
        self._patience = Patience(first=1.0, longest=30.0)
        self._guard = Guard(agent.config.state, agent.node.data, agent.config.isolation)
        self._watch = Watch(agent.config.isolation, self._supported())
        self._ending = threading.Event()
        self._beaten, self._told = 0.0, ""
        self._threads = [
            threading.Thread(target=self._look_for_ever, name="isolation", daemon=True),
            threading.Thread(target=self._tend_for_ever, name="tending", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        self._guard.renew(self._watch.supported)
        self._guard.ensure()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End soon."""
        self._ending.set()
        for thread in self._threads:
            thread.join(2.0)

    def _look_for_ever(self) -> None:
        """Apply the isolation rule in a thread of its own, which nothing else ever holds up."""
        while not self._ending.wait(EVERY):
            try:
                self.look()
            except Exception:  # a guard that ended for a defect would be none
                log.exception("site=%s the isolation rule failed", self._agent.config.site)

    def _tend_for_ever(self) -> None:
        while not self._ending.wait(EVERY):
            try:
                self.tend()
            except FlotillaError as error:
                self._say(str(error))
            except Exception:
                log.exception("site=%s tending PostgreSQL failed", self._agent.config.site)

    def look(self) -> None:
        """Stop a primary that has been without a majority for too long, in order or not."""
        agent, node, memory = self._agent, self._agent.node, self._agent.memory.now
        glass, since = bool(memory.glass), memory.primary_epoch
        why = self._watch.look(agent.peers.contacts, memory.epoch, steady(), glass=glass, since=since)
        runs = self._runs_as_primary()
        self._guard.renew(self._watch.supported if runs else steady())
        if not why or not runs:
            return
        log.warning("site=%s PostgreSQL is stopped: %s", agent.config.site, why)
        for mode in ("fast", "immediate", "kill"):
            try:
                node.server.stop(mode, STOPPING)
                return
            except Transient as error:
                log.warning("site=%s %s", agent.config.site, error)

    def _supported(self) -> float:
        """Return since when its patience counts: a primary that runs already was supported when an earlier agent said."""
        known = self._guard.supported() if self._runs_as_primary() else None
        return steady() if known is None else known

    def _runs_as_primary(self) -> bool:
        node = self._agent.node
        return not node.signal.exists() and node.server.pid() is not None

    def tend(self) -> None:
        """Start PostgreSQL where it should run and does not; have a running primary's heart beat."""
        agent, state = self._agent, self._agent.node.server.state()
        self._guard.ensure()
        agent.looks.size()
        if state == "running":
            self._patience.succeeded("start")
            self._beat()
        elif state == "stopped" and time.monotonic() >= self._patience.until("start"):
            with agent.undisturbed() as free:
                if free:
                    self._start()
        elif agent.node.server.is_for_nobody():
            self._end_orphan()

    def _end_orphan(self) -> None:
        """End a server for nobody whose act died while it still recovered from a crash: no agent would know it by then."""
        with self._agent.undisturbed() as free:
            if free and self._agent.node.server.is_for_nobody():
                self._say("a server for nobody, of an act that died, is ended")
                halt(self._agent.node, "fast")

    def _start(self) -> None:
        """Start PostgreSQL if the boot rule allows it."""
        agent, node = self._agent, self._agent.node
        is_standby = node.signal.exists()
        silent = is_standby or not agent.memory.now.autostart
        decided = boot(agent.memory.now, is_standby=is_standby, answers={} if silent else agent.peers.answers())
        if decided.role is None:
            self._patience.failed("start", time.monotonic())
            return self._say(f"PostgreSQL is not started: {decided.told}")
        self._say(f"PostgreSQL is started as {decided.role}: {decided.told}")
        self._patience.failed("start", time.monotonic())
        launch(node, within=START)
        return None

    def _beat(self) -> None:
        agent, node, memory = self._agent, self._agent.node, self._agent.memory.now
        now = time.monotonic()
        if memory.fenced or node.signal.exists() or now - self._beaten < BEAT:
            return
        self._beaten = now
        text = _BEAT.format(site=agent.config.site, epoch=memory.primary_epoch)
        with agent.undisturbed() as free:
            if free and node.setting("default_transaction_read_only") == "off":
                node.ask(text)

    def _say(self, text: str) -> None:
        """Tell something once."""
        if text != self._told:
            log.info("site=%s %s", self._agent.config.site, text)
            self._told = text
