"""What others write while we look or apply, and how objects that are not ours are found: against a real API server."""

from __future__ import annotations

import pytest

import tasks.scene
import tasks.workloads
from flotilla.errors import Permanent
from flotilla.rollout import Action
from tasks.objects import kind_of, names_in
from tests.tasks.stage import Stage, config

pytestmark = pytest.mark.lab


@pytest.fixture
def meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Have a controller write to an object between the list and the dry run of a look."""

    def write_to(name: str) -> None:
        listed = tasks.scene.members_of

        def members_of(*arguments):
            found = listed(*arguments)
            stage.inside("annotate", "configmap", name, "controller.example/seen=1", "--overwrite")
            return found

        monkeypatch.setattr(tasks.scene, "members_of", members_of)

    return write_to


def test_what_a_controller_writes_during_a_look_is_no_change_of_ours(stage, meanwhile):
    stage.roll(config(a="1"))
    meanwhile("m")

    assert "change: data.a: 1 -> 2" == stage.told(config(a="2"))


def test_an_object_that_is_deleted_during_a_look_is_created(stage, monkeypatch):
    stage.roll(config(a="1"))
    listed = tasks.scene.members_of

    def members_of(*arguments):
        found = listed(*arguments)
        stage.inside("delete", "configmap", "m")
        return found

    monkeypatch.setattr(tasks.scene, "members_of", members_of)

    assert {"m": Action.CREATE} == stage.planned(config(a="2"))


MANY = [config(f"m{number}") for number in range(6)]


def test_many_new_objects_are_created_without_reading_each(stage, monkeypatch):
    read = []
    monkeypatch.setattr(tasks.workloads, "read", lambda *place: read.append(place) or tasks.objects.read(*place))

    assert {one["metadata"]["name"]: Action.CREATE for one in MANY} == stage.roll(*MANY)
    assert [] == [place for place in read if place[-1].startswith("m")]


def test_among_many_new_objects_that_of_another_application_is_still_not_taken(stage):
    stage.roll(MANY[3], name="other")

    with pytest.raises(Permanent, match=r"ConfigMap \S+/m3 belongs to application"):
        stage.roll(*MANY)


def test_among_many_new_objects_one_that_is_there_already_is_changed_and_not_created(stage):
    stage.inside("create", "configmap", "m3", "--from-literal=other=1")

    assert Action.CHANGE == stage.roll(*MANY)["m3"]


@pytest.mark.parametrize(("at_most", "told"), [(1, False), (100, True)])
def test_names_are_listed_unless_there_are_too_many(stage, at_most, told):
    stage.roll(*MANY)
    kind = kind_of(stage.connection, "v1", "ConfigMap")

    found = names_in(stage.connection, kind, stage.namespace, at_most)

    assert told == (found is not None and {one["metadata"]["name"] for one in MANY} <= found)
