"""From a component, as the policies left it, to labelled objects. KubeVela: pkg/appfile and assemble."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import DNS_LABEL
from flotilla.intent import RenderedObject
from flotilla.oam import references, traits
from flotilla.oam.components import COMPONENT, NAME, REPLICA, WORKLOADS, Context, Made, Objects
from flotilla.oam.overlay import Component, read
from flotilla.oam.placement import Placement, divided
from flotilla.oam.places import Part, Place, one_of
from flotilla.oam.pods import Body
from flotilla.oam.policies import COMPONENT as WORKLOAD
from flotilla.oam.policies import TRAIT, Origin, handling_of
from flotilla.oam.shapes import strange
from flotilla.objects import ObjectKey, key_of

TYPES: Mapping[str, type[Part]] = {
    **{name: kind.parameters for name, kind in WORKLOADS.items()},
    "k8s-objects": Objects,
    "ref-objects": references.RefObjects,
}
"""The component types that there are and their parameters."""

AUXILIARY = "AuxiliaryWorkload"
"""KubeVela's trait type of what a component renders beside its workload."""

_ANNOTATIONS_OF_CONTROL = ("app.oam.dev/", "filter.oam.dev/", "oam.dev/", "kubectl.kubernetes.io/last-applied-configuration")


@dataclass(frozen=True)
class Setting:
    """What rendering a component needs to know beside the component: of the application, and of what was given with it."""

    app: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    policies: Sequence[tuple[str, Any]]
    images: Mapping[str, str]
    shelf: references.Shelf


@dataclass(frozen=True)
class _Piece:
    """A made object, the trait that asked for it ("" for the component) and KubeVela's name for it."""

    manifest: Body
    trait: str
    resource: str


def rendered(component: Component, setting: Setting) -> tuple[RenderedObject, ...]:
    """Return a component's objects, its workload first; raises InvalidInput for what cannot be rendered."""
    if component.type not in TYPES:
        raise InvalidInput([(component.place / "type").problem(component.type, one_of(TYPES, component.type))])
    context = Context(setting.app, setting.namespace, component.name, component.replica)
    made = _made(component, context, setting)
    workload = copy.deepcopy(made[0].manifest)
    added = _with_traits(component, context, workload)
    if component.name in setting.images:
        place = Place("image overrides", component.name)
        traits.with_image(traits.Target(workload, context, place), setting.images[component.name])
    problems = list(strange(workload, component.place))
    if problems:
        raise InvalidInput(problems)
    pieces = [_Piece(workload, "", ""), *(_Piece(one.manifest, AUXILIARY, one.resource) for one in made[1:]), *added]
    return tuple(_finished(piece, component, setting) for piece in pieces)


def _made(component: Component, context: Context, setting: Setting) -> tuple[Made, ...]:
    if component.type in WORKLOADS:
        if not DNS_LABEL.fullmatch(context.name):
            allowed = "a DNS label: lower-case letters, digits and '-', at most 63 (a replica's key counts)"
            raise InvalidInput([(component.place / "name").problem(context.name, allowed)])
        kind = WORKLOADS[component.type]
        return kind.render(context, read(kind.parameters, component.layers))
    if component.type == "ref-objects":
        bodies = references.found(component.layers, component.name, setting.shelf)
    else:
        bodies = [copy.deepcopy(body) for body in read(Objects, component.layers).objects]
    place = component.layers[-1].place / "objects"
    problems = [problem for index, body in enumerate(bodies) for problem in strange(body, place / index, nameless=index == 0)]
    if problems:
        raise InvalidInput(problems)
    if not bodies:
        raise InvalidInput([place.problem(phrase("are none"), "at least one object")])
    bodies[0]["metadata"] = {"name": context.name, **(bodies[0].get("metadata") or {})}
    return tuple(Made(body, f"objects-{index}" if index else "") for index, body in enumerate(bodies))


