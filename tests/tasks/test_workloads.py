"""Looking at, applying and pruning an application in one real cluster."""

from __future__ import annotations

import os
import re

import pytest

from flotilla.applyset import ID, applyset_id
from flotilla.errors import Permanent
from flotilla.intent import Recycle
from flotilla.rollout import Action
from tasks.scene import scene_of
from tasks.workloads import prune
from tests.tasks.stage import config, deployment, handled

pytestmark = pytest.mark.lab

MIXED = [
    config("settings"),
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"key": "value"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "account"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "service"}, "spec": {"ports": [{"port": 80}]}},
    deployment("web", replicas=0),
]


def test_what_is_planned_as_create_is_created(stage):
    planned = stage.planned(*MIXED)

    assert {Action.CREATE} == set(planned.values())
    assert planned == stage.roll(*MIXED)


def test_a_plan_changes_nothing(stage):
    stage.plan(*MIXED)

    assert [] == stage.names("configmap,secret,service,deployment")


def test_what_was_rolled_out_is_unchanged_in_the_next_plan_and_rollout(stage):
    stage.roll(*MIXED)

    assert {Action.UNCHANGED} == set(stage.planned(*MIXED).values())
    assert {Action.UNCHANGED} == set(stage.roll(*MIXED).values())


def test_a_second_rollout_writes_nothing(stage):
    stage.roll(*MIXED)
    before = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in members(stage)}

    stage.roll(*MIXED)

    assert before == {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in members(stage)}


def members(stage):
    return [stage.live(kind, name) for kind in ("configmap", "service", "deployment") for name in stage.names(kind)]


def test_a_change_is_shown_field_by_field(stage):
    stage.roll(deployment(replicas=0, env=[{"name": "A", "value": "1"}]))

    told = stage.told(deployment(replicas=0, env=[{"name": "A", "value": "2"}], image="other:1"))

    assert (
        "change: spec.template.spec.containers[main].env[A].value: 1 -> 2\n"
        "spec.template.spec.containers[main].image: localhost/podinfo:6.7.0 -> other:1" == told
    )


def test_a_field_that_is_no_longer_wanted_is_taken_away(stage):
    stage.roll(config(a="1", b="2"))

    assert "change: data.b: 2 -> (absent)" == stage.told(config(a="1"))
    assert {"m": Action.CHANGE} == stage.roll(config(a="1"))
    assert {"a": "1"} == stage.live("configmap", "m")["data"]


def test_what_somebody_took_away_by_hand_is_put_back(stage):
    stage.roll(config(a="1", b="2"))
    stage.inside("patch", "configmap", "m", "-p", '{"data": {"a": null}}')

    assert "change: data.a: (absent) -> 1" == stage.told(config(a="1", b="2"))
    assert {"m": Action.CHANGE} == stage.roll(config(a="1", b="2"))
    assert {"a": "1", "b": "2"} == stage.live("configmap", "m")["data"]


def test_a_field_of_another_owner_is_shown_and_not_forced(stage):
    stage.roll(config(a="1"))
    stage.inside("patch", "configmap", "m", "--field-manager=intruder", "-p", '{"data": {"a": "2"}}')

    assert "conflict: data.a is owned by intruder" == stage.told(config(a="1"))
    with pytest.raises(Permanent, match=r"ConfigMap .*/m: data\.a is owned by intruder; take it over by policy"):
        stage.roll(config(a="1"))
    assert {"a": "2"} == stage.live("configmap", "m")["data"]


@pytest.mark.parametrize("way", [{"take_over": True}, {}])
def test_a_field_of_another_owner_is_taken_over_by_policy_or_force(stage, way):
    stage.inside("create", "configmap", "m", "--from-literal=a=2")
    wanted = handled(config(a="1"), **way)

    assert {"m": Action.CHANGE} == stage.roll(wanted, force=not way)
    assert {"a": "1"} == stage.live("configmap", "m")["data"]


def test_an_object_of_another_application_is_a_conflict(stage):
    stage.roll(config(), name="other")

    assert stage.told(config()).startswith("conflict: the object is owned by application applyset-")
    with pytest.raises(Permanent, match=r"ConfigMap .*/m belongs to application .*: share it or take it over by policy"):
        stage.roll(config())


