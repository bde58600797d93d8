"""The trait types: what they change on the component's workload, and which take objects of their own beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonpatch

from flotilla.errors import InvalidInput, phrase
from flotilla.oam import trait_models as models
from flotilla.oam import trait_objects
from flotilla.oam.components import Context, Made
from flotilla.oam.expressions import look_up
from flotilla.oam.merge import merge_patched
from flotilla.oam.places import Place
from flotilla.oam.pods import Body, dumped
from flotilla.objects import group_of

SCALED = ("Deployment", "StatefulSet")
PODDED = (*SCALED, "DaemonSet", "Job")
_BUILT_IN = ("", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "storage.k8s.io")


@dataclass(frozen=True)
class Target:
    """The workload that a trait changes, and where the trait stands (its properties)."""

    workload: Body
    context: Context
    place: Place


def _refuse(target: Target, found: str, allowed: str) -> InvalidInput:
    return InvalidInput([target.place.problem(phrase(found), allowed)])


def _container(target: Target, name: str) -> Body:
    """Return a container by name; without a name the component's own, or the first where none is called so."""
    containers: list[Body] = target.workload["spec"]["template"]["spec"]["containers"]
    wanted = name or target.context.component
    for container in containers:
        if container.get("name") == wanted:
            return container
    if name or not containers:
        known = ", ".join(str(container.get("name")) for container in containers)
        raise _refuse(target, f"names container {wanted!r}", f"one of {known}")
    return containers[0]


def _scale(target: Target, given: models.Scaler) -> None:
    target.workload.setdefault("spec", {})["replicas"] = given.replicas


def _labels(target: Target, given: models.KeysAndValues) -> None:
    _merge(target, {"metadata": {"labels": given.root}})
    if "template" in target.workload.get("spec", {}):
        _merge(target, {"spec": {"template": {"metadata": {"labels": given.root}}}})


def _annotations(target: Target, given: models.KeysAndValues) -> None:
    patch = {"metadata": {"annotations": given.root}}
    _merge(target, patch)
    if "template" in target.workload.get("spec", {}):
        _merge(target, {"spec": {"template": patch}})
    if "jobTemplate" in target.workload.get("spec", {}):
        inner = {"spec": {"template": patch}} if "template" in target.workload["spec"]["jobTemplate"].get("spec", {}) else {}
        _merge(target, {"spec": {"jobTemplate": patch | inner}})


def _merge(target: Target, patch: Any) -> None:
    changed = merge_patched(target.workload, patch)
    target.workload.clear()
    target.workload.update(changed)


def _merge_patch(target: Target, given: models.FreeForm) -> None:
    _merge(target, given.root)


def _json_patch(target: Target, given: models.JsonPatch) -> None:
    changed: Any = target.workload
    for index, operation in enumerate(given.operations):
        try:
            changed = jsonpatch.JsonPatch([operation]).apply(changed)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            place = target.place / "operations" / index
            raise InvalidInput([place.problem(operation, f"an operation that fits the object (RFC 6902): {error}")]) from None
    changed = copy.deepcopy(changed)
    target.workload.clear()
    target.workload.update(changed)


def _env(target: Target, given: models.Env) -> None:
    for one in [given] if given.containers is None else given.containers:
        container = _container(target, one.container_name)
        old = [] if one.replace else [variable for variable in container.get("env", ()) if variable["name"] not in one.unset]
        kept = [{"name": v["name"], "value": one.env[v["name"]]} if v["name"] in one.env else v for v in old]
        names = {variable["name"] for variable in old}
        new = [{"name": k, "value": v} for k, v in one.env.items() if k not in names and k not in one.unset]
        container["env"] = kept + new


def _command(target: Target, given: models.Command) -> None:
    for one in [given] if given.containers is None else given.containers:
        container = _container(target, one.container_name)
        if one.command is not None:
            container["command"] = one.command
        base = one.args if one.args is not None else container.get("args", [])
        gone = set(one.del_args or ())
        added = [text for text in one.add_args or () if text not in base]
        container["args"] = [text for text in [*base, *added] if text not in gone]


def _image(target: Target, given: models.Image) -> None:
    for one in [given] if given.containers is None else given.containers:
        container = _container(target, one.container_name)
        container["image"] = one.image
        if one.image_pull_policy is not None:
            container["imagePullPolicy"] = one.image_pull_policy


def _resource(target: Target, given: models.Resource) -> None:
    container = _main_container(target)
    resources: dict[str, Any] = {"requests": given.requests, "limits": given.limits}
    if given.requests is None and given.limits is None:
        resources = dict.fromkeys(resources, models.Amounts.model_validate({"cpu": given.cpu, "memory": given.memory}))
    container["resources"] = container.get("resources", {}) | {
        name: dumped(v) for name, v in resources.items() if v is not None
    }


def _main_container(target: Target) -> Body:
    spec = target.workload.get("spec", {})
    if "jobTemplate" in spec:
        target = Target({"spec": spec["jobTemplate"]["spec"]}, target.context, target.place)
    return _container(target, "")


