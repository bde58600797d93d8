"""What components and traits become, object by object, as KubeVela's definitions say."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from flotilla.application import Reference, Source, parse, referenced_files, render
from tests.flotilla.applications import FILE, FLEET, application, component, manifest_of, objects_of, policy, refused, trait

WEB = {"image": "nginx"}


def container_of(*traits: dict[str, Any], kind: str = "webservice", **properties: Any) -> Any:
    return manifest_of(component(kind, WEB | properties, *traits))["spec"]["template"]["spec"]["containers"][0]


def test_a_webservice_is_a_deployment() -> None:
    assert manifest_of(component("webservice", WEB)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "labels": {
                "app.oam.dev/name": "app",
                "app.oam.dev/namespace": "default",
                "app.oam.dev/component": "web",
                "app.oam.dev/resourceType": "WORKLOAD",
                "workload.oam.dev/type": "webservice",
            },
        },
        "spec": {
            "selector": {"matchLabels": {"app.oam.dev/component": "web"}},
            "template": {
                "metadata": {"labels": {"app.oam.dev/name": "app", "app.oam.dev/component": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    }


def test_exposed_ports_make_a_service() -> None:
    ports = [
        {"port": 80, "containerPort": 8080, "expose": True},
        {"port": 53, "protocol": "UDP", "expose": True, "nodePort": 30053},
        {"port": 9090, "name": "metrics"},
    ]
    workload, service = objects_of(component("webservice", {**WEB, "ports": ports, "exposeType": "NodePort"}))
    assert workload.manifest["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 8080, "protocol": "TCP", "name": "port-8080"},
        {"containerPort": 53, "protocol": "UDP", "name": "port-53-udp"},
        {"containerPort": 9090, "protocol": "TCP", "name": "metrics"},
    ]
    assert service.manifest["spec"] == {
        "selector": {"app.oam.dev/component": "web"},
        "type": "NodePort",
        "ports": [
            {"port": 80, "targetPort": 8080, "name": "port-8080", "protocol": "TCP"},
            {"port": 53, "targetPort": 53, "name": "port-53-udp", "protocol": "UDP", "nodePort": 30053},
        ],
    }
    labels = service.manifest["metadata"]["labels"]
    assert ("AuxiliaryWorkload", "webserviceExpose") == (labels["trait.oam.dev/type"], labels["trait.oam.dev/resource"])


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"cmd": ["a"], "args": ["b"]}, {"command": ["a"], "args": ["b"]}),
        ({"port": 80}, {"ports": [{"containerPort": 80}]}),
        ({"imagePullPolicy": "Never"}, {"imagePullPolicy": "Never"}),
        ({"cpu": "1"}, {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}),
        (
            {"cpu": "1", "memory": "1Gi", "limit": {"cpu": "2"}},
            {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}},
        ),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 3}},
            {
                "readinessProbe": {
                    "tcpSocket": {"port": 1},
                    "initialDelaySeconds": 0,
                    "periodSeconds": 3,
                    "timeoutSeconds": 1,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                }
            },
        ),
    ],
)
def test_the_containers_parameters(properties: dict[str, Any], expected: dict[str, Any]) -> None:
    assert container_of(**properties) == {"name": "web", "image": "nginx", **expected}


def test_volumes_stand_once_however_often_they_are_mounted() -> None:
    mounts = {
        "configMap": [
            {"name": "c", "mountPath": "/a", "cmName": "cm"},
            {"name": "c", "mountPath": "/b", "cmName": "cm", "subPath": "x"},
        ],
        "emptyDir": [{"name": "t", "mountPath": "/tmp"}],
        "hostPath": [{"name": "h", "mountPath": "/h", "path": "/var"}],
    }
    spec = manifest_of(component("worker", {**WEB, "volumeMounts": mounts}))["spec"]["template"]["spec"]
    assert spec["volumes"] == [
        {"name": "c", "configMap": {"defaultMode": 420, "name": "cm"}},
        {"name": "t", "emptyDir": {"medium": ""}},
        {"name": "h", "hostPath": {"path": "/var"}},
    ]
    assert [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]] == ["/a", "/b", "/tmp", "/h"]


def test_the_older_volumes_mean_the_same() -> None:
    volumes = [{"name": "p", "mountPath": "/p", "type": "pvc", "claimName": "claim"}, {"name": "e", "mountPath": "/e"}]
    spec = manifest_of(component("worker", {**WEB, "volumes": volumes}))["spec"]["template"]["spec"]
    assert spec["volumes"] == [
        {"name": "p", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "e", "emptyDir": {"medium": ""}},
    ]
    wrong = [{"name": "p", "mountPath": "/p", "type": "pvc"}]
    assert "claimName" in refused(application(components=[component("worker", {**WEB, "volumes": wrong})]))[0]


def test_a_cron_task_is_a_cron_job() -> None:
    manifest = manifest_of(component("cron-task", {**WEB, "schedule": "* * * * *", "restart": "OnFailure"}))
    assert (manifest["kind"], manifest["spec"]["schedule"], manifest["spec"]["successfulJobsHistoryLimit"]) == (
        "CronJob",
        "* * * * *",
        3,
    )
    job = manifest["spec"]["jobTemplate"]["spec"]
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (6, "OnFailure")


@pytest.mark.parametrize(("kind", "made"), [("daemon", "DaemonSet"), ("statefulset", "StatefulSet"), ("worker", "Deployment")])
def test_the_other_workloads(kind: str, made: str) -> None:
    assert manifest_of(component(kind, WEB))["kind"] == made


def test_objects_keep_their_names_and_namespaces_and_the_first_takes_the_components_name() -> None:
    given = [
        {"apiVersion": "v1", "kind": "Namespace"},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "other"}},
    ]
    first, second = objects_of(component("k8s-objects", {"objects": given}, name="space"))
    assert ("space", None) == (first.manifest["metadata"]["name"], first.manifest["metadata"].get("namespace"))
    assert ("s", "other") == (second.manifest["metadata"]["name"], second.manifest["metadata"]["namespace"])
    assert second.manifest["metadata"]["labels"]["trait.oam.dev/resource"] == "objects-1"


def test_labels_and_annotations_of_the_application_reach_its_objects_but_for_those_of_control() -> None:
    document = application(policies=[policy("topology", clusters=["remote"])])
    document["metadata"] |= {
        "labels": {"team": "a"},
        "annotations": {
            "note": "b",
            "app.oam.dev/publishVersion": "1",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
    }
    intent = render(parse({FILE: yaml.safe_dump(document)}), FLEET)
    metadata = intent.deliveries[0].objects[0].manifest["metadata"]
    assert metadata["labels"]["team"] == "a"
    assert metadata["annotations"] == {"note": "b"}


def test_scaler_and_labels_and_annotations() -> None:
    manifest = manifest_of(
        component(
            "webservice",
            {**WEB, "labels": {"old": "x", "gone": "y"}},
            trait("scaler", replicas=4),
            trait("labels", old="new", gone=None),
            trait("annotations", note="n"),
        )
    )
    assert manifest["spec"]["replicas"] == 4
    pod = manifest["spec"]["template"]["metadata"]
    assert (pod["labels"]["old"], "gone" in pod["labels"], pod["annotations"]) == ("new", False, {"note": "n"})
    assert (manifest["metadata"]["labels"]["old"], manifest["metadata"]["annotations"]) == ("new", {"note": "n"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"env": {"A": "2", "C": "3"}},
            [{"name": "A", "value": "2"}, {"name": "B", "value": "1"}, {"name": "C", "value": "3"}],
        ),
        ({"unset": ["A"]}, [{"name": "B", "value": "1"}]),
        ({"env": {"C": "3"}, "replace": True}, [{"name": "C", "value": "3"}]),
        ({"containers": [{"containerName": "web", "unset": ["A", "B"]}]}, []),
    ],
)
def test_env(given: dict[str, Any], expected: list[dict[str, str]]) -> None:
    assert (
        container_of(trait("env", **given), env=[{"name": "A", "value": "1"}, {"name": "B", "value": "1"}])["env"] == expected
    )


def test_env_of_an_unknown_container_is_refused() -> None:
    parts = [component("webservice", WEB, trait("env", containerName="x"))]
    assert "names container 'x'; allowed: one of web" in refused(application(components=parts))[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"command": ["x"]}, (["x"], ["a", "b"])),
        ({"args": ["c"]}, (None, ["c"])),
        ({"addArgs": ["c", "a"], "delArgs": ["b"]}, (None, ["a", "c"])),
    ],
)
def test_command(given: dict[str, Any], expected: tuple[Any, Any]) -> None:
    container = container_of(trait("command", **given), args=["a", "b"])
    assert (container.get("command"), container["args"]) == expected


def test_resource_replaces_requests_and_limits() -> None:
    short = container_of(trait("resource", cpu=2, memory="1Gi"), cpu="1")["resources"]
    assert short == {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    long = container_of(trait("resource", requests={"cpu": 0.5}), memory="1Gi")["resources"]
    assert long == {"requests": {"cpu": "0.5", "memory": "2048Mi"}, "limits": {"memory": "1Gi"}}
    assert (
        "cpu and memory together"
        in refused(application(components=[component("webservice", WEB, trait("resource", cpu=2))]))[0]
    )


def test_patches() -> None:
    merge = trait("json-merge-patch", spec={"replicas": 3, "template": {"metadata": None}})
    patch = trait("json-patch", operations=[{"op": "add", "path": "/spec/paused", "value": True}])
    spec = manifest_of(component("webservice", WEB, merge, patch))["spec"]
    assert (spec["replicas"], spec["paused"], "metadata" in spec["template"]) == (3, True, False)
    wrong = trait(
        "json-patch", operations=[{"op": "add", "path": "/spec/paused", "value": 1}, {"op": "remove", "path": "/spec/x"}]
    )
    problems = refused(application(components=[component("webservice", WEB, wrong)]))
    assert "spec.components[0].traits[0].properties.operations[1]" in problems[0]


def test_update_strategy() -> None:
    rolling = {"type": "RollingUpdate", "rollingStrategy": {"maxSurge": "2", "maxUnavailable": "0"}}
    spec = manifest_of(component("webservice", WEB, trait("k8s-update-strategy", strategy=rolling)))["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    parts = [component("statefulset", WEB, trait("k8s-update-strategy", strategy=rolling))]
    assert "is for a Deployment; allowed: targetKind StatefulSet" in refused(application(components=parts))[0]


def test_traits_that_add_objects() -> None:
    added = objects_of(
        component(
            "webservice",
            WEB,
            trait("expose", port=[80]),
            trait("gateway", domain="x.org", http={"/": 8000}, name="g"),
            trait("hpa", max=5),
            trait("sidecar", name="log", image="busybox"),
        )
    )
    seen = [(item.trait, item.manifest["kind"], item.manifest["metadata"]["name"]) for item in added]
    assert seen == [
        ("", "Deployment", "web"),
        ("expose", "Service", "web"),
        ("gateway", "Service", "web-g"),
        ("gateway", "Ingress", "web-g"),
        ("hpa", "HorizontalPodAutoscaler", "web"),
    ]
    assert [one["name"] for one in added[0].manifest["spec"]["template"]["spec"]["containers"]] == ["web", "log"]
    assert added[1].manifest["spec"]["ports"] == [{"name": "port-80", "port": 80, "targetPort": 80}]
    assert added[3].manifest["spec"]["rules"][0]["http"]["paths"][0]["backend"] == {
        "service": {"name": "web-g", "port": {"number": 8000}}
    }


def test_cpuscaler_and_two_autoscalers_of_one_name() -> None:
    scaler = trait("cpuscaler", cpuUtil=60)
    assert objects_of(component("webservice", WEB, scaler))[1].manifest["spec"]["targetCPUUtilizationPercentage"] == 60
    both = application(components=[component("webservice", WEB, scaler, trait("hpa"))])
    assert "HorizontalPodAutoscaler.autoscaling default/web is rendered 2 times" in refused(both)[0]


def test_referenced_files_are_named_and_their_manifests_used() -> None:
    properties = {"files": ["a.yaml"], "chart": {"path": "charts/x", "values": {"b": 1}}}
    text = yaml.safe_dump(
        application(components=[component("ref-objects", properties, trait("scaler", replicas=2), name="it")])
    )
    parsed = parse({"apps/app.yaml": text})
    file = Reference(Source.FILE, "a.yaml", "apps/app.yaml")
    chart = Reference(Source.CHART, "charts/x", "apps/app.yaml", "it", "default", '{"b":1}')
    assert referenced_files(parsed) == (file, chart)
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {}}
    read = {file: [deployment], chart: [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}]}
    first, second = render(parsed, FLEET, files=read).deliveries[0].objects
    assert (first.manifest["spec"], second.manifest["metadata"]["name"]) == ({"replicas": 2}, "s")
    assert deployment["spec"] == {}
