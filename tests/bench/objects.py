"""What the rollout benchmark applies: mixed objects that cost an API server work and a cluster nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flotilla.intent import Delivery, Intent, Mode, RenderedObject, Step, StepKind

RBAC = "rbac.authorization.k8s.io/v1"


def manifests(count: int, namespace: str, version: int) -> list[dict[str, Any]]:
    """Return ``count`` objects of seven kinds; every one of them differs between two versions."""
    return [_MIX[number % len(_MIX)](number, namespace, version) for number in range(count)]


def intent_of(name: str, namespace: str, objects: list[dict[str, Any]], clusters: list[str]) -> Intent:
    """Return the intent that puts the same objects on every cluster in one wave."""
    stage = tuple(RenderedObject(one, component="bench") for one in objects)
    deliveries = tuple(Delivery(cluster, namespace, (stage,)) for cluster in clusters)
    return Intent(name, namespace, Mode.STEP_BY_STEP, (Step("deploy", StepKind.DEPLOY, deliveries=deliveries),))


def _object(api_version: str, kind: str, place: tuple[int, str, int], **rest: Any) -> dict[str, Any]:
    number, namespace, version = place
    labels = {"app.kubernetes.io/name": f"app-{number // len(_MIX)}", "app.kubernetes.io/version": f"v{version}"}
    metadata = {"name": f"bench-{number}", "namespace": namespace, "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _config_map(*place: Any) -> dict[str, Any]:
    text = "\n".join(f"setting-{line} = {line * place[0]} of version {place[2]}" for line in range(20))
    return _object("v1", "ConfigMap", place, data={"application.properties": text, "level": "info"})


def _secret(*place: Any) -> dict[str, Any]:
    return _object("v1", "Secret", place, type="Opaque", data={"password": "bm90IGEgc2VjcmV0"})


def _service(*place: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "metrics", "port": 9090, "targetPort": 9090}]
    return _object("v1", "Service", place, spec={"clusterIP": "None", "selector": {"app": f"{place[0]}"}, "ports": ports})


def _deployment(*place: Any) -> dict[str, Any]:
    """Return a Deployment without pods, whose template stays: the API server is measured and no controller."""
    labels = {"app": f"bench-{place[0]}"}
    container = {
        "name": "web",
        "image": "localhost/podinfo:6.9.2",
        "ports": [{"name": "http", "containerPort": 9898}],
        "env": [{"name": f"SETTING_{number}", "value": str(number)} for number in range(10)],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 5},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "minReadySeconds": place[2], "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", place, spec=spec)


def _account(*place: Any) -> dict[str, Any]:
    return _object("v1", "ServiceAccount", place, automountServiceAccountToken=False)


def _role(*place: Any) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list", "watch"]}]
    return _object(RBAC, "Role", place, rules=rules)


def _binding(*place: Any) -> dict[str, Any]:
    subjects = [{"kind": "ServiceAccount", "name": f"bench-{place[0]}", "namespace": place[1]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"bench-{place[0]}"}
    return _object(RBAC, "RoleBinding", place, subjects=subjects, roleRef=role)


_MIX: tuple[Callable[..., dict[str, Any]], ...] = (
    *(_config_map, _secret, _service, _deployment, _account),
    *(_role, _binding, _config_map, _deployment, _config_map),
)
