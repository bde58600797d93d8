"""The keeper as a process over the lab's three clusters: both scenarios end to end, and everything that goes wrong."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import lab
from flotilla.fleet import parse_fleet
from flows.withdrawals import approve_withdrawals, waiting_withdrawals
from tasks.clusters import connect
from tests.tasks.fleetset import CLUSTERS, Member, Process, until

pytestmark = pytest.mark.lab


@pytest.fixture
def members(fleet_lab) -> Iterator[dict[str, Member]]:
    """Yield a namespace of the test's own in every cluster; gone afterwards."""
    namespace = f"keeper-{secrets.token_hex(4)}"
    found = {name: Member(connect(fleet_lab.fleet.cluster(name)), namespace).open() for name in CLUSTERS}
    yield found
    for member in found.values():
        member.close()


@pytest.fixture
def production(members) -> Member:
    return members["production"]


@pytest.fixture
def same_city(members) -> Member:
    return members["same-city"]


@pytest.fixture
def remote(members) -> Member:
    return members["remote"]


@pytest.fixture
def process(fleet_lab, tmp_path) -> Iterator[Callable[..., Process]]:
    """Make keepers, with changes to the `services` of the fleet file; they end with the test."""
    made: list[Process] = []

    def make(clusters: dict[str, Any] | None = None, **services: Any) -> Process:
        fleet = yaml.safe_load(Path(fleet_lab.fleet_file).read_text())
        fleet["services"] |= services
        fleet["clusters"] = [one | (clusters or {}).get(one["name"], {}) for one in fleet["clusters"]]
        folder = tmp_path / f"keeper-{len(made)}"
        folder.mkdir()
        made.append(Process(folder, fleet))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def keeper(process) -> Process:
    """Return a keeper that wires services."""
    return process().start().leading()


def imported_everywhere(members: dict[str, Member], *addresses: str) -> Callable[[], bool]:
    return lambda: all(member.addresses() == sorted(addresses) for member in members.values())


def answered_by(client: Member, pods: set[str]) -> None:
    """Wait until each of the pods has answered: kube-proxy learns of endpoints one after the other, within a second or so."""
    until(lambda: pods == set(client.asked(tries=40)[0]), 30, lambda: f"each of {pods} to answer")


def test_scenario_1_a_service_of_production_answers_in_same_city(members, production, same_city, keeper):
    same_city.client()
    production.deploy(replicas=2)
    production.export()
    until(lambda: production.ready(2), 30)
    until(lambda: len(same_city.addresses()) == 2)
    answered_by(same_city, {pod["metadata"]["name"] for pod in production.pods()})

    answers, errors = same_city.asked(tries=40)

    assert errors == []
    assert set(answers) == {pod["metadata"]["name"] for pod in production.pods()}
    for member in members.values():
        imported = member.imported()
        assert imported["spec"]["ips"] == member.derived()["spec"]["clusterIPs"]
        assert imported["status"]["clusters"] == [{"cluster": "production"}]
    assert production.condition("Valid")[:2] == ("True", "Valid")
    assert production.condition("Ready")[:2] == ("True", "Exported")
    assert production.condition("Conflict")[:2] == ("False", "NoConflicts")
    assert same_city.condition("Ready", "serviceimports")[:2] == ("True", "Ready")


def test_what_is_no_longer_exported_is_gone_everywhere(members, production, keeper):
    production.service()
    production.slice("10.0.0.1")
    production.export()
    until(imported_everywhere(members, "10.0.0.1"))

    production.unexport()

    until(lambda: all(member.imported() is None and not member.slices() for member in members.values()))
    assert all(member.derived() is None for member in members.values())


