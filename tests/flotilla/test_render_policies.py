"""What policies do: where components go, how they are changed, copied, divided and treated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.intent import Handling, Mode, OnUnreachable, Recycle, StepKind, WavePolicy, Webhook
from flotilla.oam.durations import seconds
from flotilla.oam.merge import merge_patched, merged
from flotilla.oam.placement import divided
from flotilla.oam.policies import Origin, handling_of
from tests.flotilla.applications import (
    application,
    component,
    intent_of,
    objects_of,
    policy,
    refused,
    step,
    steps,
    summary,
    trait,
)

WEB = component("webservice", {"image": "nginx", "env": [{"name": "A", "value": "1"}]}, trait("scaler", replicas=5))
DB = component("worker", {"image": "db"}, name="db")
EVERYWHERE = policy("topology", "everywhere", clusters=["production", "same-city", "remote"])


def deployed(*policies: dict[str, Any], components: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    """Return the intent of one deploy step with all its policies."""
    workflow = steps(step("deploy", properties={"policies": [one["name"] for one in policies], **more}))
    return intent_of(application(components=components or [WEB], policies=list(policies), workflow=workflow))


def test_without_workflow_each_topology_is_a_step_and_takes_all_overrides() -> None:
    document = application(
        components=[WEB],
        policies=[
            policy("topology", "b", clusters=["remote"]),
            policy("override", components=[{"traits": [{"type": "scaler", "properties": {"replicas": 0}}]}]),
            policy("topology", "a", namespace="x"),
        ],
    )
    intent = intent_of(document)
    assert summary(intent) == [
        ("deploy-b", [("remote", "default", ["Deployment/web"])]),
        ("deploy-a", [("production", "x", ["Deployment/web"])]),
    ]
    assert (intent.mode, [d.objects[0].manifest["spec"]["replicas"] for d in intent.deliveries]) == (Mode.STEP_BY_STEP, [0, 0])


def test_without_workflow_and_topology_each_component_is_a_step_on_the_hub() -> None:
    intent = intent_of(application(components=[{**WEB, "dependsOn": ["db"]}, DB]))
    assert summary(intent) == [
        ("web", [("production", "default", ["Deployment/web"])]),
        ("db", [("production", "default", ["Deployment/db"])]),
    ]
    assert (intent.mode, intent.steps[0].depends_on, intent.steps[0].kind) == (Mode.DAG, ("db",), StepKind.APPLY_COMPONENT)


def test_a_deploy_step_without_policies_goes_to_the_hub() -> None:
    assert summary(deployed()) == [("deploy", [("production", "default", ["Deployment/web"])])]


def test_depends_on_makes_stages() -> None:
    intent = deployed(EVERYWHERE, components=[{**WEB, "dependsOn": ["db"]}, DB])
    stages = intent.deliveries[0].stages
    assert [[item.component for item in stage] for stage in stages] == [["db"], ["web"]]


def test_lists_are_replaced_mappings_merged_and_traits_added_changed_and_disabled() -> None:
    change = {
        "name": "web",
        "properties": {"env": [{"name": "B", "value": "2"}], "cpu": "1"},
        "traits": [{"type": "scaler", "disable": True}, {"type": "labels", "properties": {"x": "y"}}],
    }
    manifest = deployed(EVERYWHERE, policy("override", components=[change])).deliveries[0].objects[0].manifest
    pod = manifest["spec"]["template"]
    assert (pod["spec"]["containers"][0]["env"], "replicas" in manifest["spec"]) == ([{"name": "B", "value": "2"}], False)
    assert (pod["metadata"]["labels"]["x"], pod["spec"]["containers"][0]["image"]) == ("y", "nginx")


def test_a_name_with_stars_means_many_and_a_plain_name_one() -> None:
    parts = [component("worker", {"image": "a"}, name=name) for name in ("web", "web-admin", "api")]

    def images(name: str) -> list[str]:
        changed = deployed(
            EVERYWHERE, policy("override", components=[{"name": name, "properties": {"image": "b"}}]), components=parts
        )
        return [item.manifest["spec"]["template"]["spec"]["containers"][0]["image"] for item in changed.deliveries[0].objects]

    assert (images("web"), images("web*"), images("*")) == (["b", "a", "a"], ["b", "b", "a"], ["b", "b", "b"])


def test_another_type_replaces_the_component_and_a_new_name_adds_one() -> None:
    change = policy("override", components=[{"name": "web", "type": "task", "properties": {"image": "t"}}])
    added = policy("override", "add", components=[{"name": "new", "type": "worker", "properties": {"image": "n"}}])
    assert summary(deployed(policy("topology", "t"), change, added))[0][1] == [
        ("production", "default", ["Job/app-web", "Deployment/new"])
    ]


def test_a_trait_that_stands_twice_cannot_be_overridden() -> None:
    twice = component(
        "webservice", {"image": "a"}, trait("sidecar", name="x", image="x"), trait("sidecar", name="y", image="y")
    )
    change = policy("override", components=[{"name": "web", "traits": [{"type": "sidecar", "properties": {"image": "z"}}]}])
    document = application(components=[twice], policies=[EVERYWHERE, change])
    assert "sidecar stands 2 times" in refused(document)[0]
    assert (
        len(
            deployed(EVERYWHERE, components=[twice]).deliveries[0].objects[0].manifest["spec"]["template"]["spec"]["containers"]
        )
        == 3
    )


def test_replicas_of_a_component_carry_their_key() -> None:
    part = component("replica-webservice", {"image": "hello", "ports": [{"port": 80, "expose": True}]}, name="hello-rep")
    intent = deployed(policy("replication", keys=["beijing", "hangzhou"], selector=["hello-rep"]), components=[part])
    assert summary(intent)[0][1] == [
        (
            "production",
            "default",
            [f"{kind}/hello-rep-{key}" for key in ("beijing", "hangzhou") for kind in ("Deployment", "Service")],
        )
    ]
    manifest = intent.deliveries[0].objects[0].manifest
    selector = {"app.oam.dev/component": "hello-rep", "app.oam.dev/replicaKey": "beijing"}
    assert manifest["spec"]["selector"]["matchLabels"] == selector
    assert selector.items() <= manifest["spec"]["template"]["metadata"]["labels"].items()
    assert intent.deliveries[0].objects[1].manifest["spec"]["selector"] == selector


def test_replicas_are_divided_by_weight() -> None:
    weights = {"production": 2, "same-city": 1, "remote": 0}
    intent = deployed(policy("topology", clusters=[*weights], flotilla={"weights": weights}))
    assert {d.cluster: d.objects[0].manifest["spec"]["replicas"] for d in intent.deliveries} == {
        "production": 3,
        "same-city": 2,
        "remote": 0,
    }


@given(
    st.integers(0, 10_000),
    st.dictionaries(st.text("abc", min_size=1), st.integers(0, 50), min_size=1).filter(
        lambda weights: sum(weights.values()) > 0
    ),
)
def test_division_loses_nothing_and_is_fair(total: int, weights: dict[str, int]) -> None:
    shares = divided(total, weights)
    whole = sum(weights.values())
    assert sum(shares.values()) == total
    assert all(abs(shares[name] * whole - total * weight) < whole for name, weight in weights.items())
    assert all(shares[name] == 0 for name, weight in weights.items() if weight == 0)
    assert shares == divided(total, weights)


def test_extensions_of_a_deploy_step() -> None:
    intent = deployed(
        EVERYWHERE,
        auto=False,
        parallelism=2,
        flotilla={"healthTimeout": "1m30s", "soak": "10s", "maxFailures": 1, "onUnreachable": "stop"},
    )
    first = intent.steps[0]
    assert first.wave == WavePolicy(90.0, 10.0, 1, OnUnreachable.STOP)
    assert (first.gate, first.parallelism) == (True, 2)


def test_what_the_rules_of_the_api_fill_in_is_no_drift_and_no_conflict():
    origin = Origin("imports", "k8s-objects", "COMPONENT", "", "ServiceImport", "web")

    assert Handling(apply_once=("spec",)) == handling_of(origin, [])
    assert Handling() == handling_of(replace(origin, kind="ServiceExport"), [])


RULES: list[tuple[dict[str, Any], list[Handling]]] = [
    (policy("apply-once", enable=True), [Handling(apply_once=("*",), apply_once_affects="onStateKeep")] * 2),
    (policy("apply-once", enable=False), [Handling()] * 2),
    (
        policy(
            "apply-once",
            enable=True,
            rules=[
                {"selector": {"resourceTypes": ["Deployment"]}, "strategy": {"path": ["spec.replicas"], "affect": "onUpdate"}}
            ],
        ),
        [Handling(apply_once=("spec.replicas",), apply_once_affects="onUpdate"), Handling()],
    ),
    (
        policy(
            "garbage-collect",
            rules=[{"selector": {"traitTypes": ["expose"]}, "strategy": "onAppDelete", "propagation": "orphan"}],
        ),
        [Handling(), Handling(recycle=Recycle.ON_APP_DELETE, orphan=True)],
    ),
    (policy("read-only", rules=[{"selector": {"oamTypes": ["COMPONENT"]}}]), [Handling(read_only=True), Handling()]),
    (policy("take-over", rules=[{"selector": {"componentNames": ["web"]}}]), [Handling(take_over=True)] * 2),
    (
        policy("shared-resource", rules=[{"selector": {"resourceNames": ["web"], "oamTypes": ["TRAIT"]}}]),
        [Handling(), Handling(shared=True)],
    ),
    (policy("read-only", rules=[{"selector": {}}]), [Handling()] * 2),
    (
        policy(
            "resource-update",
            rules=[{"selector": {"componentTypes": ["webservice"]}, "strategy": {"recreateFields": ["spec.selector"]}}],
        ),
        [Handling(replace=True, recreate_fields=("spec.selector",)), Handling()],
    ),
]


@pytest.mark.parametrize(("rules", "expected"), RULES)
def test_rules_become_handling(rules: dict[str, Any], expected: list[Handling]) -> None:
    part = component("webservice", {"image": "a"}, trait("expose", port=[80]))
    assert [item.handling for item in objects_of(part, policies=[rules])] == expected


def test_garbage_collection_of_the_whole_application() -> None:
    collect = policy(
        "garbage-collect", applicationRevisionLimit=3, keepLegacyResource=True, continueOnFailure=True, order="dependency"
    )
    intent = intent_of(application(policies=[collect]))
    assert (intent.keep_revisions, intent.keep_legacy, intent.prune_after_failure, intent.prune_in_order) == (
        3,
        True,
        True,
        True,
    )


def test_an_image_override_is_the_last_word() -> None:
    over = policy("override", components=[{"name": "web", "properties": {"image": "b"}}])
    document = application(components=[WEB, DB], policies=[EVERYWHERE, over])
    intent = intent_of(document, images={"web": "c:2"})
    images = {
        item.component: item.manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        for item in intent.deliveries[0].objects
    }
    assert images == {"web": "c:2", "db": "db"}


def test_an_image_override_of_given_objects() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "a"}]}}},
    }
    document = application(components=[component("k8s-objects", {"objects": [deployment]})])
    manifest = intent_of(document, images={"web": "b"}).deliveries[0].objects[0].manifest
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "b"
    settings = application(components=[component("k8s-objects", {"objects": [{"apiVersion": "v1", "kind": "ConfigMap"}]})])
    assert "without containers" in refused(settings, images={"web": "b"})[0]


def test_the_other_steps() -> None:
    message = {"url": {"secretRef": {"name": "s", "key": "k"}}, "message": {"text": "done"}}
    document = application(
        components=[{**WEB, "dependsOn": ["db"]}, DB],
        workflow=steps(
            step("apply-component", "one", {"component": "db", "cluster": "remote", "namespace": "n"}),
            step(
                "step-group",
                "group",
                subSteps=[step("apply-component", "two", {"component": "web"}), step("suspend", "wait", {"duration": "1m"})],
            ),
            step("suspend", "ask", {"message": "sure?"}),
            step("apply-object", "object", {"value": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}}),
            step("notification", "tell", {"slack": message}, **{"if": "always"}),
            step("webhook", "call", {"url": {"value": "http://x"}, "data": {"a": 1}}),
            mode={"steps": "StepByStep", "subSteps": "StepByStep"},
        ),
    )
    intent = intent_of(document)
    one, group, ask, thing, tell, call = intent.steps
    assert summary(intent)[0] == ("one", [("remote", "n", ["Deployment/db"])])
    assert (group.kind, group.sub_mode, group.sub_steps[0].depends_on) == (StepKind.GROUP, Mode.STEP_BY_STEP, ("one",))
    assert (group.sub_steps[1].duration, group.sub_steps[1].gate) == (60.0, False)
    assert (ask.gate, ask.message, ask.duration) == (True, "sure?", None)
    assert [item.manifest["metadata"]["name"] for item in thing.deliveries[0].objects] == ["c"]
    assert (tell.webhooks, tell.condition) == ((Webhook(secret="secret:default/s/k", body='{"text": "done"}'),), "always")
    assert call.webhooks == (Webhook(url="http://x", body='{"a": 1}'),)
    assert one.kind is StepKind.APPLY_COMPONENT


@pytest.mark.parametrize(
    ("text", "value"), [("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("0", 0), ("100ms", 0.1), ("2h45m", 9900), (".5s", 0.5)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "-1s", "1 s", "s", "1d", "1m 30s", "1s2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="Go writes it"):
        seconds(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=3)


@given(MAPPINGS, MAPPINGS)
def test_laying_over_keeps_what_is_not_mentioned_and_states_what_is(base: dict[str, Any], over: dict[str, Any]) -> None:
    result = merged(base, over)
    assert merged(result, over) == result
    assert result.keys() == base.keys() | over.keys()
    assert all(result[key] == base[key] for key in base.keys() - over.keys())
    assert all(result[key] == value for key, value in over.items() if not isinstance(value, dict))


@given(VALUES, VALUES)
def test_a_merge_patch_is_idempotent_and_leaves_its_input_alone(value: Any, patch: Any) -> None:
    before = repr(value)
    once = merge_patched(value, patch)
    assert merge_patched(once, patch) == once
    assert repr(value) == before
