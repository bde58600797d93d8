"""A rollout after a recovery: it brings what is new, and does not undo where the business runs."""

from __future__ import annotations

from typing import Any

import pytest

from flotilla.recovery.replicas import EPOCH, as_recovery_left_it


def deployment(replicas: int | None, kind: str = "Deployment", **annotations: str) -> dict[str, Any]:
    metadata = {"name": "orders", "annotations": annotations}
    return {"kind": kind, "metadata": metadata, "spec": {} if replicas is None else {"replicas": replicas}}


@pytest.mark.parametrize(
    ("wanted", "live", "applied"),
    [
        (0, 2, 2),  # the far site serves since a failover: the file calls it a standby still
        (1, 0, 0),
        (None, 0, 0),
        (3, 2, 3),  # it runs there either way: how often is the file's
        (0, 0, 0),
    ],
)
def test_where_it_runs_is_recoverys_and_how_often_the_files(wanted: int | None, live: int, applied: int):
    found = as_recovery_left_it(deployment(wanted), deployment(live, **{EPOCH: "7"}))

    assert applied == found["spec"]["replicas"]


@pytest.mark.parametrize(
    "live", [None, deployment(2), {"kind": "Deployment", "metadata": {"annotations": None}, "spec": {"replicas": 2}}]
)
def test_what_no_recovery_scaled_is_as_the_file_says(live: dict[str, Any] | None):
    wanted = deployment(0)

    assert wanted is as_recovery_left_it(wanted, live)


def test_other_kinds_are_as_the_file_says():
    wanted = deployment(0, "StatefulSet")

    assert wanted is as_recovery_left_it(wanted, deployment(2, "StatefulSet", **{EPOCH: "7"}))


def test_what_was_rendered_stays_as_it_was():
    wanted = deployment(0)
    as_recovery_left_it(wanted, deployment(2, **{EPOCH: "7"}))

    assert deployment(0) == wanted
