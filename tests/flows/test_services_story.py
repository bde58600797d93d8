"""Services across clusters as Prefect's users meet them: wired once, audited, kept wired for good."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Iterator

import pytest

from tasks import prefect_api
from tasks.clusters import Connection, connect
from tests.conftest import ROOT, FleetLab
from tests.flows.stories import CLUSTERS, ended, flotilla, process_of, until

pytestmark = [pytest.mark.lab, pytest.mark.prefect]

APPLY = "application/apply-patch+yaml"
MCS = "/apis/multicluster.x-k8s.io/v1beta1"


class Echo:
    """A service of its own that answers with its pod's name; in every cluster its namespace."""

    def __init__(self, lab: FleetLab) -> None:
        self.lab = lab
        self.name = f"services-{secrets.token_hex(3)}"
        for cluster in CLUSTERS:
            self.apply(
                cluster, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
            )

    def connection(self, cluster: str) -> Connection:
        return connect(self.lab.fleet.cluster(cluster))

    def apply(self, cluster: str, path: str, body: dict) -> None:
        query = {"fieldManager": "test", "force": "true"}
        path = f"{path}/{body['metadata']['name']}"
        answer = self.connection(cluster).request("PATCH", path, query=query, body=body, content_type=APPLY)
        assert answer.status in (200, 201), answer.message

    def export(self, cluster: str) -> None:
        labels = {"app": "echo"}
        container = {
            "name": "main",
            "image": "localhost/agnhost:2",
            "imagePullPolicy": "IfNotPresent",
            "command": ["/agnhost", "netexec", "--http-port=8080"],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        }
        pods = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pods}
        meta = {"metadata": {"name": "echo"}}
        self.apply(cluster, f"/apis/apps/v1/namespaces/{self.name}/deployments", meta | _kind("apps/v1", "Deployment", spec))
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        service = {"selector": labels, "ports": ports}
        self.apply(cluster, f"/api/v1/namespaces/{self.name}/services", meta | _kind("v1", "Service", service))
        export = meta | _kind("multicluster.x-k8s.io/v1beta1", "ServiceExport", {})
        self.apply(cluster, f"{MCS}/namespaces/{self.name}/serviceexports", export)

    def sources(self, cluster: str) -> list[str]:
        """Return the clusters whose endpoints a cluster holds, ready ones only."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices"
        items = self.connection(cluster).request("GET", path).body["items"]
        label = "multicluster.kubernetes.io/source-cluster"
        ours = [item for item in items if label in item["metadata"]["labels"]]
        ready = [item for item in ours if any(end["conditions"].get("ready") for end in item["endpoints"])]
        return sorted(item["metadata"]["labels"][label] for item in ready)


def _kind(api_version: str, kind: str, spec: dict) -> dict:
    return {"apiVersion": api_version, "kind": kind, "spec": spec}


@pytest.fixture
def echo(prefect: None, fleet_lab: FleetLab) -> Iterator[Echo]:
    one = Echo(fleet_lab)
    yield one
    for cluster in CLUSTERS:
        one.connection(cluster).request("DELETE", f"/api/v1/namespaces/{one.name}")


def start(deployment: str, **parameters: object) -> str:
    return str(prefect_api.submit(deployment, parameters)["id"])


def test_one_pass_wires_what_is_exported_and_an_audit_finds_it_so_but_nobody_who_keeps_it(echo):
    echo.export("production")
    echo.export("remote")

    wired = ended(start("services/wire"))
    sources = until(lambda: len(found := echo.sources("same-city")) == 2 and found, "the endpoints of both")
    audited = ended(start("services/audit", patience=1))

    assert "Completed" == wired["state"]["name"], wired["state"]["message"]
    assert ["production", "remote"] == sources
    assert "Differs" == audited["state"]["name"]
    assert "no keeper holds the leases" in audited["state"]["message"]


def test_the_keeper_is_started_again_when_it_is_killed_and_takes_up_what_happened_meanwhile(echo):
    run = start("services/keep-wired")
    process = process_of(run)
    echo.export("production")
    until(lambda: echo.sources("same-city") == ["production"], "production's endpoints in same-city")

    process.send_signal(signal.SIGKILL)
    echo.export("remote")
    until(lambda: echo.sources("same-city") == ["production", "remote"], "another keeper to take up the work")
    audited = ended(start("services/audit", patience=3))
    explained = flotilla("explain", f"echo.{echo.name}.svc.clusterset.local", "--in", "same-city", "--json")
    follower = until(lambda: [one for one in under_way() if one != run], "the run that took over")
    prefect_api.call("POST", f"/flow_runs/{follower[0]}/set_state", {"state": {"type": "CANCELLING"}})
    cancelled = ended(follower[0])

    assert "Completed" == audited["state"]["name"], audited["state"]["message"]
    assert 0 == explained.returncode, explained.stdout + explained.stderr
    (chain,) = json.loads(explained.stdout)
    assert (None, "dns") == (chain["broken"], chain["steps"][-1]["link"])
    assert "CANCELLED" == cancelled["state_type"]


def under_way() -> list[str]:
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}, "name": {"like_": "keep-wired"}}}
    return [run["id"] for run in prefect_api.call("POST", "/flow_runs/filter", body).json()]


def test_what_is_no_service_is_told_with_what_is_allowed(fleet_lab):
    done = flotilla("explain", "a/b/c")

    assert 2 == done.returncode
    assert "SERVICE: 'a/b/c'; allowed: NAME with --namespace, NAMESPACE/NAME" in done.stderr


DECLARED = """
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {{name: declares, namespace: {namespace}}}
spec:
  components:
    - name: import
      type: k8s-objects
      properties:
        objects:
          - apiVersion: multicluster.x-k8s.io/v1beta1
            kind: ServiceImport
            metadata: {{name: echo}}
            spec: {{type: ClusterSetIP, ports: [{{port: 80}}]}}
  policies:
    - {{name: consumer, type: topology, properties: {{clusters: [same-city]}}}}
