"""The names that the Multi-Cluster Services API gives to things, and the few that are ours."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache

GROUP = "multicluster.x-k8s.io"  # mcs-api config/crd; the KEP's examples print another group
SERVICE_LABEL = "multicluster.kubernetes.io/service-name"  # mcs-api pkg/apis/*/well_known_labels.go
SOURCE_LABEL = "multicluster.kubernetes.io/source-cluster"  # mcs-api pkg/apis/*/well_known_labels.go
DERIVED_ANNOTATION = "multicluster.kubernetes.io/derived-service"  # mcs-api controllers/common.go
NATIVE_LABEL = "kubernetes.io/service-name"  # k8s.io/api/discovery/v1 LabelServiceName: what kube-proxy goes by
OURS_LABEL = "app.kubernetes.io/managed-by"  # on Services: derived ones and those of a plain name
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"  # k8s.io/api/discovery/v1 LabelManagedBy
CLUSTER_ID_PROPERTY = "cluster.clusterset.k8s.io"  # KEP-2149, a ClusterProperty of about.k8s.io
CLUSTERSET_PROPERTY = "clusterset.k8s.io"  # KEP-2149

KEEPER = "flotilla-keeper"
"""Field manager and managed-by value of all that the keeper writes. Not "flotilla": that is the rollouts' manager, and one
manager's apply drops the fields of its last one."""

AUTOMATIC_ANNOTATION = "flotilla.dev/automatic-import"  # on a ServiceImport that the keeper made, and may therefore delete
NATIVE_ANNOTATION = "flotilla.dev/native-name"  # "true" on a ServiceImport: the plain name reaches the exporters too
DRAIN_ANNOTATION = "flotilla.dev/drain"  # "true" on a ServiceExport: its endpoints take no new connections, the export stays
DRAINED_BY_ANNOTATION = "flotilla.dev/drained-by"  # on a ServiceExport that a rollout drains: the run's id
IMPORTS_ANNOTATION = "flotilla.dev/imports"  # "automatic" or "declared" on a ServiceExport: for this service, over the policy
RESERVED = frozenset({DERIVED_ANNOTATION, AUTOMATIC_ANNOTATION, NATIVE_ANNOTATION})
"""Annotations of a ServiceImport that no exported annotation may set."""

MAX_ENDPOINTS = 100  # per slice; what the EndpointSlice controller keeps to by default


@dataclass(frozen=True, order=True)
class ServiceKey:
    """Which service: the same namespace and name are the same service in every cluster (namespace sameness)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@lru_cache(maxsize=65536)  # asked for each slice in each decision
def short_hash(text: str) -> str:
    """Return the first ten characters of the lower-case base32hex SHA-256 of a text."""
    return base64.b32hexencode(hashlib.sha256(text.encode()).digest()).decode().lower()[:10]


def derived_name(key: ServiceKey) -> str:
    """Return the name of the Service that stands for an import in a cluster (mcs-api controllers/common.go derivedName)."""
    return f"derived-{short_hash(str(key))}"


def slice_name(prefix: str, key: ServiceKey, source: str, origin: str, part: int) -> str:
    """Return the name of an imported slice: the same for the same slice of the source, so that it is changed in place.

    ``prefix`` sets the slices of the derived Service apart from those of the plain name; ``origin`` is the name of the
    source's slice; ``part`` counts from 0 where that has more endpoints than fit into one.
    """
    suffix = f"-{part}" if part else ""
    return f"{prefix}-{key.name}-{source}-{short_hash(origin)}{suffix}"
