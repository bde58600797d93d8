"""Is an object as it was asked to be, on its way, or stuck? The rules of `kubectl rollout status` and of kstatus. Pure.

Sources: kubernetes/kubectl pkg/polymorphichelpers/rollout_status.go; kubernetes-sigs/cli-utils pkg/kstatus/status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from flotilla.objects import Manifest, group_of

PATIENCE = 3
"""Restarts after which a crashing container counts as stuck: the kubelet's back-off is then 40 s and doubling."""


STEADY = 10.0
"""Seconds that a container has to run after a restart: less than the kubelet's first back-off, more than a crash takes."""


class State(StrEnum):
    """How far an object is."""

    CURRENT = "current"
    IN_PROGRESS = "in progress"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class Health:
    """An object's state and the sentence that explains it."""

    state: State
    message: str = ""


CURRENT = Health(State.CURRENT)
EXPORT = ("multicluster.x-k8s.io", "ServiceExport")
UNSPOKEN = 15.0  # seconds that a new export may take to be looked at by whoever wires services

HOPELESS = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}  # fmt: skip
"""Reasons for waiting that seldom end by themselves."""


def health_of(live: Manifest | None, pods: Sequence[Manifest] = ()) -> Health:
    """Return an object's health; ``pods`` are those of its newest revision, for what its own status does not tell.

    A workload whose own rules say "in progress" is failed where one of its pods can't recover: an image that can't be had,
    a configuration that can't be met, or a container that has crashed PATIENCE times.
    """
    if live is None:
        return Health(State.MISSING, "is not there")
    if live["metadata"].get("deletionTimestamp"):
        return Health(State.IN_PROGRESS, "is being deleted")
    status = live.get("status") or {}
    observed = status.get("observedGeneration")
    if observed is not None and observed < live["metadata"].get("generation", 0):
        return Health(State.IN_PROGRESS, "the newest change has not been taken up")
    rule = _RULES.get((group_of(live["apiVersion"]), live["kind"]), _by_conditions)
    health = rule(live.get("spec") or {}, status)
    if health.state is not State.IN_PROGRESS:
        return health
    if stuck := hopeless_pod(pods):
        return Health(State.FAILED, stuck)
    delay = _refused_pods(status) or _delayed_pod(pods)
    return Health(State.IN_PROGRESS, f"{health.message}: {delay}") if delay else health


def hopeless_pod(pods: Iterable[Manifest]) -> str:
    """Return the sentence about the first pod that can't recover by itself, "" for none."""
    for pod in pods:
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            if reason := _hopeless(container):
                return f"pod {pod['metadata']['name']}, container {container['name']}: {reason}"
    return ""


def restarted_pod(pods: Iterable[Manifest], now: datetime) -> str:
    """Return the sentence about the first container that runs again for less than STEADY seconds, "" for none.

    One that crashes as soon as it has started, without a probe, is ready for a moment each time.
    """
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            started = ((container.get("state") or {}).get("running") or {}).get("startedAt")
            if container.get("restartCount", 0) and started:
                seconds = (now - datetime.fromisoformat(started)).total_seconds()
                if 0 <= seconds < STEADY:
                    where = f"pod {pod['metadata']['name']}, container {container['name']}"
                    return f"{where}: runs since {seconds:.0f} s, after {container['restartCount']} restarts"
    return ""


def unspoken_export(live: Manifest, now: datetime) -> str:
    """Return the sentence about a ServiceExport that nobody has looked at within UNSPOKEN seconds of its life, "" otherwise.

    Later it counts as it is: nobody may be at work, and that is for `services/audit` to say, not for each rollout.
    """
    if (group_of(live["apiVersion"]), live["kind"]) != EXPORT or (live.get("status") or {}).get("conditions"):
        return ""
    age = (now - datetime.fromisoformat(live["metadata"]["creationTimestamp"])).total_seconds()
    return "no controller has said yet whether it is valid" if -UNSPOKEN < age < UNSPOKEN else ""


def _refused_pods(status: Mapping[str, Any]) -> str:
    """Return why the pods of a workload can't be created (a quota, an admission), "" if they can: it may yet be mended."""
    failure = _condition(status, "ReplicaFailure")
    return str(failure.get("message", "ReplicaFailure")) if failure.get("status") == "True" else ""


