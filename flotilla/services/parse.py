"""From the JSON of the Kubernetes API to facts, once, at the border.

Every function takes an object as an API server returns it and raises KeyError or ValueError for what none returns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flotilla.objects import Manifest
from flotilla.services.facts import (
    NEWER_FIELDS,
    Condition,
    Endpoint,
    ExportFact,
    ImportFact,
    ImportModel,
    LeaseFact,
    NamespaceFact,
    Port,
    Properties,
    ServiceFact,
    SliceFact,
    SlicePort,
)
from flotilla.services.names import (
    AUTOMATIC_ANNOTATION,
    DERIVED_ANNOTATION,
    DRAIN_ANNOTATION,
    IMPORTS_ANNOTATION,
    KEEPER,
    MANAGED_BY_LABEL,
    NATIVE_ANNOTATION,
    NATIVE_LABEL,
    OURS_LABEL,
    RESERVED,
    SERVICE_LABEL,
    SOURCE_LABEL,
)

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def parse_namespace(body: Manifest) -> NamespaceFact:
    """Return the fact of a v1 Namespace."""
    active = (body.get("status") or {}).get("phase", "Active") == "Active" and not _deleting(body)
    return NamespaceFact(body["metadata"]["name"], active)


def parse_service(body: Manifest) -> ServiceFact:
    """Return the fact of a v1 Service, with the API server's defaults where a field is not set."""
    spec, metadata = body["spec"], body["metadata"]
    return ServiceFact(
        name=metadata["name"],
        properties=_properties(spec, headless=spec.get("clusterIP") == "None"),
        type=spec.get("type") or "ClusterIP",
        cluster_ips=tuple(ip for ip in spec.get("clusterIPs") or () if ip != "None"),
        selects=bool(spec.get("selector")),
        ours=(metadata.get("labels") or {}).get(OURS_LABEL) == KEEPER,
        owner=_owner(body),
        uid=metadata.get("uid", ""),
        deleting=_deleting(body),
    )


def parse_export(body: Manifest) -> ExportFact:
    """Return the fact of a ServiceExport, v1alpha1 or v1beta1 (their fields are the same)."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    model = annotations.get(IMPORTS_ANNOTATION)
    return ExportFact(
        created=parse_time(metadata["creationTimestamp"]),
        labels=spec.get("exportedLabels") or {},
        annotations=spec.get("exportedAnnotations") or {},
        import_model=ImportModel(model) if model in list(ImportModel) else None,
        draining=annotations.get(DRAIN_ANNOTATION) == "true",
        generation=metadata.get("generation", 1),
        conditions=_conditions(body),
        uid=metadata.get("uid", ""),
        deleting=_deleting(body),
    )


def parse_import(body: Manifest) -> ImportFact:
    """Return the fact of a ServiceImport, v1alpha1 or v1beta1 (their fields are the same).

    Needs ``metadata.managedFields`` to tell the labels and annotations that the keeper wrote from those of others;
    without them all count as the keeper's.
    """
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    exported = {key: text for key, text in annotations.items() if key not in RESERVED}
    return ImportFact(
        uid=metadata.get("uid", ""),
        properties=_properties(
            spec,
            headless=spec.get("type") == "Headless",
            labels=_written_by_keeper(metadata, "labels", metadata.get("labels") or {}),
            annotations=_written_by_keeper(metadata, "annotations", exported),
        ),
        ips=tuple(spec.get("ips") or ()),
        derived=annotations.get(DERIVED_ANNOTATION, ""),
        automatic=annotations.get(AUTOMATIC_ANNOTATION) == "true",
        native=annotations.get(NATIVE_ANNOTATION) == "true",
        clusters=tuple(sorted(entry["cluster"] for entry in status.get("clusters") or ())),
        conditions=_conditions(body),
        generation=metadata.get("generation", 1),
        deleting=_deleting(body),
    )


def parse_slice(body: Manifest) -> SliceFact:
    """Return the fact of a discovery.k8s.io/v1 EndpointSlice; ``ports: null`` and ``endpoints: null`` read as none."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    return SliceFact(
        name=metadata["name"],
        service=labels.get(NATIVE_LABEL, ""),
        imported=labels.get(SERVICE_LABEL, ""),
        source=labels.get(SOURCE_LABEL, ""),
        managed_by=labels.get(MANAGED_BY_LABEL, ""),
        owner=_owner(body),
        address_type=body["addressType"],
        ports=tuple(
            SlicePort(port.get("name") or "", port.get("protocol") or "TCP", port.get("port"), port.get("appProtocol"))
            for port in body.get("ports") or ()
        ),
        endpoints=tuple(_endpoint(endpoint) for endpoint in body.get("endpoints") or ()),
        uid=metadata.get("uid", ""),
    )


def parse_lease(body: Manifest) -> LeaseFact:
    """Return the fact of a coordination.k8s.io/v1 Lease; ``renewed`` is None for one that nobody renewed yet."""
    spec = body.get("spec") or {}
    renewed = spec.get("renewTime")
    return LeaseFact(
        holder=spec.get("holderIdentity") or "",
        renewed=parse_time(renewed) if renewed else None,
        duration=float(spec.get("leaseDurationSeconds") or 0),
    )


