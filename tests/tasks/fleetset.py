"""A namespace of a test's own in all clusters of the lab, and keepers that wire services there as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flotilla.services.names import KEEPER, SERVICE_LABEL, SOURCE_LABEL, ServiceKey, derived_name
from tasks.clusters import Connection
from tests.conftest import ROOT

CLUSTERS = ("production", "same-city", "remote")
IMAGE = "localhost/agnhost:2"
GROUP = "/apis/multicluster.x-k8s.io/v1beta1"


def until(holds: Callable[[], Any], seconds: float = 20.0, what: Callable[[], Any] = lambda: "") -> float:
    """Wait until something holds and return how many seconds that took."""
    began = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - began
        except ConnectionError:
            pass
        assert time.monotonic() - began < seconds, f"waited {seconds} s in vain: {what()}"
        time.sleep(0.05)


@dataclass
class Member:
    """One cluster of the lab, as far as one namespace goes."""

    connection: Connection
    namespace: str

    @property
    def name(self) -> str:
        return self.connection.name

    def call(self, method: str, path: str, body: Any = None, *, ok: tuple[int, ...] = (200, 201, 202), **more: Any) -> Any:
        answer = self.connection.request(method, path, body=body, **more)
        assert answer.status in ok, f"{self.name} {method} {path}: {answer.message}"
        return answer.body

    def get(self, path: str) -> Any:
        """Return an object, None if it is not there."""
        answer = self.connection.request("GET", path)
        assert answer.status in (200, 404), answer.message
        return answer.body if answer.status == 200 else None

    def inside(self, api: str, plural: str, name: str = "") -> str:
        return f"{api}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def open(self) -> Member:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.call("POST", "/api/v1/namespaces", body)
        return self

    def close(self) -> None:
        self.connection.request("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def deploy(self, name: str = "hello", replicas: int = 1) -> None:
        """Pods that tell their names over HTTP, and a Service of port 80 before them."""
        args = ["/agnhost", "netexec", "--http-port=8080"]
        container = {"name": "main", "image": IMAGE, "command": args, "readinessProbe": {"tcpSocket": {"port": 8080}}}
        container["readinessProbe"] |= {"periodSeconds": 1}
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        }
        self.call("POST", self.inside("/apis/apps/v1", "deployments"), body)
        self.service(name)

    def scale(self, replicas: int, name: str = "hello") -> None:
        self.call(
            "PATCH",
            self.inside("/apis/apps/v1", "deployments", name),
            {"spec": {"replicas": replicas}},
            content_type="application/merge-patch+json",
        )

    def service(self, name: str = "hello", **spec: Any) -> None:
        spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]} | spec
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        self.call("POST", self.inside("/api/v1", "services"), body)

    def slice(self, *addresses: str, name: str = "hello", part: int = 1) -> None:
        """An EndpointSlice of the test's own, with addresses that nobody needs to answer at."""
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-{part}",
                "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        }
        path = self.inside("/apis/discovery.k8s.io/v1", "endpointslices", f"{name}-{part}")
        self.call(
            "PATCH",
            path,
            body,
            query={"fieldManager": "test", "force": "true"},
            content_type="application/apply-patch+yaml",
        )

    def export(self, name: str = "hello", **spec: Any) -> None:
        body = {"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport", "metadata": {"name": name}}
        self.call("POST", self.inside(GROUP, "serviceexports"), body | ({"spec": spec} if spec else {}))

    def unexport(self, name: str = "hello") -> None:
        self.call("DELETE", self.inside(GROUP, "serviceexports", name))

    def declare(self, name: str = "hello", annotations: Mapping[str, str] | None = None) -> None:
        """A ServiceImport made by hand."""
        metadata = {"name": name, "annotations": dict(annotations or {})}
        body = {"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport", "metadata": metadata}
        self.call("POST", self.inside(GROUP, "serviceimports"), body | {"spec": {"type": "ClusterSetIP", "ports": []}})

    def imported(self, name: str = "hello") -> Any:
        return self.get(self.inside(GROUP, "serviceimports", name))

    def derived(self, name: str = "hello") -> Any:
        return self.get(self.inside("/api/v1", "services", derived_name(ServiceKey(self.namespace, name))))

    def slices(self, name: str = "hello") -> list[Any]:
        """The imported slices of a service."""
        query = {"labelSelector": f"{SERVICE_LABEL}={name},endpointslice.kubernetes.io/managed-by={KEEPER}"}
        return list(self.call("GET", self.inside("/apis/discovery.k8s.io/v1", "endpointslices"), query=query)["items"])

    def addresses(self, name: str = "hello", source: str = "") -> list[str]:
        """The imported addresses that take traffic."""
        return sorted(
            address
            for piece in self.slices(name)
            if source in ("", piece["metadata"]["labels"][SOURCE_LABEL])
            for end in piece["endpoints"] or ()
            if end["conditions"].get("ready") is not False
            for address in end["addresses"]
        )

    def condition(self, of: str, kind: str = "serviceexports", name: str = "hello") -> tuple[str, str, str]:
        body = self.get(self.inside(GROUP, kind, name)) or {}
        found = next((one for one in (body.get("status") or {}).get("conditions") or () if one["type"] == of), None)
        return (found["status"], found["reason"], found["message"]) if found else ("", "", "")

    def pods(self, name: str = "hello") -> list[Any]:
        query = {"labelSelector": f"app={name}"}
        return list(self.call("GET", self.inside("/api/v1", "pods"), query=query)["items"])

    def ready(self, count: int, name: str = "hello") -> bool:
        """Whether that many pods are there and ready."""
        pods = [pod for pod in self.pods(name) if not pod["metadata"].get("deletionTimestamp")]
        ready = [one for pod in pods for one in pod["status"].get("conditions", ()) if one["type"] == "Ready"]
        return len(pods) == count == sum(one["status"] == "True" for one in ready)

    def client(self) -> None:
        """A pod that asks others on request."""
        args = ["/agnhost", "netexec", "--http-port=8080"]
        spec = {"containers": [{"name": "main", "image": IMAGE, "command": args}], "terminationGracePeriodSeconds": 0}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "labels": {"app": "client"}}, "spec": spec}
        self.call("POST", self.inside("/api/v1", "pods"), body)
        until(lambda: self.ready(1, "client"), 30)

    def asked(self, name: str = "hello", *, tries: int = 20) -> tuple[list[str], list[str]]:
        """Ask a service by its clusterset name from the client pod; return the answers (names of pods) and the errors."""
        path = self.inside("/api/v1", "pods", "client:8080/proxy/dial")
        host = f"{name}.{self.namespace}.svc.clusterset.local"
        query = {"host": host, "port": "80", "protocol": "http", "request": "hostname", "tries": str(tries)}
        body = self.call("GET", path, query=query, timeout=60)
        body = json.loads(body) if isinstance(body, str) else body
        return list(body.get("responses") or ()), list(body.get("errors") or ())


@dataclass
class Process:
    """A keeper as a process, its log and its state."""

    folder: Path
    fleet: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    started: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("keeper-*.log")))

    @property
    def state(self) -> dict[str, Any]:
        file = self.folder / "state.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def start(self) -> Process:
        self.started += 1
        file = self.folder / "fleet.yaml"
        file.write_text(yaml.safe_dump(dict(self.fleet)))
        (self.folder / "state.json").unlink(missing_ok=True)
        command = [sys.executable, "-c", "from flows.cli import main; main()", "keep"]
        with (self.folder / f"keeper-{self.started}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--fleet", str(file), "--state", str(self.folder / "state.json")],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stderr=log,
                stdout=log,
            )
        return self

    def leading(self, seconds: float = 30.0) -> Process:
        """Wait until it wires services."""
        until(lambda: "wiring as" in self.log.rpartition("nothing is wired")[2], seconds, lambda: self.log[-2000:])
        return self

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(5)

    def end(self) -> float:
        """End it as a person does, and return how many seconds that took."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
        return time.monotonic() - began