def _delayed_pod(pods: Iterable[Manifest]) -> str:
    """Return what the first pod waits for that nobody would guess: a node that can take it, or its next start."""
    for pod in pods:
        status = pod.get("status") or {}
        scheduled = _condition(status, "PodScheduled")
        if scheduled.get("reason") == "Unschedulable":
            return f"pod {pod['metadata']['name']} finds no node: {scheduled.get('message', '')}"
        for container in status.get("containerStatuses") or ():
            if ((container.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff":
                return f"pod {pod['metadata']['name']}, container {container['name']}: has crashed {container['restartCount']}x"
    return ""


def newest_pods(live: Manifest, replica_sets: Sequence[Manifest], pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """Return the pods of a workload's newest revision; those that are being deleted prove nothing any more.

    They are told by the label that the controller of each kind gives them: pod-template-hash, controller-revision-hash or
    pod-template-generation.
    """
    label, value = _newest_label(live, replica_sets)
    if not value:
        return ()
    uid = live["metadata"].get("uid")
    return tuple(
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(label) == value
        and (live["kind"] == "Deployment" or _owned_by(pod, uid))
        and not pod["metadata"].get("deletionTimestamp")
    )


def _newest_label(live: Manifest, replica_sets: Sequence[Manifest]) -> tuple[str, str]:
    """Return the label and its value that tell the pods of a workload's newest revision from those of older ones."""
    if live["kind"] == "Deployment":
        return "pod-template-hash", _newest_hash(live, replica_sets)
    if live["kind"] == "DaemonSet":  # deprecated since apps/v1 and still what its controller compares
        notes = live["metadata"].get("annotations") or {}
        return "pod-template-generation", notes.get("deprecated.daemonset.template.generation", "")
    return "controller-revision-hash", (live.get("status") or {}).get("updateRevision", "")


def _newest_hash(deployment: Manifest, replica_sets: Sequence[Manifest]) -> str:
    """Return the pod-template-hash of a Deployment's newest ReplicaSet (annotation deployment.kubernetes.io/revision)."""
    own = [one for one in replica_sets if _owned_by(one, deployment["metadata"].get("uid"))]
    if not own:
        return ""
    newest = max(
        own, key=lambda one: int((one["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", 0))
    )
    return str((newest["metadata"].get("labels") or {}).get("pod-template-hash", ""))


def _owned_by(manifest: Manifest, uid: object) -> bool:
    return any(owner.get("uid") == uid for owner in manifest["metadata"].get("ownerReferences") or ())


def _hopeless(container: Mapping[str, Any]) -> str:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in HOPELESS:
        return f"{reason}: {message}"[:300]
    if reason == "CrashLoopBackOff" and container.get("restartCount", 0) >= PATIENCE:
        last = (container.get("lastState") or {}).get("terminated") or {}
        return f"CrashLoopBackOff after {container['restartCount']} restarts, last exit code {last.get('exitCode', 'unknown')}"
    return ""


_Rule = Callable[[Mapping[str, Any], Mapping[str, Any]], Health]


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    progressing = _condition(status, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Health(State.FAILED, f"exceeded its progress deadline: {progressing.get('message', '')}")
    if "observedGeneration" not in status:
        return Health(State.IN_PROGRESS, "waits for the controller")
    wanted = spec.get("replicas", 1)
    updated, total, available = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated < wanted:
        return Health(State.IN_PROGRESS, f"{updated} of {wanted} replicas updated")
    if total > updated:
        return Health(State.IN_PROGRESS, f"{total - updated} old replicas are pending termination")
    if available < updated:
        return Health(State.IN_PROGRESS, f"{available} of {updated} updated replicas available")
    return Health(State.CURRENT, f"{available} of {wanted} available")


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    wanted, ready, updated = spec.get("replicas", 1), status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return Health(State.CURRENT, "updates only pods that somebody deletes")
    if "observedGeneration" not in status:
        return Health(State.IN_PROGRESS, "waits for the controller")
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
    if ready < wanted:
        return Health(State.IN_PROGRESS, f"{ready} of {wanted} ready")
    if partition and updated < wanted - partition:
        return Health(State.IN_PROGRESS, f"{updated} of {wanted - partition} updated, above partition {partition}")
    if not partition and status.get("currentRevision") != status.get("updateRevision"):
        return Health(State.IN_PROGRESS, f"{updated} of {wanted} updated")
    return Health(State.CURRENT, f"{ready} of {wanted} ready")


def _daemon_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return Health(State.CURRENT, "updates only pods that somebody deletes")
    if "observedGeneration" not in status:
        return Health(State.IN_PROGRESS, "waits for the controller")
    wanted = status.get("desiredNumberScheduled", 0)
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    if updated < wanted:
        return Health(State.IN_PROGRESS, f"{updated} of {wanted} updated")
    if available < wanted:
        return Health(State.IN_PROGRESS, f"{available} of {wanted} available")
    return Health(State.CURRENT, f"{available} of {wanted} available")


def _replica_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    wanted, available = spec.get("replicas", 1), status.get("availableReplicas", 0)
    return Health(State.CURRENT if available >= wanted else State.IN_PROGRESS, f"{available} of {wanted} available")


def _job(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    """Judge a Job by its conditions: what an application waits for is its completion."""
    failed = _condition(status, "Failed")
    if failed.get("status") == "True":
        return Health(State.FAILED, f"{failed.get('reason', '')}: {failed.get('message', '')}")
    if _condition(status, "Complete").get("status") == "True":
        return Health(State.CURRENT, f"complete, {status.get('succeeded', 0)} succeeded")
    return Health(State.IN_PROGRESS, f"{status.get('succeeded', 0)} of {spec.get('completions', 1)} succeeded")


def _pod(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:  # noqa: ARG001 - one signature for all rules
    phase = status.get("phase", "Pending")
    if phase == "Succeeded":
        return Health(State.CURRENT, "has succeeded")
    if phase == "Failed":
        return Health(State.FAILED, status.get("message") or "has failed")
    if phase == "Running" and _condition(status, "Ready").get("status") == "True":
        return Health(State.CURRENT, "is ready")
    if stuck := hopeless_pod([{"metadata": {"name": "itself"}, "status": status}]):
        return Health(State.FAILED, stuck)
    return Health(State.IN_PROGRESS, _condition(status, "PodScheduled").get("message") or f"is {phase.lower()}, not ready")


def _service(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    if spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return Health(State.IN_PROGRESS, "waits for its load balancer's address")
    return CURRENT


def _claim(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:  # noqa: ARG001
    phase = status.get("phase", "Pending")
    return CURRENT if phase == "Bound" else Health(State.IN_PROGRESS, f"is {phase.lower()}")


def _namespace(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:  # noqa: ARG001
    return CURRENT if status.get("phase", "Active") == "Active" else Health(State.IN_PROGRESS, "is terminating")


def _definition(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:  # noqa: ARG001
    names = _condition(status, "NamesAccepted")
    if names.get("status") == "False":
        return Health(State.FAILED, str(names.get("message", "its names are not accepted")))
    established = _condition(status, "Established").get("status") == "True"
    return CURRENT if established else Health(State.IN_PROGRESS, "is not established")


def _by_conditions(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:  # noqa: ARG001
    """Judge by kstatus's generic conditions; an object without them is current once it is there."""
    stalled, reconciling, ready = (_condition(status, kind) for kind in ("Stalled", "Reconciling", "Ready"))
    if stalled.get("status") == "True":
        return Health(State.FAILED, str(stalled.get("message") or "is stalled"))
    if reconciling.get("status") == "True":
        return Health(State.IN_PROGRESS, str(reconciling.get("message") or "is reconciling"))
    if ready and ready.get("status") != "True":
        return Health(State.IN_PROGRESS, str(ready.get("message") or "is not ready"))
    return CURRENT


def _export(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    """Judge by the conditions of KEP-1645 and those of its implementations; Conflict stops no traffic."""
    valid = _condition(status, "Valid")
    if valid.get("status") == "False" and valid.get("reason") in ("InvalidServiceType", "NamespaceNotAllowed"):
        return Health(State.FAILED, str(valid.get("message") or "is not valid"))
    for kind in ("Valid", "Exported", "Synced"):
        one = _condition(status, kind)
        if one.get("status") == "False":
            return Health(State.IN_PROGRESS, str(one.get("message") or f"{kind} is False"))
    return _by_conditions(spec, status)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


_RULES: Mapping[tuple[str, str], _Rule] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    EXPORT: _export,
}
