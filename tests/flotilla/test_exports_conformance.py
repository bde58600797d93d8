"""The decided part of each upstream conformance spec, numbered in the order of the suite."""

from __future__ import annotations

import pytest

from flotilla.services.names import derived_name
from tests.flotilla.clusterset import KEY, PORTS, Clusterset

TCP = {"name": "tcp", "port": 42, "protocol": "TCP"}
SCTP = {"name": "stcp", "port": 142, "protocol": "SCTP"}
ALL = ("c1", "c2", "c3")


def exported(**spec) -> Clusterset:
    fleet = Clusterset()
    fleet.c1.service(**spec).export()
    return fleet.settle()


def imports(fleet: Clusterset) -> list:
    return [cluster.get("ServiceImport") for cluster in fleet.clusters.values()]


def test_1_the_import_lives_as_long_as_one_exporter_is_left():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.c2.service().export(2)
    fleet.settle()

    fleet.c1.unexport()
    assert all(imports(fleet.settle()))
    fleet.c2.unexport()
    assert [None, None, None] == imports(fleet.settle())


def test_2_a_cluster_ip_service_is_imported_everywhere_and_gone_after_unexport():
    fleet = exported()

    assert ("True", "Valid") == fleet.condition("c1", "Valid")[:2]
    assert ["ClusterSetIP"] * 3 == [body["spec"]["type"] for body in imports(fleet)]
    fleet.c1.unexport()
    fleet.settle()
    assert [None] * 3 == imports(fleet)
    assert [] == fleet.c2.all("Service") + fleet.c2.all("EndpointSlice")


@pytest.mark.parametrize(
    ("number", "spec"),
    [
        (3, {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}}}),
        (4, {"internalTrafficPolicy": "Cluster"}),
        (5, {"trafficDistribution": "PreferClose"}),
    ],
)
def test_3_to_5_policies_reach_import_and_derived_service(number, spec):
    fleet = exported(**spec)

    for body in (*imports(fleet), fleet.c2.get("Service", derived_name(KEY))):
        assert spec == {name: body["spec"][name] for name in spec}


def test_6_addresses_are_those_of_the_clusters_own_derived_service_in_the_same_order():
    fleet = Clusterset()
    fleet.c2.model_ip_families = ("IPv6", "IPv4")
    fleet.c1.service(ipFamilies=["IPv4", "IPv6"]).export()
    fleet.settle()

    spec = fleet.c2.get("ServiceImport")["spec"]
    assert (["IPv6", "IPv4"], ["10.96.2.0", "10.96.2.1"]) == (spec["ipFamilies"], spec["ips"])


def test_7_ports_are_equal_and_written_out():
    ports = ({**TCP, "appProtocol": "kubernetes.io/h2c"}, PORTS[1])

    assert list(ports) == exported(ports=ports).c3.get("ServiceImport")["spec"]["ports"]


def test_8_other_ports_are_united_and_both_exports_are_told():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.c2.service(ports=(*PORTS, SCTP)).export(2)
    fleet.settle()

    assert [*PORTS, SCTP] == fleet.c3.get("ServiceImport")["spec"]["ports"]
    assert [("True", "PortConflict")] * 2 == [fleet.condition(name, "Conflict")[:2] for name in ("c1", "c2")]


def test_9_of_one_name_and_two_numbers_the_oldest_wins_and_both_exports_are_told():
    fleet = Clusterset()
    fleet.c1.service(ports=({**TCP, "port": 43},)).export(2)
    fleet.c2.service(ports=(TCP,)).export()
    fleet.settle()

    assert [TCP] == fleet.c3.get("ServiceImport")["spec"]["ports"]
    assert [("True", "PortConflict")] * 2 == [fleet.condition(name, "Conflict")[:2] for name in ("c1", "c2")]
    assert "43/TCP of c1 is not reachable" in fleet.condition("c1", "Conflict")[2]


def test_10_and_11_headless_is_imported_as_headless_without_an_address_and_without_a_derived_service():
    fleet = exported(clusterIP="None")

    assert ["Headless"] * 3 == [body["spec"]["type"] for body in imports(fleet)]
    assert all("ips" not in body["spec"] and ["IPv4"] == body["spec"]["ipFamilies"] for body in imports(fleet))
    assert [] == fleet.c2.all("Service")
    fleet.c1.unexport()
    assert [None] * 3 == imports(fleet.settle())


@pytest.mark.parametrize(("external", "reason"), [(True, "InvalidServiceType"), (False, "NoService")])
def test_12_what_cannot_be_exported_is_not_imported(external, reason):
    fleet = Clusterset()
    if external:
        fleet.c1.service(type="ExternalName", externalName="example.org")
    fleet.c1.export()
    fleet.settle()

    assert ("False", reason) == fleet.condition("c1", "Valid")[:2]
    assert ("False", "Failed") == fleet.condition("c1", "Ready")[:2]
    assert [None] * 3 == imports(fleet)


