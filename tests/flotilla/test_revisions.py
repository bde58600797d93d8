"""Revisions: what is written can be read back, and numbers and last good ones are found."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.errors import Permanent
from flotilla.intent import (
    Delivery,
    Fill,
    Handling,
    Intent,
    Mode,
    ObjectRef,
    Output,
    Recycle,
    RenderedObject,
    Step,
    StepKind,
    WavePolicy,
    Webhook,
)
from flotilla.revisions import (
    LIMIT,
    STATE,
    Approval,
    Revision,
    RevisionState,
    decoded,
    encoded,
    intent_digest,
    last_good,
    next_number,
    superfluous,
)

TEXTS = st.text(max_size=8)
NAMES = st.sampled_from(["a", "b", "c"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
MANIFESTS = st.fixed_dictionaries({"apiVersion": st.just("v1"), "kind": st.just("Thing"), "spec": JSON})
PATHS = st.lists(NAMES | st.integers(0, 3), max_size=3).map(tuple)
HANDLINGS = st.builds(
    Handling,
    read_only=st.booleans(),
    shared=st.booleans(),
    recycle=st.sampled_from(Recycle),
    apply_once=st.lists(NAMES, max_size=2).map(tuple),
)
OBJECTS = st.builds(RenderedObject, MANIFESTS, NAMES, NAMES, HANDLINGS)
DELIVERIES = st.builds(Delivery, NAMES, NAMES, st.lists(st.lists(OBJECTS, max_size=2).map(tuple), max_size=2).map(tuple))
WEBHOOKS = st.builds(Webhook, TEXTS, TEXTS, TEXTS, st.lists(st.builds(Fill, NAMES, PATHS), max_size=1).map(tuple))
STEPS = st.builds(
    Step,
    name=NAMES,
    kind=st.sampled_from(StepKind),
    timeout=st.none() | st.floats(0, 100),
    deliveries=st.lists(DELIVERIES, max_size=1).map(tuple),
    wave=st.builds(WavePolicy, soak=st.floats(0, 10)),
    webhooks=st.lists(WEBHOOKS, max_size=1).map(tuple),
    read=st.none() | st.builds(ObjectRef, NAMES, NAMES, NAMES, NAMES, NAMES),
    outputs=st.lists(st.builds(Output, NAMES, PATHS, st.none() | TEXTS), max_size=1).map(tuple),
)
GROUPS = st.builds(replace, STEPS, sub_steps=st.lists(STEPS, max_size=2).map(tuple))
INTENTS = st.builds(Intent, NAMES, NAMES, st.sampled_from(Mode), st.lists(STEPS | GROUPS, max_size=2).map(tuple), TEXTS)
REVISIONS = st.builds(
    Revision,
    cluster=st.just("remote"),
    number=st.integers(1, 9),
    state=st.sampled_from(RevisionState),
    intent=INTENTS,
    digest=TEXTS,
    run=TEXTS,
    steps=st.lists(NAMES, max_size=2).map(tuple),
    approvals=st.lists(st.builds(Approval, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), max_size=1).map(tuple),
    note=TEXTS,
)
INTENT = Intent("web", "shop", Mode.DAG, ())


def with_objects(*objects: RenderedObject, **more: Any) -> Intent:
    step = Step("deploy", StepKind.DEPLOY, deliveries=(Delivery("remote", "shop", (objects,)),))
    return replace(INTENT, steps=(step,), **more)


def revision(number: int, state: RevisionState = RevisionState.GOOD, wanted: str = "") -> Revision:
    return Revision("remote", number, state, INTENT, wanted or f"digest-{number}")


@given(REVISIONS)
def test_a_revision_can_be_read_back(one):
    assert one == decoded("remote", encoded(one))


@given(REVISIONS)
def test_what_is_read_back_has_the_same_digest(one):
    assert intent_digest(one.intent) == intent_digest(decoded("remote", encoded(one)).intent)


def test_a_revision_is_found_by_name_number_and_label():
    written = encoded(revision(3))

    assert ("flotilla.web.3", "shop", 3) == (written["metadata"]["name"], written["metadata"]["namespace"], written["revision"])
    assert "web" == written["metadata"]["labels"]["flotilla.dev/application"]


SAME = [replace(INTENT, source="elsewhere.yaml"), replace(INTENT, warnings=("careful",))]
OTHER = [
    replace(INTENT, name="shop"),
    replace(INTENT, keep_revisions=3),
    with_objects(RenderedObject({"kind": "A"}, "web")),
    with_objects(RenderedObject({"kind": "A"}, "web", handling=Handling(shared=True))),
]


@pytest.mark.parametrize("other", SAME)
def test_where_an_intent_stands_does_not_change_its_digest(other):
    assert intent_digest(INTENT) == intent_digest(other)


def test_everything_else_changes_the_digest():
    assert len(OTHER) + 1 == len({intent_digest(one) for one in (INTENT, *OTHER)})


def large(size: int) -> Intent:
    """Return an intent whose manifests take ``size`` bytes that can't be compressed."""
    noise = base64.b64encode(random.Random(1).randbytes(size * 3 // 4)).decode()
    return with_objects(RenderedObject({"kind": "ConfigMap", "data": {"noise": noise}}, "web"))


def test_what_would_not_fit_is_refused_with_its_size_and_the_limit():
    with pytest.raises(Permanent, match=r"web: its 1\.6 MB of manifests take 1\.6\d MB compressed; a revision holds 1\.05 MB"):
        encoded(replace(revision(1), intent=large(1_600_000)))


def test_five_megabytes_of_ordinary_manifests_fit():
    data = {f"key-{i}": f"some value that is like the others {i}" for i in range(2000)}
    objects = [RenderedObject({"kind": "ConfigMap", "metadata": {"name": f"m{i}"}, "data": data}, "web") for i in range(45)]

    written = encoded(replace(revision(1), intent=with_objects(*objects)))

    assert len(written["data"]["intent"]) < LIMIT


BROKEN = [
    {"data": {}},
    {"data": {"intent": "%%%"}},
    {"data": {"intent": base64.b64encode(b"not xz").decode()}},
    {"data": None},
    {"revision": None},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_flotilla_did_not_write_is_refused_by_name(broken):
    with pytest.raises(Permanent, match=r"remote: ControllerRevision shop/flotilla\.web\.1 cannot be read as a revision"):
        decoded("remote", {**encoded(revision(1)), **broken})


def test_a_state_that_nobody_knows_is_refused():
    written = encoded(revision(1))
    written["metadata"]["annotations"][STATE] = "odd"

    with pytest.raises(Permanent, match="odd"):
        decoded("remote", written)


GOOD, FAILED, ROLLING = RevisionState.GOOD, RevisionState.FAILED, RevisionState.ROLLING_OUT
LAST = [
    ([], None, None),
    ([(1, FAILED), (2, ROLLING)], None, None),
    ([(2, GOOD), (1, GOOD), (3, FAILED)], None, 2),
    ([(1, GOOD), (2, GOOD)], 2, 1),
    ([(2, GOOD)], 2, None),
]


@pytest.mark.parametrize(("held", "before", "number"), LAST)
def test_the_last_good_revision_is_the_newest_that_was_good(held, before, number):
    found = last_good([revision(*one) for one in held], before)

    assert number == (found.number if found else None)


NUMBERS = [
    ([], "x", 1),
    ([(1, GOOD, "x")], "x", 1),
    ([(1, GOOD, "x")], "y", 2),
    ([(2, FAILED, "y"), (1, GOOD, "x")], "x", 3),
    ([(2, ROLLING, "y"), (1, GOOD, "x")], "y", 2),
]


@pytest.mark.parametrize(("held", "wanted", "number"), NUMBERS)
def test_the_same_intent_goes_on_with_its_number_and_another_gets_the_next(held, wanted, number):
    assert number == next_number([revision(*one) for one in held], wanted)


KEPT = [
    ([(1, GOOD), (2, GOOD), (3, GOOD)], 2, [1]),
    ([(1, GOOD), (2, FAILED), (3, FAILED)], 1, [2]),
    ([(3, GOOD), (1, GOOD), (2, GOOD)], 5, []),
    ([(1, GOOD), (2, GOOD)], 0, [1]),
    ([], 3, []),
]


@pytest.mark.parametrize(("held", "keep", "gone"), KEPT)
def test_old_revisions_go_but_never_the_last_good_one(held, keep, gone):
    assert gone == [one.number for one in superfluous([revision(*one) for one in held], keep)]
