"""What every recovery stands on: eyes on all sites, who does acts, who is asked; runs planned, begun, and gone on with."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from flotilla.errors import InvalidInput, Permanent, Problem, Transient, phrase
from flotilla.fleet import Fleet
from flotilla.recovery import acts, recording
from flotilla.recovery.config import Recovery, layout_of
from flotilla.recovery.journal import Journal
from flotilla.recovery.layout import Layout
from flotilla.recovery.parsing import parse_agent, parse_answer, parse_database
from flotilla.recovery.planning import Terms, plan_for
from flotilla.recovery.readiness import Finding, Surroundings, findings
from flotilla.recovery.refusals import Asked, NotPlanned
from flotilla.recovery.replanning import asked_anew, made_anew
from flotilla.recovery.steps import Kind, Plan, from_dict
from flotilla.recovery.walking import Ended, Replan, Stuck
from flotilla.traffic.service import Service, Site
from flows.announcing import Announcing
from flows.consent import vouched_for
from flows.doing import Doer
from flows.eyes import Eyes, Looker, Part, fact_of, is_seen, parts_of
from flows.walker import People, Run, Walker
from tasks import business, capacity, certificates, recovery_leases, replication_samples, serving, traffic
from tasks.agents import Agent
from tasks.clusters import Connection, connect
from tasks.postgres import Observer, Reach
from tasks.step_journal import StepJournal

JOURNALS = Path(".flotilla/recovery")
FIRST_LOOK = 3.0  # seconds that everything has to be seen for the first time


@dataclass(frozen=True)
class Ground:
    """A fleet whose business can be recovered, with open eyes and hands."""

    fleet: Fleet
    recovery: Recovery
    layout: Layout
    eyes: Eyes
    doer: Doer
    folder: Path

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The ways to all clusters."""
        return {cluster.name: connect(cluster) for cluster in self.fleet.clusters}

    def terms(self, *, automatic: bool = False) -> Terms:
        """Return what the fleet file adds to a wish."""
        aims = self.recovery.objectives
        return Terms(self.recovery.database.stable, automatic, aims.rto, aims.rpo)

    def wrong(self) -> tuple[Finding, ...]:
        """Return what would break a runbook now, the worst first."""
        around = Surroundings(_certificates(self.recovery), len(self.recovery.approvers), self._cramped())
        return findings(self.eyes.world(), self.layout, around)

    def _cramped(self) -> tuple[tuple[str, str], ...]:
        """Return where the application would find no room; where nobody answers for a cluster is a finding of its own."""
        found = list[tuple[str, str]]()
        for site, connection in self.connections.items():
            with suppress(Transient, Permanent):
                found += [(site, told) for told in capacity.wanting(connection, self.recovery.application)]
        return tuple(found)

    def look(self) -> Ground:
        """Wait until everything that answers has been looked at anew; what did not answer, once more: a first look connects.

        But for whether users are served: where nobody is to be, nothing answers.
        """
        parts = parts_of(self.layout.sites)
        world = self.eyes.world(parts, time.monotonic(), FIRST_LOOK)
        if again := [part for part in parts if not is_seen(fact_of(world, part)) and part[1] != acts.SERVING]:
            self.eyes.world(again, time.monotonic(), FIRST_LOOK)
        return self


@contextmanager
def opened(fleet: Fleet, folder: Path = JOURNALS) -> Iterator[Ground]:
    """Yield the ground of a fleet's recovery, everything looked at once; raises InvalidInput where the fleet has none."""
    recovery = recovery_of(fleet)
    layout = layout_of(recovery, {cluster.name: cluster.site.city for cluster in fleet.clusters})
    agents = agents_of(recovery)
    samples = replication_samples.kept({cluster.name: connect(cluster) for cluster in fleet.clusters})
    with Eyes(_lookers(fleet, recovery, agents), samples) as eyes:
        yield Ground(fleet, recovery, layout, eyes, Doer(fleet, recovery, agents), folder).look()


def recovery_of(fleet: Fleet) -> Recovery:
    """Return what a fleet says of recovery; raises InvalidInput where it says nothing."""
    if fleet.recovery is None:
        allowed = "the section recovery in the fleet file, or the file that FLOTILLA_RECOVERY names"
        raise InvalidInput([Problem("the fleet file", "recovery", phrase("is missing"), allowed)])
    return fleet.recovery


def agents_of(recovery: Recovery) -> dict[str, Agent]:
    """Return the sites' agents; nothing is sent yet. Raises InvalidInput where token or address are missing."""
    database = recovery.database
    token = secret(database.token_env, "the bearer token of the sites' agents")
    if database.ca_file is None:
        raise InvalidInput(
            [Problem("the fleet file", "recovery.database.caFile", None, "the authority of the agents' certificates")]
        )
    return {site: Agent(site, one.address(os.environ), token, database.ca_file) for site, one in database.agents.items()}


def _certificates(recovery: Recovery) -> tuple[tuple[str, float], ...]:
    """Return when each certificate ends that is shown; who shows none does not answer, and is a finding as that."""
    database, found = recovery.database, list[tuple[str, float]]()
    for site, agent in database.agents.items():
        at = httpx.URL(agent.address(os.environ))
        doors = (("agent", at.host, at.port or 443), ("database", database.hosts[site], database.port))
        for what, host, port in doors:
            with suppress(Transient):
                found.append((f"{what} of {site}", certificates.ends(host, port, postgres=what == "database")))
    return tuple(found)


