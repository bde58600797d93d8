"""Probes of endpoints from inside a consumer cluster: a TCP connection from a pod there, nothing sent.

The pod does nothing by itself; each probe is a program that the API server has its node run in it.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import websocket

from flotilla.errors import FlotillaError, Transient
from flotilla.facts import Unknown
from flotilla.services.facts import ProbeFact
from flotilla.services.health import Target
from flotilla.services.names import KEEPER, ServiceKey
from flotilla.services.probing import Pace, ProbePlan, Spot
from tasks.clusters import Connection, refused
from tasks.leadership import NAMESPACE, make_namespace
from tasks.sockets import open_socket

NAME = "flotilla-prober"
DIAL = 1  # seconds that a connection may take; within one country packets take tens of milliseconds
BUSY = 1.5  # seconds; a failure that took so much longer than its dial may be the prober's own delay ...
TRUSTED = 10.0  # ... unless some other endpoint answered it within so many seconds
PATIENCE = DIAL + 4.0  # seconds for a probe as a whole: API server, kubelet and container runtime included
LOOK_EVERY = 5.0  # seconds between looks for the pod, as long as there is none
STDERR, STATUS = 2, 3  # channels of an exec (k8s.io/apimachinery pkg/util/remotecommand)
ERRORS = {"TIMEOUT": "no answer within 1 s", "REFUSED": "connection refused"}  # agnhost connect prints these words
log = logging.getLogger("flotilla.keeper")


def prober_manifest(image: str) -> dict[str, Any]:
    """Return the Deployment of the pod that probes are made from."""
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": KEEPER}
    container = {
        "name": "prober",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/agnhost", "pause"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def ensure_prober(connection: Connection, image: str) -> None:
    """Have the pod that probes are made from; it may take a while until it runs."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
    query = {"fieldManager": KEEPER, "force": "true"}
    for last in (False, True):
        answer = connection.request(
            "PATCH", path, query=query, body=prober_manifest(image), content_type="application/apply-patch+yaml", timeout=10
        )
        if answer.status == 404 and not last:
            make_namespace(connection)
            continue
        if answer.status not in (200, 201):
            raise refused(connection.name, f"apply Deployment {NAMESPACE}/{NAME}", answer)
        return


def find_prober(connection: Connection) -> str | Unknown:
    """Return the name of a running pod to probe from, or why there is none."""
    query = {"labelSelector": f"app.kubernetes.io/name={NAME}"}
    answer = connection.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", query=query, timeout=5)
    if answer.status != 200:
        raise refused(connection.name, f"list the pods of {NAMESPACE}", answer)
    pods = [pod for pod in answer.body["items"] if not pod["metadata"].get("deletionTimestamp")]
    for pod in pods:
        states = pod["status"].get("containerStatuses") or ()
        if states and all("running" in (state.get("state") or {}) for state in states):
            return str(pod["metadata"]["name"])
    return Unknown(connection.name, f"no pod of Deployment {NAMESPACE}/{NAME} runs: {_phases(pods)}")


