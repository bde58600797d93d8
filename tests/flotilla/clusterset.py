"""Clusters that hold JSON, as API servers do: for tests of exports only. Writes go in, facts come out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flotilla.exports import Decision, decide, writes
from flotilla.facts import Unknown
from flotilla.services.facts import ClusterView, World
from flotilla.services.health import Health
from flotilla.services.names import KEEPER, ServiceKey, derived_name
from flotilla.services.parse import parse_export, parse_import, parse_namespace, parse_service, parse_slice
from flotilla.services.policy import Policy

KEY = ServiceKey("shop", "hello")
T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PORTS = ({"name": "tcp", "port": 42, "protocol": "TCP"}, {"name": "udp", "port": 42, "protocol": "UDP"})


def stamp(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Cluster:
    """One API server: objects by kind and name in the one namespace that these tests use."""

    name: str
    number: int = 1
    namespace: str = "Active"
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    away: str = ""
    uids: int = 0
    lacks: frozenset[str] = frozenset()
    model_ip_families: tuple[str, ...] = ("IPv4",)

    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        self.uids += 1
        body["metadata"] = {"namespace": KEY.namespace, "uid": f"{self.name}-{self.uids}", "generation": 1} | body["metadata"]
        self.objects[body["kind"], body["metadata"]["name"]] = body
        return body

    def get(self, kind: str, name: str = KEY.name) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [body for (of, _), body in sorted(self.objects.items()) if of == kind]

    def slices(self) -> list[dict[str, Any]]:
        """The imported slices."""
        label = "endpointslice.kubernetes.io/managed-by"
        return [body for body in self.all("EndpointSlice") if body["metadata"]["labels"].get(label) == KEEPER]

    def addresses(self) -> list[str]:
        """The addresses that kube-proxy would send connections for the derived Service to."""
        return sorted(
            address
            for body in self.slices()
            if body["metadata"]["labels"].get("kubernetes.io/service-name") != KEY.name
            for end in body["endpoints"]
            if end["conditions"].get("ready") is not False
            for address in end["addresses"]
        )

    def service(self, *, ports=PORTS, pods: int = 2, **spec: Any) -> Cluster:
        spec = {"type": "ClusterIP", "selector": {"app": "hello"}, "ipFamilies": ["IPv4"], "clusterIPs": ["10.9.9.9"]} | spec
        spec |= {"ports": [dict(port) for port in ports], "internalTrafficPolicy": spec.get("internalTrafficPolicy", "Cluster")}
        self.put({"kind": "Service", "metadata": {"name": KEY.name}, "spec": spec})
        return self.pods(pods, ports=ports)

    def pods(self, count: int, *, ports=PORTS, name: str = "hello-x1", **extra: Any) -> Cluster:
        ends = [
            {
                "addresses": [f"10.{self.number}.0.{pod + 1}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": "node-1",
                "zone": f"zone-{self.number}",
                **{key: value(pod) if callable(value) else value for key, value in extra.items()},
            }
            for pod in range(count)
        ]
        labels = {
            "kubernetes.io/service-name": KEY.name,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        slice_ports = [{"name": p.get("name", ""), "port": p["port"] + 8000, "protocol": p["protocol"]} for p in ports]
        self.put(
            {
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": labels},
                "addressType": "IPv4",
                "ports": slice_ports if count else None,
                "endpoints": ends if count else None,
            }
        )
        return self

    def export(self, at: float = 0, *, annotations: dict[str, str] | None = None, **spec: Any) -> Cluster:
        metadata = {"name": KEY.name, "creationTimestamp": stamp(at), "annotations": annotations or {}}
        self.put({"kind": "ServiceExport", "metadata": metadata, "spec": spec})
        return self

    def declare(self, annotations: dict[str, str] | None = None) -> Cluster:
        """A ServiceImport that somebody else made."""
        metadata = {"name": KEY.name, "annotations": annotations or {}, "managedFields": []}
        self.put({"kind": "ServiceImport", "metadata": metadata, "spec": {"type": "ClusterSetIP", "ports": []}})
        return self

    def unexport(self) -> None:
        self.objects.pop(("ServiceExport", KEY.name), None)

    def view(self) -> ClusterView | Unknown:
        if self.away:
            return Unknown(self.name, self.away)
        one = {kind: self.get(kind) for kind in ("Service", "ServiceExport", "ServiceImport")}
        derived = self.get("Service", derived_name(KEY))
        status = {"metadata": {"name": KEY.namespace}, "status": {"phase": self.namespace}}
        return ClusterView(
            id=self.name,
            namespace=parse_namespace(status) if self.namespace else None,
            service=parse_service(one["Service"]) if one["Service"] else None,
            export=parse_export(one["ServiceExport"]) if one["ServiceExport"] else None,
            imported=parse_import(one["ServiceImport"]) if one["ServiceImport"] else None,
            derived=parse_service(derived) if derived else None,
            slices=tuple(parse_slice(body) for body in self.all("EndpointSlice")),
            lacks=self.lacks,
        )

    def write(self, write: Any) -> None:
        """Do what an API server does with a write of ours."""
        at = (write.key.kind, write.key.name)
        if write.action == "delete":
            assert self.objects.pop(at)["metadata"]["uid"] == write.uid
            return
        body = copy.deepcopy(write.manifest)
        named = body["metadata"].get("uid", "")
        assert named == (self.objects[at]["metadata"]["uid"] if write.action != "create" else "")
        if write.action == "status":
            assert self.objects[at]["metadata"]["uid"] == write.uid
            self.objects[at]["status"] = body["status"]
            return
        assert (write.action == "create") == (at not in self.objects), (
            f"{write} of what is {'there' if at in self.objects else 'not there'}"
        )
        self.apply(at, body)

    def apply(self, at: tuple[str, str], body: dict[str, Any]) -> None:
        undeclared = [name for name in body.get("spec", {}) if f"{body['kind']}.{name}" in self.lacks]
        assert not undeclared, f"field not declared in schema: {undeclared}"
        before = self.objects.get(at, {})
        old = before.get("metadata", {})
        mine = {f"f:{what}": {f"f:{k}": {} for k in body["metadata"].get(what, {})} for what in ("labels", "annotations")}
        foreign = {k: v for k, v in old.get("annotations", {}).items() if k not in body["metadata"].get("annotations", {})}
        had = {k for entry in old.get("managedFields", []) for k in entry["fieldsV1"]["f:metadata"].get("f:annotations", {})}
        foreign = {k: v for k, v in foreign.items() if f"f:{k}" not in had}
        body["metadata"]["managedFields"] = [{"manager": KEEPER, "fieldsV1": {"f:metadata": mine}}]
        body["metadata"]["annotations"] = {**foreign, **body["metadata"].get("annotations", {})}
        if body["kind"] == "Service":
            self.give_address(body, before)
        if before:
            body["metadata"] |= {"uid": old["uid"], "generation": old["generation"] + (body.get("spec") != before.get("spec"))}
            body |= {"status": before["status"]} if "status" in before else {}
            self.objects[at] = {**body, "metadata": {"namespace": KEY.namespace, **body["metadata"]}}
        else:
            self.put(body)

    def give_address(self, body: dict[str, Any], before: dict[str, Any]) -> None:
        families = list(self.model_ip_families)
        given = before.get("spec", {}).get("clusterIPs") or [f"10.96.{self.number}.{i}" for i, _ in enumerate(families)]
        names = [port.get("name", "") for port in body["spec"]["ports"]]
        numbers = [(port["protocol"], port["port"]) for port in body["spec"]["ports"]]
        assert len(set(names)) == len(names)
        assert len(set(numbers)) == len(numbers)
        assert len(names) == 1 or all(names), "a Service with several ports must name them"
        if body["spec"].get("clusterIP") != "None":
            body["spec"] |= {"clusterIPs": given}
        body["spec"] |= {"ipFamilies": families}


@dataclass
class Clusterset:
    """Three clusters and a keeper that decides and writes until there is nothing to write."""

    c1: Cluster = field(default_factory=lambda: Cluster("c1", 1))
    c2: Cluster = field(default_factory=lambda: Cluster("c2", 2))
    c3: Cluster = field(default_factory=lambda: Cluster("c3", 3))
    policy: Policy = field(default_factory=Policy)
    health: Health = field(default_factory=Health)
    last: dict[str, ClusterView] = field(default_factory=dict)
    leases: dict[str, Any] = field(default_factory=dict)
    now: float = 100.0
    log: list[str] = field(default_factory=list)

    @property
    def clusters(self) -> dict[str, Cluster]:
        return {cluster.name: cluster for cluster in (self.c1, self.c2, self.c3)}

    @property
    def time(self) -> datetime:
        return T0 + timedelta(seconds=self.now)

    def world(self) -> World:
        return World(KEY, {name: cluster.view() for name, cluster in self.clusters.items()}, self.last, self.leases)

    def decide(self) -> Decision:
        return decide(self.world(), self.health, self.policy, self.time)

    def step(self) -> list[str]:
        """One decision, carried out; returns what was written."""
        world = self.world()
        done = []
        for name, listed in writes(world, decide(world, self.health, self.policy, self.time)).items():
            for write in listed:
                self.clusters[name].write(write)
                done.append(f"{name}: {write}")
        self.log += done
        return done

    def settle(self) -> Clusterset:
        for _ in range(8):
            if not self.step():
                return self
        raise AssertionError(f"still writing after 8 rounds: {self.step()}")

    def remember(self) -> Clusterset:
        """What a keeper that goes on running knows of clusters that go away."""
        self.last = {name: view for name, view in self.world().clusters.items() if isinstance(view, ClusterView)}
        return self

    def lose(self, name: str) -> None:
        self.clusters[name].away = "connection refused"

    def condition(self, cluster: str, of: str, kind: str = "ServiceExport") -> tuple[str, str, str]:
        body = self.clusters[cluster].get(kind)
        assert body
        found = next(c for c in body["status"]["conditions"] if c["type"] == of)
        return found["status"], found["reason"], found["message"]
