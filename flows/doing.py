"""What a recovery's acts are done by: agents for databases and DNS, API servers for leases and the application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flotilla.errors import Permanent
from flotilla.fleet import Fleet
from flotilla.recovery import acts, bodies
from flotilla.recovery.acts import Act
from flotilla.recovery.config import Recovery
from tasks import business, recovery_leases
from tasks.agents import Agent
from tasks.clusters import Connection, connect

LONG = 6 * 3600.0  # seconds that a rewind or a reseed may take; their step's patience is for the walker to watch
log = logging.getLogger("flotilla.recovery")


@dataclass(frozen=True)
class Whose:
    """On whose behalf acts are done: the run, its plan's hash and epoch."""

    run: str
    plan: str
    epoch: int


class Doer:
    """Does acts. Each may be repeated; none remembers anything."""

    def __init__(self, fleet: Fleet, recovery: Recovery, agents: Mapping[str, Agent]) -> None:
        self._fleet, self._recovery, self._agents = fleet, recovery, agents
        self._by_kind: Mapping[type[Act], Callable[[Act, Whose], str]] = {
            acts.TakeLease: lambda act, whose: recovery_leases.take(self._at(act), whose.run, whose.epoch, whose.plan),
            acts.ReleaseLease: lambda act, whose: recovery_leases.release(self._at(act), whose.run),
            acts.Publish: self._publish,
            acts.ScaleUp: lambda act, whose: self._scale(act, recovery.application.replicas, whose),
            acts.ScaleDown: lambda act, whose: self._scale(act, 0, whose),
        }

    def do(self, act: Act, whose: Whose) -> str:
        """Do an act and return what came of it in a sentence.

        Raises Transient where it may be tried again, also where nobody answered and it may have been done; Permanent or
        Refused where trying again does not help.
        """
        if isinstance(act, acts.AgentAct):
            return self._by_agent(act, whose)
        doing = self._by_kind.get(type(act))
        if doing is None:
            raise Permanent(f"{act}: nobody does that: it is waited for")
        return doing(act, whose)

    def _by_agent(self, act: acts.AgentAct, whose: Whose) -> str:
        agent = self._agents[act.site]
        answer = agent.act(whose.epoch, whose.run, bodies.body(act, whose.epoch))
        if "job" in answer:
            log.info("%s: job %s", act, answer["job"])
            answer = agent.finished(answer["job"], LONG)
        return str(answer.get("told", "done"))

    def _publish(self, act: Act, whose: Whose) -> str:
        assert isinstance(act, acts.Publish)
        return recovery_leases.publish(self._at(act), whose.run, whose.epoch, (act.primary, act.authorised, act.promotable))

    def _scale(self, act: Act, replicas: int, whose: Whose) -> str:
        return business.scale(self._at(act), self._recovery.application, replicas, whose.epoch)

    def _at(self, act: Act) -> Connection:
        return connect(self._fleet.cluster(act.site))
