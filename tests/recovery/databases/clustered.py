"""Three agents whose databases CloudNativePG runs in the lab's three clusters, and a walk over a plan's steps with them.

The agents are processes of this machine, on loopback; what they ask is the sites' API servers, and the databases at the sites'
own addresses. Leases and DNS have no part in it: those steps are left out, and the leases' word is said as it would be.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

import lab
from flotilla.errors import Transient
from flotilla.facts import Unknown
from flotilla.recovery.acts import Act, AgentAct
from flotilla.recovery.aim import Aim
from flotilla.recovery.bodies import body
from flotilla.recovery.facts import HELD, DatabaseSeen, LeaseSeen, World
from flotilla.recovery.layout import Layout, Place
from flotilla.recovery.parsing import parse_agent, parse_database
from flotilla.recovery.standing import State, standing
from flotilla.recovery.steps import Step
from lab import certificates
from lab import databases as sites_databases
from lab.databases import PASSWORDS, Database, prepare
from lab.operators import AUTHORITY, NAMESPACE, NODE_PORT, POSTGRES, SERVER, STORAGE_CLASS
from lab.verbs import _layout
from tasks.agents import Agent
from tasks.clusters import Connection
from tasks.postgres import Observer, Reach
from tests.metrics.programs import free_port
from tests.recovery.databases.trio import SITES, Site, Trio, until

NAME, ISOLATION = "orders", 30.0
CLUSTERS = f"/apis/postgresql.cnpg.io/v1/namespaces/{NAMESPACE}/clusters"
SKIPPED = ("leases", "scale", "ready", "traffic", "publish", "publish-promotable", "verify")
LAYOUT = Layout(
    (Place("production", "hangzhou"), Place("same-city", "hangzhou"), Place("remote", "beijing")), ("same-city",), ISOLATION
)
HEALTHY = "Cluster in healthy state"  # status.phase (CloudNativePG 1.30, api/v1/cluster_types.go, PhaseHealthy)
QUIET = 3.0  # seconds
PATIENCE = 240.0  # seconds for one step: a copy of a Cluster is made by pods that have to be started first


@dataclass(frozen=True)
class Clustered(Database):
    """A site whose database is reached at the site's address, and whose agent is on loopback; ``ca`` knows both."""

    @property
    def agent(self) -> str:
        return f"https://127.0.0.1:{self.agent_port}"

    @property
    def ca(self) -> Path:
        return self.home / "both.pem"


