"""How much room a cluster's nodes have for more of the business' pods, read from its API."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from flotilla.recovery.capacity import Need, Space, homeless
from flotilla.recovery.config import Application
from tasks.business import KIND as DEPLOYMENTS
from tasks.clusters import Connection, refused

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
LOOK = 10.0  # seconds that an API server may take to list all pods of a cluster
_REPELS = frozenset({"NoSchedule", "NoExecute"})


def wanting(connection: Connection, application: Application) -> tuple[str, ...]:
    """Return what would find no node if the business were wanted here; raises Transient or Permanent where nobody can say."""
    live = [_read(connection, DEPLOYMENTS.path(application.namespace, name)) for name in application.deployments]
    nodes = [one for one in _read(connection, NODES)["items"] if _takes_pods(one)]
    pods = _read(connection, f"{PODS}?fieldSelector=status.phase!=Succeeded,status.phase!=Failed")["items"]
    needs = [_need(one, application.replicas, nodes) for one in live]
    return homeless(_spaces(nodes, pods), needs)


def _spaces(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> list[Space]:
    used: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))
    count = Counter[str]()
    for pod in pods:
        if node := pod["spec"].get("nodeName"):
            used[node] = (used[node][0] + _asked(pod["spec"], "cpu"), used[node][1] + _asked(pod["spec"], "memory"))
            count[node] += 1
    found = []
    for one in nodes:
        name, gives = one["metadata"]["name"], one["status"].get("allocatable") or {}
        cpu, memory = (parse_quantity(gives.get(what, 0)) - used[name][at] for at, what in enumerate(("cpu", "memory")))
        found.append(Space(name, cpu, memory, int(parse_quantity(gives.get("pods", 0))) - count[name]))
    return found


def _need(deployment: Mapping[str, Any], replicas: int, nodes: Iterable[Mapping[str, Any]]) -> Need:
    spec = deployment["spec"]["template"]["spec"]
    there = (deployment.get("status") or {}).get("readyReplicas", 0)
    may = frozenset(one["metadata"]["name"] for one in nodes if _may_run(spec, one))
    cpu, memory = _asked(spec, "cpu"), _asked(spec, "memory")
    return Need(deployment["metadata"]["name"], max(0, replicas - there), cpu, memory, may)


def _asked(spec: Mapping[str, Any], resource: str) -> Decimal:
    """Return what a pod's containers ask for together, or the greediest of those that run before them, if that is more."""
    together, before = (
        [parse_quantity(((one.get("resources") or {}).get("requests") or {}).get(resource, 0)) for one in spec.get(what) or ()]
        for what in ("containers", "initContainers")
    )
    return Decimal(max([sum(together, Decimal(0)), *before]))


def _takes_pods(node: Mapping[str, Any]) -> bool:
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or ())
    return ready and not node["spec"].get("unschedulable")


def _may_run(spec: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    labels = node["metadata"].get("labels") or {}
    chosen = all(labels.get(name) == value for name, value in (spec.get("nodeSelector") or {}).items())
    repelled = [one for one in node["spec"].get("taints") or () if one["effect"] in _REPELS]
    return chosen and all(any(_tolerates(one, taint) for one in spec.get("tolerations") or ()) for taint in repelled)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint.get("value", ""))


def _read(connection: Connection, path: str) -> Mapping[str, Any]:
    answer = connection.request("GET", path, timeout=LOOK)
    if answer.status != 200:
        raise refused(connection.name, f"read {path}", answer)
    found: Mapping[str, Any] = answer.body
    return found
