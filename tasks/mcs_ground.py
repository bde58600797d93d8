"""Look at the ground that services across clusters need: definitions, cluster ids, pod ranges, DNS, other implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import yaml

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Cluster
from flotilla.ground import Right
from flotilla.services.definitions import NAMES, Definition, parse_definition
from flotilla.services.dnsground import DnsGround
from flotilla.services.ground import NEEDED, Delegate, ServicesGround
from flotilla.services.parse import parse_cluster_property
from flotilla.services.ranges import PodRanges, Source, pod_ranges
from tasks.clusters import Connection, connect, refused
from tasks.ground import may

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500  # objects per answer of a list
_PODS = 500  # running pods whose addresses are compared with the ranges; all of them would be a lot to read for a check
_KEEPERS = {"addonmanager.kubernetes.io/mode": "the cluster's add-on manager", "eks.amazonaws.com/component": "the EKS add-on"}
"""Labels of a ConfigMap that is put back when it is changed (AKS and EKS)."""
Found = TypeVar("Found")


def look_at_services(cluster: Cluster) -> ServicesGround:
    """Return what there is of the ground in one cluster; each part that nobody could look at is Unknown, with the reason."""

    def known(look: Callable[[Connection], Found]) -> Found | Unknown:
        try:
            return look(connect(cluster))
        except FlotillaError as error:
            return Unknown(cluster.name, str(error).removeprefix(f"{cluster.name}: "))

    away = known(lambda connection: _get(connection, "/version", "read the version"))
    if isinstance(away, Unknown):  # asked once: six time-outs would tell no more
        return ServicesGround(cluster.name, away, away, away, away, away, away)
    context = cluster.kubeconfig.context or cluster.name
    with ThreadPoolExecutor(6) as pool:
        found = pool.submit(known, look_at_definitions)
        ids = pool.submit(known, look_at_properties)
        pods = pool.submit(known, look_at_pod_ranges)
        dns = pool.submit(known, lambda connection: look_at_dns(connection, context))
        delegates = pool.submit(known, look_at_delegates)
        missing = pool.submit(known, missing_rights)
    parts = found.result(), ids.result(), pods.result(), dns.result()
    return ServicesGround(cluster.name, *parts, delegates.result(), missing.result())


def look_at_definitions(connection: Connection) -> Mapping[str, Definition | None]:
    """Return the definitions of the API as they are installed, None for each that is not."""
    bodies = {name: _get(connection, f"{DEFINITIONS}/{name}", f"read the definition {name}") for name in NAMES}
    return {name: parse_definition(body) if body else None for name, body in bodies.items()}


def look_at_properties(connection: Connection) -> Mapping[str, str]:
    """Return the cluster's ClusterProperties by name, of v1beta1 or v1alpha1; none where neither is served."""
    for version in ("v1beta1", "v1alpha1"):
        path = f"/apis/about.k8s.io/{version}/clusterproperties"
        if body := _get(connection, path, "list ClusterProperties"):
            return dict(parse_cluster_property(item) for item in body["items"])
    return {}


def look_at_pod_ranges(connection: Connection) -> PodRanges | Unknown:
    """Return the cluster's pod ranges by nodes, Cilium, Calico, controller manager or kubeadm, proved by running pods."""
    pods = _get(connection, f"/api/v1/pods?limit={_PODS}&fieldSelector=status.phase%3DRunning", "list pods") or {}
    own = [pod for pod in pods.get("items") or () if not pod["spec"].get("hostNetwork")]
    addresses = [entry["ip"] for pod in own for entry in pod["status"].get("podIPs") or () if not _is_simulated(pod)]
    return pod_ranges(connection.name, list(_sources(connection)), addresses)


