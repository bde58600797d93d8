"""The plan of a rollout, the verdict over a wave, and the way back: tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.differences import FieldChange
from flotilla.facts import Unknown
from flotilla.intent import Handling, OnUnreachable, Recycle, RenderedObject, WavePolicy
from flotilla.objects import ObjectKey
from flotilla.rollout import (
    Action,
    ClusterEnding,
    ClusterLook,
    Conflict,
    Ending,
    Plan,
    PlannedChange,
    Return,
    Sighting,
    Stray,
    Verdict,
    Wanted,
    judge_wave,
    plan,
    way_back,
)

KEY = ObjectKey("", "ConfigMap", "n", "m")
CLUSTERS = ["production", "same-city", "remote"]


def config(value: str = "1") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, "data": {"a": value}}


def seen(live: Any = None, merged: Any = None, handling: Handling = Handling(), **more: Any) -> Sighting:  # noqa: B008
    return Sighting(Wanted("deploy", 0, KEY, RenderedObject(config(), "web", handling=handling)), live, merged, **more)


CONFLICT = (Conflict("spec.replicas", "kubectl"), Conflict("data.a", "helm"))
OWNED = "spec.replicas is owned by kubectl, data.a is owned by helm"
SIGHTINGS = [
    (seen(), Action.CREATE, "", ""),
    (seen(merged=config()), Action.CREATE, "", ""),
    (seen(note="its namespace is created first"), Action.CREATE, "", "its namespace is created first"),
    (seen(config(), config()), Action.UNCHANGED, "", ""),
    (seen(config("1"), config("2")), Action.CHANGE, "data.a: 1 -> 2", ""),
    (seen(config(), conflicts=CONFLICT), Action.CONFLICT, "", OWNED),
    (seen(conflicts=CONFLICT), Action.CONFLICT, "", OWNED),
    (seen(config(), refusal="no"), Action.REFUSED, "", "no"),
    (seen(config("1"), config("2"), Handling(read_only=True)), Action.READ, "", ""),
    (seen(handling=Handling(read_only=True)), Action.READ, "", "is not there"),
]


@pytest.mark.parametrize(("sighting", "action", "fields", "message"), SIGHTINGS)
def test_what_is_seen_decides_what_is_done(sighting, action, fields, message):
    (change,) = plan("web", {"remote": ClusterLook("remote", (sighting,))}).changes

    assert ("remote", "deploy", KEY, action) == (change.cluster, change.step, change.key, change.action)
    assert (fields, message) == (", ".join(map(str, change.fields)), change.message)


STRAYS = [
    (Stray(KEY, "u"), [Action.DELETE]),
    (Stray(KEY, "u", orphan=True), [Action.RELEASE]),
    (Stray(KEY, "u", Recycle.NEVER), []),
    (Stray(KEY, "u", Recycle.ON_APP_DELETE), []),
]


@pytest.mark.parametrize(("stray", "actions"), STRAYS)
def test_what_is_no_longer_named_goes_as_its_policy_says(stray, actions):
    found = plan("web", {"remote": ClusterLook("remote", (), (stray,))})

    assert actions == [change.action for change in found.changes]


def test_a_cluster_that_nobody_could_look_at_is_unreachable_and_nothing_is_deleted_there():
    found = plan("web", {"remote": Unknown("remote", "does not answer"), "production": ClusterLook("production", (seen(),))})

    assert (("remote",), ()) == (found.unreachable, found.deletes)
    assert "remote: unreachable; production: 1 create" == found.summary()


def test_a_plan_with_an_unreachable_cluster_is_not_empty():
    assert not plan("web", {"remote": Unknown("remote", "does not answer")}).is_empty


@pytest.mark.parametrize(("sighting", "empty"), [(seen(config(), config()), True), (SIGHTINGS[8][0], True), (seen(), False)])
def test_a_plan_is_empty_where_everything_stays(sighting, empty):
    assert empty == plan("web", {"remote": ClusterLook("remote", (sighting,))}).is_empty


def test_refusals_and_conflicts_block():
    sightings = tuple(row[0] for row in SIGHTINGS)

    found = plan("web", {"remote": ClusterLook("remote", sightings)})

    assert {Action.CONFLICT, Action.REFUSED} == {change.action for change in found.blocked}


def test_the_part_of_a_step_has_the_deletes_too():
    one = PlannedChange("remote", "first", KEY, Action.CREATE)
    other, gone = replace(one, step="second"), replace(one, step="", action=Action.DELETE)

    assert (other, gone) == Plan("web", (one, other, gone)).of_steps(["second"]).changes


def test_rows_tell_fields_and_message_and_leave_out_what_stays():
    change = PlannedChange("remote", "deploy", KEY, Action.CHANGE, (FieldChange("data.a", 1, 2),), "because")
    row = {"cluster": "remote", "step": "deploy", "action": "change", "object": "ConfigMap n/m"}

    found = Plan("web", (change, replace(change, action=Action.UNCHANGED))).rows()

    assert [{**row, "fields": "data.a: 1 -> 2\nbecause"}] == found


VALUES = st.none() | st.integers(0, 2) | st.sampled_from(["a", "1"])
FIELDS = st.lists(st.builds(FieldChange, st.sampled_from(["a", "b"]), VALUES, VALUES), max_size=2).map(tuple)
NAMES = st.sampled_from(["a", "b"])
KEYS = st.builds(ObjectKey, st.just(""), st.sampled_from(["ConfigMap", "Service"]), NAMES, NAMES)
CHANGES = st.builds(
    PlannedChange,
    st.sampled_from(CLUSTERS),
    NAMES,
    st.none() | KEYS,
    st.sampled_from(Action),
    FIELDS,
    st.sampled_from(["", "x"]),
)
LISTS = st.lists(CHANGES, max_size=6)


@given(LISTS, st.randoms())
def test_the_hash_does_not_depend_on_the_order(changes, chance):
    mixed = chance.sample(changes, len(changes))

    assert Plan("web", tuple(changes)).hash == Plan("web", tuple(mixed)).hash


@given(LISTS, LISTS)
def test_the_hash_does_not_depend_on_what_stays_as_it_is(changes, others):
    unchanged = [replace(one, action=Action.UNCHANGED) for one in others]

    assert Plan("web", tuple(changes)).hash == Plan("web", (*unchanged, *changes)).hash


@given(LISTS, CHANGES.filter(lambda one: one.action is not Action.UNCHANGED))
def test_the_hash_is_another_one_where_more_is_done(changes, more):
    assert Plan("web", tuple(changes)).hash != Plan("web", (*changes, more)).hash


def test_the_hash_tells_two_applications_apart():
    assert Plan("web").hash != Plan("shop").hash


def test_the_hash_tells_a_number_from_its_text():
    change = PlannedChange("remote", "deploy", KEY, Action.CHANGE, (FieldChange("data.a", None, 1),))
    other = replace(change, fields=(FieldChange("data.a", None, "1"),))

    assert Plan("web", (change,)).hash != Plan("web", (other,)).hash


def test_the_hash_of_a_create_tells_what_is_created():
    first, second = (
        plan("web", {"remote": ClusterLook("remote", (replace(seen(), wanted=Wanted("deploy", 0, KEY, item)),))})
        for item in (RenderedObject(config("1"), "web"), RenderedObject(config("2"), "web"))
    )

    assert first.hash != second.hash


def test_the_hash_tells_apart_what_a_secret_hides():
    first, second = (
        plan("web", {"remote": ClusterLook("remote", (replace(seen(), live=old, merged=new, wanted=wanted),))})
        for old, new, wanted in [secret_change("bmV3"), secret_change("bmV3ZXI=")]
    )

    assert first.rows() == second.rows()
    assert first.hash != second.hash


def secret_change(value: str) -> tuple[Any, Any, Wanted]:
    old, new = ({**config(data), "kind": "Secret"} for data in ("b2xk", value))
    return old, new, Wanted("deploy", 0, KEY, RenderedObject(new, "web"))


def test_the_hash_does_not_depend_on_the_words_in_which_a_cluster_failed_to_answer():
    refused, late = (plan("web", {"remote": Unknown("remote", reason)}) for reason in ("connection refused", "timed out"))

    assert refused.hash == late.hash


GO_ON, HOLD, STOP = (WavePolicy(on_unreachable=choice) for choice in OnUnreachable)
H, F, U = Ending.HEALTHY, Ending.FAILED, Ending.UNREACHABLE
WAVES = [
    ([], GO_ON, Verdict.GO),
    ([H, H], GO_ON, Verdict.GO),
    ([H, F], GO_ON, Verdict.ROLL_BACK),
    ([H, F], WavePolicy(max_failures=1), Verdict.GO),
    ([F, F], WavePolicy(max_failures=1), Verdict.ROLL_BACK),
    ([H, U], GO_ON, Verdict.GO),
    ([H, U], HOLD, Verdict.HOLD),
    ([H, U], STOP, Verdict.STOP),
    ([F, U], HOLD, Verdict.ROLL_BACK),
    ([F, U], WavePolicy(max_failures=1, on_unreachable=OnUnreachable.STOP), Verdict.STOP),
]


@pytest.mark.parametrize(("endings", "policy", "verdict"), WAVES)
def test_failures_roll_back_and_unreachable_clusters_do_what_the_policy_says(endings, policy, verdict):
    assert verdict == judge_wave([ClusterEnding(f"c{i}", ending) for i, ending in enumerate(endings)], policy)


BACK = [
    ([], {}, ()),
    ([["a"]], {"a": 3}, ((Return("a", 3),),)),
    ([["a"]], {}, ((Return("a", None),),)),
    ([["a"], ["b", "c"]], {"a": 1, "b": 2}, ((Return("b", 2), Return("c", None)), (Return("a", 1),))),
    ([["a", "b"], ["b"]], {"a": 1, "b": 1}, ((Return("b", 1),), (Return("a", 1),))),
    ([["a"], ["a"]], {"a": 1}, ((Return("a", 1),),)),
]


@pytest.mark.parametrize(("waves", "good", "back"), BACK)
def test_the_way_back_goes_wave_by_wave_to_the_last_good_revision(waves, good, back):
    assert back == way_back(waves, good)


@given(st.lists(st.lists(st.sampled_from(CLUSTERS), max_size=4), max_size=4))
def test_the_way_back_is_the_reverse_order_with_each_cluster_once(waves):
    back = [one.cluster for wave in way_back(waves, {}) for one in wave]
    last_wave = {cluster: index for index, wave in enumerate(waves) for cluster in wave}

    assert sorted(last_wave) == sorted(back)
    assert sorted(back, key=lambda cluster: -last_wave[cluster]) == back
