"""An API server that is slow, overloaded, broken or away: waited for within limits, never taken for an empty cluster."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from flotilla.errors import Permanent, Transient
from flotilla.rollout import Action
from tasks import objects
from tasks.clusters import Connection
from tasks.observe import look_at_health, stay_healthy, wait_until_healthy
from tasks.scene import scene_of
from tasks.workloads import apply_step, prune, save_parent
from tests.tasks.stage import config, deployment, key, unknown

pytestmark = pytest.mark.lab


@pytest.fixture
def hasty(monkeypatch):
    """Give up after two attempts, so that tests of giving up are short."""
    monkeypatch.setattr(objects, "ATTEMPTS", 2)


PASSING = [
    {"delay": 1.0},
    {"status": 429, "headers": {"Retry-After": "1"}, "times": 2},
    {"status": 500, "times": 2},
    {"status": 503},
    {"cut": "before"},
    {"cut": "after"},
]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: str(next(iter(fault.items()))))
def test_a_fault_that_passes_is_waited_for(stage, proxy, fault, method):
    proxy.make(method=method, path="/configmaps", **fault)

    assert {"m": Action.CREATE} == stage.roll(config(), through=proxy.connection)
    assert {"m": Action.UNCHANGED} == stage.planned(config(), through=proxy.connection)


def test_errors_and_lost_answers_may_come_in_turn(stage, proxy):
    proxy.make(method="PATCH", path="/configmaps/m", status=500, times=3)
    proxy.make(method="PATCH", path="/configmaps/m", cut="before", times=2)

    with pytest.raises(Transient, match="does not answer"):
        stage.roll(config(), through=proxy.connection)
    assert 5 == len(proxy.requests("PATCH", "/configmaps/m"))


def test_retry_after_is_honoured(stage, proxy):
    proxy.make(method="PATCH", path="/configmaps/m", status=429, headers={"Retry-After": "2"})

    stage.roll(config(), through=proxy.connection)

    (pause,) = [later - earlier for earlier, later in pairwise(proxy.requests("PATCH", "/configmaps/m"))]
    assert 2.0 <= pause < 3.0


def test_what_was_done_before_the_answer_was_lost_is_not_done_twice(stage, proxy):
    stage.roll(config("old"), config("new"))
    proxy.make(method="DELETE", cut="after")
    scene = scene_of(proxy.connection, stage.intent(config("new")))

    prune(scene, list(scene.members))

    assert ["new"] == stage.names()


FOR_GOOD = [
    ({"status": 500}, "made by the test (HTTP 500)"),
    ({"status": 429}, "made by the test (HTTP 429)"),
    ({"cut": "before"}, "does not answer"),
]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize(("fault", "told"), FOR_GOOD)
def test_a_cluster_that_could_not_be_looked_at_is_unknown_and_never_empty(stage, proxy, hasty, fault, told, method):
    stage.roll(config("old"))
    proxy.make(method=method, path="/configmaps", times=99, **fault)

    seen = unknown(stage, proxy.connection, config("new"))

    assert told in seen.reason


@pytest.mark.parametrize(("fault", "told"), FOR_GOOD)
def test_an_apply_that_finds_no_answer_is_transient(stage, proxy, hasty, fault, told):
    scene = scene_of(proxy.connection, stage.intent(config()))
    proxy.make(method="PATCH", path="/configmaps", times=99, **fault)

    with pytest.raises(Transient, match=told.replace("(", r"\(").replace(")", r"\)")):
        apply_step(scene, "deploy", 0)


def test_a_server_that_hangs_is_given_up(stage, proxy, hasty, monkeypatch):
    monkeypatch.setitem(Connection.request.__kwdefaults__, "timeout", 0.5)
    proxy.make(path="/configmaps", delay=60.0, times=99)

    started = time.monotonic()
    seen = unknown(stage, proxy.connection, config())

    assert "does not answer" in seen.reason
    assert time.monotonic() - started < 60.0


def test_a_cluster_that_vanishes_between_plan_and_apply_is_told_soon_for_many_objects(stage, proxy, hasty):
    wanted = [config(f"m{number}") for number in range(100)]
    scene = scene_of(proxy.connection, stage.intent(*wanted))
    save_parent(scene)
    proxy.make(cut="before", times=9999)
    before = len(proxy.requests())

    with pytest.raises(Transient, match="does not answer"):
        apply_step(scene, "deploy", 0)

    assert len(proxy.requests()) - before < len(wanted)
    assert [] == stage.names()


def test_an_apply_that_was_interrupted_is_finished_by_the_next_one(stage, proxy, hasty):
    wanted = [config(f"m{number:02}") for number in range(30)]
    scene = scene_of(proxy.connection, stage.intent(*wanted))
    save_parent(scene)
    proxy.make(method="PATCH", path="/configmaps/m20", cut="after", times=99)
    with pytest.raises(Transient):
        apply_step(scene, "deploy", 0)

    stage.roll(*wanted)

    assert [one["metadata"]["name"] for one in wanted] == stage.names()
    assert {Action.UNCHANGED} == set(stage.planned(*wanted).values())


def test_a_refusal_beside_a_lost_answer_is_not_retried_for_ever(stage, proxy, hasty):
    scene = scene_of(proxy.connection, stage.intent(config("lost"), config("Bad_Name")))
    proxy.make(method="PATCH", path="/configmaps/lost", cut="before", times=99)

    with pytest.raises(Permanent, match=r"(?s)does not answer.*Bad_Name"):
        apply_step(scene, "deploy", 0)


def test_a_missing_namespace_that_cannot_be_looked_for_is_not_created(stage, proxy, hasty):
    proxy.make(path="/api/v1/namespaces/", status=500, times=99)

    with pytest.raises(Transient):
        scene_of(proxy.connection, stage.intent(config()))
    assert [] == proxy.requests("PATCH")


def test_an_api_server_that_is_away_for_a_while_does_not_fail_a_wait(stage, proxy, hasty):
    stage.roll(deployment(replicas=0))
    proxy.make(path="/deployments", cut="before", times=6)

    report = wait_until_healthy(proxy.connection, [key(stage.namespace)], timeout=20)

    assert report.is_healthy


def test_a_wait_says_in_the_end_that_nobody_could_look(stage, proxy, hasty):
    stage.roll(deployment(replicas=0))
    proxy.make(path="/deployments", cut="before", times=999)

    report = wait_until_healthy(proxy.connection, [key(stage.namespace)], timeout=1)

    assert not report.is_healthy
    assert () == report.failed
    assert "does not answer" in report.summary()


def test_a_look_that_nobody_could_take_does_not_end_the_soak(stage, proxy, hasty):
    stage.roll(deployment(replicas=0))
    stage.until(lambda: look_at_health(stage.connection, [key(stage.namespace)]).is_healthy)
    proxy.make(path="/deployments", cut="before", times=2)

    assert stay_healthy(proxy.connection, [key(stage.namespace)], seconds=4).is_healthy


def test_two_rollouts_at_once_leave_one_state(stage):
    """Nothing but the lease keeps them apart; without it they must still not break an object."""
    scenes = [scene_of(stage.connection, stage.intent(*[config(f"m{n}") for n in range(10)])) for _ in range(2)]
    threads = [threading.Thread(target=lambda scene=scene: apply_step(scene, "deploy", 0)) for scene in scenes]
    save_parent(scenes[0])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {Action.UNCHANGED} == set(stage.planned(*[config(f"m{n}") for n in range(10)]).values())
