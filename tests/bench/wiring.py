"""How long a change takes from cluster to cluster: slice to slice, ready pod to slice, export to answer."""

from __future__ import annotations

import random
import time
from collections.abc import Hashable, Iterator

from flotilla.objects import Manifest
from flotilla.services.names import SOURCE_LABEL
from tests.bench.calls import CONSUMER, Calls, client_in
from tests.bench.stand import NATIVE, SLICES, Ear, Members, Stand, tell, until
from tests.tasks.fleetset import Member

SOURCE = "production"
MERGE = "application/merge-patch+json"
Times = dict[str, list[float]]
"""Seconds, by what they are of."""


def slice_changes(stand: Stand, count: int) -> Times:
    """Change a native slice in production and a bare one in same-city in turns; watch what comes of it."""
    times: Times = {"floor": [], "slice": [], "patch": [], "native": []}
    with stand.room("slices") as members:
        source, consumer = members[SOURCE], members[CONSUMER]
        source.deploy("pods")
        until(lambda: source.ready(1, "pods"), 60)
        address = source.pods("pods")[0]["status"]["podIP"]
        make_slice(source, "native", address, {"kubernetes.io/service-name": "changing"})
        make_slice(consumer, "bare", address, {})
        source.service("changing", selector=None)
        source.export("changing")
        until(lambda: consumer.addresses("changing") == [address], 30)
        time.sleep(3)  # what follows on the export: statuses, first probes
        _take_turns(source, consumer, address, count, times)
    return times


def _take_turns(source: Member, consumer: Member, address: str, count: int, times: Times) -> None:
    here = Ear(source.connection, source.inside(SLICES, "endpointslices"), _numbered)
    there = Ear(consumer.connection, consumer.inside(SLICES, "endpointslices"), _numbered)
    for number in range(count):
        sent, _ = _change(consumer, "bare", address, number)
        times["floor"].append(there.wait(("", number)) - sent)
        _breathe()
        sent, answered = _change(source, "native", address, number)
        native = min(answered, here.wait(("", number)))  # on a busy machine the answer may be there first
        imported = there.wait((SOURCE, number))
        times["native"].append(native - sent)
        times["slice"].append(imported - native)
        times["patch"].append(imported - sent)
        _breathe()
        tell("slice changes", number + 1, count)
    here.close()
    there.close()


def ready_pods(stand: Stand, count: int) -> Times:
    """Add one pod after another in production; watch them become ready, and their addresses come to same-city."""
    times: Times = {"ready": [], "kubernetes": []}
    with stand.room("pods") as members:
        source, consumer = members[SOURCE], members[CONSUMER]
        source.deploy("web")
        source.export("web")
        until(lambda: len(consumer.addresses("web")) == 1, 60)
        pods = Ear(source.connection, source.inside("/api/v1", "pods"), _ready_pod)
        native = Ear(source.connection, source.inside(SLICES, "endpointslices"), _ready_addresses)
        imported = Ear(consumer.connection, consumer.inside(SLICES, "endpointslices"), _ready_addresses)
        for number in range(1, count + 1):
            source.scale(number + 1, "web")
            pods.reach(number)
            address, at = list(pods.heard.items())[-1]
            times["ready"].append(imported.wait((SOURCE, address)) - at)
            times["kubernetes"].append(native.wait(("", address)) - at)
            _breathe()
            tell("ready pods", number, count)
        for ear in (pods, native, imported):
            ear.close()
    return times


def exports(stand: Stand, count: int) -> Times:
    """Export one service after another and take it back; a client in same-city asks all the while."""
    times: Times = {"export": [], "name": [], "unexport": [], "no name": [], "import": []}
    with stand.room("exports") as members, client_in(stand, members) as calls:
        source = members[SOURCE]
        source.deploy("web", replicas=2)
        for number in range(count):
            source.service(f"web-{number}", selector={"app": "web"})
        until(lambda: source.ready(2, "web"), 60)
        for number in range(count):
            _export(members, calls, f"web-{number}", times)
            tell("exports", number + 1, count)
    return times


def _export(members: Members, calls: Calls, name: str, times: Times) -> None:
    """Export a service until it is answered, and unexport it until nobody answers."""
    source, host = members[SOURCE], f"{name}.{members[SOURCE].namespace}.svc.clusterset.local"
    calls.begin(host)
    until(lambda: calls.of(host), 10)
    began = time.monotonic()
    source.export(name)
    first = calls.first(host, 0, lambda one: one.answered)
    times["export"].append(first.ended - began)
    times["name"].append(calls.first(host, 0, lambda one: one.found).ended - began)
    time.sleep(1 + random.random())
    began = time.monotonic()
    source.unexport(name)
    times["unexport"].append(calls.first(host, began, lambda one: not one.answered).ended - began)
    times["no name"].append(calls.first(host, began, lambda one: not one.found).ended - began)
    calls.pause()
    until(lambda: all(member.imported(name) is None for member in members.values()), 30)
    time.sleep(random.random())


def make_slice(member: Member, name: str, address: str, labels: dict[str, str]) -> None:
    """Make a slice as the EndpointSlice controller does, which leaves those of Services without selector alone."""
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": NATIVE | labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    member.call("POST", member.inside(SLICES, "endpointslices"), body)


def _change(member: Member, name: str, address: str, number: int) -> tuple[float, float]:
    """Change a slice, but no address, so that probes find it as before; return when that was sent and when answered."""
    body = {"endpoints": [{"addresses": [address], "conditions": {"ready": True}, "hostname": f"change-{number}"}]}
    sent = time.monotonic()
    member.call("PATCH", member.inside(SLICES, "endpointslices", name), body, content_type=MERGE)
    return sent, time.monotonic()


def _numbered(body: Manifest) -> Iterator[Hashable]:
    """Yield where a slice's endpoint comes from ("" for here) and the number of its change."""
    for end in body.get("endpoints") or ():
        word, _, number = str(end.get("hostname")).partition("-")
        if word == "change":
            yield _source(body), int(number)


def _ready_pod(body: Manifest) -> Iterator[Hashable]:
    """Yield the address of a pod that is ready."""
    conditions = {one["type"]: one["status"] for one in body["status"].get("conditions") or ()}
    if conditions.get("Ready") == "True" and not body["metadata"].get("deletionTimestamp"):
        yield body["status"]["podIP"]


def _ready_addresses(body: Manifest) -> Iterator[Hashable]:
    """Yield where a slice's endpoints come from ("" for here) and the address of each that is ready."""
    for end in body.get("endpoints") or ():
        if end["conditions"].get("ready"):
            yield from ((_source(body), address) for address in end["addresses"])


def _source(body: Manifest) -> str:
    return str(body["metadata"]["labels"].get(SOURCE_LABEL, ""))


def _breathe() -> None:
    """Let what follows on a change end, and do not fall into step with anything."""
    time.sleep(random.uniform(0.05, 0.15))