def _sidecar(target: Target, given: models.Sidecar) -> None:
    containers: list[Body] = target.workload["spec"]["template"]["spec"]["containers"]
    if any(container.get("name") == given.name for container in containers):
        raise _refuse(target, f"adds container {given.name!r} a second time", "a name that no container of the pod has")
    body: Body = {"name": given.name, "image": given.image}
    optional = {
        "command": given.cmd,
        "args": given.args,
        "env": None if given.env is None else [dumped(variable) for variable in given.env],
        "volumeMounts": None if given.volumes is None else [{"mountPath": v.path, "name": v.name} for v in given.volumes],
        "livenessProbe": given.liveness_probe and dumped(given.liveness_probe),
        "readinessProbe": given.readiness_probe and dumped(given.readiness_probe),
    }
    containers.append(body | {key: value for key, value in optional.items() if value is not None})


def _update_strategy(target: Target, given: models.UpdateStrategy) -> None:
    kind, strategy = given.target_kind, given.strategy
    if target.workload["kind"] != kind:
        raise _refuse(target, f"is for a {kind}", f"targetKind {target.workload['kind']}, which the component makes")
    if strategy.type == ("OnDelete" if kind == "Deployment" else "Recreate"):
        raise _refuse(target, f"has type {strategy.type}", f"a type that a {kind} knows")
    body: Body = {"type": strategy.type}
    if strategy.rolling_strategy is not None:
        rolling = dumped(strategy.rolling_strategy)
        names = ("partition",) if kind == "StatefulSet" else ("maxSurge", "maxUnavailable")
        body["rollingUpdate"] = {name: rolling[name] for name in names}
    target.workload["spec"]["strategy" if kind == "Deployment" else "updateStrategy"] = body


@dataclass(frozen=True)
class Kind:
    """A trait type: its parameters, what it does, and the kinds of workload that it fits ("" for any)."""

    parameters: type[Any]
    change: Callable[[Target, Any], None] | None = None
    add: Callable[[Context, Any], tuple[Made, ...]] | None = None
    fits: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "scaler": Kind(models.Scaler, _scale, fits=SCALED),
    "expose": Kind(models.Expose, add=trait_objects.expose),
    "labels": Kind(models.KeysAndValues, _labels),
    "annotations": Kind(models.KeysAndValues, _annotations),
    "env": Kind(models.Env, _env, fits=PODDED),
    "resource": Kind(models.Resource, _resource, fits=(*PODDED, "CronJob")),
    "command": Kind(models.Command, _command, fits=PODDED),
    "container-image": Kind(models.Image, _image, fits=PODDED),
    "sidecar": Kind(models.Sidecar, _sidecar, fits=PODDED),
    "json-merge-patch": Kind(models.FreeForm, _merge_patch),
    "json-patch": Kind(models.JsonPatch, _json_patch),
    "k8s-update-strategy": Kind(models.UpdateStrategy, _update_strategy, fits=(*SCALED, "DaemonSet")),
    "gateway": Kind(models.Gateway, add=trait_objects.gateway),
    "hpa": Kind(models.Hpa, add=trait_objects.hpa),
    "cpuscaler": Kind(models.CpuScaler, add=trait_objects.cpuscaler),
}
"""The trait types that there are."""


def apply_trait(kind: str, given: Any, target: Target) -> tuple[Made, ...]:
    """Change the workload as a trait says and return the objects it adds; raises InvalidInput where it does not fit."""
    trait = KINDS[kind]
    found = target.workload["kind"]
    if trait.fits and found not in trait.fits and group_of(target.workload["apiVersion"]) in _BUILT_IN:
        raise _refuse(target, f"{kind} on a {found}", f"a component that makes a {', '.join(trait.fits)}")
    if trait.fits == PODDED and not has_pods(target.workload):
        raise _refuse(target, f"{kind} on a {found} without containers", "a workload with spec.template.spec.containers")
    if trait.change is not None:
        _changed(kind, trait.change, target, given)
    return trait.add(target.context, given) if trait.add is not None else ()


def _changed(kind: str, change: Callable[[Target, Any], None], target: Target, given: Any) -> None:
    """Change a workload; an object that was given as it is may have any shape, and one that does not fit is refused."""
    try:
        change(target, given)
    except (KeyError, TypeError, AttributeError) as error:
        allowed = f"a workload of the shape that Kubernetes knows ({type(error).__name__}: {error})"
        raise _refuse(target, f"{kind} does not fit the {target.workload.get('kind')}", allowed) from None


def has_pods(workload: Body) -> bool:
    """Tell whether a manifest has a pod template with containers."""
    containers = look_up(workload, ("spec", "template", "spec", "containers"))
    return isinstance(containers, list) and bool(containers) and all(isinstance(one, dict) for one in containers)


def with_image(target: Target, image: str) -> None:
    """Put an image into the component's own container; raises InvalidInput if it has none."""
    template = target.workload.get("spec", {}).get("jobTemplate", target.workload)
    if not has_pods(template):
        raise _refuse(target, f"is a {target.workload['kind']} without containers", "a component with containers")
    _container(Target(template, target.context, target.place), "")["image"] = image
