"""A site's database as CloudNativePG has it: the Cluster's manifest for each part it may play, and what a Cluster tells.

The sites form a distributed topology (CloudNativePG 1.30, replica_cluster.md): every site's Cluster knows all the others, and
says who is the primary. A primary that is told of another one shuts down, and shows a demotion token, which is where its WAL
ends; who is given that token as promotion token promotes itself once it has replayed to there. Without one it promotes itself
at once. "Nobody" is a site of that topology too: whose Cluster names it as the primary is a standby that takes WAL from nobody.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flotilla.errors import Permanent
from flotilla.node.config import AgentConfig, CloudNativePG
from flotilla.node.hba import OBSERVER, OPERATOR
from flotilla.node.settings import NOBODY
from flotilla.objects import Manifest
from flotilla.recovery import lsn
from flotilla.recovery.facts import CLEANLY_STOPPED, EVIDENCE, REWIND, SLOTS, Control

API_VERSION, KIND = "postgresql.cnpg.io/v1", "Cluster"
OF_CLUSTER = "cnpg.io/cluster"  # the label of a Cluster's pods and volumes
FENCED = "cnpg.io/fencedInstances"
PUT_DOWN = "flotilla.dev/put-down"
"""Stands beside FENCED where the agent wrote that: it lifts no fence of anybody else's."""
EVERY_INSTANCE = '["*"]'
NO_SITE = "nobody"
OWN_FIELDS = ("replica", "bootstrap")
"""Fields of a Cluster's spec that only the agent says."""
DELAY = 15  # seconds of an orderly stop, after which the operator stops it at once; its default is an hour
LACKS = (SLOTS, REWIND, EVIDENCE)
"""What CloudNativePG has not, as its agent says."""
_READ_ONLY = "default_transaction_read_only"
_RULES = (f"hostssl all {OPERATOR},{OBSERVER} all scram-sha-256", "host all all all reject")
_TOKEN = ("databaseSystemIdentifier", "latestCheckpointTimelineID", "latestCheckpointREDOLocation")


@dataclass(frozen=True)
class Topology:
    """The sites' databases as one of them sees them: its own name, and where each is reached: host and port.

    ``authority`` is the Secret whose ca.crt is the authority of all sites, for clients and servers alike.
    """

    own: str
    places: Mapping[str, tuple[str, int]]
    authority: str


def topology_of(config: AgentConfig) -> Topology:
    """Return the sites as an agent's file says them."""
    places = {site: (place.host, place.port) for site, place in config.sites.items()}
    return Topology(config.site, places, part_of(config).authority)


def part_of(config: AgentConfig) -> CloudNativePG:
    """Return what an agent's file says of CloudNativePG; raises Permanent where it says nothing."""
    if config.cloud_native_pg is None:
        raise Permanent(f"the agent of {config.site} has no Cluster of CloudNativePG: see cloudNativePG in its file")
    return config.cloud_native_pg


def replica(topology: Topology, primary: str, token: str = "") -> dict[str, Any]:
    """Return `spec.replica`: who is the primary, and whose WAL is taken if that is another; raises Permanent for a stranger.

    As a merge patch it takes back a token of earlier: with one, a replica is refused.
    """
    if primary not in (*topology.places, NO_SITE):
        raise Permanent(f"{topology.own} cannot follow {primary}: expected one of {', '.join(topology.places)}")
    source = primary if primary != topology.own else NO_SITE
    # Given with the primary in one write, never after it: a promotion without it is a failover.
    return {"self": topology.own, "primary": primary, "source": source, "promotionToken": token or None}


def external_clusters(topology: Topology, name: str) -> list[dict[str, Any]]:
    """Return `spec.externalClusters` for the Cluster of a name: every site, by its own replication certificate, and nobody."""
    host, port = NOBODY
    nobody = {"name": NO_SITE, "connectionParameters": {"host": host, "port": str(port), "user": "nobody"}}
    return [*(_external(topology, name, site) for site in topology.places), nobody]


def _external(topology: Topology, name: str, site: str) -> dict[str, Any]:
    host, port = topology.places[site]
    own = f"{name}-replication"  # made by the operator; all sites' are of one authority
    return {
        "name": site,
        "connectionParameters": {
            "host": host,
            "port": str(port),
            "user": "streaming_replica",
            "dbname": "postgres",
            "sslmode": "verify-full",
            "application_name": topology.own,  # by which commits wait for it
        },
        "sslKey": {"name": own, "key": "tls.key"},
        "sslCert": {"name": own, "key": "tls.crt"},
        "sslRootCert": {"name": topology.authority, "key": "ca.crt"},
    }


