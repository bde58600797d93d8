"""What is wrong with an Application is refused by name, with its place, all of it at once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from flotilla.application import parse, read_application
from flotilla.errors import InvalidInput
from tests.flotilla.applications import FILE, FLEET, application, component, intent_of, policy, refused, step, steps, trait

WEB = component("webservice", {"image": "nginx"})
TO_REMOTE = policy("topology", "to-remote", clusters=["remote"])


def deploying(*policies: dict[str, Any], components: list[dict[str, Any]] | None = None, **properties: Any) -> dict[str, Any]:
    """Return an Application with one deploy step that uses all its policies."""
    names = [one["name"] for one in policies]
    workflow = steps(step("deploy", properties={"policies": names, **properties}))
    return application(components=components or [WEB], policies=list(policies), workflow=workflow)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "component type": (
        application(components=[component("webservce", {})]),
        "spec.components[0].type: 'webservce'",
        "'webservice'?",
    ),
    "trait type": (
        application(components=[component("worker", {"image": "a"}, trait("scalar", replicas=2))]),
        "spec.components[0].traits[0].type: 'scalar'",
        "did you mean 'scaler'?",
    ),
    "policy type": (application(policies=[policy("env-binding")]), "spec.policies[0].type: 'env-binding'", "topology"),
    "step type": (application(workflow=steps(step("request"))), "spec.workflow.steps[0].type: 'request'", "read-object"),
    "property": (
        application(components=[component("worker", {"image": "a", "imag": 1})]),
        "properties.imag: 1",
        "fields cmd, cpu",
    ),
    "missing property": (application(components=[component("worker", {})]), "properties.image: is missing", ""),
    "wrong value": (application(components=[component("worker", {"image": "a", "cpu": 1})]), "properties.cpu: 1", "string"),
    "trait property": (
        application(components=[component("worker", {"image": "a"}, trait("scaler", replicas="3"))]),
        "spec.components[0].traits[0].properties.replicas: '3'",
        "integer",
    ),
    "component inputs": (application(components=[{**WEB, "inputs": []}]), "spec.components[0].inputs: []", "no inputs"),
    "component name": (
        application(components=[component("worker", {"image": "a"}, name="A.b")]),
        "[0].name: 'A.b'",
        "DNS label",
    ),
    "two components": (application(components=[WEB, WEB]), "spec.components[1].name: 'web'", "once"),
    "two policies": (application(policies=[TO_REMOTE, TO_REMOTE]), "spec.policies[1].name: 'to-remote'", "once"),
    "two steps": (application(workflow=steps(step("suspend"), step("suspend"))), "steps[1].name: 'suspend'", "no other step"),
    "cluster": (
        application(policies=[policy("topology", clusters=["production", "remot"])]),
        "spec.policies[0].properties.clusters[1]: 'remot'",
        "one of local, production, remote, same-city (did you mean 'remote'?)",
    ),
    "labels of no cluster": (
        application(policies=[policy("topology", clusterLabelSelector={"region": "paris"})]),
        "spec.policies[0].properties.clusterLabelSelector: {'region': 'paris'}",
        "production has region=hangzhou",
    ),
    "no clusters": (application(policies=[policy("topology", clusters=[])]), "properties.clusters: []", "at least 1"),
    "clusters and labels": (
        application(policies=[policy("topology", clusters=["remote"], clusterLabelSelector={})]),
        "has clusters and a label selector",
        "one of the two",
    ),
    "unknown policy": (
        application(policies=[TO_REMOTE], workflow=steps(step("deploy", properties={"policies": ["to-remot"]}))),
        "spec.workflow.steps[0].properties.policies[0]: 'to-remot'",
        "did you mean 'to-remote'?",
    ),
    "override of no name": (
        deploying(TO_REMOTE, policy("override", components=[{"name": "wbe", "properties": {"image": "b"}}])),
        "spec.policies[1].properties.components[0].name: 'wbe'",
        "one of web (did you mean 'web'?)",
    ),
    "override of no type": (
        deploying(TO_REMOTE, policy("override", components=[{"type": "worker"}])),
        "spec.policies[1].properties.components[0].type: 'worker'",
        "webservice",
    ),
    "override with a wrong property": (
        deploying(TO_REMOTE, policy("override", components=[{"name": "web", "properties": {"cpu": 2}}])),
        "spec.policies[1].properties.components[0].properties.cpu: 2",
        "string",
    ),
    "override that disables nothing": (
        deploying(TO_REMOTE, policy("override", components=[{"traits": [{"type": "scaler", "disable": True}]}])),
        "spec.policies[1].properties.components[0].traits[0].type: 'scaler'",
        "nothing to disable",
    ),
    "selector": (deploying(TO_REMOTE, policy("override", selector=["nope"])), "properties.selector[0]: 'nope'", "one of web"),
    "override without topology": (
        deploying(policy("override", components=[{}])),
        "steps[0].properties.policies",
        "a topology policy",
    ),
    "dependsOn unknown": (
        application(components=[{**WEB, "dependsOn": ["db"]}], policies=[TO_REMOTE]),
        "dependsOn[0]: 'db'",
        "",
    ),
    "dependsOn outside the step": (
        deploying(
            TO_REMOTE,
            policy("override", selector=["web"]),
            components=[{**WEB, "dependsOn": ["db"]}, component("worker", {"image": "d"}, name="db")],
        ),
        "spec.components[0].dependsOn[0]: 'db'",
        "same deploy step",
    ),
    "dependsOn in a circle": (
        deploying(
            TO_REMOTE,
            components=[{**WEB, "dependsOn": ["db"]}, component("worker", {"image": "d"}, name="db", dependsOn=["web"])],
        ),
        "goes in a circle",
        "order",
    ),
    "a step's dependsOn": (application(workflow=steps(step("suspend", dependsOn=["x"]))), "steps[0].dependsOn[0]: 'x'", ""),
    "steps that wait for later ones": (
        application(workflow=steps(step("suspend", "a", dependsOn=["b"]), step("suspend", "b"))),
        "wait for each other",
        "StepByStep",
    ),
    "steps and ref": (application(workflow=steps(step("suspend"), ref="x")), "spec.workflow.ref: 'x'", "not both"),
    "condition": (application(workflow=steps(step("suspend", **{"if": "status.a ="}))), "steps[0].if: 'status.a ='", "column"),
    "condition on nothing": (
        application(workflow=steps(step("suspend", **{"if": "status.nope.failed"}))),
        "steps[0].if: 'status.nope.failed'",
        "status.<step>.<field>",
    ),
    "condition on no input": (
        application(workflow=steps(step("suspend", **{"if": 'inputs["x"] == 1'}))),
        "steps[0].if",
        "inputs",
    ),
    "input of nobody": (application(workflow=steps(step("suspend", inputs=[{"from": "x"}]))), "inputs[0].from: 'x'", "output"),
    "timeout": (application(workflow=steps(step("suspend", timeout="5 minutes"))), "steps[0].timeout: '5 minutes'", "1m30s"),
    "duration": (application(workflow=steps(step("suspend", properties={"duration": 5}))), "properties.duration: 5", "1m30s"),
    "empty group": (application(workflow=steps(step("step-group"))), "steps[0].subSteps: are missing", "at least one"),
    "group in a group": (
        application(workflow=steps(step("step-group", "g", subSteps=[step("step-group", "h")]))),
        "steps[0].subSteps[0].type: 'step-group'",
        "",
    ),
    "email": (
        application(workflow=steps(step("notification", properties={"email": {"to": []}}))),
        "steps[0].properties.email: is asked for",
        "webhook only",
    ),
    "message without text": (
        application(workflow=steps(step("notification", properties={"slack": {"url": {"value": "http://x"}}}))),
        "properties.slack.message: {}",
        "text",
    ),
    "address given twice": (
        application(
            workflow=steps(step("webhook", properties={"url": {"value": "x", "secretRef": {"name": "a", "key": "b"}}}))
        ),
        "properties.url",
        "exactly one",
    ),
    "second policy of one kind": (
        application(policies=[policy("apply-once", "a"), policy("apply-once", "b")]),
        "spec.policies[1].properties: belong to a second apply-once",
        "reads only the first",
    ),
    "weights for others": (
        application(policies=[policy("topology", clusters=["remote"], flotilla={"weights": {"production": 1}})]),
        "spec.policies[0].properties.flotilla.weights",
        "a weight of 0 or more for each of remote",
    ),
    "weights of nothing": (
        application(policies=[policy("topology", clusters=["remote"], flotilla={"weights": {"remote": 1}})]),
        "divide the replicas of web",
        "scaler",
    ),
    "hub object": (
        application(components=[component("ref-objects", {"objects": [{"resource": "secret", "name": "s"}]})]),
        "refers to secret s, found nowhere",
        "there is no hub",
    ),
    "object of a cluster": (
        application(components=[component("ref-objects", {"objects": [{"resource": "secret", "cluster": "remote"}]})]),
        "objects[0].cluster: 'remote'",
        "documents given",
    ),
    "urls": (application(components=[component("ref-objects", {"urls": ["http://x"]})]), "properties.urls", "files"),
    "list of objects": (
        application(components=[component("k8s-objects", {"objects": [{"apiVersion": "v1", "kind": "List", "items": []}]})]),
        "properties.objects[0].kind: 'List'",
        "single objects",
    ),
    "object name": (
        application(
            components=[
                component("k8s-objects", {"objects": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "A_b"}}]})
            ]
        ),
        "properties.objects[0].metadata.name: 'A_b'",
        "DNS name",
    ),
    "trait that does not fit": (
        application(components=[component("task", {"image": "a"}, trait("scaler"))]),
        "spec.components[0].traits[0].properties: scaler on a Job",
        "Deployment, StatefulSet",
    ),
    "replicas of a replicated nothing": (
        deploying(TO_REMOTE, policy("replication", keys=["a"], selector=["nope"])),
        "spec.policies[1].properties.selector[0]: 'nope'",
        "one of web",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_its_place(case: str) -> None:
    document, place, allowed = WRONG[case]
    problems = refused(document)
    assert any(problem.startswith(f"{FILE}: ") and place in problem and allowed in problem for problem in problems), problems


def test_all_problems_are_told_at_once() -> None:
    document = application(
        components=[component("nope", {}), component("worker", {"image": "a", "x": 1}, trait("nope"), name="b")],
        policies=[policy("topology", clusters=["x"]), policy("nope")],
        workflow=steps(step("nope"), step("deploy", properties={"policies": ["topology"], "auto": "no"})),
    )
    assert [one.split(": ")[1] for one in refused(document)] == [
        "spec.policies[1].type",
        "spec.workflow.steps[0].type",
        "spec.workflow.steps[1].properties.auto",
        "spec.components[0].type",
        "spec.components[1].properties.x",
    ]


def test_a_policy_that_is_wrong_is_not_said_to_be_missing_too() -> None:
    document = deploying(policy("topology", cluster=["remote"]), policy("override", components=[{"name": "wbe"}]))
    assert [one.split(": ")[1] for one in refused(document)] == [
        "spec.policies[0].properties.cluster",
        "spec.policies[1].properties.components[0].name",
    ]


def test_two_objects_of_one_name_are_refused() -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    here = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    parts = [component("k8s-objects", {"objects": [one]}, name=name) for one, name in ((settings, "a"), (here, "b"))]
    assert any(
        "ConfigMap default/c is rendered 2 times, by a, b" in one
        for one in refused(application(components=parts, policies=[TO_REMOTE]))
    )


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: [1\n", "app.yaml:2:1", "well-formed YAML"),
        ("kind: A\nkind: B\n", "app.yaml:2:1", "stands twice"),
        ("- 1", "app.yaml", "not a Kubernetes object"),
        ("a: &a [*a]\n", "app.yaml:1:4", "recursive"),
        ("a: " + "[" * 3000 + "]" * 3000, "app.yaml", "nested too deep"),
        ("", "app.yaml", "hold 0 Applications"),
        ("apiVersion: core.oam.dev/v1beta1\nkind: Initializer\n", "app.yaml: kind", "one of Application, Policy, Workflow"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {a: 2024-01-01}\n", "app.yaml: data.a", "quotation marks"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {1: a}\n", "app.yaml: data: 1", "quotation marks"),
    ],
)
def test_what_is_no_document_is_refused(text: str, place: str, what: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_application({FILE: text}, FLEET)
    assert str(caught.value).startswith(place)
    assert what in str(caught.value)


def test_an_object_that_nothing_refers_to_is_refused() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    allowed = "Application, Policy, Workflow, or an object that a ref-objects component refers to"
    assert refused(application(), other) == [f"app.yaml[document 2]: kind: 'ConfigMap'; allowed: {allowed}"]


def test_a_policy_of_another_namespace_is_not_found() -> None:
    external = {
        "apiVersion": "core.oam.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "there", "namespace": "elsewhere"},
        "type": "topology",
        "properties": {"clusters": ["remote"]},
    }
    document = application(workflow=steps(step("deploy", properties={"policies": ["there"]})))
    assert any("policies[0]: 'there'" in one for one in refused(document, external))
    external["metadata"] = {"name": "there"}
    assert [("remote", "default")] == [(d.cluster, d.namespace) for d in intent_of(document, external).deliveries]


def test_an_image_for_no_component_is_refused() -> None:
    assert refused(application(), images={"wbe": "x"}) == [
        "image overrides: wbe: 'wbe'; allowed: a component, one of web (did you mean 'web'?)"
    ]


def test_what_is_odd_but_allowed_is_a_warning() -> None:
    document = application(
        components=[WEB, component("worker", {"image": "a"}, name="idle")],
        policies=[TO_REMOTE, policy("topology", "unused"), policy("override", "only-web", selector=["web"])],
        workflow=steps(step("deploy", properties={"policies": ["to-remote", "only-web"]})),
    )
    assert intent_of(document).warnings == (
        "component idle is delivered by no step",
        "policy unused is used by no step",
    )


def test_five_megabytes_of_manifests_are_read() -> None:
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i}"}, "data": {"text": "x" * 50_000}}
        for i in range(100)
    ]
    intent = read_application(
        {FILE: yaml.dump(application(components=[component("k8s-objects", {"objects": objects})]), Dumper=yaml.CSafeDumper)},
        FLEET,
    )
    assert len(intent.deliveries[0].objects) == 100


def test_parsing_needs_no_fleet() -> None:
    parsed = parse({FILE: yaml.safe_dump(application())})
    assert (parsed.name, parsed.namespace, [one.name for one in parsed.components]) == ("app", "default", ["web"])