def look_at_dns(connection: Connection, context: str) -> DnsGround | Unknown:
    """Return what there is of CoreDNS: the Deployment labelled k8s-app=kube-dns, and the Corefile that it mounts."""
    path = "/apis/apps/v1/namespaces/kube-system/deployments?labelSelector=k8s-app%3Dkube-dns"
    items = (_get(connection, path, "list Deployments of kube-system") or {"items": []})["items"]
    for deployment in items:
        spec = deployment["spec"]["template"]["spec"]
        names = [volume["configMap"]["name"] for volume in spec.get("volumes") or () if "configMap" in volume]
        for name in names:
            config = _get(connection, f"/api/v1/namespaces/kube-system/configmaps/{name}", f"read ConfigMap {name}")
            if config and "Corefile" in (config.get("data") or {}):
                return _dns_ground(connection, context, deployment, config)
    held = ", ".join(item["metadata"]["name"] for item in items) or "no such Deployment"
    reason = f"no CoreDNS with a Corefile found by k8s-app=kube-dns in kube-system ({held}): see how this cluster's DNS is made"
    return Unknown(connection.name, reason)


def look_at_delegates(connection: Connection) -> tuple[Delegate, ...]:
    """Return who else implements the API here: Submariner's Lighthouse, Cilium's cluster mesh, GKE."""
    answer = connection.request("GET", DEFINITIONS, accept=_NAMES_ONLY)
    if answer.status != 200:
        raise refused(connection.name, "list definitions", answer)
    installed = {item["metadata"]["name"] for item in answer.body["items"] or ()}  # null where there is none
    return tuple(_delegates(connection, installed))


def missing_rights(connection: Connection) -> tuple[Right, ...]:
    """Return the rights that the keeper of services needs and the account lacks."""
    with ThreadPoolExecutor(8) as pool:
        allowed = pool.map(lambda right: may(connection, right), NEEDED)
    return tuple(right for right, yes in zip(NEEDED, allowed, strict=True) if not yes)


def _delegates(connection: Connection, installed: set[str]) -> Iterator[Delegate]:
    agents = "/apis/apps/v1/deployments?fieldSelector=metadata.name%3D"
    if "servicediscoveries.submariner.io" in installed and _items(connection, agents + "submariner-lighthouse-agent"):
        yield Delegate("Submariner Lighthouse", "Deployment submariner-lighthouse-agent")
    for config in _items(connection, "/api/v1/configmaps?fieldSelector=metadata.name%3Dcilium-config"):
        if (config.get("data") or {}).get("clustermesh-enable-mcs-api") == "true":  # cilium pkg/clustermesh/mcsapi/types
            where = f"{config['metadata']['namespace']}/cilium-config"
            yield Delegate("Cilium cluster mesh", f"clustermesh-enable-mcs-api in ConfigMap {where}")
    if "serviceimports.net.gke.io" in installed:
        yield Delegate("GKE multi-cluster Services", "definition serviceimports.net.gke.io")


def _sources(connection: Connection) -> Iterator[Source]:
    """Yield the places that tell pod ranges, those first that the pods' network itself goes by."""
    nodes = _nodes(connection)
    told = [cidr for node in nodes for cidr in _cidrs(node)]
    yield Source(f"spec.podCIDRs of {sum(bool(_cidrs(node)) for node in nodes)} of {len(nodes)} nodes", tuple(told))
    for config in _items(connection, "/api/v1/configmaps?fieldSelector=metadata.name%3Dcilium-config"):
        data = config.get("data") or {}
        keys = ("cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr")
        yield Source("ConfigMap cilium-config", tuple(cidr for key in keys for cidr in (data.get(key) or "").split()))
    pools = _get(connection, "/apis/crd.projectcalico.org/v1/ippools", "list Calico's IPPools") or {"items": []}
    active = [pool["spec"]["cidr"] for pool in pools["items"] if not pool["spec"].get("disabled")]
    yield Source("Calico's IPPools", tuple(active))
    yield Source("kube-controller-manager --cluster-cidr", tuple(_cluster_cidr(connection)))
    config = _get(connection, "/api/v1/namespaces/kube-system/configmaps/kubeadm-config", "read kubeadm-config") or {}
    settings = yaml.safe_load((config.get("data") or {}).get("ClusterConfiguration") or "{}")
    subnet = ((settings or {}).get("networking") or {}).get("podSubnet") or ""
    yield Source("kubeadm's podSubnet", tuple(part for part in subnet.split(",") if part))


