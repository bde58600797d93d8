"""Look at what a cluster offers and allows, before anything is asked of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Cluster
from flotilla.ground import NEEDED, ClusterGround, Right, version_of
from tasks.clusters import Connection, connect, refused


def look_at_ground(cluster: Cluster) -> ClusterGround | Unknown:
    """Return a cluster's version and the rights that the account lacks there, or why nobody could look."""
    try:
        connection = connect(cluster)
        answer = connection.request("GET", "/version", timeout=10)
        if answer.status != 200:
            raise refused(cluster.name, "read the version", answer)
        with ThreadPoolExecutor(8) as pool:
            allowed = list(pool.map(lambda right: may(connection, right), NEEDED))
    except FlotillaError as error:
        return Unknown(cluster.name, str(error).removeprefix(f"{cluster.name}: "))
    missing = tuple(right for right, yes in zip(NEEDED, allowed, strict=True) if not yes)
    return ClusterGround(cluster.name, connection.api.configuration.host, version_of(answer.body["gitVersion"]), missing)


def may(connection: Connection, right: Right) -> bool:
    """Tell whether the account has a right in every namespace (authorization.k8s.io/v1 SelfSubjectAccessReview)."""
    resource, _, subresource = right.resource.partition("/")
    attributes = {"verb": right.verb, "resource": resource, "subresource": subresource, "group": right.group}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = connection.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body, timeout=10)
    if answer.status not in (200, 201):
        raise refused(connection.name, f"ask whether the account may {right}", answer)
    return bool(answer.body["status"].get("allowed"))