def secret(variable: str, what: str) -> str:
    """Return what an environment variable holds; raises InvalidInput where it is not set."""
    if value := os.environ.get(variable):
        return value
    raise InvalidInput([Problem("environment", variable, phrase("is not set"), what)])


def planned(ground: Ground, asked: Asked, *, automatic: bool = False) -> Plan:
    """Return the plan that does what is asked; raises Permanent with every reason where there is none."""
    found = plan_for(asked, ground.eyes.world(), ground.layout, ground.terms(automatic=automatic))
    if isinstance(found, NotPlanned):
        raise Permanent(str(found))
    return found


def new_run(kind: Kind) -> str:
    """Return a name for a run that no other has: what is done, when it began, and chance."""
    return new_name(str(kind))


def new_name(what: str) -> str:
    """Return a name that nothing else has: what it is, when it began, and chance."""
    return f"{what}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def begun(ground: Ground, asked: Asked, plan: Plan) -> Run:
    """Return a new run of a plan, written down before anything is done."""
    run = opened_run(ground, asked.run, asked.initiator)
    run.kept.keep(recording.planned(run.kept.journal, plan, time.time(), asked.initiator, asked.reason))
    return run


def opened_run(ground: Ground, run: str, who: str) -> Run:
    """Return a run with what its journal holds; of a run that nobody has begun an empty one."""
    kept = StepJournal(ground.folder, run, ground.connections)
    kept.open()
    return Run(run, who, kept)


def read_run(ground: Ground, run: str) -> Journal:
    """Return what a run's journal holds, and leave that to whoever walks it; raises Permanent for one that nobody has begun."""
    found = journal_of(ground, run)
    if found.plan is None:
        raise Permanent(f"there is no run {run}: no journal speaks of it, here or in any cluster that answers")
    return found


def is_begun(ground: Ground, run: str) -> bool:
    """Tell whether anybody has begun a run."""
    return journal_of(ground, run).plan is not None


def journal_of(ground: Ground, run: str) -> Journal:
    """Return what a run's journal holds, an empty one where nobody has begun it; nothing is written."""
    return StepJournal(ground.folder, run, ground.connections).read()


def plan_of(run: Run) -> Plan:
    """Return the plan that a run walks."""
    assert run.kept.journal.plan is not None, run.run
    return from_dict(run.kept.journal.plan["plan"])


def taken_up(ground: Ground, run: str, who: str) -> Run:
    """Return a run that somebody began, to be gone on with; raises Permanent for one that nobody has, or that was forged."""
    vouched_for(read_run(ground, run), ground.recovery)  # nothing is written of a run that is none
    found = opened_run(ground, run, who)
    found.kept.keep(recording.resumed(found.kept.journal, plan_of(found), time.time(), who))
    return found


def walked(ground: Ground, run: Run, people: People) -> Ended:
    """Walk a run to its end, from wherever it stands."""

    def replanned(plan: Plan, move: Replan) -> Plan | Stuck:
        return without_origin(ground, plan, move, run.kept.journal)

    try:
        return Walker(run, ground.eyes, ground.doer, Announcing(people, ground.fleet), replanned).walk(plan_of(run))
    finally:
        run.kept.close()


def without_origin(ground: Ground, plan: Plan, move: Replan, journal: Journal) -> Plan | Stuck:
    """Return the failover that a planned move goes on as, or what people are asked where none can be planned."""
    found = plan_for(asked_anew(plan, move, journal), ground.eyes.world(), ground.layout, ground.terms())
    return made_anew(found, move, journal)


def _lookers(fleet: Fleet, recovery: Recovery, agents: Mapping[str, Agent]) -> dict[Part, Looker]:
    found: dict[Part, Looker] = {}
    service = _service(recovery, fleet)
    for cluster in fleet.clusters:
        site, connection = cluster.name, connect(cluster)
        agent, observer = agents[site], _observer(recovery, site)
        server = traffic.server_at(site, recovery.traffic.servers.get(site, recovery.traffic.addresses[site]))
        found[site, acts.AGENT] = lambda agent=agent: parse_agent(agent.seen(1.0))  # type: ignore[misc]
        found[site, acts.DATABASE] = lambda one=observer: parse_database(one.look(1.0))  # type: ignore[misc]
        found[site, acts.LEASE] = lambda one=connection: recovery_leases.seen(one)  # type: ignore[misc]
        found[site, acts.APPLICATION] = lambda one=connection: business.seen(one, recovery.application)  # type: ignore[misc]
        if recovery.traffic.health:
            url = f"http://{recovery.traffic.addresses[site]}:{service.port}{service.path}"
            found[site, acts.SERVING] = lambda site=site, url=url: serving.seen(site, url)  # type: ignore[misc]
        found[site, acts.TRAFFIC] = lambda server=server: parse_answer(traffic.ask(server, service))  # type: ignore[misc]
    return found


def _service(recovery: Recovery, fleet: Fleet) -> Service:
    names = recovery.traffic
    sites = tuple(Site(one.name, names.addresses[one.name], one.site.city) for one in fleet.clusters)
    return Service(f"{names.name}.{names.zone}", names.zone, sites, names.port, ttl=names.ttl)


def _observer(recovery: Recovery, site: str) -> Observer:
    database = recovery.database
    places = {name: (host, database.port) for name, host in database.hosts.items()}
    password = secret(database.observer_env, f"the password of the role {database.observer}")
    return Observer(site, Reach(places, database.name, password, database.ca_file or "", database.observer))


def renamed(asked: Asked) -> Asked:
    """Return a wish with a run of its own."""
    return asked if asked.run else replace(asked, run=new_run(asked.kind))