"""


def test_an_application_that_declares_an_import_is_rolled_out_again_over_what_the_keeper_wrote(echo, tmp_path):
    file = tmp_path / "declares.yaml"
    file.write_text(DECLARED.format(namespace=echo.name))
    echo.export("production")
    first = flotilla("rollout", str(file), "--yes")
    wired = ended(start("services/wire"))
    path = f"{MCS}/namespaces/{echo.name}/serviceimports/echo"
    filled = echo.connection("same-city").request("GET", path).body["spec"]

    planned = flotilla("plan", str(file), "--json")
    again = flotilla("rollout", str(file), "--yes")

    assert (0, "Completed") == (first.returncode, wired["state"]["name"]), first.stdout + first.stderr
    assert ["http"] == [port.get("name") for port in filled["ports"]]
    assert (0, []) == (planned.returncode, json.loads(planned.stdout)["changes"]), planned.stdout + planned.stderr
    assert 0 == again.returncode, again.stdout + again.stderr


def test_where_others_wire_services_nothing_is_written_and_their_conditions_are_waited_for_and_told(echo, tmp_path):
    fleet = tmp_path / "fleet.yaml"
    text = (ROOT / "deployments" / "fleet.yaml").read_text()
    fleet.write_text(text.replace("services:\n  imports: automatic", "services:\n  wiredBy: others\n  imports: declared"))
    echo.export("production")
    silent = ended(start("services/wire", fleet=str(fleet), within=3))
    export = f"{MCS}/namespaces/{echo.name}/serviceexports/echo"
    said = {"type": "Valid", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-11-23T00:00:00Z"}
    body = {"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport", "metadata": {"name": "echo"}}
    query = {"fieldManager": "lighthouse", "force": "true"}
    connection = echo.connection("production")
    answer = connection.request(
        "PATCH", f"{export}/status", query=query, body=body | {"status": {"conditions": [said]}}, content_type=APPLY
    )
    assert 200 == answer.status, answer.message

    spoken = ended(start("services/wire", fleet=str(fleet), within=3))
    kept = ended(start("services/keep-wired", fleet=str(fleet)))
    refused = flotilla("keep", "--fleet", str(fleet))
    told = flotilla("explain", f"{echo.name}/echo", "--in", "same-city", "--fleet", str(fleet))

    assert "Differs" == silent["state"]["name"]
    assert echo.name not in spoken["state"]["message"]
    assert "nothing for a keeper to do" in kept["state"]["message"]
    assert (2, True) == (refused.returncode, "services.wiredBy: 'others'" in refused.stderr)
    assert "first broken link: import at same-city (controller)" in told.stdout
    assert [] == echo.sources("same-city")
    assert 404 == echo.connection("same-city").request("GET", f"{MCS}/namespaces/{echo.name}/serviceimports/echo").status
