"""What was seen of one service in one cluster: frozen, parsed once at the border, compared by value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from flotilla.facts import Unknown
from flotilla.services.names import KEEPER, ServiceKey


class ImportModel(StrEnum):
    """Which clusters import: every one that has the namespace (KEP-1645), or those that were given a ServiceImport."""

    AUTOMATIC = "automatic"
    DECLARED = "declared"


class WiredBy(StrEnum):
    """Who makes imports, Services and slices of the exports: Flotilla's keeper, or another implementation of the API."""

    FLOTILLA = "flotilla"
    OTHERS = "others"


class Port(NamedTuple):
    """A port of a Service or a ServiceImport. ``name`` is "" and ``app_protocol`` None where there is none."""

    name: str
    protocol: str
    port: int
    app_protocol: str | None = None

    @property
    def number(self) -> tuple[str, int]:
        """Protocol and number, which no two ports of a Service share."""
        return (self.protocol, self.port)

    def __str__(self) -> str:
        return f"{self.name} {self.port}/{self.protocol}" if self.name else f"{self.port}/{self.protocol}"


class SlicePort(NamedTuple):
    """A port of an EndpointSlice: ``port`` is the pods' port, None for all of them."""

    name: str
    protocol: str
    port: int | None
    app_protocol: str | None = None


class Endpoint(NamedTuple):
    """An endpoint of an EndpointSlice; None in a condition means that the API says nothing about it."""

    addresses: tuple[str, ...]
    ready: bool | None = True
    serving: bool | None = None
    terminating: bool | None = None
    hostname: str = ""
    zone: str = ""
    node: str = ""
    hint_zones: tuple[str, ...] = ()

    @property
    def takes_traffic(self) -> bool:
        """Whether it is ready; unsaid counts as ready (discovery/v1 EndpointConditions)."""
        return self.ready is not False


class Condition(NamedTuple):
    """A metav1.Condition. ``since`` is lastTransitionTime as the API writes it."""

    type: str
    status: str
    reason: str
    message: str
    generation: int
    since: str = ""


@dataclass(frozen=True)
class Properties:
    """How a service is to be consumed: what KEP-1645 calls global properties. ``affinity_timeout`` in seconds."""

    headless: bool = False
    ports: tuple[Port, ...] = ()
    session_affinity: str = "None"
    affinity_timeout: int | None = None
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str | None = None
    ip_families: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def known_to(self, kind: str, lacks: frozenset[str]) -> Properties:
        """Return what is left of them where a cluster's ``kind`` lacks fields: those read as if they were not set."""
        unset = {attribute: value for of, attribute, value in NEWER_FIELDS if f"{kind}.{of}" in lacks}
        return replace(self, **unset) if unset else self


NEWER_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("ipFamilies", "ip_families", ()),
    ("internalTrafficPolicy", "internal_traffic_policy", "Cluster"),
    ("trafficDistribution", "traffic_distribution", None),
)
"""Spec fields that older CRDs and API servers do not know: name, attribute of Properties, what it reads as when not set.

Server-side apply refuses a field that a schema does not declare, and a pruned one would be written for ever."""


@dataclass(frozen=True)
class NamespaceFact:
    """A namespace. One that is being deleted takes no new objects: it counts as absent."""

    name: str
    active: bool = True


@dataclass(frozen=True)
class ServiceFact:
    """A Service. ``type`` as the API has it; ``ours`` where the keeper made it; ``owner`` is the uid of its ServiceImport."""

    name: str
    properties: Properties
    type: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    selects: bool = True
    ours: bool = False
    owner: str = ""
    uid: str = field(default="", compare=False)
    deleting: bool = False


@dataclass(frozen=True)
class ExportFact:
    """A ServiceExport. ``created`` decides conflicts: whole seconds, the API server's clock."""

    created: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    import_model: ImportModel | None = None
    draining: bool = False
    generation: int = 1
    conditions: tuple[Condition, ...] = ()
    uid: str = field(default="", compare=False)
    deleting: bool = False