def test_scenario_2_two_exporters_are_balanced_and_one_may_be_lost(production, same_city, remote, keeper):
    same_city.client()
    for member in (production, remote):
        member.deploy(replicas=2)
        member.export()
    until(lambda: len(same_city.addresses()) == 4, 40)
    names = {name: {pod["metadata"]["name"] for pod in member.pods()} for name, member in (("p", production), ("r", remote))}
    answered_by(same_city, names["p"] | names["r"])

    answers, errors = same_city.asked(tries=60)
    assert errors == []
    assert min(sum(answer in names[side] for answer in answers) for side in "pr") >= 12

    lab.cut("remote")
    try:
        clean = until(lambda: same_city.asked(tries=30)[1] == [], 30)
        after, errors = same_city.asked(tries=60)
    finally:
        lab.heal("remote")
    print(f"loss to clean: {clean:.1f} s")

    assert errors == []
    assert set(after) <= names["p"]
    until(lambda: len(same_city.addresses()) == 4, 60)


def test_two_exports_that_differ_are_told_on_both_and_the_oldest_wins(production, remote, same_city, keeper):
    production.service(ports=[{"name": "http", "port": 80, "targetPort": 8080}])
    production.export()
    time.sleep(1.1)  # creation times are whole seconds
    remote.service(ports=[{"name": "http", "port": 81, "targetPort": 8080}])
    remote.export()

    until(lambda: remote.condition("Conflict")[:2] == ("True", "PortConflict"))
    until(lambda: production.condition("Conflict")[:2] == ("True", "PortConflict"))
    assert [80] == [port["port"] for port in same_city.imported()["spec"]["ports"]]


def test_a_keeper_that_was_killed_takes_up_from_what_the_clusters_hold(members, production, keeper):
    production.service()
    production.slice("10.0.0.1")
    production.export()
    until(imported_everywhere(members, "10.0.0.1"))
    before = {name: member.imported()["metadata"]["uid"] for name, member in members.items()}

    keeper.kill()
    production.slice("10.0.0.2")
    keeper.start()
    took = until(imported_everywhere(members, "10.0.0.2"), 15)

    print(f"start to wired after a kill: {took:.1f} s")
    assert before == {name: member.imported()["metadata"]["uid"] for name, member in members.items()}


def test_an_api_server_that_is_away_takes_no_endpoints_with_it(members, production, same_city, remote, keeper):
    same_city.client()
    remote.deploy(replicas=1)
    remote.export()
    until(lambda: len(same_city.addresses()) == 1, 40)
    until(lambda: same_city.asked(tries=1)[0], 20)

    lab.stop("remote", "kube-apiserver")
    try:
        until(lambda: keeper.state["clusters"]["remote"]["away"], 15)
        production.deploy()
        production.export()
        until(lambda: len(same_city.addresses()) == 2, 30)
        time.sleep(12)  # longer than any patience of the default damping for a cluster that is away
        answers, errors = same_city.asked(tries=40)
        kept = same_city.addresses(source="remote")
    finally:
        lab.start("remote", "kube-apiserver")

    assert errors == []
    assert len(kept) == 1
    assert {pod["metadata"]["name"] for pod in remote.pods()} < set(answers)
    until(lambda: len(remote.addresses()) == 2, 30)


def test_what_is_unexported_while_a_consumer_is_away_leaves_it_when_it_is_back(members, production, remote, keeper):
    production.service()
    production.slice("10.0.0.1")
    production.export()
    until(imported_everywhere(members, "10.0.0.1"))

    lab.cut("remote")
    try:
        until(lambda: keeper.state["clusters"]["remote"]["away"], 15)
        production.unexport()
        until(lambda: members["same-city"].imported() is None)
    finally:
        lab.heal("remote")

    until(lambda: remote.imported() is None and not remote.slices(), 30)


def test_a_keeper_that_starts_while_a_source_is_away_leaves_what_it_exported(members, production, same_city, process):
    first = process().start().leading()
    production.service()
    production.slice("10.0.0.1")
    production.export()
    until(imported_everywhere(members, "10.0.0.1"))
    first.end()

    lab.cut("production")
    try:
        second = process().start().leading(40)
        same_city.service("other")
        same_city.export("other")
        until(lambda: members["remote"].imported("other"), 20)
        time.sleep(2)
        kept = [same_city.addresses(), members["remote"].addresses()]
    finally:
        lab.heal("production")

    assert kept == [["10.0.0.1"], ["10.0.0.1"]]
    until(lambda: not second.state["clusters"]["production"]["away"], 20)
    assert imported_everywhere(members, "10.0.0.1")()


