"""The shape that every Kubernetes object has; checked on objects that are given as they are, and after patches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flotilla.errors import Problem, phrase
from flotilla.fleet import DNS_LABEL
from flotilla.oam.places import Place
from flotilla.objects import group_of

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_BY_PATH = "rbac.authorization.k8s.io"  # its names need only be fit for a path, such as system:node


def strange(body: Any, place: Place, *, nameless: bool = False) -> Iterator[Problem]:
    """Return what is wrong with an object's shape; ``nameless`` where it may still get a name."""
    if not isinstance(body, dict) or not all(isinstance(body.get(key), str) and body[key] for key in ("apiVersion", "kind")):
        yield place.problem(body, "an object with apiVersion and kind")
        return
    if body["kind"].endswith("List") and "items" in body:
        yield (place / "kind").problem(body["kind"], "single objects, not lists")
    if not isinstance(body.get("spec", {}), dict):
        yield (place / "spec").problem(body["spec"], "a mapping")
    metadata = body.get("metadata", {})
    if not isinstance(metadata, dict):
        yield (place / "metadata").problem(metadata, "a mapping")
        return
    yield from _strange_names(metadata, group_of(body["apiVersion"]), place / "metadata", nameless)
    for key in ("labels", "annotations"):
        given = metadata.get(key)
        if given is not None and not (isinstance(given, dict) and all(isinstance(text, str) for text in given.values())):
            yield (place / "metadata" / key).problem(given, "a mapping of strings to strings")


def _strange_names(metadata: dict[str, Any], group: str, place: Place, nameless: bool) -> Iterator[Problem]:
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if name is None:
        if not nameless:
            yield (place / "name").problem(phrase("is missing"), "a name")
    elif not (isinstance(name, str) and name and (group == _BY_PATH or _SUBDOMAIN.fullmatch(name))):
        yield (place / "name").problem(name, "a DNS name: lower-case letters, digits, '-' and '.'")
    if namespace is not None and not (isinstance(namespace, str) and DNS_LABEL.fullmatch(namespace)):
        yield (place / "namespace").problem(namespace, "a DNS label")
