"""What an agent does by itself: starts what may run, stops a primary that may have been replaced, lets the heart beat."""

from __future__ import annotations

import logging
import threading
import time

from flotilla.errors import FlotillaError
from flotilla.node.isolation import Watch
from flows.agent import SiteAgent
from tasks.node_guard import steady

EVERY = 0.2  # seconds between looks
BEAT = 1.0  # seconds between heartbeats
log = logging.getLogger("flotilla.agent")

# It waits for no standby: a beat that hung would say that nothing is there, and nobody was promised that it is kept.
_BEAT = (
    "begin read write; set local synchronous_commit = local; update flotilla.heartbeat "
    "set site = '{site}', epoch = {epoch:d}, beat = beat + 1, at = clock_timestamp(); commit"
)


class Supervisor:
    """Looks after the database of one agent until it is told to end."""

    def __init__(self, agent: SiteAgent) -> None:
        self._agent = agent
        self._guard = agent.database.guard
        self._watch = Watch(agent.config.isolation - agent.database.stopping, self._supported())
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
        agent, memory = self._agent, self._agent.memory.now
        glass, since = bool(memory.glass), memory.primary_epoch
        why = self._watch.look(agent.peers.contacts, memory.epoch, steady(), glass=glass, since=since)
        runs = agent.database.runs_as_primary()
        self._guard.renew(self._watch.supported if runs else steady())
        if not why or not runs:
            return
        log.warning("site=%s PostgreSQL is stopped: %s", agent.config.site, why)
        agent.database.stop_now()

    def _supported(self) -> float:
        """Return since when its patience counts: a primary that runs already was supported when an earlier agent said."""
        known = self._guard.supported() if self._agent.database.runs_as_primary() else None
        return steady() if known is None else known

    def tend(self) -> None:
        """Start PostgreSQL where it should run and does not; have a running primary's heart beat."""
        agent = self._agent
        self._guard.ensure()
        if agent.database.tend(agent.undisturbed, agent.peers.answers, self._say):
            self._beat()

    def _beat(self) -> None:
        agent, memory = self._agent, self._agent.memory.now
        now = time.monotonic()
        if memory.fenced or agent.database.is_standby() or now - self._beaten < BEAT:
            return
        self._beaten = now
        text = _BEAT.format(site=agent.config.site, epoch=memory.primary_epoch)
        with agent.undisturbed() as free:
            if free:
                agent.database.beat(text)

    def _say(self, text: str) -> None:
        """Tell something once."""
        if text != self._told:
            log.info("site=%s %s", self._agent.config.site, text)
            self._told = text