def test_a_namespace_that_comes_later_imports_too(fleet_lab, members, production, remote, keeper):
    later = Member(remote.connection, f"{remote.namespace}-later")
    production_later = Member(production.connection, later.namespace).open()
    try:
        production_later.service()
        production_later.slice("10.0.0.1")
        production_later.export()
        until(lambda: production_later.addresses() == ["10.0.0.1"])

        later.open()

        until(lambda: later.addresses() == ["10.0.0.1"])
    finally:
        later.close()
        production_later.close()


def test_where_consumers_are_declared_only_they_import_and_what_was_made_by_hand_stays(members, production, same_city, process):
    process(imports="declared").start().leading()
    production.service()
    production.slice("10.0.0.1")
    production.export()
    same_city.declare(annotations={"flotilla.dev/native-name": "true"})

    until(lambda: "10.0.0.1" in same_city.addresses())
    until(lambda: same_city.get(same_city.inside("/api/v1", "services", "hello")))
    time.sleep(1)
    assert members["remote"].imported() is None
    assert production.imported() is None
    production.unexport()
    until(lambda: not same_city.slices() and same_city.derived() is None)
    assert same_city.imported() is not None
    until(lambda: same_city.condition("Ready", "serviceimports")[:2] == ("False", "Pending"))


def test_an_import_that_somebody_changed_is_put_right_and_their_labels_stay(same_city, production, keeper):
    production.service()
    production.slice("10.0.0.1")
    production.export()
    until(lambda: same_city.addresses() == ["10.0.0.1"])
    path = same_city.inside("/apis/multicluster.x-k8s.io/v1beta1", "serviceimports", "hello")

    patch = {"metadata": {"labels": {"team": "a"}}, "spec": {"sessionAffinity": "ClientIP"}}
    same_city.call("PATCH", path, patch, content_type="application/merge-patch+json")

    until(lambda: same_city.imported()["spec"].get("sessionAffinity") in (None, "None"))
    assert same_city.imported()["metadata"]["labels"]["team"] == "a"


def test_a_cluster_whose_slices_may_not_be_read_is_left_out_with_the_reason(members, production, same_city, process, tmp_path):
    kubeconfig = poor_kubeconfig(members["remote"], tmp_path)
    keeper = process(clusters={"remote": {"kubeconfig": {"file": str(kubeconfig)}}}).start().leading()
    production.service()
    production.slice("10.0.0.1")
    production.export()

    until(lambda: same_city.addresses() == ["10.0.0.1"])
    until(lambda: "endpointslices" in keeper.state["clusters"]["remote"]["away"])
    assert "cannot list resource" in keeper.state["clusters"]["remote"]["away"]
    assert members["remote"].imported() is None


def test_a_cluster_without_the_definitions_is_unknown_until_they_come(members, production, same_city, process):
    remote, definitions = members["remote"], Path(__file__).parents[2] / "deployments" / "crds"
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    name = "serviceimports.multicluster.x-k8s.io"
    remote.call("DELETE", f"{path}/{name}")
    until(lambda: remote.get(f"{path}/{name}") is None, 30)
    try:
        keeper = process().start().leading()
        production.service()
        production.slice("10.0.0.1")
        production.export()
        until(lambda: same_city.addresses() == ["10.0.0.1"])
        until(lambda: "not installed" in keeper.state["clusters"]["remote"]["away"])
    finally:
        file = definitions / "multicluster.x-k8s.io_serviceimports.yaml"
        remote.call("POST", path, yaml.safe_load(file.read_text()))

    until(lambda: remote.addresses() == ["10.0.0.1"], 30)


def test_of_two_keepers_one_acts_and_the_other_takes_over(members, production, process):
    first, second = process().start().leading(), process().start()
    until(lambda: "the leases are held by" in second.state.get("obstacle", ""))
    production.service()
    production.slice("10.0.0.1")
    production.export()
    until(imported_everywhere(members, "10.0.0.1"))
    assert second.state["counts"]["written"] == 0

    first.kill()
    production.slice("10.0.0.2")

    took = until(imported_everywhere(members, "10.0.0.2"), 20)
    print(f"taken over after a kill: {took:.1f} s")
    second.leading()


