"""Definitions of the Multi-Cluster Services API in a lab of simulated nodes: missing, older, newer, somebody else's."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

import lab
from flotilla.fleet import Fleet
from flotilla.services.definitions import IMPORTS, PROPERTIES, Decision
from flotilla.services.findings import State, Topic
from lab.layout import CLUSTERS
from tasks.definitions import install_definition, our_manifests
from tests.lab.ground import own_fleet, report, wrong
from tests.lab.test_lab import kubectl

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three API servers whose definitions nobody else needs."""
    with own_fleet(tmp_path_factory.mktemp("lab") / "l", real_nodes=False) as fleet:
        yield fleet


def replace_definition(cluster: str, body: dict[str, Any]) -> None:
    """Have another definition of the same name in place of the one that is there."""
    kubectl(cluster, "delete", "crd", body["metadata"]["name"])
    kubectl(cluster, "create", "-f", "-", stdin=json.dumps(body))
    kubectl(cluster, "wait", "--for=condition=Established", f"crd/{body['metadata']['name']}", "--timeout=20s")


def versions(cluster: str, name: str) -> list[str]:
    return kubectl(cluster, "get", "crd", name, "-o", "jsonpath={.spec.versions[?(@.served==true)].name}").split()


def test_every_cluster_has_the_definitions_and_its_id_from_the_start(fleet: Fleet) -> None:
    found = report(fleet)

    for name in CLUSTERS:
        assert [] == wrong(found, name, Topic.API) + wrong(found, name, Topic.CLUSTER_ID)
        assert ["v1alpha1", "v1beta1"] == versions(name, IMPORTS)
        ids = kubectl(name, "get", "clusterproperties", "-o", "jsonpath={.items[*].spec.value}").split()
        assert [name, "fleet"] == ids


def test_a_missing_definition_is_named_and_installed_only_where_asked(fleet: Fleet) -> None:
    kubectl("remote", "delete", "crd", PROPERTIES)
    named = wrong(report(fleet), "remote", Topic.API)

    assert [f"{PROPERTIES} is not installed: flotilla check --install-crds"] == [item.text for item in named]
    assert PROPERTIES not in kubectl("remote", "get", "crd", "-o", "name")
    found = report(fleet, install=True)
    assert [] == wrong(found, "remote", Topic.API)
    assert [State.NOTE] == [item.state for item in wrong(found, "remote", Topic.CLUSTER_ID)]  # served, and none declared
    assert ["v1alpha1", "v1beta1"] == versions("remote", PROPERTIES)
    assert lab.up().is_up  # and its id is declared again
    assert "remote" in kubectl("remote", "get", "clusterproperties", "-o", "jsonpath={.items[*].spec.value}")


def test_an_older_definition_is_upgraded_and_its_objects_stay(fleet: Fleet) -> None:
    older = copy.deepcopy(dict(our_manifests()[IMPORTS]))
    older["spec"]["versions"] = [older["spec"]["versions"][0] | {"storage": True}]
    older["metadata"] = {"name": IMPORTS, "labels": {"team": "network"}}
    replace_definition("remote", older)
    kept = {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "metadata": {"name": "kept"}}
    kept |= {"spec": {"type": "ClusterSetIP", "ports": [{"port": 80}]}}
    kubectl("remote", "create", "-f", "-", stdin=json.dumps(kept))

    named = wrong(report(fleet), "remote", Topic.API)
    assert [(State.NOTE, True)] == [
        (item.state, "is older than ours (v1alpha1 -> v1alpha1+v1beta1" in item.text) for item in named
    ]
    assert ["v1alpha1"] == versions("remote", IMPORTS)

    assert [] == wrong(report(fleet, install=True), "remote", Topic.API)
    assert ["v1alpha1", "v1beta1"] == versions("remote", IMPORTS)
    asked = ["get", "serviceimports.v1beta1.multicluster.x-k8s.io", "kept", "-o", "jsonpath={.spec.ports[0].port}"]
    assert "80" == kubectl("remote", *asked)
    assert "network" == kubectl("remote", "get", "crd", IMPORTS, "-o", "jsonpath={.metadata.labels.team}")
    kubectl("remote", "delete", "serviceimport", "kept")


def test_a_newer_definition_is_left(fleet: Fleet) -> None:
    newer = copy.deepcopy(dict(our_manifests()[IMPORTS]))
    newer["metadata"]["labels"] |= {"multicluster.x-k8s.io/release-version": "v1.0.0"}
    newer["spec"]["versions"].append(newer["spec"]["versions"][1] | {"name": "v1", "storage": False})
    replace_definition("remote", newer)

    assert Decision.NEWER == install_definition(fleet.cluster("remote"), IMPORTS)
    found = report(fleet, install=True)
    assert [f"{IMPORTS} is left as it is: v1.0.0; ours is v0.5.2"] == [item.text for item in wrong(found, "remote", Topic.API)]
    assert ["v1alpha1", "v1beta1", "v1"] == versions("remote", IMPORTS)
    assert lab.up().is_up
    assert ["v1alpha1", "v1beta1", "v1"] == versions("remote", IMPORTS)
    replace_definition("remote", dict(our_manifests()[IMPORTS]))


def test_other_implementations_are_told(fleet: Fleet) -> None:
    gke = copy.deepcopy(dict(our_manifests()[IMPORTS]))
    gke["metadata"] = {"name": "serviceimports.net.gke.io"}
    gke["spec"]["group"] = "net.gke.io"
    kubectl("remote", "create", "-f", "-", stdin=json.dumps(gke))
    cilium = ["create", "configmap", "cilium-config", "--from-literal=clustermesh-enable-mcs-api=true"]
    kubectl("remote", "-n", "kube-system", *cilium)
    told = [item.text for item in wrong(report(fleet), "remote", Topic.API)]

    assert 2 == len(told)
    assert told[0].startswith(
        "Cilium cluster mesh implements the API here (clustermesh-enable-mcs-api in ConfigMap kube-system/"
    )
    assert told[1].startswith("GKE multi-cluster Services implements the API here (definition serviceimports.net.gke.io)")
    kubectl("remote", "delete", "crd", "serviceimports.net.gke.io")
    kubectl("remote", "-n", "kube-system", "delete", "configmap", "cilium-config")
