"""The API server with the administrator's certificate: the few reads and writes that the lab needs, and nothing cached."""

from __future__ import annotations

import http.client
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.errors import LabError
from lab.layout import ClusterLayout

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_SILENCE = timedelta(seconds=30)  # a kubelet renews its lease every 10


class Api:
    """One cluster's API server, as this machine's users reach it."""

    def __init__(self, cluster: ClusterLayout, *, timeout: float = 3) -> None:
        pki = cluster.control_plane / "pki"
        self._port, self._timeout = cluster.public_port, timeout
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def get(self, path: str) -> tuple[int, str]:
        """Get a path: status and body. Raises OSError where nobody answers within the timeout."""
        return self.request("GET", path)

    def send(self, method: str, path: str, body: object) -> None:
        """Write an object; a PATCH is a merge patch. Raises LabError where the API server refuses it, OSError as `get`."""
        status, text = self.request(method, path, body)
        if status not in (http.client.OK, http.client.CREATED):
            raise LabError(f"{method} {path} gave {status}: {text[:500]}")

    def request(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Ask or write, a body as JSON: status and what came back. Raises OSError where nobody answers in time."""
        headers = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=self._timeout, context=self._context)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer to {method} {path}: {error!r}") from error
        finally:
            connection.close()

    def items(self, path: str) -> list[dict[str, Any]]:
        """List the objects at a path. Raises OSError where that is not what comes back."""
        status, body = self.get(path)
        if status != http.client.OK:
            raise OSError(f"GET {path} gave {status}: {body[:200]}")
        items: list[dict[str, Any]] = json.loads(body)["items"]
        return items


def not_ready(cluster: ClusterLayout) -> str:
    """Say why the API server is not ready, or nothing."""
    try:
        status, body = Api(cluster).get("/readyz")
    except OSError as error:
        return f"no answer from {cluster.server} ({error})"
    return "" if status == http.client.OK else f"{cluster.server}/readyz gave {status}: {failing(body)}"


def failing(readyz: str) -> str:
    """Pick what fails out of the list that /readyz prints."""
    lines = [line for line in readyz.splitlines() if line.startswith("[-]")]
    return "; ".join(lines) or readyz[:200]


def node_not_ready(cluster: ClusterLayout, since: datetime | None = None) -> str:
    """Say why the real node is not Ready, or nothing; its own word counts only if given after `since`, or lately."""
    try:
        nodes = Api(cluster).items("/api/v1/nodes?fieldSelector=metadata.name%3D" + cluster.node)
        leases = Api(cluster).items(_LEASES + "?fieldSelector=metadata.name%3D" + cluster.node)
    except OSError as error:
        return str(error)
    return judge_node(cluster.node, nodes, leases, since or datetime.now(UTC) - _SILENCE)


def judge_node(node: str, nodes: list[dict[str, Any]], leases: list[dict[str, Any]], since: datetime) -> str:
    """Judge a node by its object and its lease: a dead kubelet's node stays Ready for most of a minute."""
    if not nodes:
        return f"node {node} has not registered"
    conditions = {item["type"]: item for item in nodes[0]["status"].get("conditions", [])}
    ready = conditions.get("Ready")
    if ready is None:
        return f"node {node} has no Ready condition yet"
    words = [ready["lastHeartbeatTime"], *(lease["spec"]["renewTime"] for lease in leases)]
    latest = max(datetime.fromisoformat(word) for word in words)
    if latest < since.replace(microsecond=0):  # the node's own times are whole seconds
        return f"the kubelet of {node} has not reported since {latest}"
    return "" if ready["status"] == "True" else f"node {node} is not Ready: {ready['message']}"