@pytest.mark.parametrize(("first", "type"), [({}, "ClusterSetIP"), ({"clusterIP": "None"}, "Headless")])
def test_13_of_headless_and_not_headless_the_oldest_wins_and_both_are_told(first, type):  # noqa: A002
    other = {} if first else {"clusterIP": "None"}
    fleet = Clusterset()
    fleet.c1.service(**first).export()
    fleet.c2.service(**other).export(2)
    fleet.settle()

    assert [type] * 3 == [body["spec"]["type"] for body in imports(fleet)]
    for name in ("c1", "c2"):
        status, reason, message = fleet.condition(name, "Conflict")
        assert ("True", "TypeConflict") == (status, reason)
        assert f'Using "{type}" from oldest service export in "c1". 1/2 clusters disagree: c2' in message


def test_14_what_is_not_exported_is_nowhere():
    fleet = Clusterset()
    fleet.c1.service()

    assert [] == fleet.step()


def test_15_only_labels_and_annotations_of_the_exports_spec_are_exported():
    fleet = Clusterset()
    fleet.c1.service().export(exportedLabels={"tier": "a"}, exportedAnnotations={"note": "b"}, annotations={"private": "x"})
    fleet.settle()

    metadata = fleet.c2.get("ServiceImport")["metadata"]
    assert {"tier": "a"} == metadata["labels"]
    assert "b" == metadata["annotations"]["note"]
    assert "private" not in metadata["annotations"]


def test_15b_an_exported_label_that_is_taken_back_leaves_the_import():
    fleet = Clusterset()
    fleet.c1.service().export(exportedLabels={"tier": "a"}, exportedAnnotations={"note": "b"})
    fleet.settle()
    fleet.c1.get("ServiceExport")["spec"] = {}
    fleet.settle()

    metadata = fleet.c2.get("ServiceImport")["metadata"]
    assert ({}, False) == (metadata["labels"], "note" in metadata["annotations"])


def test_16_of_conflicting_labels_and_annotations_the_oldest_win():
    fleet = Clusterset()
    fleet.c1.service().export(2, exportedLabels={"tier": "young"}, exportedAnnotations={"note": "young"})
    fleet.c2.service().export(exportedLabels={"tier": "old"}, exportedAnnotations={"note": "old"})
    fleet.settle()

    metadata = fleet.c3.get("ServiceImport")["metadata"]
    assert ("old", "old") == (metadata["labels"]["tier"], metadata["annotations"]["note"])
    assert ["LabelsConflict,AnnotationsConflict"] * 2 == [fleet.condition(name, "Conflict")[1] for name in ("c1", "c2")]


def test_17_every_cluster_holds_the_pods_behind_the_derived_service():
    fleet = exported()

    assert [["10.1.0.1", "10.1.0.2"]] * 3 == [cluster.addresses() for cluster in fleet.clusters.values()]


def test_18_a_service_in_two_clusters_answers_only_from_where_it_is_exported():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.c2.service()
    fleet.settle()

    assert [["10.1.0.1", "10.1.0.2"]] * 3 == [cluster.addresses() for cluster in fleet.clusters.values()]


def test_19_a_port_that_lost_is_not_brought():
    fleet = Clusterset()
    fleet.c1.service(ports=(TCP,)).export()
    fleet.c2.service(ports=({**TCP, "port": 43},)).export(2)
    fleet.settle()

    assert [["10.1.0.1", "10.1.0.2"]] * 3 == [cluster.addresses() for cluster in fleet.clusters.values()]


def test_20_each_of_two_ports_goes_to_the_cluster_that_exposes_it():
    fleet = Clusterset()
    fleet.c1.service(ports=(TCP,)).export()
    fleet.c2.service(ports=({"name": "other", "port": 43, "protocol": "TCP"},)).export(2)
    fleet.settle()

    by_port = {body["ports"][0]["name"]: body["endpoints"][0]["addresses"] for body in fleet.c3.slices()}
    assert {"tcp": ["10.1.0.1"], "other": ["10.2.0.1"]} == by_port
    assert all(1 == len(body["ports"]) for body in fleet.c3.slices())


def test_20b_one_number_under_two_names_is_one_port_of_both():
    fleet = Clusterset()
    fleet.c1.service(ports=({**TCP, "name": "web"},)).export()
    fleet.c3.service(ports=({**TCP, "name": "http"},)).export(2)
    fleet.settle()

    assert [{**TCP, "name": "web"}] == fleet.c2.get("ServiceImport")["spec"]["ports"]
    assert [["web"], ["web"]] == [[port["name"] for port in body["ports"]] for body in fleet.c2.slices()]