def synchronous(names: Sequence[str]) -> dict[str, Any] | None:
    """Return `spec.postgresql.synchronous` by which commits wait for the first of these sites that is there; None for none."""
    if not names:
        return None
    return {
        "method": "first",
        "number": 1,
        "maxStandbyNamesFromCluster": 0,
        "standbyNamesPre": list(names),
        "dataDurability": "required",
    }


def cluster(manifest: Manifest, config: AgentConfig, upstream: str = "", *, fenced: bool = False) -> dict[str, Any]:
    """Return the Cluster that a manifest becomes at a site: a new primary, or a copy of ``upstream``'s that follows it.

    Raises Permanent where the manifest is of something else, or says what only the agent does.
    """
    part, topology = part_of(config), topology_of(config)
    if (manifest.get("apiVersion"), manifest.get("kind")) != (API_VERSION, KIND) or "spec" not in manifest:
        raise Permanent(f"{part.manifest} is of {manifest.get('kind')!r}: expected a {KIND} of {API_VERSION} with its spec")
    spec = dict(manifest["spec"])
    bootstrap = spec.get("bootstrap") or {}
    if "replica" in spec or set(bootstrap) - {"initdb"}:
        raise Permanent(f"{part.manifest}: spec.replica and all of spec.bootstrap but initdb are the agent's to say")
    postgresql = dict(spec.get("postgresql") or {})
    spec |= {
        "bootstrap": {"pg_basebackup": {"source": upstream}} if upstream else _first(bootstrap, part.database),
        "replica": {key: value for key, value in replica(topology, upstream or topology.own).items() if value},
        "externalClusters": [*(spec.get("externalClusters") or ()), *external_clusters(topology, part.name)],
        "managed": _managed(spec.get("managed") or {}, part),
        "postgresql": postgresql | {"pg_hba": rules(postgresql.get("pg_hba") or (), fenced=fenced)},
        "switchoverDelay": spec.get("switchoverDelay", DELAY),
        # What was promoted is restarted once, for its archive_mode: by default it refuses clients for 180 s before that.
        "smartShutdownTimeout": spec.get("smartShutdownTimeout", 0),
    }
    metadata = dict(manifest.get("metadata") or {}) | {"name": part.name, "namespace": part.namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _first(bootstrap: Mapping[str, Any], database: str) -> dict[str, Any]:
    return {"initdb": {"owner": "app", "dataChecksums": True, **(bootstrap.get("initdb") or {}), "database": database}}


def _managed(managed: Mapping[str, Any], part: CloudNativePG) -> dict[str, Any]:
    """Return `spec.managed` with the agent's role, and that of those who look: the operator makes them at a primary."""
    made = [
        {"name": OPERATOR, "login": True, "superuser": True, "passwordSecret": {"name": part.operator}},
        {"name": OBSERVER, "login": True, "inRoles": ["pg_monitor"], "passwordSecret": {"name": part.observer}},
    ]
    others = [role for role in managed.get("roles") or () if role.get("name") not in (OPERATOR, OBSERVER)]
    return {**managed, "roles": [*others, *({"ensure": "present", **role} for role in made)]}


def rules(pg_hba: Iterable[str], *, fenced: bool) -> list[str]:
    """Return `spec.postgresql.pg_hba` with the fence's rules before the others, or without them.

    Replication comes before them in the operator's own rules, its manager by the socket: both go on.
    """
    others = [rule for rule in pg_hba if rule not in _RULES]
    return [*(_RULES if fenced else ()), *others]


def read_only(on: bool) -> dict[str, Any]:
    """Return the patch after which new transactions are read-only, or as PostgreSQL has them by itself."""
    return {"spec": {"postgresql": {"parameters": {_READ_ONLY: "on" if on else None}}}}


def put_down(why: str) -> dict[str, Any]:
    """Return the patch that has the operator stop every instance, and none come back, until ``let_up``."""
    return {"metadata": {"annotations": {FENCED: EVERY_INSTANCE, PUT_DOWN: why}}}


def let_up() -> dict[str, Any]:
    """Return the patch that takes the agent's fence back."""
    return {"metadata": {"annotations": {FENCED: None, PUT_DOWN: None}}}


@dataclass(frozen=True)
class ClusterSeen:
    """What a Cluster object tells.

    ``primary`` is whom it takes for the primary, "" where it is in no topology. ``put_down`` is why the agent has it fenced,
    "" if it has not. ``moves``: the operator is at a demotion, which it begins with a fence of its own. ``token`` is where its
    WAL ended as a primary. ``ready`` is how many instances take connections.
    """

    uid: str
    version: str
    primary: str
    source: str
    own: str
    put_down: str = ""
    moves: bool = False
    token: str = ""
    ready: int = 0
    phase: str = ""
    pg_hba: tuple[str, ...] = ()

    @property
    def is_standby(self) -> bool:
        """Whether it is to be a standby."""
        return self.primary not in ("", self.own)

    @property
    def follows_nobody(self) -> bool:
        """Whether it is a standby that takes WAL from nobody."""
        return self.is_standby and self.source == NO_SITE


def parse_cluster(body: Manifest, own: str) -> ClusterSeen:
    """Return what a Cluster says; raises Permanent where it is not as CloudNativePG 1.30 documents it."""
    try:
        metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
        said, notes = spec.get("replica") or {}, metadata.get("annotations") or {}
        phase, reason = str(status.get("phase") or ""), str(status.get("phaseReason") or "")
        return ClusterSeen(
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            primary=str(said.get("primary") or ""),
            source=str(said.get("source") or ""),
            own=str(said.get("self") or own),
            put_down=str(notes.get(PUT_DOWN) or "") if FENCED in notes else "",
            moves=bool((status.get("switchReplicaClusterStatus") or {}).get("inProgress")),
            token=str(status.get("demotionToken") or ""),
            ready=int(status.get("readyInstances") or 0),
            phase=f"{phase}: {reason}" if reason else phase,
            pg_hba=tuple((spec.get("postgresql") or {}).get("pg_hba") or ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Permanent(f"the {KIND} of {own} is not as {API_VERSION} documents it: {error!r}") from None


@dataclass(frozen=True)
class Served:
    """What the database itself tells, asked as operator: positions in bytes; ``control`` as pg_control shows it.

    ``started`` is when the server was started: another time is another server. ``forks`` are beginnings of timelines.
    """

    in_recovery: bool
    control: Control
    started: str
    forks: tuple[tuple[int, int], ...] = ()


MARK = "put down: "
"""What ``Memory.like`` begins with where the Cluster was proved to be no primary any more; then its token, if any."""


def process(seen: ClusterSeen | None, *, autostart: bool, mark: str, in_recovery: bool | None) -> str:
    """Return how PostgreSQL runs, in the words of ``flotilla.recovery.facts.Process``.

    A Cluster is stopped by the agent's fence; or as the standby of nobody that a demoted primary becomes, once that was proved:
    it acknowledges nothing and takes nothing, and does not become another thing by itself. ``in_recovery`` is None where it
    does not answer.
    """
    if seen is None:
        return "absent"
    if seen.put_down and not seen.ready and in_recovery is None:
        return "stopped"
    is_proved = mark.startswith(MARK) and not autostart and seen.follows_nobody and not seen.moves
    if is_proved and in_recovery is not False:
        return "stopped"
    return "starting" if in_recovery is None and not seen.ready else "running"


def parse_token(token: str) -> Control:
    """Return how a primary ended by its demotion token: only one that was shut down in order has one.

    Raises Permanent for what is no token.
    """
    try:
        said = json.loads(base64.b64decode(token, validate=True))
        system, timeline, redo = (str(said[name]) for name in _TOKEN)
        return Control(CLEANLY_STOPPED, system, int(timeline), lsn.parse(redo))
    except (ValueError, TypeError, KeyError) as error:
        raise Permanent(f"{token!r} is no demotion token of CloudNativePG: {error}") from None


def token_for(own: Control, tokens: Iterable[str]) -> str:
    """Return the token that ends the very timeline a standby is on, where it has all of it: "" for a failover without one.

    ``own`` is the standby's control file after a checkpoint: the operator compares that with the token, and takes a Cluster
    whose last checkpoint is beyond it for one that cannot be mended. One that is behind it would be waited for in vain where
    its upstream is gone.
    """
    for token in tokens:
        try:
            end = parse_token(token)
        except Permanent:
            continue  # another site's defect is no reason not to be promoted
        if (end.system, end.timeline, end.checkpoint) == (own.system, own.timeline, own.checkpoint):
            return token
    return ""