def test_a_shared_object_is_in_no_set_and_never_pruned(stage):
    stage.roll(handled(config("both"), shared=True), config("own"), name="other")

    stage.roll(handled(config("both"), shared=True), config("mine"))

    assert [] == stage.prune(config("mine"))
    assert ["both", "mine", "own"] == stage.names()


def test_two_applications_may_share_an_object_with_fields_of_each(stage):
    stage.roll(handled(config("both", one="1"), shared=True), name="other")
    stage.roll(handled(config("both", two="2"), shared=True))

    assert {"one": "1", "two": "2"} == stage.live("configmap", "both")["data"]


def test_an_object_that_becomes_shared_leaves_the_set(stage):
    stage.roll(config("both"), config("own"))

    shared = handled(config("both"), shared=True)

    assert {"both": Action.CHANGE, "own": Action.UNCHANGED} == stage.planned(shared, config("own"))
    stage.roll(shared, config("own"))

    assert {"both": Action.UNCHANGED, "own": Action.UNCHANGED} == stage.planned(shared, config("own"))
    assert [] == stage.prune(config("own"))
    assert {"a": "1"} == stage.live("configmap", "both")["data"]


def test_prune_deletes_only_what_carries_the_label_of_the_set(stage):
    stage.roll(config("old"), config("kept"))
    stage.roll(config("theirs"), name="other")
    stage.inside("create", "configmap", "by-hand")

    assert {"old": Action.DELETE, "kept": Action.UNCHANGED} == stage.planned(config("kept"))
    assert ["old"] == stage.prune(config("kept"))
    assert ["by-hand", "kept", "theirs"] == stage.names()


def test_prune_deletes_only_what_it_was_told_to(stage):
    stage.roll(config("one"), config("two"))

    assert ["one"] == stage.prune(only=["one"])
    assert ["two"] == stage.names()


def test_an_object_of_a_kind_that_the_application_no_longer_has_is_pruned_too(stage):
    stage.roll(config(), deployment("web", replicas=0))
    stage.roll(config())

    assert {"web": Action.DELETE, "m": Action.UNCHANGED} == stage.planned(config())
    assert ["web"] == stage.prune(config())


FATES = [
    ({"recycle": Recycle.NEVER}, {}, ["old"]),
    ({"recycle": Recycle.ON_APP_DELETE}, {}, ["old"]),
    ({"orphan": True}, {"old": Action.RELEASE}, ["old"]),
    ({}, {"old": Action.DELETE}, []),
]


@pytest.mark.parametrize(("how", "planned", "left"), FATES)
def test_an_object_goes_as_the_garbage_collect_policy_says(stage, how, planned, left):
    stage.roll(handled(config("old"), **how))

    assert planned == stage.planned()
    stage.prune()
    assert left == stage.names()
    assert {} == ({} if how.get("recycle") else stage.planned())


def test_a_policy_that_is_changed_later_holds_although_the_object_is_unchanged(stage):
    stage.roll(config("old"))
    kept = handled(config("old"), recycle=Recycle.NEVER)

    assert "change: metadata.annotations: (absent) -> {'flotilla.dev/recycle': 'never'}" == stage.told(kept)
    stage.roll(kept)
    assert {} == stage.planned()


def test_a_policy_that_is_taken_away_later_holds_no_longer(stage):
    stage.roll(handled(config("old"), recycle=Recycle.NEVER))
    stage.roll(config("old"))

    assert {"old": Action.DELETE} == stage.planned()


def test_what_others_created_anew_under_the_name_is_not_pruned(stage):
    stage.roll(config("old"))
    scene = scene_of(stage.connection, stage.intent())
    stage.inside("delete", "configmap", "old")
    stage.inside("create", "configmap", "old")

    assert () == prune(scene, list(scene.members))
    assert ["old"] == stage.names()


def test_what_is_gone_already_can_be_pruned(stage):
    stage.roll(config("old"))
    scene = scene_of(stage.connection, stage.intent())
    stage.inside("delete", "configmap", "old")

    assert () == prune(scene, list(scene.members))


def test_an_immutable_field_is_refused_in_the_servers_words(stage):
    stage.roll(deployment(replicas=0))
    changed = other_selector()

    assert re.match(r"refused: .*spec\.selector: .*field is immutable", stage.told(changed))
    with pytest.raises(Permanent, match=r"could not apply Deployment\.apps .*/web: .*field is immutable \(HTTP 422\)"):
        stage.roll(changed)