def _cidrs(node: dict[str, Any]) -> list[str]:
    return list(node["spec"].get("podCIDRs") or ())


def _nodes(connection: Connection) -> list[dict[str, Any]]:
    """Return all nodes, page by page."""
    nodes: list[dict[str, Any]] = []
    more = ""
    while True:
        page = _get(connection, f"/api/v1/nodes?limit={_PAGE}&continue={more}", "list nodes") or {"items": [], "metadata": {}}
        nodes += page["items"]
        more = page["metadata"].get("continue") or ""
        if not more:
            return nodes


def _cluster_cidr(connection: Connection) -> Iterator[str]:
    path = "/api/v1/namespaces/kube-system/pods?labelSelector=component%3Dkube-controller-manager"
    for pod in _items(connection, path)[:1]:
        words = [word for box in pod["spec"]["containers"] for word in (box.get("command") or []) + (box.get("args") or [])]
        for word in words:
            if word.startswith("--cluster-cidr="):
                yield from word.partition("=")[2].split(",")


def _is_simulated(pod: dict[str, Any]) -> bool:
    """Whether kwok plays this pod: its address is made up."""
    return any(entry.get("key") == "kwok.x-k8s.io/node" for entry in pod["spec"].get("tolerations") or ())


def _dns_ground(connection: Connection, context: str, deployment: dict[str, Any], config: dict[str, Any]) -> DnsGround:
    spec = deployment["spec"]["template"]["spec"]
    image = next((box["image"] for box in spec["containers"] if "coredns" in box["image"]), spec["containers"][0]["image"])
    account = f"kube-system/{spec.get('serviceAccountName') or 'default'}"
    labels = config["metadata"].get("labels") or {}
    return DnsGround(
        context=context,
        namespace="kube-system",
        deployment=deployment["metadata"]["name"],
        config_map=config["metadata"]["name"],
        corefile=config["data"]["Corefile"],
        version=image.partition("@")[0].rpartition("/")[2].rpartition(":")[2],
        account=account,
        reads_imports=_reads_imports(connection, account),
        kept_by=next((keeper for label, keeper in _KEEPERS.items() if label in labels), ""),
    )


def _reads_imports(connection: Connection, account: str) -> bool | Unknown:
    """Tell whether a service account may list and watch ServiceImports (authorization.k8s.io/v1 SubjectAccessReview)."""
    namespace, _, name = account.partition("/")
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    for verb in ("list", "watch"):
        attributes = {"verb": verb, "group": "multicluster.x-k8s.io", "resource": "serviceimports"}
        spec = {"user": f"system:serviceaccount:{namespace}:{name}", "groups": groups, "resourceAttributes": attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = connection.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body, timeout=10)
        if answer.status not in (200, 201):
            return Unknown(connection.name, str(refused(connection.name, f"ask what {account} may do", answer)))
        if not answer.body["status"].get("allowed"):
            return False
    return True


def _items(connection: Connection, path: str) -> list[dict[str, Any]]:
    """Return the objects of a list that exists in every cluster."""
    found = _get(connection, path, f"list {path.partition('?')[0].rpartition('/')[2]}") or {"items": []}
    return list(found["items"])


def _get(connection: Connection, path: str, what: str) -> dict[str, Any] | None:
    """Return what stands at a path, None for 404; raises what `refused` makes of any other answer."""
    answer = connection.request("GET", path, timeout=10)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise refused(connection.name, what, answer)
    body: dict[str, Any] = answer.body
    return body
