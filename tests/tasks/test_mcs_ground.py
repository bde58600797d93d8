"""The ground for services as it is in the lab; what has to be broken for a test is broken in tests/lab."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flotilla.facts import Unknown
from flotilla.services import findings
from flotilla.services.definitions import NAMES, Decision
from flotilla.services.findings import State
from flotilla.services.ground import NEEDED, judge
from flotilla.services.ranges import PodRanges
from flows.cli import app
from flows.ground import try_reach
from tasks.definitions import install_definition, our_definitions
from tasks.mcs_ground import look_at_services
from tests.tasks.faults import of_context
from tests.tasks.stage import CLUSTER, Stage

pytestmark = pytest.mark.lab

IMAGE = "localhost/agnhost:2"


@pytest.fixture
def powerless(fleet_lab, stage: Stage, tmp_path) -> Any:
    """Return the cluster as a ServiceAccount reaches it that may do nothing but ask what it may do."""
    stage.inside("create", "serviceaccount", "nobody")
    document = of_context(fleet_lab.kubeconfig, CLUSTER)
    document["users"][0]["user"] = {"token": stage.inside("create", "token", "nobody").strip()}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    known = fleet_lab.fleet.cluster(CLUSTER)
    return known.model_copy(update={"kubeconfig": type(known.kubeconfig)(file=str(file))})


def test_the_ground_of_the_lab_is_sound(fleet_lab) -> None:
    grounds = [look_at_services(cluster) for cluster in fleet_lab.fleet.clusters]
    items = judge(grounds, our_definitions())

    assert findings.is_sound(items), items
    assert {State.FINE} == {item.state for item in items}
    assert list(fleet_lab.fleet.names) == [row["cluster id"] for row in findings.rows(items)]
    assert all(
        isinstance(ground.pods, PodRanges) and ground.pods.where == "spec.podCIDRs of 1 of 1 nodes" for ground in grounds
    )


def test_what_is_installed_already_is_not_written_again(fleet_lab) -> None:
    cluster = fleet_lab.fleet.cluster(CLUSTER)

    assert [Decision.FINE] * 3 == [install_definition(cluster, name) for name in NAMES]


def test_pods_of_every_cluster_reach_those_of_each_other_one_and_are_gone_afterwards(fleet_lab, stage: Stage) -> None:
    reaches, left = try_reach(fleet_lab.fleet, IMAGE)

    assert {} == left
    assert [(True, "")] * 6 == [(one.reached, one.detail) for one in reaches]
    selector = "app.kubernetes.io/component=reachability"
    stage.until(lambda: "No resources" in stage.kubectl("get", "pods", "-A", "-l", selector), seconds=40)


def test_an_image_that_is_not_there_is_named_and_nobody_counts_as_unreachable(fleet_lab) -> None:
    reaches, left = try_reach(fleet_lab.fleet, "localhost/no-such-image:1")

    assert {} == left
    assert {None} == {one.reached for one in reaches}
    assert all("cannot start: ErrImagePull" in one.detail and "localhost/no-such-image:1" in one.detail for one in reaches)


def test_an_account_without_rights_sees_nothing_and_takes_nothing_for_absent(powerless) -> None:
    ground = look_at_services(powerless)
    reasons = [
        part.reason for part in (ground.definitions, ground.properties, ground.pods, ground.dns) if isinstance(part, Unknown)
    ]

    assert 4 == len(reasons)
    assert all("HTTP 403" in reason and "give the account this right" in reason for reason in reasons)
    assert NEEDED == ground.missing
    assert isinstance(ground.delegates, Unknown)


def test_a_subresource_is_asked_for_as_one(powerless, stage: Stage) -> None:
    """An account that may patch exports may not therefore patch their status."""
    name = f"exporter-{stage.suffix}"
    stage.beside += [f"clusterrole/{name}", f"clusterrolebinding/{name}"]
    stage.kubectl("create", "clusterrole", name, "--verb=patch", "--resource=serviceexports.multicluster.x-k8s.io")
    stage.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={stage.namespace}:nobody")
    ground = look_at_services(powerless)

    assert isinstance(ground.missing, tuple)
    missing = {str(right) for right in ground.missing}
    assert "patch serviceexports.multicluster.x-k8s.io" not in missing
    assert "patch serviceexports/status.multicluster.x-k8s.io" in missing


def test_check_shows_the_ground_in_a_table_and_for_programs(fleet_lab) -> None:
    shown = CliRunner().invoke(app, ["check", "--fleet", fleet_lab.fleet_file])
    found = json.loads(CliRunner().invoke(app, ["check", "--fleet", fleet_lab.fleet_file, "--json"]).stdout)

    assert 0 == shown.exit_code, shown.stdout
    assert "v1alpha1+v1beta1, v0.5.2" in shown.stdout
    assert list(fleet_lab.fleet.names) == [one["cluster"] for one in found]
    assert {"fine"} == {item["state"] for one in found for item in one["services"]}