def test_a_keeper_that_is_told_to_end_does_so_at_once_and_its_successor_need_not_wait(members, production, process):
    first, second = process().start().leading(), process().start()
    until(lambda: "the leases are held by" in second.state.get("obstacle", ""))

    ended = first.end()
    took = until(lambda: second.leading(10), 10)

    print(f"ended in {ended:.2f} s, successor after {took:.2f} s more")
    assert ended < 2.0
    assert took < 4.0


def test_clusters_that_share_an_id_are_not_wired_until_one_gets_its_own(members, production, same_city, process):
    path = "/apis/about.k8s.io/v1beta1/clusterproperties/cluster.clusterset.k8s.io"
    remote = members["remote"]
    before = remote.get(path)
    merge = {"content_type": "application/merge-patch+json"}
    keeper = process().start().leading()
    remote.call("PATCH", path, {"spec": {"value": "production"}}, **merge)
    try:
        until(lambda: "share an id" in keeper.state["obstacle"])
        production.service()
        production.export()
        time.sleep(2)
        assert same_city.imported() is None
    finally:
        remote.call("PATCH", path, {"spec": before["spec"]}, **merge)

    until(lambda: same_city.imported() is not None)


def test_a_mass_withdrawal_waits_for_a_person(members, production, same_city, process):
    keeper = process(withdrawalCap=2).start().leading()
    names = [f"s{number}" for number in range(5)]
    for name in names:
        production.service(name)
        production.slice("10.0.0.1", name=name)
        production.export(name)
    until(lambda: all(same_city.addresses(name) == ["10.0.0.1"] for name in names))

    production.call("DELETE", production.inside("/apis/multicluster.x-k8s.io/v1beta1", "serviceexports"))

    until(lambda: len({one["service"] for one in keeper.state["held"]}) >= 3)
    fleet = parse_fleet((keeper.folder / "fleet.yaml").read_text(), "fleet.yaml")
    until(lambda: len(waiting_withdrawals(fleet)) >= 3)
    time.sleep(2)
    assert sum(same_city.addresses(name) == ["10.0.0.1"] for name in names) >= 3

    approved = approve_withdrawals(fleet, "eve", "they were meant to go")

    assert {one.source for one in approved} == {"production"}
    until(lambda: not any(same_city.slices(name) for name in names))
    until(lambda: keeper.state["held"] == [])
    until(lambda: waiting_withdrawals(fleet) == ())
    assert "approved" in keeper.log
    assert "eve: they were meant to go" in keeper.log


def test_a_defect_in_one_object_stops_no_other_service(members, production, same_city, keeper):
    production.service("odd")
    production.export("odd", exportedAnnotations={"a": "x" * 200_000})
    production.service()
    production.slice("10.0.0.1")
    production.export()

    until(lambda: same_city.addresses() == ["10.0.0.1"])


def poor_kubeconfig(member: Member, folder: Path) -> Path:
    """Return a kubeconfig of an account that may do anything but read EndpointSlices."""
    name = f"poor-{secrets.token_hex(3)}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    member.call("POST", member.inside("/api/v1", "serviceaccounts"), account)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    groups = ["", "apps", "multicluster.x-k8s.io", "about.k8s.io", "apiextensions.k8s.io", "coordination.k8s.io"]
    rules = [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    member.call("POST", f"{rbac}/clusterroles", role)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": member.namespace}],
    }
    member.call("POST", f"{rbac}/clusterrolebindings", binding)
    token = member.call("POST", member.inside("/api/v1", "serviceaccounts", f"{name}/token"), {"spec": {}})["status"]["token"]
    settings = member.connection.api.configuration
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": member.name, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": settings.host, "certificate-authority": settings.ssl_ca_cert}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    file = folder / "poor"
    file.write_text(yaml.safe_dump(document))
    return file
