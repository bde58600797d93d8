"""A site's Cluster of CloudNativePG as its agent holds it: the object, by its API server, and the database, by SQL.

What is asked of the object is a merge patch of the fields that an act is about; everything else of it stays its users'.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import yaml

from flotilla.errors import Permanent, Transient
from flotilla.fleet import Cluster
from flotilla.node.cnpg import API_VERSION, KIND, OF_CLUSTER, ClusterSeen, Served, cluster, parse_cluster, part_of, topology_of
from flotilla.node.config import AgentConfig
from flotilla.node.history import forks, parse_history
from flotilla.recovery import lsn
from flotilla.recovery.facts import Control
from tasks.clusters import Connection, connect, refused
from tasks.node_files import Recollection
from tasks.sql import Line, Row

ACT = 5.0  # seconds for what takes milliseconds
API = 2.0  # seconds that the API server is given for one answer
CONFIGURED = 30.0  # seconds for the operator and its instance manager to have a changed Cluster in force; a second is usual
CHECKPOINT = 80.0  # seconds
EVERY = 0.1  # seconds between looks: each is a request to an API server, or to PostgreSQL
MERGE = "application/merge-patch+json"

# As superuser: a standby of nobody has no receiver, so its timeline is its newest WAL's. History files are small and few.
_SERVED = """
select json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'system', (select system_identifier::text from pg_control_system()),
    'timeline', timeline_id, 'checkpoint', checkpoint_lsn,
    'end', (select min_recovery_end_lsn from pg_control_recovery()),
    'started', pg_postmaster_start_time()::text,
    'histories', (select coalesce(json_object_agg(name, pg_read_file('pg_wal/' || name, 0, 1048576, true)), '{}')
        from pg_ls_waldir() where name ~ '^[0-9A-F]{8}\\.history$')
)::text from pg_control_checkpoint()
"""


class Changed(Transient):
    """Somebody changed the Cluster since it was looked at: look again."""


class Cnpg:
    """One site's Cluster. Whoever calls its acts sees to it that only one goes on at a time."""

    def __init__(self, config: AgentConfig, memory: Recollection) -> None:
        self.config, self.memory = config, memory
        self.part, self.topology = part_of(config), topology_of(config)
        self.name = f"{KIND} {self.part.namespace}/{self.part.name} of {config.site}"
        self.line: Line | None = None

    @property
    def api(self) -> Connection:
        """The way to the site's API server; raises Permanent where its kubeconfig is of no use."""
        return connection(self.config.site, str(self.part.kubeconfig), self.part.context)

    def look(self) -> ClusterSeen | None:
        """Return the Cluster as it is now, None where there is none; raises what keeps it from being seen."""
        answer = self.api.request("GET", self.path, timeout=API)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(self.config.site, f"read {self.name}", answer)
        return parse_cluster(answer.body, self.config.site)

    def must_be(self) -> ClusterSeen:
        """Return the Cluster; raises Permanent where there is none."""
        seen = self.look()
        if seen is None:
            raise Permanent(f"there is no {self.name}: initialise the first site, reseed the others")
        return seen

    def patch(self, body: Mapping[str, Any], seen: ClusterSeen | None = None, within: float = ACT) -> ClusterSeen:
        """Have some fields of the Cluster so. With ``seen``, only where nobody has since: Changed otherwise."""
        if seen is not None:
            metadata = {**body.get("metadata", {}), "resourceVersion": seen.version}
            body = {**body, "metadata": metadata}
        answer = self.api.request("PATCH", self.path, body=body, content_type=MERGE, timeout=within)
        if answer.status == 409:
            raise Changed(f"{self.name} was changed meanwhile: look again")
        if answer.status != 200:
            raise refused(self.config.site, f"change {self.name}", answer)
        return parse_cluster(answer.body, self.config.site)

    def create(self, upstream: str = "") -> None:
        """Have the Cluster made as its manifest says: a new primary, or a copy of ``upstream``'s database."""
        body = cluster(self.manifest(), self.config, upstream, fenced=self.memory.now.fenced)
        answer = self.api.request("POST", self._collection, body=body, query={"fieldManager": "flotilla"}, timeout=ACT)
        if answer.status not in (201, 409):  # 409: an earlier try made it
            raise refused(self.config.site, f"make {self.name}", answer)

    def delete(self, seen: ClusterSeen) -> None:
        """Have the operator take the Cluster away, with its pods and volumes' claims; it is not gone when this returns."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": seen.uid},
        }
        answer = self.api.request("DELETE", self.path, body=options, timeout=ACT)
        if answer.status not in (200, 202, 404):
            raise refused(self.config.site, f"delete {self.name}", answer)

    def is_gone(self) -> bool:
        """Return whether nothing of the Cluster is left: a new one would take an old one's claims for its own."""
        if self.look() is not None:
            return False
        return not any(self._left(plural) for plural in ("pods", "persistentvolumeclaims"))

    def _left(self, plural: str) -> list[Any]:
        path = f"/api/v1/namespaces/{self.part.namespace}/{plural}"
        answer = self.api.request("GET", path, query={"labelSelector": f"{OF_CLUSTER}={self.part.name}"}, timeout=API)
        if answer.status != 200:
            raise refused(self.config.site, f"list {plural} of {self.name}", answer)
        return list(answer.body["items"])

    def manifest(self) -> Mapping[str, Any]:
        """Return the Cluster's manifest; raises Permanent where its file is none."""
        try:
            found = yaml.safe_load(self.part.manifest.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise Permanent(f"{self.part.manifest} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise Permanent(f"{self.part.manifest} is no manifest: expected a {KIND}")
        return found

    def ask(self, query: str, *values: object, within: float = ACT) -> list[Row]:
        """Ask as operator, over the network; what is asked is said again where the connection turns out to be broken."""
        line = self.line = self.line or self.line_as_operator()
        try:
            return line.ask(query, values, within=within)
        except Transient as error:
            if "password" in str(error):
                self.line = None  # the Secret is read anew: it may hold another one by now
            raise

    def line_as_operator(self, site: str = "") -> Line:
        """Return a line to a site's database, this one's if none is named: all sites hold one database, and one password."""
        site = site or self.config.site
        user, password = self._secret(self.part.operator)
        return Line(f"PostgreSQL of {site}", self._way(site) | {"user": user, "password": password})

    def lets_in(self) -> bool:
        """Return whether pg_hba.conf, as it is in force, lets clients as far as their password: asked as one without any."""
        line = Line(f"PostgreSQL of {self.config.site}", self._way(self.config.site) | {"user": "flotilla_probe"})
        try:
            line.ask("select 1", within=ACT)
        except Transient as error:
            if "pg_hba.conf" in str(error):
                return False
            if "password" in str(error) or "authentication" in str(error):
                return True
            raise
        finally:
            line.close()
        return True

    def served(self, within: float = ACT) -> Served:
        """Return what the database tells; raises Transient where it does not answer."""
        found = json.loads(str(self.ask(_SERVED, within=within)[0][0]))
        begun: dict[int, int] = {}
        for name, text in found["histories"].items():
            begun |= forks(parse_history(text or "", int(name[:8], 16)))  # None: it was removed meanwhile
        state = "in archive recovery" if found["in_recovery"] else "in production"
        control = Control(state, found["system"], found["timeline"], lsn.parse(found["checkpoint"]), lsn.parse(found["end"]))
        return Served(found["in_recovery"], control, found["started"], tuple(sorted(begun.items())))

    def in_recovery(self) -> bool:
        """Return whether the running server is a standby."""
        return bool(self.ask("select pg_is_in_recovery()")[0][0])

    def setting(self, name: str) -> str:
        """Return a setting of the running server, as its new sessions have it."""
        return str(self.ask("select reset_val from pg_settings where name = %s", name)[0][0])

    def close(self) -> None:
        """Close the connection to the database; the next question makes another."""
        if self.line is not None:
            self.line.close()

    @property
    def path(self) -> str:
        """Where the Cluster is, at the API server."""
        return f"{self._collection}/{self.part.name}"

    @property
    def _collection(self) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.part.namespace}/clusters"

    def _way(self, site: str) -> dict[str, object]:
        place = self.config.sites[site]
        return {
            "host": place.host,
            "port": place.port,
            "dbname": self.part.database,
            "sslmode": "verify-full",
            "sslrootcert": str(self.config.tls.ca),
            "application_name": "flotilla-agent",
            "tcp_user_timeout": 5000,
        }

    def _secret(self, name: str) -> tuple[str, str]:
        answer = self.api.request("GET", f"/api/v1/namespaces/{self.part.namespace}/secrets/{name}", timeout=API)
        if answer.status != 200:
            raise refused(self.config.site, f"read Secret {self.part.namespace}/{name}", answer)
        try:
            data = answer.body["data"]
            return base64.b64decode(data["username"]).decode(), base64.b64decode(data["password"]).decode()
        except (KeyError, TypeError, ValueError):
            told = "expected username and password, as kubernetes.io/basic-auth has them"
            raise Permanent(f"Secret {self.part.namespace}/{name} of {self.config.site}: {told}") from None


def connection(site: str, kubeconfig: str, context: str) -> Connection:
    """Return the way to a site's API server."""
    reached = {"file": kubeconfig, "context": context}
    place = {"name": site, "city": "none"}
    return connect(Cluster.model_validate({"name": site, "role": "remote", "site": place, "kubeconfig": reached}))
