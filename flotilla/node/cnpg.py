"""A site's database as CloudNativePG has it: the Cluster's manifest for each part it may play, and what a token says.

The sites form a distributed topology (CloudNativePG 1.30, replica_cluster.md): every site's Cluster knows all the others, and
says who is the primary. A primary that is told of another one shuts down, and shows a demotion token, which is where its WAL
ends; who is given that token as promotion token promotes itself once it has replayed to there. Without one it promotes itself
at once, and the former primary has to be copied anew.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flotilla.errors import Permanent
from flotilla.recovery import lsn
from flotilla.recovery.facts import CLEANLY_STOPPED, Control

API_VERSION, KIND = "postgresql.cnpg.io/v1", "Cluster"
FENCED = "cnpg.io/fencedInstances"
EVERY_INSTANCE = '["*"]'
_TOKEN = ("databaseSystemIdentifier", "latestCheckpointTimelineID", "latestCheckpointREDOLocation")


@dataclass(frozen=True)
class Topology:
    """The sites' databases as one of them sees them: its own name, and where each is reached: host and port.

    ``authority`` is the Secret whose ca.crt is the authority of all sites, for clients and servers alike.
    """

    own: str
    places: Mapping[str, tuple[str, int]]
    authority: str

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the other sites."""
        return tuple(name for name in self.places if name != self.own)


def replica(topology: Topology, primary: str, token: str = "") -> dict[str, Any]:
    """Return `spec.replica`: who is the primary, and whose WAL is taken if that is another; raises Permanent for a stranger."""
    if primary not in topology.places:
        raise Permanent(f"{topology.own} cannot follow {primary}: expected one of {', '.join(topology.places)}")
    source = primary if primary != topology.own else topology.others[0]
    said = {"self": topology.own, "primary": primary, "source": source}
    # Given with the primary in one write, never after it: a promotion without it is a failover.
    return {**said, "promotionToken": token} if token else said


def external_clusters(topology: Topology, name: str) -> list[dict[str, Any]]:
    """Return `spec.externalClusters` for the Cluster of a name: every site, by its own replication certificate."""
    return [_external(topology, name, site) for site in topology.places]


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


def synchronous(names: tuple[str, ...]) -> dict[str, Any] | None:
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