@dataclass(frozen=True)
class ImportFact:
    """A ServiceImport. ``derived`` is its annotation, ``clusters`` the cluster ids of its status.

    ``properties.labels`` and ``.annotations`` are those that the keeper wrote, reserved ones left out.
    """

    uid: str
    properties: Properties
    ips: tuple[str, ...] = ()
    derived: str = ""
    automatic: bool = False
    native: bool = False
    clusters: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    generation: int = 1
    deleting: bool = False


@dataclass(frozen=True)
class SliceFact:
    """An EndpointSlice, the source's own or an imported one; labels that are not there read as "".

    ``service`` is kubernetes.io/service-name, ``imported`` multicluster.kubernetes.io/service-name, ``source`` the
    cluster id that an imported slice comes from, ``owner`` the uid of the ServiceImport that owns it.
    """

    name: str
    service: str = ""
    imported: str = ""
    source: str = ""
    managed_by: str = ""
    owner: str = ""
    address_type: str = "IPv4"
    ports: tuple[SlicePort, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    uid: str = field(default="", compare=False)

    @property
    def ours(self) -> bool:
        """Whether the keeper wrote it."""
        return self.managed_by == KEEPER

    @property
    def native(self) -> bool:
        """Whether it holds the cluster's own endpoints: an imported slice is never exported again."""
        return not self.ours and not self.source and not self.imported


@dataclass(frozen=True)
class LeaseFact:
    """A Lease: who renewed it when, and for how many seconds that holds."""

    holder: str
    renewed: datetime | None
    duration: float


@dataclass(frozen=True)
class ProbeFact:
    """One try to reach one endpoint of ``source`` from ``consumer`` (both cluster names). ``detail`` is the error's text."""

    consumer: str
    source: str
    address: str
    at: datetime
    answered: bool
    detail: str = ""


@dataclass(frozen=True)
class DnsFact:
    """What a cluster's DNS answered for the service's clusterset name; no addresses where there is no such name."""

    addresses: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class ClusterView:
    """All that one cluster holds of one service; None where it holds none.

    ``id`` is the cluster id (KEP-2149), a DNS label. ``slices`` are the Service's own and the imported ones.
    ``version`` is the served version of multicluster.x-k8s.io that the keeper writes, ``lacks`` the spec fields that this
    cluster does not know ("ServiceImport.ipFamilies"): they are neither written nor missed.
    """

    id: str
    namespace: NamespaceFact | None = None
    service: ServiceFact | None = None
    export: ExportFact | None = None
    imported: ImportFact | None = None
    derived: ServiceFact | None = None
    slices: tuple[SliceFact, ...] = ()
    version: str = "v1beta1"
    lacks: frozenset[str] = frozenset()

    @property
    def takes_objects(self) -> bool:
        """Whether the namespace exists and is not on its way out."""
        return self.namespace is not None and self.namespace.active


@dataclass(frozen=True)
class World:
    """One service over the whole fleet, by cluster name.

    Every cluster of the fleet is in ``clusters``: as it is now, or Unknown. ``last`` has what was seen of an Unknown
    cluster before, where anything was. ``leases`` are the keeper's, renewed in each source cluster.
    """

    key: ServiceKey
    clusters: Mapping[str, ClusterView | Unknown]
    last: Mapping[str, ClusterView] = field(default_factory=dict)
    leases: Mapping[str, LeaseFact | Unknown] = field(default_factory=dict)

    @property
    def seen(self) -> dict[str, ClusterView]:
        """The clusters that could be looked at, by name, in the order of the names."""
        return {name: view for name, view in sorted(self.clusters.items()) if isinstance(view, ClusterView)}

    @property
    def away(self) -> dict[str, Unknown]:
        """The clusters that could not be looked at, by name, in the order of the names."""
        return {name: view for name, view in sorted(self.clusters.items()) if isinstance(view, Unknown)}
