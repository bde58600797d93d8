"""What differs from what was rolled out, and what a policy lets differ."""

from __future__ import annotations

import pytest

from flotilla.differences import FieldChange
from flotilla.drift import drift_in, is_tolerated, missed, newest_good
from flotilla.facts import Unknown
from flotilla.intent import Handling, Intent, Mode, RenderedObject
from flotilla.objects import key_of
from flotilla.report import ClusterReport, End, Report, ending_of
from flotilla.revisions import Revision, RevisionState
from flotilla.rollout import ClusterLook, Sighting, Wanted


def deployment(replicas: int, manager: str = "") -> dict:
    found = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n"},
        "spec": {"replicas": replicas},
    }
    if manager:
        found["metadata"]["managedFields"] = [{"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    return found


def look(live: dict | None, handling: Handling | None = None) -> ClusterLook:
    wanted = Wanted("deploy", 0, key_of(deployment(3)), RenderedObject(deployment(3), "web", handling=handling or Handling()))
    return ClusterLook("remote", (Sighting(wanted, live=live, merged=deployment(3)),))


def test_a_changed_field_is_told_with_both_values_and_its_owner():
    (row,) = drift_in("app", look(deployment(5, manager="kubectl")))

    assert ("spec.replicas", "5", "3", "kubectl") == (row.field, row.found, row.rolled_out, row.owner)


def test_an_object_that_is_gone_is_told_as_missing():
    (row,) = drift_in("app", look(None))

    assert "missing" == row.found


def test_what_is_as_it_was_rolled_out_is_not_told():
    assert () == drift_in("app", look(deployment(3)))


def test_a_cluster_that_nobody_could_look_at_is_no_drift():
    assert () == drift_in("app", Unknown("remote", "does not answer"))


@pytest.mark.parametrize(
    ("paths", "affect", "tolerated"),
    [
        (("spec.replicas",), "always", True),
        (("spec",), "onStateKeep", True),
        (("*",), "onStateKeep", True),
        (("spec.replicas",), "onUpdate", False),
        (("spec.repl",), "always", False),
        ((), "always", False),
    ],
)
def test_apply_once_tolerates_its_paths_when_state_is_kept(paths, affect, tolerated):
    handling = Handling(apply_once=paths, apply_once_affects=affect)

    assert tolerated == is_tolerated(FieldChange("spec.replicas", 5, 3), handling)


def revision(name: str, number: int, state: RevisionState, cluster: str = "remote") -> Revision:
    return Revision(cluster, number, state, Intent(name, "n", Mode.DAG, ()), digest="d")


def test_the_newest_good_revision_of_each_application_counts_whichever_cluster_holds_it():
    held = [
        revision("a", 1, RevisionState.GOOD),
        revision("a", 2, RevisionState.GOOD, "production"),
        revision("a", 3, RevisionState.FAILED),
        revision("b", 7, RevisionState.ROLLING_OUT),
    ]

    assert [("a", 2)] == [(one.intent.name, one.number) for one in newest_good(held)]


ROLLING, GOOD, FAILED = RevisionState.ROLLING_OUT, RevisionState.GOOD, RevisionState.FAILED


@pytest.mark.parametrize(
    ("own", "other", "number"),
    [
        ((2, ROLLING), (2, FAILED), 2),
        ((2, FAILED), (2, FAILED), None),
        ((2, ROLLING), (2, ROLLING), None),
        ((1, ROLLING), (1, FAILED), None),
        ((3, ROLLING), (2, FAILED), None),
    ],
)
def test_a_cluster_missed_a_way_back_only_if_others_took_it(own, other, number):
    found = missed([revision("a", *own)], [revision("a", *other)], revision("a", 1, GOOD))

    assert number == (found.number if found else None)


@pytest.mark.parametrize(
    ("states", "owing", "end"),
    [
        (("healthy", "healthy"), (), End.GOOD),
        (("healthy", "unreachable"), ("b",), End.PARTIAL),
        (("healthy", "failed"), (), End.PARTIAL),
        (("healthy", "skipped"), (), End.PARTIAL),
    ],
)
def test_an_ending_is_good_only_where_every_cluster_is_healthy(states, owing, end):
    clusters = tuple(ClusterReport(name, state) for name, state in zip("ab", states, strict=True))

    assert end == ending_of(clusters, owing)


def test_a_report_tells_itself_in_one_line():
    report = Report("podinfo", 3, End.PARTIAL, "hash", owing=("remote",))

    assert "podinfo revision 3: partial; owing: remote" == report.sentence()
