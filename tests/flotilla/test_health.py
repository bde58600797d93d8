"""Health by the rules of `kubectl rollout status` and kstatus: one table row for each rule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flotilla.health import PATIENCE, Health, State, health_of, hopeless_pod, newest_pods, restarted_pod

CURRENT, WAITS, FAILED = State.CURRENT, State.IN_PROGRESS, State.FAILED


def live(api_version: str, kind: str, status: Any = None, spec: Any = None, **metadata: Any) -> dict[str, Any]:
    """Return an object of generation 2, as an API server would."""
    metadata = {"name": "it", "namespace": "n", "uid": "u", "generation": 2, **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": status or {}}


def condition(kind: str, status: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status, **more}


def pod(
    name: str = "p", *, labels: Any = None, owner: str = "", waiting: str = "", restarts: int = 0, init: bool = False
) -> Any:
    """Return a pod with one container, that waits for a reason."""
    container = {"name": "c", "restartCount": restarts, "state": {"waiting": {"reason": waiting, "message": "why"}}}
    metadata = {"name": name, "labels": labels or {}, "ownerReferences": [{"uid": owner}] if owner else []}
    status = {"phase": "Pending", "initContainerStatuses" if init else "containerStatuses": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def replicas(updated: int = 2, total: int = 2, available: int = 2, **more: Any) -> dict[str, Any]:
    counts = {"updatedReplicas": updated, "replicas": total, "availableReplicas": available}
    return {"observedGeneration": 2, **counts, **more}


LATE = {"conditions": [condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")]}
DEPLOYMENTS = [
    ({}, WAITS, "waits for the controller"),
    ({"observedGeneration": 1}, WAITS, "the newest change has not been taken up"),
    (replicas(updated=1), WAITS, "1 of 2 replicas updated"),
    (replicas(total=3), WAITS, "1 old replicas are pending termination"),
    (replicas(available=1), WAITS, "1 of 2 updated replicas available"),
    (replicas(), CURRENT, "2 of 2 available"),
    (replicas(available=0, **LATE), FAILED, "exceeded its progress deadline: timed out"),
]


@pytest.mark.parametrize(("status", "state", "message"), DEPLOYMENTS)
def test_a_deployment_is_judged_as_kubectl_rollout_status_does(status, state, message):
    assert Health(state, message) == health_of(live("apps/v1", "Deployment", status, {"replicas": 2}))


def test_a_deployment_without_replicas_is_current_once_the_controller_has_seen_it():
    assert health_of(live("apps/v1", "Deployment", {"observedGeneration": 2}, {"replicas": 0})).state is CURRENT


def test_a_progress_deadline_of_the_generation_before_says_nothing_about_the_newest():
    status = replicas(**LATE) | {"observedGeneration": 1}

    assert health_of(live("apps/v1", "Deployment", status, {"replicas": 2})).state is WAITS


PARTITION = {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
ON_DELETE = {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}
SETS = [
    ({"replicas": 0}, {}, WAITS),
    ({"replicas": 3}, {"observedGeneration": 2, "readyReplicas": 2}, WAITS),
    ({"replicas": 3}, {"observedGeneration": 2, "readyReplicas": 3, "currentRevision": "a", "updateRevision": "b"}, WAITS),
    ({"replicas": 3}, {"observedGeneration": 2, "readyReplicas": 3, "currentRevision": "b", "updateRevision": "b"}, CURRENT),
    (PARTITION, {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 0}, WAITS),
    (PARTITION, {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b"}, CURRENT),
    (ON_DELETE, {"observedGeneration": 2}, CURRENT),
]


@pytest.mark.parametrize(("spec", "status", "state"), SETS)
def test_a_stateful_set_is_judged_by_ready_pods_partition_and_revision(spec, status, state):
    assert health_of(live("apps/v1", "StatefulSet", status, spec)).state is state


def unschedulable() -> Any:
    refused = condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes: cpu")
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": [refused]}}


DELAYS = [
    ([], condition("ReplicaFailure", "True", message="exceeded quota"), "exceeded quota"),
    ([unschedulable()], condition("Available", "False"), "pod p finds no node: 0/1 nodes: cpu"),
    ([pod(waiting="CrashLoopBackOff", restarts=1)], condition("Available", "False"), "pod p, container c: has crashed 1x"),
]


@pytest.mark.parametrize(("pods", "found", "told"), DELAYS)
def test_what_may_yet_be_mended_is_told_and_not_failed(pods, found, told):
    status = replicas(updated=1, conditions=[found])

    health = health_of(live("apps/v1", "Deployment", status, {"replicas": 2}), pods)

    assert Health(WAITS, f"1 of 2 replicas updated: {told}") == health


ESTABLISHED = {"conditions": [condition("NamesAccepted", "True"), condition("Established", "True")]}
REJECTED = {"conditions": [condition("NamesAccepted", "False", message="taken"), condition("Established", "False")]}
EVERY_NODE = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
OTHERS = [
    ("apps/v1", "DaemonSet", {}, {}, WAITS),
    ("apps/v1", "DaemonSet", {}, EVERY_NODE | {"updatedNumberScheduled": 2}, WAITS),
    ("apps/v1", "DaemonSet", {}, EVERY_NODE | {"numberAvailable": 2}, WAITS),
    ("apps/v1", "DaemonSet", {}, EVERY_NODE, CURRENT),
    ("apps/v1", "ReplicaSet", {"replicas": 1}, {"conditions": [condition("ReplicaFailure", "True", message="quota")]}, WAITS),
    ("apps/v1", "ReplicaSet", {"replicas": 1}, {"observedGeneration": 2, "availableReplicas": 1}, CURRENT),
    ("batch/v1", "Job", {}, {}, WAITS),
    ("batch/v1", "Job", {}, {"conditions": [condition("Complete", "True")]}, CURRENT),
    ("batch/v1", "Job", {}, {"conditions": [condition("Failed", "True", reason="BackoffLimitExceeded")]}, FAILED),
    ("v1", "Pod", {}, {"phase": "Pending"}, WAITS),
    ("v1", "Pod", {}, {"phase": "Running", "conditions": [condition("Ready", "False")]}, WAITS),
    ("v1", "Pod", {}, {"phase": "Running", "conditions": [condition("Ready", "True")]}, CURRENT),
    ("v1", "Pod", {}, {"phase": "Succeeded"}, CURRENT),
    ("v1", "Pod", {}, {"phase": "Failed"}, FAILED),
    ("v1", "Pod", {}, pod(waiting="ErrImagePull")["status"], FAILED),
    ("v1", "Service", {"type": "ClusterIP"}, {"loadBalancer": {}}, CURRENT),
    ("v1", "Service", {"type": "LoadBalancer"}, {"loadBalancer": {}}, WAITS),
    ("v1", "Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, CURRENT),
    ("v1", "PersistentVolumeClaim", {}, {"phase": "Pending"}, WAITS),
    ("v1", "PersistentVolumeClaim", {}, {"phase": "Bound"}, CURRENT),
    ("v1", "Namespace", {}, {"phase": "Active"}, CURRENT),
    ("v1", "Namespace", {}, {"phase": "Terminating"}, WAITS),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {}, WAITS),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, ESTABLISHED, CURRENT),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, REJECTED, FAILED),
    ("v1", "ConfigMap", {}, {}, CURRENT),
    ("example.com/v1", "Database", {}, {}, CURRENT),
    ("example.com/v1", "Database", {}, {"observedGeneration": 1}, WAITS),
    ("example.com/v1", "Database", {}, {"conditions": [condition("Ready", "False")]}, WAITS),
    ("example.com/v1", "Database", {}, {"conditions": [condition("Reconciling", "True")]}, WAITS),
    ("example.com/v1", "Database", {}, {"conditions": [condition("Stalled", "True"), condition("Ready", "False")]}, FAILED),
    ("example.com/v1", "Deployment", {}, {}, CURRENT),
]


@pytest.mark.parametrize(("api_version", "kind", "spec", "status", "state"), OTHERS)
def test_every_kind_is_judged_by_its_own_rule_or_by_its_conditions(api_version, kind, spec, status, state):
    assert health_of(live(api_version, kind, status, spec)).state is state


def test_what_is_not_there_is_missing():
    assert Health(State.MISSING, "is not there") == health_of(None)


def test_what_is_being_deleted_is_not_current():
    gone = live("v1", "ConfigMap", deletionTimestamp="2026-01-01T00:00:00Z")

    assert Health(WAITS, "is being deleted") == health_of(gone)


HOPE = [
    (pod(waiting="ImagePullBackOff"), True),
    (pod(waiting="CreateContainerConfigError"), True),
    (pod(waiting="ErrImagePull", init=True), True),
    (pod(waiting="ContainerCreating"), False),
    (pod(waiting="CrashLoopBackOff", restarts=PATIENCE - 1), False),
    (pod(waiting="CrashLoopBackOff", restarts=PATIENCE), True),
    ({"metadata": {"name": "p"}}, False),
]


@pytest.mark.parametrize(("one", "stuck"), HOPE)
def test_a_pod_is_hopeless_for_what_seldom_ends_by_itself(one, stuck):
    assert stuck == bool(hopeless_pod([one]))


def test_a_workload_under_way_has_failed_where_a_pod_cannot_recover():
    health = health_of(live("apps/v1", "Deployment", replicas(available=0), {"replicas": 2}), [pod(waiting="ErrImagePull")])

    assert Health(FAILED, "pod p, container c: ErrImagePull: why") == health


def test_a_workload_that_is_as_asked_for_is_not_failed_by_a_pod():
    crashing = [pod(waiting="ErrImagePull")]

    assert health_of(live("apps/v1", "Deployment", replicas(), {"replicas": 2}), crashing).state is CURRENT


def replica_set(revision: str, template: str, owner: str = "u") -> dict[str, Any]:
    labels, annotations = {"pod-template-hash": template}, {"deployment.kubernetes.io/revision": revision}
    return {"metadata": {"labels": labels, "annotations": annotations, "ownerReferences": [{"uid": owner}]}}


def test_the_newest_pods_of_a_deployment_are_those_of_its_newest_replica_set():
    sets = [replica_set("9", "old"), replica_set("10", "new"), replica_set("11", "other", owner="x")]
    pods = [pod(name, labels={"pod-template-hash": name}) for name in ("old", "new", "other")]

    assert (pods[1],) == newest_pods(live("apps/v1", "Deployment"), sets, pods)


def test_a_deployment_without_a_replica_set_has_no_newest_pods():
    assert () == newest_pods(live("apps/v1", "Deployment"), [], [pod()])


def test_the_newest_pods_of_a_stateful_set_are_its_own_of_the_update_revision():
    pods = [
        pod("own-old", labels={"controller-revision-hash": "a"}, owner="u"),
        pod("own-new", labels={"controller-revision-hash": "b"}, owner="u"),
        pod("foreign", labels={"controller-revision-hash": "b"}, owner="x"),
    ]

    assert (pods[1],) == newest_pods(live("apps/v1", "StatefulSet", {"updateRevision": "b"}), [], pods)


def test_the_newest_pods_of_a_daemon_set_are_its_own_of_the_newest_template():
    pods = [
        pod("own-old", labels={"pod-template-generation": "1"}, owner="u"),
        pod("own-new", labels={"pod-template-generation": "2"}, owner="u"),
        pod("foreign", labels={"pod-template-generation": "2"}, owner="x"),
    ]
    daemon_set = live("apps/v1", "DaemonSet", annotations={"deprecated.daemonset.template.generation": "2"})

    assert (pods[1],) == newest_pods(daemon_set, [], pods)


def test_a_pod_that_is_being_deleted_says_nothing_about_the_newest_revision():
    gone = pod(labels={"controller-revision-hash": "b"}, owner="u")
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert () == newest_pods(live("apps/v1", "StatefulSet", {"updateRevision": "b"}), [], [gone])


NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
RESTARTS = [
    (0, "2026-01-01T00:00:59Z", False),
    (1, "2026-01-01T00:00:59Z", True),
    (1, "2026-01-01T00:00:49Z", False),
    (1, "2026-01-01T00:02:00Z", False),
    (1, None, False),
]


@pytest.mark.parametrize(("restarts", "started", "told"), RESTARTS)
def test_a_container_that_was_restarted_has_to_run_for_a_while(restarts, started, told):
    state = {"running": {"startedAt": started}} if started else {"waiting": {}}
    container = {"name": "c", "restartCount": restarts, "state": state}
    one = {"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}

    assert ("pod p, container c: runs since 1 s, after 1 restarts" if told else "") == restarted_pod([one], NOW)
