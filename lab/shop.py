"""How the orders application reaches the databases: a Secret in each cluster, as orders.yaml asks for."""

from __future__ import annotations

import base64
import http.client

from lab import databases
from lab.api import Api
from lab.layout import ClusterLayout, Layout

NAMESPACE, SECRET = "orders", "orders-database"


def ensure(layout: Layout) -> None:
    """Have the Secret in every cluster; without databases in the lab there is none."""
    if databases.why_none(layout):
        return
    for cluster in layout.clusters:
        _write(cluster, contents(cluster, layout))


def contents(cluster: ClusterLayout, layout: Layout) -> dict[str, str]:
    """Return what stands in a cluster's Secret."""
    found = [databases.of(one) for one in layout.clusters]
    return {
        "site": cluster.name,
        "databases": ",".join(f"{one.site}={one.host}:{one.port}" for one in found),
        "database": "orders",
        "user": "app",
        "password": found[0].password("app").read_text().strip(),
        "ca.crt": found[0].ca.read_text(),
    }


def _write(cluster: ClusterLayout, said: dict[str, str]) -> None:
    api, path = Api(cluster), f"/api/v1/namespaces/{NAMESPACE}/secrets"
    data = {name: base64.b64encode(value.encode()).decode() for name, value in said.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}, "data": data}
    if api.get(f"/api/v1/namespaces/{NAMESPACE}")[0] != http.client.OK:
        api.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    if api.get(f"{path}/{SECRET}")[0] == http.client.OK:
        api.send("PUT", f"{path}/{SECRET}", body)
    else:
        api.send("POST", path, body)
