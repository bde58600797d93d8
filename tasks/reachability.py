"""Whether pods of one cluster reach pods of another: a pod that answers, and one whose containers each dial one address.

Nothing is executed in a running pod: how a container ended says whether it got through, and its last words why not.
The image is Kubernetes' own test image, agnhost: `netexec` answers, `connect` dials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flotilla.errors import Permanent, Transient
from flotilla.fleet import Cluster
from flotilla.services.reach import Reach
from tasks.clusters import Connection, connect, refused

PORT = 8080  # above 1023: a pod that runs as nobody may not listen below
_DIAL = 2  # seconds; long enough for a lost SYN to be sent again
_PATIENCE = 60.0  # seconds for a pod to start, its image fetched included
_LIFE = 180  # seconds after which a pod ends by itself, should nobody come to remove it
_FATAL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")


def open_target(cluster: Cluster, namespace: str, image: str) -> str:
    """Have a pod that answers in a namespace of its own, and return its address.

    Raises Permanent where the pod may not be made or its image is not there, Transient where it is not ready within 60 s.
    """
    connection = connect(cluster)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": _LABELS}}
    answer = connection.request("POST", "/api/v1/namespaces", body=body)
    if answer.status not in (201, 409):
        raise refused(cluster.name, f"create namespace {namespace}", answer)
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    container = _container("target", image, ["netexec", f"--http-port={PORT}"]) | {"readinessProbe": probe}
    _create_pod(connection, namespace, _pod("target", [container]))
    pod = _await(connection, namespace, "target", _is_ready, "ready")
    return str(pod["status"]["podIP"])


def dial(cluster: Cluster, namespace: str, image: str, targets: Mapping[str, str]) -> tuple[Reach, ...]:
    """Return whether a pod of this cluster reached each target, given as address by the target's cluster.

    Raises as `open_target`, whose namespace it uses.
    """
    if not targets:
        return ()
    connection = connect(cluster)
    words = {name: ["connect", f"--timeout={_DIAL}s", _at(address)] for name, address in targets.items()}
    containers = [_container(f"to-{number}", image, said) for number, said in enumerate(words.values())]
    _create_pod(connection, namespace, _pod("dialler", containers))
    pod = _await(connection, namespace, "dialler", _has_ended, "ended")
    ends = {status["name"]: status["state"]["terminated"] for status in pod["status"]["containerStatuses"]}
    return tuple(
        Reach(cluster.name, name, ends[f"to-{number}"]["exitCode"] == 0, _at(address), _said(ends[f"to-{number}"]))
        for number, (name, address) in enumerate(targets.items())
    )


def remove_target(cluster: Cluster, namespace: str) -> None:
    """Have the namespace going, with the pods in it; raises Transient or Permanent where it could not be asked for."""
    answer = connect(cluster).request("DELETE", f"/api/v1/namespaces/{namespace}")
    if answer.status not in (200, 202, 404, 409):
        raise refused(cluster.name, f"delete namespace {namespace}; do it by hand", answer)


_LABELS = {"app.kubernetes.io/managed-by": "flotilla", "app.kubernetes.io/component": "reachability"}


def _pod(name: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a pod that the restricted Pod Security Standard takes."""
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": _LIFE,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": containers,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": _LABELS}, "spec": spec}


def _container(name: str, image: str, words: list[str]) -> dict[str, Any]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    resources = {"requests": {"cpu": "5m", "memory": "16Mi"}}
    container = {"name": name, "image": image, "command": ["/agnhost"], "args": words, "imagePullPolicy": "IfNotPresent"}
    return container | {
        "resources": resources,
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _create_pod(connection: Connection, namespace: str, pod: dict[str, Any]) -> None:
    """Create a pod; a new namespace has its service account a moment after itself."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = connection.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=pod)
        if answer.status in (201, 409):
            return
        young = answer.status == 403 and 'serviceaccount "default" not found' in answer.message
        if not young or time.monotonic() > deadline:
            raise refused(connection.name, f"create pod {namespace}/{pod['metadata']['name']}", answer)
        time.sleep(0.1)


def _await(
    connection: Connection, namespace: str, name: str, reached: Callable[[dict[str, Any]], bool], state: str
) -> dict[str, Any]:
    """Return a pod once it is in a state; raises where it cannot come there, or has not within 60 s."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = connection.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        if answer.status != 200:
            raise refused(connection.name, f"read pod {namespace}/{name}", answer)
        pod: dict[str, Any] = answer.body
        if reached(pod):
            return pod
        waits = "; ".join(_waits(pod)) or f"phase {pod['status'].get('phase')}"
        if any(word in waits for word in _FATAL):
            raise Permanent(f"{connection.name}: pod {namespace}/{name} cannot start: {waits}; name an image that is there")
        if time.monotonic() > deadline:
            raise Transient(f"{connection.name}: pod {namespace}/{name} is not {state} after {_PATIENCE:.0f} s: {waits}")
        time.sleep(0.2)


def _waits(pod: dict[str, Any]) -> Iterator[str]:
    """Yield what a pod waits for, as its scheduler and its containers tell it."""
    for condition in pod["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"{condition.get('reason')}: {condition.get('message')}"
    for status in pod["status"].get("containerStatuses") or ():
        if waiting := status["state"].get("waiting"):
            yield f"{waiting.get('reason')}: {waiting.get('message', '')}"


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = {entry["type"]: entry["status"] for entry in pod["status"].get("conditions") or ()}
    return conditions.get("Ready") == "True" and bool(pod["status"].get("podIP"))


def _has_ended(pod: dict[str, Any]) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return len(statuses) == len(pod["spec"]["containers"]) and all("terminated" in status["state"] for status in statuses)


def _said(end: dict[str, Any]) -> str:
    """Return the last words of a container that ended badly: agnhost connect says TIMEOUT, REFUSED or OTHER."""
    if end["exitCode"] == 0:
        return ""
    return (end.get("message") or end.get("reason") or f"exit code {end['exitCode']}").strip()


def _at(address: str) -> str:
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