def test_21_slices_carry_the_standards_labels_and_go_with_the_export():
    fleet = exported()

    for body in (cluster.slices()[0] for cluster in fleet.clusters.values()):
        labels = body["metadata"]["labels"]
        assert "hello" == labels["multicluster.kubernetes.io/service-name"]
        assert "c1" == labels["multicluster.kubernetes.io/source-cluster"]
        assert derived_name(KEY) == labels["kubernetes.io/service-name"]
        assert "endpointslice-controller.k8s.io" != labels["endpointslice.kubernetes.io/managed-by"]
        assert ["ServiceImport", False] == [body["metadata"]["ownerReferences"][0][of] for of in ("kind", "controller")]
    fleet.c1.unexport()
    fleet.settle()
    assert [[], [], []] == [cluster.slices() for cluster in fleet.clusters.values()]


def test_22_to_24_the_local_service_is_left_alone_and_single_ports_keep_their_name():
    fleet = exported(ports=(TCP,))

    assert {"app": "hello"} == fleet.c1.get("Service")["spec"]["selector"]
    assert [TCP] == fleet.c2.get("ServiceImport")["spec"]["ports"]
    assert None is fleet.c2.get("Service")


def test_25_to_27_headless_slices_have_ready_addresses_host_names_and_ports_and_no_service_for_kube_proxy():
    fleet = Clusterset()
    fleet.c1.service(clusterIP="None", pods=0).pods(2, hostname=lambda pod: f"hello-{pod}").export()
    fleet.settle()

    (body,) = fleet.c2.slices()
    assert ["hello-0", "hello-1"] == [end["hostname"] for end in body["endpoints"]]
    assert "kubernetes.io/service-name" not in body["metadata"]["labels"]
    assert [("tcp", 8042), ("udp", 8042)] == [(port["name"], port["port"]) for port in body["ports"]]


def test_nodes_are_named_in_their_own_cluster_only():
    fleet = exported()

    assert "node-1" == fleet.c1.slices()[0]["endpoints"][0]["nodeName"]
    assert "nodeName" not in fleet.c2.slices()[0]["endpoints"][0]


def test_zone_hints_follow_the_traffic_distribution():
    assert [{"name": "zone-1"}] == exported(trafficDistribution="PreferClose").c2.slices()[0]["endpoints"][0]["hints"][
        "forZones"
    ]
    assert "hints" not in exported().c2.slices()[0]["endpoints"][0]


def test_no_slice_has_more_than_a_hundred_endpoints():
    fleet = Clusterset()
    fleet.c1.service(pods=250).export()
    fleet.settle()

    assert [100, 100, 50] == [len(body["endpoints"]) for body in fleet.c2.slices()]
    assert 250 == len(set(fleet.c2.addresses()))


def test_a_slice_whose_last_pod_left_is_no_port_conflict():
    fleet = Clusterset()
    fleet.c1.service().export()
    fleet.c2.service(pods=0).export(2)
    fleet.settle()

    assert ("False", "NoConflicts") == fleet.condition("c1", "Conflict")[:2]


def test_the_derived_service_has_the_conventions_name():
    # base32hex(sha256("shop/hello")), lower case, first ten: computed with coreutils
    assert "derived-o2n15etsg5" == derived_name(KEY)


def test_a_port_without_a_name_gets_one_when_it_is_not_alone():
    fleet = Clusterset()
    fleet.c1.service(ports=({"port": 80, "protocol": "TCP"},)).export()
    fleet.settle()
    assert [{"protocol": "TCP", "port": 80}] == fleet.c2.get("ServiceImport")["spec"]["ports"]

    fleet.c2.service(ports=({"name": "metrics", "port": 9090, "protocol": "TCP"},)).export(2)
    fleet.settle()
    assert ["tcp-80", "metrics"] == [port["name"] for port in fleet.c3.get("ServiceImport")["spec"]["ports"]]
    assert {"tcp-80", "metrics"} == {port["name"] for body in fleet.c3.slices() for port in body["ports"]}


def test_writes_come_in_the_order_in_which_they_may_be_seen():
    fleet = exported()
    kinds = [line.split()[1:3] for line in fleet.log if line.startswith("c2")]

    assert ["create", "create", "create", "status", "update", "status"] == [action for action, _ in kinds]
    assert ["ServiceImport", "Service", "EndpointSlice"] == [kind.partition(".")[0] for _, kind in kinds[:3]]
    fleet.log.clear()
    fleet.c1.unexport()
    fleet.settle()
    gone = [line.split()[2].partition(".")[0] for line in fleet.log if line.startswith("c2")]
    assert ["EndpointSlice", "Service", "ServiceImport"] == gone
