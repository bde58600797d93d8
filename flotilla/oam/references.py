"""ref-objects: manifests that stand elsewhere, in files or beside the Application; what must be read, and what was found."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from flotilla.errors import InvalidInput, phrase
from flotilla.oam.documents import Placed
from flotilla.oam.overlay import Layers, read
from flotilla.oam.places import Part, Place
from flotilla.oam.pods import Body
from flotilla.objects import Manifest, canonical, group_of


class Source(StrEnum):
    """What a path of ref-objects leads to."""

    FILE = "file"
    DIRECTORY = "directory"
    KUSTOMIZATION = "kustomization"
    CHART = "chart"


@dataclass(frozen=True)
class Reference:
    """Manifests to be read. ``path`` is relative to ``base``, the Application's file; ``values`` is a chart's, as JSON."""

    source: Source
    path: str
    base: str
    release: str = ""
    namespace: str = ""
    values: str = ""


class Chart(Part):
    """A Helm chart in a directory or archive, and the values to render it with."""

    path: str = Field(min_length=1)
    release: str = ""
    values: dict[str, Any] = Field(default_factory=dict)


class HubObject(Part):
    """KubeVela's reference to an object of the hub; here it is looked for in the documents given with the Application."""

    resource: str = ""
    group: str | None = None
    api_version: str | None = None
    kind: str = ""
    name: str = ""
    namespace: str = ""
    cluster: str = ""
    label_selector: dict[str, str] | None = None

    @model_validator(mode="after")
    def _complete(self) -> HubObject:
        if bool(self.resource) == bool(self.kind):
            raise ValueError("resource, or else apiVersion and kind")
        if self.name and self.label_selector is not None:
            raise ValueError("name or labelSelector, not both")
        return self


class RefObjects(Part):
    """ref-objects: KubeVela's ``objects``, and our own files, directory, kustomization and chart."""

    objects: list[HubObject] = Field(default_factory=list)
    files: list[str] = Field(default_factory=list)
    directory: str = ""
    kustomization: str = ""
    chart: Chart | None = None

    @model_validator(mode="after")
    def _something(self) -> RefObjects:
        if not (self.objects or self.files or self.directory or self.kustomization or self.chart):
            raise ValueError("at least one of objects, files, directory, kustomization, chart (urls are not fetched)")
        return self


def references(given: RefObjects, component: str, namespace: str, base: str) -> tuple[Reference, ...]:
    """Return what a ref-objects component needs to be read."""
    found = [Reference(Source.FILE, path, base) for path in given.files]
    if given.directory:
        found.append(Reference(Source.DIRECTORY, given.directory, base))
    if given.kustomization:
        found.append(Reference(Source.KUSTOMIZATION, given.kustomization, base))
    if given.chart is not None:
        release = given.chart.release or component
        found.append(Reference(Source.CHART, given.chart.path, base, release, namespace, canonical(given.chart.values)))
    return tuple(found)


@dataclass(frozen=True)
class Shelf:
    """Where ref-objects find manifests: documents beside the Application, and files that were read."""

    beside: Sequence[Placed]
    files: Mapping[Reference, Sequence[Manifest]]
    namespace: str
    base: str


def found(layers: Layers, component: str, shelf: Shelf) -> list[Body]:
    """Return the manifests of a ref-objects component; raises InvalidInput for what isn't there."""
    given = read(RefObjects, layers)
    place = layers[-1].place
    bodies = [
        body
        for index, wanted in enumerate(given.objects)
        for body in _beside(wanted, component, shelf, place / "objects" / index)
    ]
    for reference in references(given, component, shelf.namespace, shelf.base):
        if reference not in shelf.files:
            raise InvalidInput([place.problem(reference.path, f"a {reference.source} that could be read")])
        bodies += [copy.deepcopy(dict(manifest)) for manifest in shelf.files[reference]]
    return bodies


def meant(wanted: HubObject, component: str, shelf: Shelf) -> list[Placed]:
    """Return the documents beside the Application that a reference is about."""
    return [placed for placed in shelf.beside if _is_meant(placed.body, wanted, component, shelf.namespace)]


def _beside(wanted: HubObject, component: str, shelf: Shelf, place: Place) -> list[Body]:
    if wanted.cluster not in ("", "local"):
        allowed = "no cluster: objects are taken from the documents given with the Application, not from a running cluster"
        raise InvalidInput([(place / "cluster").problem(wanted.cluster, allowed)])
    bodies = [_cleared(placed.body) for placed in meant(wanted, component, shelf)]
    if not bodies:
        what = f"refers to {wanted.resource or wanted.kind} {wanted.name or wanted.label_selector or component}, found nowhere"
        allowed = f"an object in namespace {wanted.namespace or shelf.namespace} among the documents given with the Application"
        raise InvalidInput([place.problem(phrase(what), allowed + " (there is no hub to look it up in)")])
    return bodies


def _is_meant(body: Body, wanted: HubObject, component: str, namespace: str) -> bool:
    metadata = body.get("metadata") or {}
    labels = metadata.get("labels") or {}
    if metadata.get("namespace", namespace) != (wanted.namespace or namespace) or not _is_kind(body, wanted):
        return False
    if wanted.label_selector is not None:
        return wanted.label_selector.items() <= labels.items()
    return bool(metadata.get("name") == (wanted.name or component))


def _is_kind(body: Body, wanted: HubObject) -> bool:
    kind, version = body["kind"], body["apiVersion"]
    if wanted.kind:
        return kind == wanted.kind and wanted.api_version in (None, version)
    low = kind.lower()
    plural = low[:-1] + "ies" if low.endswith("y") else low + ("es" if low.endswith(("s", "x", "ch")) else "s")
    return wanted.resource.lower() in (low, plural) and wanted.group in (None, group_of(version))


def _cleared(body: Body) -> Body:
    """Return an object without what a cluster has written into it (KubeVela: ClearRefObjectForDispatch)."""
    body = {key: value for key, value in copy.deepcopy(body).items() if key != "status"}
    of_cluster = ("resourceVersion", "generation", "ownerReferences", "managedFields", "uid", "creationTimestamp")
    body["metadata"] = {key: value for key, value in body["metadata"].items() if key not in of_cluster}
    spec = body.get("spec")
    if body["kind"] == "Service" and isinstance(spec, dict) and spec.get("clusterIP") not in (None, "None"):
        body["spec"] = {key: value for key, value in spec.items() if key not in ("clusterIP", "clusterIPs")}
    return body
