"""How two objects differ: told by field, entries of lists by their keys, bookkeeping left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.applyset import DIGEST
from flotilla.differences import FieldChange, comparable, differences, holds, owners, tolerated

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "1"])
KEYS = st.sampled_from(["name", "port", "a", "b.c", "d/e"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
MANIFESTS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.sampled_from(["ConfigMap", "Secret"]), "metadata": st.just({"name": "m"})},
    optional={"spec": VALUES, "data": VALUES},
)


def manifest(kind: str = "ConfigMap", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "m"}, **fields}


def with_spec(spec: Any) -> dict[str, Any]:
    return manifest("Thing", spec=spec)


CHANGES = [
    ({"replicas": 1}, {"replicas": 2}, ["spec.replicas: 1 -> 2"]),
    ({}, {"replicas": 2}, ["spec.replicas: (absent) -> 2"]),
    ({"replicas": 2}, {}, ["spec.replicas: 2 -> (absent)"]),
    ({"a": {"x": 1, "y": 2}}, {"a": {"x": 2, "y": 3}}, ["spec.a.x: 1 -> 2", "spec.a.y: 2 -> 3"]),
    ({"labels": {"app.io/name": "a"}}, {"labels": {"app.io/name": "b"}}, ["spec.labels[app.io/name]: a -> b"]),
    (
        {"containers": [{"name": "x", "image": "a"}, {"name": "y", "image": "a"}]},
        {"containers": [{"name": "y", "image": "b"}, {"name": "x", "image": "a"}]},
        ["spec.containers[y].image: a -> b"],
    ),
    (
        {"ports": [{"port": 80}]},
        {"ports": [{"port": 81}]},
        ["spec.ports[80]: {'port': 80} -> (absent)", "spec.ports[81]: (absent) -> {'port': 81}"],
    ),
    ({"ports": [{"port": 1}, {"port": 1}]}, {"ports": []}, ["spec.ports: [{'port': 1}, {'port': 1}] -> []"]),
    ({"args": ["a", "b"]}, {"args": ["a"]}, ["spec.args: ['a', 'b'] -> ['a']"]),
    ({"a": True}, {"a": 1}, ["spec.a: True -> 1"]),
    ({"a": None}, {}, []),
]


@pytest.mark.parametrize(("old", "new", "told"), CHANGES)
def test_changes_are_told_field_by_field(old, new, told):
    assert told == [str(change) for change in differences(with_spec(old), with_spec(new))]


def test_bookkeeping_of_the_server_and_of_ours_is_no_difference():
    old = manifest(status={"a": 1})
    new = manifest(status={"a": 2})
    new["metadata"] |= {"resourceVersion": "2", "uid": "u", "generation": 3, "managedFields": [{}]}
    new["metadata"]["annotations"] = {DIGEST: "d"}

    assert () == differences(old, new)


def test_values_of_secrets_are_told_apart_and_not_told():
    found = differences(manifest("Secret", data={"key": "b2xk"}), manifest("Secret", data={"key": "bmV3", "more": "eA=="}))

    assert (FieldChange("data.key", "*** (old)", "*** (new)"), FieldChange("data.more", None, "*** (new)")) == found


def test_a_secret_whose_data_appear_at_once_is_not_told_either():
    assert "c2VjcmV0" not in str(differences(manifest("Secret"), manifest("Secret", data={"key": "c2VjcmV0"})))


@given(MANIFESTS)
def test_nothing_differs_from_itself(one):
    assert () == differences(one, one)


@given(MANIFESTS, MANIFESTS)
def test_the_same_fields_differ_in_both_directions(one, other):
    other = {**other, "kind": one["kind"]}

    assert {c.path for c in differences(one, other)} == {c.path for c in differences(other, one)}


@given(VALUES)
def test_everything_holds_itself(value):
    assert holds(value, value)


@given(MANIFESTS, MANIFESTS)
def test_what_holds_both_ways_does_not_differ(one, other):
    if holds(comparable(one), comparable(other)) and holds(comparable(other), comparable(one)):
        assert () == differences(one, other)


HELD = [
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"a": 1, "b": 2}, False),
    ([{"name": "x", "defaulted": 1}], [{"name": "x"}], True),
    ([{"name": "x"}, {"name": "y"}], [{"name": "x"}], False),
    ([1, 2], [2, 1], False),
    ({"a": True}, {"a": 1}, False),
    ({"a": "1"}, {"a": 1}, False),
    ({}, {"a": None}, False),
]


@pytest.mark.parametrize(("live", "wanted", "held"), HELD)
def test_wanted_fields_have_to_be_there_and_others_may_be(live, wanted, held):
    assert held == holds(live, wanted)


TOLERATED = [
    ({"replicas": 2}, {"replicas": 5}, "spec.replicas", {"replicas": 5}),
    ({"replicas": 2}, {}, "spec.replicas", {"replicas": 2}),
    ({"c": [{"image": "a"}]}, {"c": [{"image": "b"}]}, "spec.c[0].image", {"c": [{"image": "b"}]}),
    ({"c": [{"image": "a"}]}, {"c": [{"image": "b"}]}, "spec.c[3].image", {"c": [{"image": "a"}]}),
    ({"a": {"b.c/d": 1}}, {"a": {"b.c/d": 2}}, "spec.a[b.c/d]", {"a": {"b.c/d": 2}}),
    ({"a": {"b.c/d": 1}}, {"a": {"b.c/d": 2}}, 'spec.a["b.c/d"]', {"a": {"b.c/d": 2}}),
    ({"a": {"80": 1}}, {"a": {"80": 2}}, "spec.a.80", {"a": {"80": 2}}),
    ({"c": [{"name": "x", "image": "a"}]}, {"c": [{"name": "y"}, {"name": "x", "image": "b"}]}, "spec.c[x].image",
     {"c": [{"name": "x", "image": "b"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "live", "path", "result"), TOLERATED)
def test_a_tolerated_field_is_applied_with_its_live_value(wanted, live, path, result):
    assert with_spec(result) == tolerated(with_spec(wanted), with_spec(live), [path])


def test_the_manifest_that_is_tolerated_is_not_changed():
    wanted = with_spec({"a": {"b": 1}})

    tolerated(wanted, with_spec({"a": {"b": 2}}), ["spec.a.b"])

    assert with_spec({"a": {"b": 1}}) == wanted


OWNED = {
    "metadata": {
        "managedFields": [
            {
                "manager": "flotilla",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:name": {}}},
                        "f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}},
                    },
                },
            },
            {
                "manager": "autoscaler",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app.io/name": {}}},
                    "f:spec": {"f:replicas": {}, "f:ports": {'k:{"containerPort":90,"protocol":"TCP"}': {"f:name": {}}}},
                },
            },
        ]
    }
}
OWNERS = [
    ("spec.replicas", ("autoscaler",)),
    ("spec.containers[web].image", ("flotilla",)),
    ("spec.containers[other].image", ("flotilla",)),
    ("spec.ports[90].name", ("autoscaler",)),
    ("metadata.labels[app.io/name]", ("autoscaler",)),
    ("metadata.labels.app", ("flotilla",)),
    ("spec.unknown", ("autoscaler", "flotilla")),
    ("data", ()),
]


@pytest.mark.parametrize(("path", "managers"), OWNERS)
def test_the_owners_of_a_field_are_those_of_the_nearest_thing_that_is_owned(path, managers):
    assert managers == owners(OWNED, path)