@dataclass
class Three(Trio):
    """Three sites with Clusters; ``ways`` lead to their API servers."""

    ways: dict[str, Connection] = field(default_factory=dict)
    looks: list[tuple[float, dict[str, DatabaseSeen]]] = field(default_factory=list)
    observers: dict[str, Observer] = field(default_factory=dict)

    def act(self, site: str, kind: str, **given: Any) -> dict[str, Any]:
        """Have an act done, to its end, asked again where it may be: an operator takes its time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return super().act(site, kind, **given)
            except Transient:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def build(self) -> None:
        """Have a primary in production that the others are copies of, and follow; commits wait for same-city."""
        self.begin()
        self.act("production", "initialise")
        for name in ("same-city", "remote"):
            self.act(name, "reseed", upstream="production")
            self.follows(name, "production")
        self.act("production", "set_sync", names='FIRST 1 ("same-city")')
        until(lambda: self.sync_state("production", "same-city") == "sync", "same-city is synchronous")

    def cluster(self, site: str) -> dict[str, Any]:
        """Return a site's Cluster."""
        answer = self.ways[site].request("GET", f"{CLUSTERS}/{NAME}")
        assert answer.status == 200, answer.message
        found: dict[str, Any] = answer.body
        return found

    @property
    def primary(self) -> str:
        """The one site whose database takes writes, once all answer: an operator restarts what it has just promoted."""
        found = list[str]()

        def all_answer() -> bool:
            found[:] = [name for name in SITES if not self[name].ask("select pg_is_in_recovery()")]
            return True

        until(all_answer, "all databases answer")
        assert len(found) == 1, found
        return found[0]

    def follows(self, site: str, upstream: str) -> None:
        """Wait until a site has all that its upstream had when it was asked, once that answers."""
        until(lambda: self[upstream].ask("select true"), f"{upstream} answers")
        super().follows(site, upstream)

    def settle(self) -> None:
        """Wait until no operator has had anything to do for a while: seconds after a promotion it restarts the server."""
        since = time.monotonic()

        def is_quiet() -> bool:
            nonlocal since
            if not all(self._is_quiet(name) for name in SITES):
                since = time.monotonic()
            return time.monotonic() - since > QUIET

        until(is_quiet, "all Clusters are quiet")

    def _is_quiet(self, name: str) -> bool:
        with suppress(psycopg.Error):
            return self.cluster(name)["status"].get("phase") == HEALTHY and bool(self[name].ask("select true"))
        return False

    def world(self) -> World:
        """Return what a recovery sees of the sites, and the leases as it would have written them."""
        now = time.time()
        agents = {name: self._agent(name) for name in SITES}
        seen = {name: self._database(name) for name in SITES}
        self.looks.append((now, {name: one for name, one in seen.items() if isinstance(one, DatabaseSeen)}))
        past = [databases for at, databases in self.looks if now - at >= HELD + 0.2]
        self.looks = [one for one in self.looks if now - one[0] < 4 * HELD]
        leases = {name: LeaseSeen(name, self.run, self.epoch) for name in SITES}
        return World(now, agents, seen, leases, earlier=past[-1] if past else {})

    def _agent(self, name: str) -> Any:
        try:
            return parse_agent(self[name].agent.seen())
        except Transient as error:
            return Unknown(name, str(error))

    def _database(self, name: str) -> DatabaseSeen | Unknown:
        try:
            return parse_database(self.observers[name].look())
        except Transient as error:
            return Unknown(name, str(error))

    def walk(self, steps: Iterable[Step]) -> list[str]:
        """Do a plan's steps as a recovery does them, but for those of leases and DNS: look, guard, act, prove.

        Return what the agents told.
        """
        told = list[str]()
        for step in steps:
            if step.key.startswith(SKIPPED):
                continue
            for act in step.acts:
                told += self._walk(step.key, act)
        return told

    def _walk(self, key: str, act: Act) -> list[str]:
        deadline, told, aim = time.monotonic() + PATIENCE, list[str](), Aim(self.run, self.epoch)
        while (stands := standing(act, self.world(), aim)).state is not State.DONE:
            assert stands.state is not State.IMPOSSIBLE, f"{key}: {act}: {stands.told}"
            assert time.monotonic() < deadline, f"{key}: {act}: not after {PATIENCE:.0f} s: {stands.told}"
            if stands.state is State.READY and isinstance(stands.act, AgentAct):
                given = {name: value for name, value in body(stands.act, self.epoch).items() if name != "kind"}
                told.append(self.act(stands.act.site, stands.act.kind, **given)["told"])
            time.sleep(0.3)
        return told


@contextmanager
def three(ways: dict[str, Connection]) -> Iterator[Three]:
    """Give three agents that answer, in front of clusters without a database of theirs; nothing of them is left."""
    for way in ways.values():
        _emptied(way)
    lab.cloudnativepg()
    home = Path(tempfile.mkdtemp(prefix="flotilla-cnpg-"))
    made = [Clustered(one.name, home, one.node_address, NODE_PORT, free_port()) for one in _layout().clusters]
    _written(made, home)
    for one in made:
        _secrets(ways[one.site], made[0])
    token = made[0].token.read_text()
    sites = {one.site: Site(one, Agent(one.site, one.agent, token, one.ca)) for one in made}
    places = {one.site: (one.host, one.port) for one in made}
    reach = Reach(places, "orders", made[0].password("observer").read_text(), str(made[0].ca))
    found = Three(home, sites, ways=ways, observers={name: Observer(name, reach) for name in SITES})
    try:
        for site in sites.values():
            site.start()
        yield found
    finally:
        for site in sites.values():
            site.end()
            site.agent.close()
        for observer in found.observers.values():
            observer.close()
        for way in ways.values():
            _emptied(way)
        shutil.rmtree(home, ignore_errors=True)  # its guards end with it


