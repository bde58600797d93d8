"""Install the definitions of the Multi-Cluster Services API: ours, from deployments/crds, and never over a newer one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from flotilla.errors import Permanent, Transient
from flotilla.fleet import Cluster
from flotilla.objects import Manifest
from flotilla.services.definitions import NAMES, Decision, Definition, decide, is_established, parse_definition, upgraded
from tasks.clusters import Connection, connect, refused
from tasks.mcs_ground import DEFINITIONS

FOLDER = Path(__file__).parent.parent / "deployments" / "crds"
_PATIENCE = 20.0  # seconds until a definition is served; below one is usual


@cache
def our_manifests() -> Mapping[str, Manifest]:
    """Return our definitions by name, in the order in which they are installed; raises Permanent where a file is missing."""
    bodies = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.yaml"))]
    found = {body["metadata"]["name"]: body for body in bodies}
    if absent := [name for name in NAMES if name not in found]:
        raise Permanent(f"{FOLDER} has no definition of {', '.join(absent)}: run Flotilla from a checkout")
    return {name: found[name] for name in NAMES}


def our_definitions() -> Mapping[str, Definition]:
    """Return what counts of our definitions, by name."""
    return {name: parse_definition(body) for name, body in our_manifests().items()}


def install_definition(cluster: Cluster, name: str) -> Decision:
    """Have a definition served, installed or upgraded where that takes nothing away; return what was done about it.

    Raises Transient where somebody else wrote it meanwhile or it is not served within 20 s, Permanent where it is refused.
    """
    connection, ours = connect(cluster), our_manifests()[name]
    answer = connection.request("GET", f"{DEFINITIONS}/{name}")
    if answer.status not in (200, 404):
        raise refused(cluster.name, f"read the definition {name}", answer)
    seen = answer.body if answer.status == 200 else None
    choice = decide(parse_definition(ours), parse_definition(seen) if seen else None, asked=True)
    if choice.decision.writes:
        _write(connection, name, ours, seen)
        _wait_served(connection, name)
    return choice.decision


def _write(connection: Connection, name: str, ours: Manifest, seen: Manifest | None) -> None:
    """Create a definition, or replace the one that was looked at and no other (its resourceVersion says which)."""
    query = {"fieldManager": "flotilla"}
    if seen:
        answer = connection.request("PUT", f"{DEFINITIONS}/{name}", query=query, body=upgraded(ours, seen))
    else:
        answer = connection.request("POST", DEFINITIONS, query=query, body=ours)
    if answer.status == 409:
        raise Transient(f"{connection.name}: somebody else wrote the definition {name} meanwhile: look again")
    if answer.status not in (200, 201):
        raise refused(connection.name, f"install the definition {name}", answer)


def _wait_served(connection: Connection, name: str) -> None:
    """Wait until objects can be listed in every served version: established is not yet ready (HTTP 404, then 429)."""
    deadline = time.monotonic() + _PATIENCE
    while why := _not_served(connection, name):
        if time.monotonic() > deadline:
            raise Transient(f"{connection.name}: {name} is installed, and not served after {_PATIENCE:.0f} s: {why}")
        time.sleep(0.1)


def _not_served(connection: Connection, name: str) -> str:
    answer = connection.request("GET", f"{DEFINITIONS}/{name}")
    if answer.status != 200 or not is_established(answer.body):
        return answer.message if answer.status != 200 else "it is not established"
    plural, _, group = name.partition(".")
    for version in parse_definition(answer.body).served:
        answer = connection.request("GET", f"/apis/{group}/{version}/{plural}", query={"limit": "1"})
        if answer.status not in (200, 403):  # may not list is served too
            return f"{version}: {answer.message} (HTTP {answer.status})"
    return ""
