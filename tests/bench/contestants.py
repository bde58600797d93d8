"""Who is measured: Flotilla, kubectl in one process for each cluster, and bare HTTP requests with the same bodies."""

from __future__ import annotations

import json
import os
import resource
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from flotilla.applyset import applyset_id, as_member
from flotilla.facts import Unknown
from flotilla.fleet import Cluster
from flotilla.intent import Handling
from flotilla.rollout import Plan, plan
from tasks.clusters import connect, forget_connections
from tasks.fanout import side_by_side
from tasks.looks import look_at
from tasks.scene import scene_of
from tasks.workloads import apply_step, save_parent
from tests.bench.objects import intent_of, manifests

THREADS = 8  # per cluster, as many as Flotilla has requests under way


@dataclass(frozen=True)
class Arena:
    """Where all contestants run: the clusters, the namespace of each contestant in each cluster, the number of objects."""

    clusters: tuple[Cluster, ...]
    run: str
    objects: int
    kubectl: str
    kubeconfig: str

    def namespace(self, contestant: str, cluster: Cluster) -> str:
        """Return a contestant's namespace; clusters beyond the lab's three are namespaces of their own."""
        return f"bench-{self.run}-{contestant}-{cluster.name}"

    def context(self, cluster: Cluster) -> str:
        """Return the kubeconfig context that leads to a cluster."""
        return cluster.kubeconfig.context or cluster.name


class Flotilla:
    """Ours, in this process; connections are made anew for each measurement, as a new process would."""

    name = "flotilla"

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def plan(self, version: int) -> Plan:
        """Look at every cluster and return the plan."""
        forget_connections()
        return self._plan(version)

    def apply(self, version: int) -> None:
        """Apply without a plan before it, as kubectl does."""
        forget_connections()
        self._each(lambda cluster: self._applied(cluster, version))

    def no_change(self, version: int) -> None:
        """Do all that a run without a change asks of the clusters: plan and apply."""
        forget_connections()
        if not self._plan(version).is_empty:
            raise AssertionError("a run that was to change nothing has something to do")
        self._each(lambda cluster: self._applied(cluster, version))

    def _plan(self, version: int) -> Plan:
        looks = self._each(lambda cluster: look_at(connect(cluster), self._intent(cluster, version)))
        for look in looks.values():
            if isinstance(look, Unknown):
                raise AssertionError(str(look))
        return plan("bench", looks)

    def _intent(self, cluster: Cluster, version: int) -> Any:
        namespace = self.arena.namespace(self.name, cluster)
        return intent_of("bench", namespace, manifests(self.arena.objects, namespace, version), [cluster.name])

    def _applied(self, cluster: Cluster, version: int) -> None:
        scene = scene_of(connect(cluster), self._intent(cluster, version))
        save_parent(scene)
        apply_step(scene, "deploy", 0)

    def _each(self, act: Any) -> dict[str, Any]:
        clusters = {cluster.name: cluster for cluster in self.arena.clusters}
        results = side_by_side(clusters, lambda name: act(clusters[name]), limit=len(clusters))
        for result in results.values():
            if isinstance(result, Exception):
                raise result
        return results


class Kubectl:
    """kubectl, one process for each cluster side by side: its best case."""

    name = "kubectl"

    def __init__(self, arena: Arena, folder: Path) -> None:
        self.arena = arena
        self.folder = folder

    def prepare(self, version: int) -> None:
        """Write the files that kubectl reads; not measured."""
        for cluster in self.arena.clusters:
            objects = manifests(self.arena.objects, self.arena.namespace(self.name, cluster), version)
            self._file(cluster).write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def plan(self, version: int) -> None:
        """Run `kubectl diff`, with as many requests under way as it allows itself by the flag."""
        self._each("diff", "--server-side", f"--concurrency={THREADS}", expected=(0, 1))

    def apply(self, version: int) -> None:
        """Run `kubectl apply`."""
        self._each("apply", "--server-side", expected=(0,))

    no_change = apply

    def _each(self, *words: str, expected: tuple[int, ...]) -> None:
        started = [self._started(cluster, *words) for cluster in self.arena.clusters]
        for process in started:
            _, errors = process.communicate()
            if process.returncode not in expected:
                raise AssertionError(f"kubectl {' '.join(words)}: {errors.decode()[-500:]}")

    def _started(self, cluster: Cluster, *words: str) -> subprocess.Popen[bytes]:
        where = ["--kubeconfig", self.arena.kubeconfig, "--context", self.arena.context(cluster)]
        where += ["--cache-dir", str(self.folder / "cache"), "-f", str(self._file(cluster))]
        command = [self.arena.kubectl, *words, *where]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ})

    def _file(self, cluster: Cluster) -> Path:
        return self.folder / f"{cluster.name}.json"


class Floor:
    """The least that anybody could do: one PATCH for each object, the bodies made beforehand, the answers thrown away."""

    name = "floor"

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.requests: dict[str, list[tuple[str, bytes]]] = {}
        document = yaml.safe_load(Path(arena.kubeconfig).read_text())
        self._servers = {one["name"]: one["cluster"] for one in document["clusters"]}
        self._users = {one["name"]: one["user"] for one in document["users"]}

    def prepare(self, version: int) -> None:
        """Make the requests: the very bodies that Flotilla sends; not measured."""
        for cluster in self.arena.clusters:
            namespace = self.arena.namespace(self.name, cluster)
            set_id = applyset_id("bench", namespace)
            members = [as_member(one, set_id, Handling()) for one in manifests(self.arena.objects, namespace, version)]
            self.requests[cluster.name] = [(_path(one), json.dumps(one).encode()) for one in members]

    def plan(self, version: int) -> None:
        """Send every object as a dry run."""
        self._send({"dryRun": "All"})

    def apply(self, version: int) -> None:
        """Send every object."""
        self._send({})

    no_change = apply

    def _send(self, query: dict[str, str]) -> None:
        with ThreadPoolExecutor(len(self.arena.clusters)) as pool:
            list(pool.map(lambda cluster: self._send_to(cluster, query), self.arena.clusters))

    def _send_to(self, cluster: Cluster, query: dict[str, str]) -> None:
        parameters = {"fieldManager": "flotilla", "force": "true", **query}
        headers = {"Content-Type": "application/apply-patch+yaml"}

        def send(request: tuple[str, bytes]) -> None:
            answer = client.patch(request[0], params=parameters, content=request[1], headers=headers)
            answer.raise_for_status()

        with self._client(cluster) as client, ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(send, self.requests[cluster.name]))

    def _client(self, cluster: Cluster) -> httpx.Client:
        context = self.arena.context(cluster)
        server, user = self._servers[context], self._users[context]
        trust = ssl.create_default_context(cafile=server["certificate-authority"])
        trust.load_cert_chain(user["client-certificate"], user["client-key"])
        return httpx.Client(base_url=server["server"], verify=trust, timeout=60, limits=httpx.Limits(max_connections=THREADS))


def peak_memory() -> float:
    """Return the peak resident memory of this process in MiB: ours and what measures it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _path(manifest: dict[str, Any]) -> str:
    plural = manifest["kind"].lower() + "s"
    version = manifest["apiVersion"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{base}/namespaces/{manifest['metadata']['namespace']}/{plural}/{manifest['metadata']['name']}"
