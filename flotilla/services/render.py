"""From wanted facts to the JSON that the API servers take, for server-side apply by the field manager ``KEEPER``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flotilla.objects import Manifest
from flotilla.services.facts import Condition, Endpoint, ImportFact, Properties, ServiceFact, SliceFact
from flotilla.services.names import (
    AUTOMATIC_ANNOTATION,
    DERIVED_ANNOTATION,
    GROUP,
    KEEPER,
    MANAGED_BY_LABEL,
    NATIVE_LABEL,
    OURS_LABEL,
    SERVICE_LABEL,
    SOURCE_LABEL,
    ServiceKey,
)


def import_manifest(key: ServiceKey, wanted: ImportFact, version: str, lacks: frozenset[str] = frozenset()) -> Manifest:
    """Return a ServiceImport without status; protocols and policies are written out, as readers compare them.

    ``lacks`` are the fields that the cluster's schema does not declare (``ClusterView.lacks``).
    """
    own = {AUTOMATIC_ANNOTATION: "true"} if wanted.automatic else {}
    own |= {DERIVED_ANNOTATION: wanted.derived} if wanted.derived else {}
    properties = wanted.properties
    spec = {"type": "Headless" if properties.headless else "ClusterSetIP", **_common(properties)}
    if wanted.ips:
        spec["ips"] = list(wanted.ips)
    if properties.ip_families:
        spec["ipFamilies"] = list(properties.ip_families)
    spec = {name: value for name, value in spec.items() if f"ServiceImport.{name}" not in lacks}
    metadata = {
        **_named(key.namespace, key.name),
        "labels": dict(properties.labels),
        "annotations": {**properties.annotations, **own},
    }
    return {"apiVersion": f"{GROUP}/{version}", "kind": "ServiceImport", "metadata": metadata, "spec": spec}


def service_manifest(key: ServiceKey, wanted: ServiceFact, version: str) -> Manifest:
    """Return a Service of ours: derived or plain-named, without a selector, in every IP family that the cluster has."""
    spec = {"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack", **_common(wanted.properties)}
    if wanted.properties.headless:
        spec["clusterIP"] = "None"
    metadata = {
        **_named(key.namespace, wanted.name),
        "labels": {OURS_LABEL: KEEPER},
        "annotations": {SERVICE_LABEL: key.name},
        "ownerReferences": _owner(key, wanted.owner, version),
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def slice_manifest(key: ServiceKey, wanted: SliceFact, version: str) -> Manifest:
    """Return an imported EndpointSlice with the labels and the owner that KEP-1645 asks for."""
    labels = {
        SERVICE_LABEL: wanted.imported,
        NATIVE_LABEL: wanted.service,
        SOURCE_LABEL: wanted.source,
        MANAGED_BY_LABEL: wanted.managed_by,
    }
    metadata = {
        **_named(key.namespace, wanted.name),
        "labels": {label: text for label, text in labels.items() if text},
        "ownerReferences": _owner(key, wanted.owner, version),
    }
    ports = [_present(name=p.name, protocol=p.protocol, port=p.port, appProtocol=p.app_protocol) for p in wanted.ports]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": wanted.address_type,
        "ports": ports,
        "endpoints": [_endpoint(end) for end in wanted.endpoints],
    }


def import_status(key: ServiceKey, clusters: Sequence[str], conditions: Sequence[Condition], version: str) -> Manifest:
    """Return the status subresource of a ServiceImport."""
    status = {"clusters": [{"cluster": cluster} for cluster in clusters], "conditions": [_condition(c) for c in conditions]}
    return _status("ServiceImport", key, status, version)


def export_status(key: ServiceKey, conditions: Sequence[Condition], version: str) -> Manifest:
    """Return the status subresource of a ServiceExport."""
    return _status("ServiceExport", key, {"conditions": [_condition(c) for c in conditions]}, version)


def _common(properties: Properties) -> dict[str, Any]:
    """Return the fields that ServiceSpec and ServiceImportSpec call alike."""
    affinity = properties.session_affinity
    spec: dict[str, Any] = {
        "ports": [
            _present(name=p.name or None, protocol=p.protocol, port=p.port, appProtocol=p.app_protocol)
            for p in properties.ports
        ],
        "sessionAffinity": affinity,
        "internalTrafficPolicy": properties.internal_traffic_policy,
    }
    if affinity == "ClientIP" and properties.affinity_timeout is not None:
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": properties.affinity_timeout}}
    if properties.traffic_distribution is not None:
        spec["trafficDistribution"] = properties.traffic_distribution
    return spec


def _endpoint(end: Endpoint) -> dict[str, Any]:
    return _present(
        addresses=list(end.addresses),
        conditions=_present(ready=end.ready, serving=end.serving, terminating=end.terminating),
        hostname=end.hostname or None,
        zone=end.zone or None,
        nodeName=end.node or None,
        hints={"forZones": [{"name": zone} for zone in end.hint_zones]} if end.hint_zones else None,
    )


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.generation,
        "lastTransitionTime": condition.since,
    }


def _owner(key: ServiceKey, uid: str, version: str) -> list[dict[str, Any]]:
    reference = {"apiVersion": f"{GROUP}/{version}", "kind": "ServiceImport", "name": key.name, "uid": uid}
    return [{**reference, "controller": False}]


def _status(kind: str, key: ServiceKey, status: dict[str, Any], version: str) -> Manifest:
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": kind,
        "metadata": _named(key.namespace, key.name),
        "status": status,
    }


def _named(namespace: str, name: str) -> dict[str, Any]:
    return {"namespace": namespace, "name": name}


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