def dial(connection: Connection, pod: str, address: str, port: int) -> tuple[bool, str]:
    """Return whether an endpoint takes a TCP connection from a pod, and the error's text if not.

    Raises Transient where that could not be found out: it says nothing about the endpoint.
    """
    host = f"[{address}]" if ":" in address else address
    words = ("/agnhost", "connect", f"--timeout={DIAL}s", f"{host}:{port}")
    query = [("command", word) for word in words] + [("stdout", "true"), ("stderr", "true"), ("container", "prober")]
    status, said = _executed(connection, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/exec?{urlencode(query)}")
    if status.get("status") == "Success":
        return True, ""
    causes = (status.get("details") or {}).get("causes") or ()
    code = next((cause.get("message") for cause in causes if cause.get("reason") == "ExitCode"), None)
    if code != "1":
        raise Transient(f"{connection.name}: no probe could be made from pod {pod}: {status.get('message') or said or status}")
    return False, ERRORS.get(said, said.removeprefix("OTHER: ") or "no connection")


def _executed(connection: Connection, path: str) -> tuple[dict[str, Any], str]:
    """Return the status that ends an exec, and what the program wrote to its standard error (v4.channel.k8s.io)."""
    said = {STDERR: b"", STATUS: b""}
    try:
        socket = open_socket(connection, path, PATIENCE)
        try:
            while not said[STATUS]:
                _, data = socket.recv_data()
                if not data:
                    break
                said[data[0]] = said.get(data[0], b"") + data[1:]
        finally:
            socket.shutdown()
    except (websocket.WebSocketException, OSError) as error:
        raise Transient(f"{connection.name}: no probe could be made: {_told(error)}") from None
    if not said[STATUS]:
        raise Transient(f"{connection.name}: no probe could be made: its end was not told")
    return json.loads(said[STATUS]), said[STDERR].decode(errors="replace").strip()


class Prober:
    """The probes of one consumer cluster, paced by a plan, in threads of its own.

    ``on_probe`` is called with each result and the endpoint it is of. ``reason`` is why no probe can be made, "" if they are.
    """

    def __init__(self, connection: Connection, image: str, pace: Pace, on_probe: Callable[[Spot, ProbeFact], None]) -> None:
        self._connection, self._image, self._on_probe = connection, image, on_probe
        self._plan = ProbePlan(pace)
        self._turn = threading.Condition()
        self._due: queue.SimpleQueue[Spot | None] = queue.SimpleQueue()
        self._at_once = pace.at_once
        self._pod = ""
        self._looked_at = self._answered_at = float("-inf")
        self._stopping = False
        self.reason = "no probe was made yet"
        self.made = 0

    def __len__(self) -> int:
        return len(self._plan)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=f"probes-{self._connection.name}", daemon=True).start()
        for number in range(self._at_once):
            threading.Thread(target=self._work, name=f"probe-{self._connection.name}-{number}", daemon=True).start()

    def stop(self) -> None:
        """End; probes under way are not waited for."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        for _ in range(self._at_once):
            self._due.put(None)

    def want(self, key: ServiceKey, targets: Mapping[str, Iterable[Target]]) -> None:
        """Probe these endpoints of a service from now on, by source cluster, and no others; none ends it."""
        with self._turn:
            self._plan.want(key, targets)
            self._turn.notify()

    def keys_of(self, spot: Spot) -> frozenset[ServiceKey]:
        """Return the services that have an endpoint."""
        with self._turn:
            return self._plan.keys_of(spot)

    def known(self, source: str) -> int:
        """Return how many endpoints of a source cluster are probed."""
        with self._turn:
            return self._plan.known(source)

    def hold(self, source: str, held: bool) -> None:
        """Probe no more of a source than what fails already, as the link to it is cut; or all of it again."""
        with self._turn:
            self._plan.hold(source, held)
            self._turn.notify()

    def _run(self) -> None:
        while True:
            with self._turn:
                now = time.monotonic()
                ready = not self.reason or now - self._looked_at > LOOK_EVERY
                spot = self._plan.next(now) if ready and not self._stopping else None
                if self._stopping:
                    return
                if spot is None:
                    self._turn.wait(self._plan.pause(now) if ready else LOOK_EVERY)
                    continue
                if self.reason:
                    self._looked_at = now
                self._due.put(spot)

    def _work(self) -> None:
        while (spot := self._due.get()) is not None:
            self._try(spot)

    def _try(self, spot: Spot) -> None:
        """Make a probe and take its result; one that could not be made says nothing about the endpoint."""
        result: bool | None = None
        began = time.monotonic()
        try:
            result = self._probe(spot)
        except FlotillaError as error:
            self._missed(str(error).removeprefix(f"{self._connection.name}: "))
        except Exception as error:  # a defect must not read as a dead endpoint
            log.exception("probe cluster=%s failed", self._connection.name)
            self._missed(f"a defect: {error!r}")
        with self._turn:
            now = time.monotonic()
            self._plan.done(spot, now, result, now - began - (0 if result else DIAL))
            self._turn.notify()

    def _probe(self, spot: Spot) -> bool | None:
        """Probe an endpoint; None where its node is too busy to tell a dead endpoint from its own delay."""
        if not self._pod:
            self._find()
        target, began = spot.target, time.monotonic()
        answered, detail = dial(self._connection, self._pod, target.address, target.port)
        ended = time.monotonic()
        self.made, self.reason = self.made + 1, ""
        if answered:
            self._answered_at = ended
        elif ended - began > DIAL + BUSY and ended - self._answered_at > TRUSTED:
            return None
        now = datetime.now(UTC)
        self._on_probe(spot, ProbeFact(self._connection.name, spot.source, target.address, now, answered, detail))
        return answered

    def _find(self) -> None:
        found = find_prober(self._connection)
        if isinstance(found, Unknown):
            ensure_prober(self._connection, self._image)
            raise Transient(str(found))
        self._pod = found

    def _missed(self, reason: str) -> None:
        self._pod, self._looked_at = "", time.monotonic()
        if reason != self.reason:
            self.reason = reason
            log.warning("probes from=%s cannot be made: %s", self._connection.name, reason)


def _phases(pods: list[dict[str, Any]]) -> str:
    """Return what pods wait for, as far as they tell."""
    told = []
    for pod in pods:
        waiting = [(state.get("state") or {}).get("waiting") or {} for state in pod["status"].get("containerStatuses") or ()]
        told += [f"{one.get('reason')}: {one.get('message', '')}" for one in waiting if one] or [
            pod["status"].get("phase", "?")
        ]
    return "; ".join(told) or "there is none yet"


def _told(error: Exception) -> str:
    """Return an error's text; of a refused handshake what the API server said, or its proxy."""
    text = str(error) or type(error).__name__
    if isinstance(error, websocket.WebSocketBadStatusException):
        said = (error.resp_body or b"").decode(errors="replace")
        text = f"{said or text} (HTTP {error.status_code})"
    return text if len(text) <= 200 else text[:197] + "..."
