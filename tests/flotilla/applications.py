"""What the tests of Applications share: a fleet of three centres, and short ways to write and to look at things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from flotilla.application import read_application
from flotilla.errors import InvalidInput
from flotilla.fleet import parse_fleet
from flotilla.intent import Delivery, Intent, RenderedObject

FLEET = parse_fleet(
    """
clusters:
  - {name: production, role: production, site: {name: c1, city: hangzhou}, labels: {region: hangzhou}}
  - {name: same-city, role: same-city, site: {name: c2, city: hangzhou}, labels: {region: hangzhou}}
  - {name: remote, role: remote, site: {name: c3, city: beijing}, labels: {region: beijing}}
""",
    "fleet.yaml",
)
FILE = "app.yaml"


def application(**spec: Any) -> dict[str, Any]:
    """Return an Application document; without components it has one webservice named web."""
    spec.setdefault("components", [{"name": "web", "type": "webservice", "properties": {"image": "nginx"}}])
    return {"apiVersion": "core.oam.dev/v1beta1", "kind": "Application", "metadata": {"name": "app"}, "spec": spec}


def intent_of(*documents: Mapping[str, Any], **more: Any) -> Intent:
    """Return the intent of documents that stand in one file."""
    return read_application({FILE: yaml.safe_dump_all([dict(one) for one in documents])}, FLEET, **more)


def refused(*documents: Mapping[str, Any], **more: Any) -> list[str]:
    """Return the problems for which documents are refused, one sentence each."""
    with pytest.raises(InvalidInput) as caught:
        intent_of(*documents, **more)
    return [str(problem) for problem in caught.value.problems]


def component(
    kind: str, properties: Mapping[str, Any], *traits: Mapping[str, Any], name: str = "web", **more: Any
) -> dict[str, Any]:
    """Return a component."""
    return {"name": name, "type": kind, "properties": dict(properties), "traits": [dict(one) for one in traits], **more}


def trait(kind: str, **properties: Any) -> dict[str, Any]:
    """Return a trait."""
    return {"type": kind, "properties": properties}


def policy(kind: str, name: str = "", **properties: Any) -> dict[str, Any]:
    """Return a policy, named like its type unless it has a name."""
    return {"name": name or kind, "type": kind, "properties": properties}


def step(kind: str, name: str = "", properties: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a workflow step."""
    return {"name": name or kind, "type": kind, "properties": dict(properties or {}), **more}


def steps(*parts: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a workflow."""
    return {"steps": [dict(one) for one in parts], **more}


def objects_of(*components: Mapping[str, Any], **more: Any) -> list[RenderedObject]:
    """Return the objects that components become in production, in order."""
    intent = intent_of(application(components=[dict(one) for one in components], **more))
    return [item for delivery in intent.deliveries for item in delivery.objects if delivery.cluster == "production"]


def manifest_of(one: Mapping[str, Any]) -> Any:
    """Return the workload that a component becomes."""
    return objects_of(one)[0].manifest


def named(delivery: Delivery) -> list[str]:
    """Return what a delivery holds as Kind/name."""
    return [f"{item.manifest['kind']}/{item.manifest['metadata']['name']}" for item in delivery.objects]


def summary(intent: Intent) -> list[tuple[str, list[tuple[str, str, list[str]]]]]:
    """Return step by step what goes where."""
    every = [sub for one in intent.steps for sub in (one.sub_steps or (one,))]
    return [(one.name, [(d.cluster, d.namespace, named(d)) for d in one.deliveries]) for one in every]
