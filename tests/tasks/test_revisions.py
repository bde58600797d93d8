"""Revisions kept in a real cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flotilla.errors import Permanent, Transient
from flotilla.revisions import Revision, RevisionState, intent_digest
from tasks import objects
from tasks.revisions import all_revisions, discard_revision, revisions_of, save_revision
from tests.tasks.stage import Stage, config

pytestmark = pytest.mark.lab

GOOD, ROLLING = RevisionState.GOOD, RevisionState.ROLLING_OUT


def revision(stage: Stage, number: int = 1, state: RevisionState = ROLLING, name: str = "", **data: str) -> Revision:
    intent = stage.intent(config(**data), name=name)
    return Revision(stage.connection.name, number, state, intent, intent_digest(intent), run="a run")


def kept(stage: Stage) -> tuple[Revision, ...]:
    return revisions_of(stage.connection, stage.name, stage.namespace)


def test_a_cluster_without_revisions_has_none(stage):
    assert () == kept(stage)


def test_what_is_saved_is_read_back_oldest_first(stage):
    saved = [save_revision(stage.connection, revision(stage, number)) for number in (10, 9)]

    assert (saved[1], saved[0]) == kept(stage)


def test_state_and_notes_of_a_revision_may_change(stage):
    first = save_revision(stage.connection, revision(stage))

    then = save_revision(stage.connection, replace(first, state=GOOD, steps=("deploy",), note="done"))

    assert (then,) == kept(stage)


def test_what_a_revision_holds_never_changes(stage):
    save_revision(stage.connection, revision(stage, a="1"))

    with pytest.raises(Permanent, match=r"could not write revision 1 of .*: .*immutable"):
        save_revision(stage.connection, revision(stage, a="2"))
    assert (revision(stage, a="1"),) == kept(stage)


def test_revisions_of_another_application_are_not_ours(stage):
    save_revision(stage.connection, revision(stage, name="other"))

    assert () == kept(stage)
    assert ["other"] == [one.intent.name for one in all_revisions(stage.connection) if one.intent.namespace == stage.namespace]


def test_a_revision_is_discarded_and_once_more_is_fine(stage):
    one, other = (save_revision(stage.connection, revision(stage, number)) for number in (1, 2))

    discard_revision(stage.connection, one)
    discard_revision(stage.connection, one)

    assert (other,) == kept(stage)


def test_revisions_that_kubernetes_keeps_for_its_own_are_not_read(stage):
    own = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "web-1"}, "revision": 1, "data": {}}
    stage.inside("create", "-f", "-", input=own)

    assert () == kept(stage)


def test_revisions_that_nobody_could_read_are_not_none(stage, proxy, monkeypatch):
    monkeypatch.setattr(objects, "ATTEMPTS", 2)
    proxy.make(path="controllerrevisions", cut="before", times=99)

    with pytest.raises(Transient, match="does not answer"):
        revisions_of(proxy.connection, stage.name, stage.namespace)


def test_a_revision_of_a_megabyte_is_kept(stage):
    one = revision(stage, text="".join(f"{number * 7919 % 1000003:x}" for number in range(190_000)))

    save_revision(stage.connection, one)

    assert (one,) == kept(stage)
