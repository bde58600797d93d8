"""Which objects belong to an application, and in which order kinds are applied.

Membership is written as ApplySet labels (KEP-3659), so that kubectl understands it too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from flotilla.intent import Handling, Recycle
from flotilla.objects import Manifest, ObjectKey, digest

ID = "applyset.kubernetes.io/id"
PART_OF = "applyset.kubernetes.io/part-of"
TOOLING = "applyset.kubernetes.io/tooling"
CONTAINS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
DIGEST = "flotilla.dev/applied-digest"
"""Annotation of ours on every member: the digest of the manifest as it was last applied."""
FATE = "flotilla.dev/recycle"
"""Annotation of ours on a member that is not simply deleted when it is no longer named."""

FIRST = (
    *("Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ResourceQuota", "LimitRange"),
    *("NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolume"),
    *("PersistentVolumeClaim", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service"),
)
WORKLOADS = ("DaemonSet", "Pod", "ReplicaSet", "Deployment", "StatefulSet", "Job", "CronJob")
LAST = (
    *("Ingress", "HTTPRoute", "HorizontalPodAutoscaler", "APIService"),
    *("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"),
)


def parent_name(application: str) -> str:
    """Return the name of the ConfigMap that is the parent of an application's ApplySet in each cluster."""
    return f"flotilla.{application}"


def applyset_id(application: str, namespace: str) -> str:
    """Return the ApplySet's id as KEP-3659 has it: of name, namespace, kind and group of the parent."""
    text = f"{parent_name(application)}.{namespace}.ConfigMap."
    hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"applyset-{hashed}-v1"


def parent(application: str, namespace: str, members: Iterable[ObjectKey]) -> dict[str, Any]:
    """Return the parent ConfigMap: which kinds and namespaces have to be searched for members."""
    keys = list(members)
    kinds = sorted({f"{key.kind}.{key.group}" if key.group else key.kind for key in keys})
    others = sorted({key.namespace for key in keys} - {namespace, ""})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": parent_name(application),
            "namespace": namespace,
            "labels": {ID: applyset_id(application, namespace), "app.kubernetes.io/managed-by": "flotilla"},
            "annotations": {TOOLING: "flotilla/v1", CONTAINS: ",".join(kinds), NAMESPACES: ",".join(others)},
        },
    }


def kinds_of(parent_object: Manifest) -> tuple[tuple[str, str], ...]:
    """Return the (group, kind) pairs that a parent says its set contains."""
    text = (parent_object["metadata"].get("annotations") or {}).get(CONTAINS, "")
    pairs = (entry.partition(".") for entry in text.split(",") if entry)
    return tuple((group, kind) for kind, _, group in pairs)


def namespaces_of(parent_object: Manifest) -> tuple[str, ...]:
    """Return the namespaces in which members of a parent's set may be: its own first."""
    metadata = parent_object["metadata"]
    more = (metadata.get("annotations") or {}).get(NAMESPACES, "")
    return (metadata["namespace"], *(name for name in more.split(",") if name))


def as_member(manifest: Manifest, set_id: str, handling: Handling) -> dict[str, Any]:
    """Return a manifest as it is applied: with the label of its set, the digest of what was asked for, and its fate.

    An object that several applications share belongs to no set, and what one of them notes on it the other would contest.
    """
    if handling.shared:
        return dict(manifest)
    metadata = dict(manifest["metadata"])
    notes = {**(metadata.get("annotations") or {}), DIGEST: digest(manifest)}
    if handling.recycle is not Recycle.ON_APP_UPDATE or handling.orphan:
        notes[FATE] = f"{handling.recycle},orphan" if handling.orphan else str(handling.recycle)
    metadata["annotations"] = notes
    metadata["labels"] = {**(metadata.get("labels") or {}), PART_OF: set_id}
    return {**manifest, "metadata": metadata}


def fate_of(live: Manifest) -> tuple[Recycle, bool]:
    """Return when an object may be deleted, and whether it is then left behind, as its annotation has it."""
    text = (live["metadata"].get("annotations") or {}).get(FATE, "")
    strategy, _, orphan = text.partition(",")
    return (Recycle(strategy) if strategy else Recycle.ON_APP_UPDATE), orphan == "orphan"


def is_marked(live: Manifest, set_id: str, handling: Handling) -> bool:
    """Tell whether a live object is in the set and carries the fate that it is to have."""
    return not handling.shared and set_of(live) == set_id and fate_of(live) == (handling.recycle, handling.orphan)


def set_of(live: Manifest) -> str:
    """Return the id of the set that a live object belongs to, "" for none."""
    labels: Mapping[str, str] = live["metadata"].get("labels") or {}
    return labels.get(PART_OF, "")


def rank(kind: str) -> int:
    """Return a kind's place in the order of applying; kinds of one rank may be applied side by side.

    What others need comes first (namespaces, definitions, configuration, rights), then services, unknown kinds, workloads,
    and what could refuse the others (webhooks) last: the order that Helm's InstallOrder and kubectl's prune agree on.
    """
    if kind in FIRST:
        return FIRST.index(kind)
    if kind in WORKLOADS:
        return len(FIRST) + 1
    return len(FIRST) + 2 + LAST.index(kind) if kind in LAST else len(FIRST)
