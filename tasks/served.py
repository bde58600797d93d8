"""Which version of the API's kinds a cluster serves, and which fields of them it does not know."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from flotilla.ground import version_of
from flotilla.objects import Manifest
from flotilla.services.definitions import EXPORTS, IMPORTS, PROPERTIES
from flotilla.services.names import GROUP
from flotilla.services.parse import lacking, served_versions
from tasks.clusters import Connection, refused
from tasks.objects import Kind
from tasks.watches import NotServed

DEFINITIONS = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
VERSIONS = ("v1beta1", "v1alpha1")  # of multicluster.x-k8s.io and about.k8s.io, best first; their fields are the same
TIMEOUT = 10.0  # seconds


class Served(NamedTuple):
    """The version of multicluster.x-k8s.io that is written, and the fields that the cluster does not know."""

    version: str = VERSIONS[0]
    lacks: frozenset[str] = frozenset()


def look_at_served(connection: Connection) -> Served:
    """Return what a cluster serves of ServiceExport and ServiceImport.

    Raises NotServed where a definition is not installed or serves no version that is known here, and what
    ``Connection.request`` raises.
    """
    exports, imports = _definition(connection, EXPORTS), _definition(connection, IMPORTS)
    both = set(served_versions(exports)) & set(served_versions(imports))
    best = _best(connection, GROUP, both)
    answer = connection.request("GET", "/version", timeout=TIMEOUT)
    if answer.status != 200:
        raise refused(connection.name, "read the version", answer)
    version = version_of(answer.body["gitVersion"])
    return Served(best, lacking(imports, best, (version.major, version.minor)))


def properties_kind(connection: Connection) -> Kind:
    """Return where ClusterProperties (KEP-2149) are; raises NotServed where their definition is not installed."""
    version = _best(connection, PROPERTIES, served_versions(_definition(connection, PROPERTIES)))
    return Kind(f"about.k8s.io/{version}", "ClusterProperty", "clusterproperties", namespaced=False)


def _best(connection: Connection, name: str, served: Collection[str]) -> str:
    for version in VERSIONS:
        if version in served:
            return version
    raise NotServed(f"{connection.name}: {name} serves neither {' nor '.join(VERSIONS)}; see `flotilla check`")


def _definition(connection: Connection, name: str) -> Manifest:
    answer = connection.request("GET", DEFINITIONS.path("", name), timeout=TIMEOUT)
    if answer.status == 404:
        raise NotServed(f"{connection.name}: {name} is not installed; see `flotilla check`")
    if answer.status != 200:
        raise refused(connection.name, f"read the definition {name}", answer)
    found: Manifest = answer.body
    return found