def _with_traits(component: Component, context: Context, workload: Body) -> list[_Piece]:
    """Change the workload as the traits say, in their order, and return the objects that they add."""
    added: list[_Piece] = []
    problems: list[Problem] = []
    for trait in component.traits:
        place = trait.layers[0].place
        try:
            if trait.type not in traits.KINDS:
                at = Place(place.file, place.field.removesuffix(".properties")) / "type"
                raise InvalidInput([at.problem(trait.type, one_of(traits.KINDS, trait.type))])
            given = read(traits.KINDS[trait.type].parameters, trait.layers)
            made = traits.apply_trait(trait.type, given, traits.Target(workload, context, place))
            added += [_Piece(one.manifest, trait.type, one.resource) for one in made]
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return added


def _finished(piece: _Piece, component: Component, setting: Setting) -> RenderedObject:
    """Return an object with the labels and annotations that KubeVela puts on everything it applies, but for revisions."""
    metadata = dict(piece.manifest["metadata"])
    labels = {**(metadata.get("labels") or {}), **_labels(piece, component, setting)}
    annotations = {**(metadata.get("annotations") or {}), **_passed_on(setting.annotations)}
    metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    manifest = {**piece.manifest, "metadata": metadata}
    kind_of_origin = TRAIT if piece.trait else WORKLOAD
    origin = Origin(
        component=component.name,
        component_type="" if piece.trait else component.type,
        oam_type=kind_of_origin,
        trait_type=piece.trait,
        kind=manifest["kind"],
        name=metadata["name"],
    )
    trait = "" if piece.trait == AUXILIARY else piece.trait
    return RenderedObject(manifest, component.name, trait, handling_of(origin, setting.policies))


def _labels(piece: _Piece, component: Component, setting: Setting) -> dict[str, str]:
    labels = {
        **setting.labels,
        NAME: setting.app,
        "app.oam.dev/namespace": setting.namespace,
        COMPONENT: component.name,
        "app.oam.dev/resourceType": TRAIT if piece.trait else WORKLOAD,
    }
    if component.replica:
        labels[REPLICA] = component.replica
    if not piece.trait:
        return labels | {"workload.oam.dev/type": component.type}
    return labels | {"trait.oam.dev/type": piece.trait, "trait.oam.dev/resource": piece.resource}


def _passed_on(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the Application's annotations that its objects get: all but those that steer KubeVela or kubectl itself."""
    return {key: value for key, value in annotations.items() if not key.startswith(_ANNOTATIONS_OF_CONTROL)}


def for_placement(objects: Sequence[RenderedObject], placement: Placement, place: Place) -> tuple[RenderedObject, ...]:
    """Return objects with the replicas that fall to one cluster where a topology divides them by weight."""
    if not placement.weights:
        return tuple(objects)
    return tuple(_share(item, placement, place) for item in objects)


def _share(item: RenderedObject, placement: Placement, place: Place) -> RenderedObject:
    if item.manifest["kind"] not in traits.SCALED or item.trait:
        return item
    total = item.manifest["spec"].get("replicas")
    if not isinstance(total, int):
        found = phrase(f"divide the replicas of {item.component}, which has none")
        raise InvalidInput(
            [(place / "flotilla" / "weights").problem(found, "a component with a scaler trait or spec.replicas")]
        )
    share = divided(total, dict(placement.weights))[placement.cluster]
    return replace(item, manifest={**item.manifest, "spec": {**item.manifest["spec"], "replicas": share}})


def doubles(objects: Sequence[RenderedObject], namespace: str) -> list[tuple[ObjectKey, list[str]]]:
    """Return the objects that stand more than once in what goes to one place, with the components that they come from."""
    keys = [replace(key, namespace=key.namespace or namespace) for key in (key_of(item.manifest) for item in objects)]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    return [(key, [item.component for item, own in zip(objects, keys, strict=True) if own == key]) for key in twice]