def served_versions(crd: Manifest) -> tuple[str, ...]:
    """Return the versions that an apiextensions.k8s.io/v1 CustomResourceDefinition serves, in its order."""
    return tuple(version["name"] for version in crd["spec"]["versions"] if version.get("served"))


def lacking(crd: Manifest, version: str, kubernetes: tuple[int, int]) -> frozenset[str]:
    """Return what ``ClusterView.lacks`` is to be, from the ServiceImport CRD and the API server's version (major, minor).

    Service.spec.trafficDistribution is there, and on by default, from Kubernetes 1.31 on. Raises KeyError for a version
    that the CRD does not have.
    """
    schemas = {entry["name"]: entry.get("schema") or {} for entry in crd["spec"]["versions"]}
    declared = (schemas[version].get("openAPIV3Schema") or {}).get("properties") or {}
    known = (declared.get("spec") or {}).get("properties") or {}
    lacks = {f"ServiceImport.{field}" for field, _, _ in NEWER_FIELDS if field not in known}
    return frozenset(lacks | ({"Service.trafficDistribution"} if kubernetes < (1, 31) else set()))


def parse_cluster_property(body: Manifest) -> tuple[str, str]:
    """Return name and value of an about.k8s.io ClusterProperty (KEP-2149)."""
    return body["metadata"]["name"], (body.get("spec") or {}).get("value", "")


def cluster_id(declared: str | None, name: str) -> str:
    """Return a cluster's id: the declared ClusterProperty where it is a DNS label, else the cluster's name in the fleet.

    KEP-2149 allows longer ids, but ServiceImport.status.clusters, the source-cluster label and the DNS names of headless
    endpoints take a label of at most 63 characters only (mcs-api ClusterStatus).
    """
    return declared if declared and _DNS_LABEL.fullmatch(declared) else name


def shared_ids(ids: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the ids that several clusters claim, with the clusters' names: as long as there is one, nothing may be wired."""
    claimed: dict[str, list[str]] = {}
    for name, claim in sorted(ids.items()):
        claimed.setdefault(claim, []).append(name)
    return {claim: tuple(names) for claim, names in claimed.items() if len(names) > 1}


def parse_time(text: str) -> datetime:
    """Return an API server's time (metav1.Time or MicroTime) with its time zone; raises ValueError for other text."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a time zone: {text!r}")
    return moment


def _properties(
    spec: Mapping[str, Any],
    *,
    headless: bool,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Properties:
    """Return what ServiceSpec and ServiceImportSpec have in common; both call the fields alike."""
    affinity = spec.get("sessionAffinity") or "None"
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return Properties(
        headless=headless,
        ports=tuple(
            Port(port.get("name") or "", port.get("protocol") or "TCP", port["port"], port.get("appProtocol"))
            for port in spec.get("ports") or ()
        ),
        session_affinity=affinity,
        affinity_timeout=config.get("timeoutSeconds") if affinity == "ClientIP" else None,
        internal_traffic_policy=spec.get("internalTrafficPolicy") or "Cluster",
        traffic_distribution=spec.get("trafficDistribution"),
        ip_families=tuple(spec.get("ipFamilies") or ()),
        labels=labels or {},
        annotations=annotations or {},
    )


def _endpoint(body: Mapping[str, Any]) -> Endpoint:
    conditions = body.get("conditions") or {}
    hints = (body.get("hints") or {}).get("forZones") or ()
    return Endpoint(
        tuple(body["addresses"]),
        conditions.get("ready"),
        conditions.get("serving"),
        conditions.get("terminating"),
        body.get("hostname") or "",
        body.get("zone") or "",
        body.get("nodeName") or "",
        tuple(hint["name"] for hint in hints),
    )


def _conditions(body: Manifest) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            entry["type"],
            entry["status"],
            entry.get("reason", ""),
            entry.get("message", ""),
            entry.get("observedGeneration", 0),
            entry.get("lastTransitionTime", ""),
        )
        for entry in (body.get("status") or {}).get("conditions") or ()
    )


def _written_by_keeper(metadata: Mapping[str, Any], what: str, present: Mapping[str, str]) -> dict[str, str]:
    """Return the labels or annotations whose field owner is the keeper (structured-merge-diff FieldsV1: "f:<key>")."""
    managed = metadata.get("managedFields")
    if managed is None:
        return dict(present)
    owned: set[str] = set()
    for entry in managed:
        if entry.get("manager") == KEEPER:
            fields = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get(f"f:{what}") or {}
            owned.update(key.removeprefix("f:") for key in fields)
    return {key: text for key, text in present.items() if key in owned}


def _owner(body: Manifest) -> str:
    references = body["metadata"].get("ownerReferences") or ()
    return next((reference["uid"] for reference in references if reference.get("kind") == "ServiceImport"), "")


def _deleting(body: Manifest) -> bool:
    return bool(body["metadata"].get("deletionTimestamp"))
