"""A site's agent: the one process through which anything is done to its database and its DNS, and the guard of both.

It holds one lock and one memory. An act carries the epoch of the recovery that asks for it; what is stale is refused here,
where the effect would be, so that the check and the act are one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from flotilla.errors import FlotillaError, Permanent, Refused
from flotilla.node import requests as ask
from flotilla.node.config import AgentConfig
from flotilla.node.database import Database, Told
from flotilla.node.memory import Begun, Memory, accepted, checked_epoch
from flotilla.node.requests import Request
from flotilla.node.traffic import Traffic
from flotilla.traffic.records import Record
from flotilla.traffic.zone import epochs
from flows.agent_cnpg import CloudNative
from flows.agent_jobs import Job, Jobs
from flows.agent_postgres import OwnPostgres
from tasks.agents import Agent, Busy
from tasks.node_files import Alone, Recollection, read_secret
from tasks.node_guard import steady
from tasks.peers import Peers

QUEUE = 2.0  # seconds that an act waits for the one before it
log = logging.getLogger("flotilla.agent")

Verify = Callable[[Sequence[str], int, str], Sequence[str]]
"""Who approved an epoch of a run, by their tokens; raises Refused for what is no approval of it."""


def nobody(_: Sequence[str], epoch: int, run: str) -> Sequence[str]:
    """Know no approver: an agent that was not told who may break the glass."""
    raise Refused(f"epoch {epoch} of run {run}: this agent knows nobody whose approval would break the glass")


def database_of(config: AgentConfig, memory: Recollection) -> Database:
    """Return the site's database, as the agent's file says who runs it."""
    return CloudNative(config, memory) if config.cloud_native_pg else OwnPostgres(config, memory)


class SiteAgent:
    """One site's agent, without the server that others reach it by."""

    def __init__(self, config: AgentConfig, traffic: Traffic | None = None, verify: Verify = nobody) -> None:
        config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config, self.token = config, read_secret(config.token_file, "bearer token")
        self._alone = Alone(config.state)
        self.memory = Recollection(config.state / "memory.json")
        self.database = database_of(config, self.memory)
        self.jobs = Jobs()
        self.peers = Peers({site: Agent(site, config.sites[site].agent, self.token, config.tls.ca) for site in config.others})
        self._traffic, self._verify = traffic, verify
        self._acting, self._publishing, self._accepting = threading.Lock(), threading.Lock(), threading.Lock()
        self._busy_with = ""
        self._began, self._accepted = time.time(), steady()

    def begin(self) -> None:
        """Have everything as an agent that was here before may have left it half-way; then ask the others.

        Raises Permanent where it could not tell a server that runs.
        """
        self.database.begin()
        self.peers.start()

    def end(self) -> str:
        """Let go of everything; PostgreSQL goes on unless the configuration says otherwise. Return what was done and why."""
        self.peers.stop()
        told = self.database.end(lambda: self._alone_in(self._acting, "the end"))
        self._alone.release()
        return told

    def seen(self) -> dict[str, Any]:
        """Return all that is seen of this site; nothing of it waits for PostgreSQL."""
        memory, working = self.memory.now, self.jobs.running()
        return {
            "site": self.config.site,
            "at": time.time(),
            "epoch": memory.epoch,
            "run": memory.run,
            "epoch_age": round(steady() - self._accepted, 3) if memory.epoch else None,
            "glass": list(memory.glass),
            "isolation": self.config.isolation,
            "agent": {"version": version("flotilla"), "started": self._began},
            "job": working.kind if working else "",
            "database": self.database.seen(),
            "traffic": self._traffic_seen(),
            "peers": self.peers.shown(),
        }

    def act(self, request: Request) -> Told | Job:
        """Do what is asked under its epoch, or begin it if it takes long; raises what keeps it from being done.

        An epoch is also accepted while a long act goes on, which looks at it before each of its stages.
        """
        began = time.monotonic()
        try:
            done = self._done(request)
        except FlotillaError as error:
            _tell(self.config.site, request, began, f"{type(error).__name__}: {error}")
            raise
        _tell(self.config.site, request, began, f"job {done.id}" if isinstance(done, Job) else done.text)
        return done

    def _done(self, request: Request) -> Told | Job:
        act = request.act
        if isinstance(act, ask.Begin | ask.BreakGlass):
            return self._accept(request)
        self._check(request)
        if isinstance(act, ask.SetTraffic):
            with self._alone_in(self._publishing, act.kind):
                self._check(request)
                return self._set_traffic(act, request.epoch)
        if isinstance(act, ask.Rewind | ask.Reseed):
            return self._long(request, act)
        with self._alone_in(self._acting, act.kind):
            self._check(request)
            return self.database.act(act, request.epoch, self.peers.answers)

    def _check(self, request: Request) -> None:
        checked_epoch(self.memory.now, request.epoch, request.run)

    def _accept(self, request: Request) -> Told:
        """Accept an epoch once no short act is under way: what was checked under the earlier one is over by then."""
        act, glass = request.act, tuple[str, ...]()
        if request.epoch <= self.memory.now.epoch:
            self._check(request)
        if isinstance(act, ask.BreakGlass):
            glass = tuple(sorted(set(self._verify(act.approvals, request.epoch, request.run))))
            if len(glass) < 2:
                raise Refused(f"two different people break the glass; these are approvals of {', '.join(glass) or 'nobody'}")

        def made(memory: Memory) -> Memory:
            return accepted(memory, Begun(request.epoch, request.run, time.time(), glass))

        with self._accepting, self._alone_in(self._publishing, act.kind), self._quiet(act.kind):
            changed = self.memory.become(made)
            self._accepted = steady() if changed else self._accepted
        who = f" on the word of {' and '.join(glass)}" if glass else ""
        return Told(f"{self.config.site} has accepted epoch {request.epoch}{who}", changed)

    @contextmanager
    def _quiet(self, kind: str) -> Iterator[None]:
        if self.jobs.running():
            yield
            return
        with self._alone_in(self._acting, kind):
            yield

    def _long(self, request: Request, act: ask.Rewind | ask.Reseed) -> Job:
        """Begin a long act, or return the one that is under way where it is the same."""
        again = self.jobs.same(request)
        if again:
            return again
        self._take(self._acting, act.kind)
        try:
            self._check(request)
            return self.jobs.begin(request, lambda go: self._copied(request, act, go), self._let_go)
        except BaseException:
            self._let_go()
            raise

    def _copied(self, request: Request, act: ask.Rewind | ask.Reseed, go: Callable[[str], None]) -> Told:
        def allowed(stage: str) -> None:
            self._check(request)
            go(stage)

        began = time.monotonic()
        try:
            done = self.database.copy(act, allowed)
        except FlotillaError as error:
            _tell(self.config.site, request, began, f"{type(error).__name__}: {error}")
            raise
        _tell(self.config.site, request, began, done.text)
        return done

    def _set_traffic(self, act: ask.SetTraffic, epoch: int) -> Told:
        if self._traffic is None:
            raise Permanent(f"the agent of {self.config.site} has no DNS server: see `traffic` in its configuration")
        said = epochs(Record(**record.model_dump()) for record in act.records)
        if other := {name: one.epoch for name, one in said.items() if one.epoch != epoch}:
            # A higher one would stand there for good: no later recovery could write below it.
            raise Permanent(f"an act of epoch {epoch} that says another one in DNS: {other}")
        changed = self._traffic.set(act.zone, [record.model_dump() for record in act.records])
        return Told(f"DNS of {self.config.site} says so in {act.zone}", changed)

    def _traffic_seen(self) -> Mapping[str, Any]:
        if self._traffic is None:
            return {"unseen": "this agent has no DNS server"}
        try:
            return self._traffic.seen()
        except FlotillaError as error:
            return {"unseen": str(error)}

    @contextmanager
    def _alone_in(self, lock: threading.Lock, kind: str) -> Iterator[None]:
        self._take(lock, kind)
        try:
            yield
        finally:
            self._let_go(lock)

    def _take(self, lock: threading.Lock, kind: str) -> None:
        working = self.jobs.running()
        if not lock.acquire(timeout=0 if working and lock is self._acting else QUEUE):
            raise Busy(f"{self.config.site} is busy with {working.kind if working else self._busy_with}: ask again")
        self._busy_with = kind

    def _let_go(self, lock: threading.Lock | None = None) -> None:
        (lock or self._acting).release()

    @contextmanager
    def undisturbed(self) -> Iterator[bool]:
        """Hold the lock of acts if nobody has it; tell whether it is held."""
        held = self._acting.acquire(blocking=False)
        try:
            yield held
        finally:
            if held:
                self._acting.release()


def _tell(site: str, request: Request, began: float, told: str) -> None:
    spent = (time.monotonic() - began) * 1000
    log.info("site=%s epoch=%d run=%s act=%s ms=%.0f told=%s", site, request.epoch, request.run, request.act.kind, spent, told)