def other_selector():
    manifest = deployment(replicas=0, spec={"selector": {"matchLabels": {"app": "other"}}})
    manifest["spec"]["template"]["metadata"]["labels"]["app"] = "other"
    return manifest


def test_an_immutable_field_is_replaced_by_policy(stage):
    stage.roll(deployment(replicas=0))
    before = stage.live("deployment", "web")["metadata"]["uid"]
    wanted = handled(other_selector(), replace=True)

    assert "deleted and created again: a field cannot be changed in place" in stage.told(wanted)
    assert {"web": Action.CREATE} == stage.roll(wanted)

    assert before != stage.live("deployment", "web")["metadata"]["uid"]
    assert {"web": Action.UNCHANGED} == stage.planned(wanted)


def test_what_could_not_be_created_again_is_not_deleted_by_replace(stage):
    stage.roll(deployment(replicas=0))
    invalid = handled(deployment(replicas=-1), replace=True)

    assert stage.told(invalid).startswith("refused: ")
    with pytest.raises(Permanent, match="spec.replicas"):
        stage.roll(invalid)
    assert ["web"] == stage.names("deployment")


def test_what_is_nobodys_is_not_deleted_by_replace(stage):
    stage.inside("create", "deployment", "web", "--image=x", "--replicas=0")

    with pytest.raises(Permanent, match="field is immutable"):
        stage.roll(handled(other_selector(), replace=True), force=True)


def test_a_change_of_a_recreate_field_creates_anew_and_another_does_not(stage):
    def how(a, b):
        return handled(config(a=a, b=b), replace=True, recreate_fields=("data.a",))

    stage.roll(how("1", "1"))
    first = stage.live("configmap", "m")["metadata"]["uid"]
    stage.roll(how("1", "2"))
    second = stage.live("configmap", "m")["metadata"]["uid"]
    told = stage.told(how("2", "2"))
    stage.roll(how("2", "2"))

    assert first == second
    assert second != stage.live("configmap", "m")["metadata"]["uid"]
    assert "change: data.a: 1 -> 2\ndeleted and created again: a field cannot be changed in place" == told


def test_an_unknown_field_is_refused_by_name(stage):
    wanted = deployment(replicas=0, spec={"replica": 3})

    assert ".spec.replica: field not declared in schema" in stage.told(wanted)
    with pytest.raises(Permanent, match=r"\.spec\.replica: field not declared in schema"):
        stage.roll(wanted)


def test_an_unknown_kind_is_refused_by_name(stage):
    wanted = {"apiVersion": "example.com/v1", "kind": "Nothing", "metadata": {"name": "it"}}

    told = "serves no Nothing in example.com/v1; is its CustomResourceDefinition installed?"
    assert f"refused: {told}" == stage.told(wanted)
    with pytest.raises(Permanent, match=re.escape(f"remote: {told}")):
        stage.roll(wanted)


def test_one_refusal_does_not_hide_another_nor_stop_what_is_beside_it(stage):
    bad = [config(name) | {"data": {"a": 1}} for name in ("bad-1", "bad-2")]

    with pytest.raises(Permanent, match=r"(?s)bad-1.*\n.*bad-2"):
        stage.roll(bad[0], config("good"), bad[1])
    assert ["good"] == stage.names()


def test_a_name_that_is_no_dns_label_is_refused_in_the_servers_words(stage):
    assert "Invalid value" in stage.told(config("Not_A_Name"))


def test_a_missing_namespace_is_created_first(stage):
    other = f"{stage.namespace}-more"
    stage.beside.append(f"namespace/{other}")
    wanted = config()
    wanted["metadata"]["namespace"] = other

    assert {other: Action.CREATE, "m": Action.CREATE} == stage.planned(wanted)
    assert {other: Action.CREATE, "m": Action.CREATE} == stage.roll(wanted)
    assert {"m": Action.UNCHANGED} == stage.planned(wanted)


def test_an_object_in_another_namespace_is_pruned_too(stage):
    test_a_missing_namespace_is_created_first(stage)

    assert ["m"] == stage.prune()


