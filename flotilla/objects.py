"""Kubernetes objects as values: identity, order and digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]
"""An object as JSON: apiVersion, kind, metadata and the rest. Never changed in place."""


@dataclass(frozen=True, order=True)
class ObjectKey:
    """Which object of one cluster. ``namespace`` is empty for cluster-scoped kinds.

    Versions of one group are one object, so the group and not the apiVersion is part of the identity.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


def group_of(api_version: str) -> str:
    """Return the API group of an apiVersion: "" for "v1", "apps" for "apps/v1"."""
    return api_version.rpartition("/")[0]


def key_of(manifest: Manifest) -> ObjectKey:
    """Return the identity of a manifest as it is written; a missing namespace reads as ""."""
    metadata = manifest["metadata"]
    return ObjectKey(
        group=group_of(manifest["apiVersion"]),
        kind=manifest["kind"],
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
    )


def canonical(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON value's canonical text, in hexadecimal (64 characters)."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
