"""Membership as KEP-3659 writes it, and the order of kinds."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.applyset import (
    CONTAINS,
    DIGEST,
    FATE,
    FIRST,
    ID,
    LAST,
    NAMESPACES,
    PART_OF,
    TOOLING,
    WORKLOADS,
    applyset_id,
    as_member,
    fate_of,
    kinds_of,
    namespaces_of,
    parent,
    rank,
    set_of,
)
from flotilla.intent import Handling, Recycle
from flotilla.objects import ObjectKey, digest

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
KEYS = st.builds(ObjectKey, st.sampled_from(["", "apps", "a.example.com"]), st.sampled_from(["Thing", "Other"]), NAMES, NAMES)
PLAIN = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "labels": {"a": "b"}}}


@given(NAMES, NAMES)
def test_the_id_is_the_formula_of_kep_3659(application, namespace):
    """applyset-<base64(sha256(<name>.<namespace>.<kind>.<group>)), URL safe without padding>-v1."""
    hashed = hashlib.sha256(f"flotilla.{application}.{namespace}.ConfigMap.".encode()).digest()
    encoded = base64.b64encode(hashed).decode().replace("+", "-").replace("/", "_").rstrip("=")

    assert f"applyset-{encoded}-v1" == applyset_id(application, namespace)


@given(NAMES, NAMES)
def test_the_id_fits_into_a_label(application, namespace):
    assert len(applyset_id(application, namespace)) <= 63


def test_the_parent_says_who_keeps_it_and_where_to_search():
    keys = [ObjectKey("apps", "Deployment", "b", "x"), ObjectKey("", "Service", "a", "x"), ObjectKey("", "Namespace", "", "b")]

    metadata = parent("web", "a", keys)["metadata"]

    assert ("flotilla.web", "a") == (metadata["name"], metadata["namespace"])
    assert applyset_id("web", "a") == metadata["labels"][ID]
    assert {TOOLING: "flotilla/v1", CONTAINS: "Deployment.apps,Namespace,Service", NAMESPACES: "b"} == metadata["annotations"]


@given(st.lists(KEYS, max_size=5))
def test_every_member_is_in_a_kind_and_a_namespace_that_the_parent_names(keys):
    written = parent("web", "home", keys)

    assert {(key.group, key.kind) for key in keys} == set(kinds_of(written))
    assert {key.namespace for key in keys} | {"home"} == set(namespaces_of(written))


def test_a_parent_of_nothing_names_its_own_namespace_only():
    assert ((), ("home",)) == (kinds_of(parent("web", "home", [])), namespaces_of(parent("web", "home", [])))


def test_a_member_carries_its_set_and_the_digest_of_what_was_asked_for():
    member = as_member(PLAIN, "the-set", Handling())

    assert {"a": "b", PART_OF: "the-set"} == member["metadata"]["labels"]
    assert {DIGEST: digest(PLAIN)} == member["metadata"]["annotations"]
    assert "the-set" == set_of(member)


def test_a_shared_object_belongs_to_no_set():
    assert "" == set_of(as_member(PLAIN, "the-set", Handling(shared=True)))


def test_becoming_a_member_leaves_the_manifest_as_it_was():
    as_member(PLAIN, "the-set", Handling())

    assert {"name": "m", "labels": {"a": "b"}} == PLAIN["metadata"]


@pytest.mark.parametrize("recycle", Recycle)
@pytest.mark.parametrize("orphan", [True, False])
def test_the_fate_of_a_member_can_be_read_back(recycle, orphan):
    member = as_member(PLAIN, "the-set", Handling(recycle=recycle, orphan=orphan))

    assert (recycle, orphan) == fate_of(member)


def test_an_ordinary_member_has_no_fate_written_on_it():
    assert FATE not in as_member(PLAIN, "the-set", Handling())["metadata"]["annotations"]


KINDS = [*FIRST, "Database", *WORKLOADS, *LAST]


@pytest.mark.parametrize("kind", KINDS[2:])
def test_namespaces_and_definitions_come_before_everything(kind):
    assert rank("Namespace") < rank("CustomResourceDefinition") < rank(kind)


@pytest.mark.parametrize("webhook", ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"])
def test_what_could_refuse_the_others_comes_last(webhook):
    assert all(rank(kind) < rank(webhook) for kind in KINDS if "Webhook" not in kind)


def test_kinds_are_applied_in_the_order_in_which_they_need_each_other():
    wanted = ["ServiceAccount", "Secret", "ConfigMap", "Role", "RoleBinding", "Service", "Database", "Deployment", "Ingress"]
    mixed = random.Random(1).sample(wanted, len(wanted))

    assert wanted == sorted(mixed, key=rank)


def test_workloads_go_side_by_side():
    assert 1 == len({rank(kind) for kind in WORKLOADS})