def test_a_terminating_namespace_is_refused_in_the_servers_words_and_no_right_is_advised(stage):
    held = config("held") | {"metadata": {"name": "held", "finalizers": ["flotilla.dev/test"]}}
    stage.inside("create", "-f", "-", input=held)
    stage.kubectl("delete", "namespace", stage.namespace, "--wait=false")
    try:
        assert "because it is being terminated" in stage.told(config())
        with pytest.raises(Permanent, match=r"because it is being terminated \(HTTP 403\)$"):
            stage.roll(config())
    finally:
        stage.inside("patch", "configmap", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def definition(stage):
    plural, kind = f"ships{stage.suffix}", f"Ship{stage.suffix}"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"sails": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.flotilla.dev"},
        "spec": {
            "group": "test.flotilla.dev",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def test_a_definition_and_an_object_of_it_are_one_application(stage):
    stage.beside.append(f"crd/ships{stage.suffix}.test.flotilla.dev")
    ship = {
        "apiVersion": "test.flotilla.dev/v1",
        "kind": f"Ship{stage.suffix}",
        "metadata": {"name": "one"},
        "spec": {"sails": 3},
    }
    wanted = [ship, definition(stage)]

    assert {Action.CREATE} == set(stage.planned(*wanted).values())
    assert {Action.CREATE} == set(stage.roll(*wanted).values())
    assert {Action.UNCHANGED} == set(stage.planned(*wanted).values())
    assert ["one"] == stage.prune(definition(stage))


APPLY_ONCE = [
    (("data.a",), {"a": "live", "b": "2"}),
    (("*",), {"a": "live", "b": "1"}),
    ((), {"a": "1", "b": "2"}),
]


@pytest.mark.parametrize(("paths", "left"), APPLY_ONCE)
def test_apply_once_keeps_live_values(stage, paths, left):
    stage.roll(config(a="1", b="1"))
    stage.inside("patch", "configmap", "m", "-p", '{"data": {"a": "live"}}')

    stage.roll(handled(config(a="1", b="2"), apply_once=paths), force=True)

    assert left == stage.live("configmap", "m")["data"]


def test_apply_once_of_replicas_leaves_them_to_the_autoscaler(stage):
    wanted = handled(deployment(replicas=0), apply_once=("spec.replicas",))
    stage.roll(wanted)
    stage.inside("scale", "deployment", "web", "--replicas=2")

    assert {"web": Action.UNCHANGED} == stage.planned(wanted)


def test_what_is_read_only_is_looked_at_and_never_applied(stage):
    stage.inside("create", "configmap", "m", "--from-literal=a=live")
    wanted = [handled(config(a="1"), read_only=True), handled(config("absent"), read_only=True)]

    assert {"m": Action.READ, "absent": Action.READ} == stage.planned(*wanted)
    assert {} == stage.roll(*wanted)
    assert {"a": "live"} == stage.live("configmap", "m")["data"]


def test_kubectl_finds_the_members_by_the_label_of_the_set(stage):
    stage.roll(config("one"), config("two"))
    parent = stage.live("configmap", f"flotilla.{stage.name}")
    label = f"applyset.kubernetes.io/part-of={parent['metadata']['labels']['applyset.kubernetes.io/id']}"

    assert ["one", "two"] == [
        name.partition("/")[2] for name in stage.inside("get", "configmap", "-l", label, "-o", "name").split()
    ]


def test_kubectl_counts_the_id_of_a_set_as_we_do(stage):
    """Kubectl writes a set of its own with a parent of our name: the id is the same."""
    name = f"flotilla.{stage.name}"
    words = ["apply", "--prune", f"--applyset=configmap/{name}", "-f", "-"]
    alpha = {**os.environ, "KUBECTL_APPLYSET": "true"}
    stage.inside(*words, input=config(), env=alpha)

    assert applyset_id(stage.name, stage.namespace) == stage.live("configmap", name)["metadata"]["labels"][ID]


def test_kubectl_leaves_our_set_to_us(stage):
    stage.roll(config())
    alpha = {**os.environ, "KUBECTL_APPLYSET": "true"}

    told = stage.inside(
        "apply",
        "--prune",
        f"--applyset=configmap/flotilla.{stage.name}",
        "-f",
        "-",
        input=config("new"),
        env=alpha,
        check=False,
    )

    assert 'managed by tooling "flotilla" instead of "kubectl"' in told
    assert ["m"] == stage.names()


def test_a_thousand_objects_are_found_page_by_page(stage):
    wanted = [config(f"m{number:04}") for number in range(1100)]
    stage.roll(*wanted)

    assert {Action.UNCHANGED} == set(stage.planned(*wanted).values())