def _written(made: list[Clustered], home: Path) -> None:
    """Have every file that the agents read."""
    own, of_sites = home / "tls" / "ca.pem", sites_databases.of(_layout().clusters[0]).ca
    prepare(made, ["127.0.0.1/32"])
    shutil.rmtree(home / "tls")
    certificates.ensure(home / "tls", {one.site: "127.0.0.1" for one in made})
    made[0].ca.write_text(own.read_text() + of_sites.read_text())
    (home / "operator").write_text(made[0].password("rewind").read_text())
    (home / "cluster.json").write_text(json.dumps(manifest()))
    for one in made:
        said = json.loads(one.config.read_text())
        del said["postgres"]
        said |= {
            "listen": one.agent.removeprefix("https://"),
            "isolation": ISOLATION,
            "cloudNativePG": {
                "kubeconfig": str(_layout().kubeconfig),
                "context": one.site,
                "namespace": NAMESPACE,
                "name": NAME,
                "manifest": str(home / "cluster.json"),
                "authority": AUTHORITY,
                "operator": "orders-operator",
                "observer": "orders-observer",
            },
        }
        said["tls"]["ca"] = str(one.ca)
        one.config.write_text(json.dumps(said, indent=2))


def manifest() -> dict[str, Any]:
    """Return the Cluster as its users write it: image, storage, certificates of all sites' authority, the site's own port."""
    port = {"name": "postgres", "port": 5432, "targetPort": 5432, "nodePort": NODE_PORT}
    service = {"metadata": {"name": "orders-site"}, "spec": {"type": "NodePort", "ports": [port]}}
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": NAME},
        "spec": {
            "instances": 1,
            "imageName": POSTGRES,
            "imagePullPolicy": "IfNotPresent",
            "storage": {"size": "1Gi", "storageClass": STORAGE_CLASS},
            "certificates": {"serverCASecret": AUTHORITY, "serverTLSSecret": SERVER, "clientCASecret": AUTHORITY},
            # By default a pod that was fenced is shown as ready for half a minute more.
            "probes": {"readiness": {"periodSeconds": 2, "failureThreshold": 1}},
            "bootstrap": {"initdb": {"secret": {"name": "orders-app"}}},
            "postgresql": {
                "parameters": {
                    "shared_buffers": "32MB",
                    "max_connections": "60",
                    "wal_keep_size": "256MB",
                    "wal_retrieve_retry_interval": "500ms",
                    "wal_receiver_status_interval": "1s",
                }
            },
            "managed": {"services": {"additional": [{"selectorType": "rw", "serviceTemplate": service}]}},
        },
    }


def _secrets(way: Connection, one: Database) -> None:
    passwords = {role: one.password(role).read_text() for role in PASSWORDS}
    for role, password in (
        ("operator", passwords["rewind"]),
        ("observer", passwords["observer"]),
        ("app", passwords["app"]),
    ):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in (("username", role), ("password", password))}
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/basic-auth",
            "metadata": {"name": f"orders-{role}", "namespace": NAMESPACE},
            "data": data,
        }
        path, query = f"/api/v1/namespaces/{NAMESPACE}/secrets/orders-{role}", {"fieldManager": "tests", "force": "true"}
        answer = way.request("PATCH", path, query=query, body=made, content_type="application/apply-patch+yaml")
        assert answer.status in (200, 201), answer.message


def _emptied(way: Connection) -> None:
    """Have no Cluster and no claim, and the volumes as if nothing had ever been in them: a new copy takes an empty one."""
    way.request("DELETE", f"{CLUSTERS}/{NAME}", body={"propagationPolicy": "Foreground"})
    claims = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
    until(lambda: way.request("GET", f"{CLUSTERS}/{NAME}").status == 404, f"{way.name} has no Cluster")
    until(lambda: not way.request("GET", claims).body.get("items"), f"{way.name} has no claims")
    for volume in way.request("GET", "/api/v1/persistentvolumes").body.get("items", ()):
        if volume["spec"].get("storageClassName") == STORAGE_CLASS and volume["spec"].get("claimRef"):
            path = f"/api/v1/persistentvolumes/{volume['metadata']['name']}"
            way.request("DELETE", path)
            until(lambda path=path: way.request("GET", path).status == 404, f"{way.name} has lost {path}")  # type: ignore[misc]
            shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)
