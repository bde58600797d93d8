"""The ground for services across clusters: definitions of the Multi-Cluster Services API, cluster ids, pod ranges.

CoreDNS serves clusterset.local by them, and would never be ready without the definition of ServiceImport.
"""

from __future__ import annotations

import http.client
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from flotilla.services.corefile import ZONE, read_corefile
from flotilla.services.definitions import decide, is_established, parse_definition, upgraded
from flotilla.services.names import CLUSTER_ID_PROPERTY, CLUSTERSET_PROPERTY
from lab.api import Api
from lab.commands import wait_until
from lab.errors import LabError
from lab.layout import ClusterLayout

CLUSTERSET = "fleet"  # as deployments/fleet.yaml names it
_FOLDER = Path(__file__).parent.parent / "deployments" / "crds"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PROPERTIES = "/apis/about.k8s.io/v1beta1/clusterproperties"
_COREFILE = "/api/v1/namespaces/kube-system/configmaps/coredns"
_COREDNS = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
_PATIENCE = 30  # seconds; below one is usual


def install_definitions(cluster: ClusterLayout) -> None:
    """Have the definitions written, ours or newer ones; they are served a moment later."""
    api = Api(cluster, timeout=10)
    for ours in _manifests():
        path = f"{_DEFINITIONS}/{ours['metadata']['name']}"
        status, text = api.get(path)
        seen = json.loads(text) if status == http.client.OK else None
        if decide(parse_definition(ours), parse_definition(seen) if seen else None, asked=True).decision.writes:
            if seen:
                api.send("PUT", path, upgraded(ours, seen))
            else:
                api.send("POST", _DEFINITIONS, ours)


def wait_definitions(cluster: ClusterLayout) -> None:
    """Wait until the definitions are served, and have the cluster's id and membership declared by them."""
    wait_until(f"{cluster.name}: the definitions of services", lambda: _not_served(cluster), within=_PATIENCE)
    for name, value in {CLUSTER_ID_PROPERTY: cluster.name, CLUSTERSET_PROPERTY: CLUSTERSET}.items():
        property_ = {"apiVersion": "about.k8s.io/v1beta1", "kind": "ClusterProperty", "metadata": {"name": name}}
        body = property_ | {"spec": {"value": value}}
        wait_until(f"{cluster.name}: {name}", partial(_not_created, cluster, body), within=_PATIENCE)


def declare_pod_range(cluster: ClusterLayout) -> None:
    """Have the node say which addresses its pods have, as a cluster that hands out ranges does by itself."""
    pods = str(cluster.pod_range)
    api = Api(cluster)
    status, text = api.get(f"/api/v1/nodes/{cluster.node}")
    if status == http.client.OK and json.loads(text)["spec"].get("podCIDRs"):
        return
    api.send("PATCH", f"/api/v1/nodes/{cluster.node}", {"spec": {"podCIDR": pods, "podCIDRs": [pods]}})


def bring_zone_along(cluster: ClusterLayout, stamp: str) -> bool:
    """Have a CoreDNS that is there already serve clusterset.local; tell whether it had to be changed and started anew.

    What its users have configured besides stays.
    """
    api = Api(cluster)
    status, text = api.get(_COREFILE)
    if status != http.client.OK:
        return False
    wanted = read_corefile(json.loads(text)["data"].get("Corefile", "")).wanted
    if wanted is None:
        return False
    api.send("PATCH", _COREFILE, {"data": {"Corefile": wanted}})
    # Not left to its `reload`: the kubelet takes up to a minute to show the pod the new file.
    anew = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": stamp}}}
    api.send("PATCH", _COREDNS, {"spec": {"template": anew}})
    return True


def zone_name() -> str:
    """Return the name that is there as soon as the zone is served, and has a TXT record (KEP-1645, specification.md)."""
    return f"dns-version.{ZONE}"


@cache
def _manifests() -> tuple[dict[str, Any], ...]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a second instead of a tenth without it
    found = tuple(yaml.load(file.read_text(), Loader=loader) for file in sorted(_FOLDER.glob("*.yaml")))  # noqa: S506
    if not found:
        raise LabError(f"no definitions in {_FOLDER}: the lab runs from a checkout")
    return found


def _not_served(cluster: ClusterLayout) -> str:
    api = Api(cluster)
    for ours in _manifests():
        name = ours["metadata"]["name"]
        try:
            status, text = api.get(f"{_DEFINITIONS}/{name}")
        except OSError as error:
            return str(error)
        if status != http.client.OK or not is_established(json.loads(text)):
            return f"{name}: {status}, not served yet"
    return ""


def _not_created(cluster: ClusterLayout, body: dict[str, Any]) -> str:
    """Create an object unless it is there, as its users may have changed it; say why that did not work, or nothing."""
    try:
        status, text = Api(cluster).request("POST", _PROPERTIES, body)
    except OSError as error:
        return str(error)
    return "" if status in (http.client.CREATED, http.client.CONFLICT) else f"{status}: {text[:200]}"
