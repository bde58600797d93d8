"""Components as the override and replication policies of one deploy step leave them. KubeVela: policy/envbinding/patch.go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from flotilla.errors import InvalidInput, phrase
from flotilla.fleet import DNS_LABEL
from flotilla.oam.documents import ComponentPart
from flotilla.oam.merge import merged
from flotilla.oam.places import Model, Place, Problems, holds_path, one_of
from flotilla.oam.policies import Override, OverrideComponent, OverrideTrait, Replication
from flotilla.validation import checked


@dataclass(frozen=True)
class Layer:
    """Properties as one place states them."""

    properties: dict[str, Any]
    place: Place


Layers = tuple[Layer, ...]


def properties_of(layers: Layers) -> dict[str, Any]:
    """Return the properties of all layers, later ones over earlier ones."""
    return reduce(lambda base, layer: merged(base, layer.properties), layers, dict[str, Any]())


def read(model: type[Model], layers: Layers) -> Model:
    """Return merged properties as a model; a problem is placed in the layer that stated the value."""
    try:
        return checked(model, properties_of(layers), "")
    except InvalidInput as error:
        raise InvalidInput(
            _stated(layers, problem.field).problem(problem.value, problem.allowed) for problem in error.problems
        ) from None


def _stated(layers: Layers, field: str) -> Place:
    """Return where the value at a field path of the merged properties was stated."""
    parts = tuple(int(part[1:-1]) if part.startswith("[") else part for part in re.findall(r"\[\d+\]|[^.\[\]]+", field))
    layer = next((layer for layer in reversed(layers) if parts and holds_path(layer.properties, parts)), layers[0])
    return reduce(lambda place, part: place / part, parts, layer.place)


@dataclass(frozen=True)
class Trait:
    """A trait and the layers that its properties come from."""

    type: str
    layers: Layers


@dataclass(frozen=True)
class Component:
    """A component and the layers that its properties come from; ``replica`` is its replication key, "" for none."""

    name: str
    type: str
    layers: Layers
    traits: tuple[Trait, ...]
    depends_on: tuple[str, ...]
    place: Place
    replica: str = ""


def component_of(part: ComponentPart, place: Place) -> Component:
    """Return a component as the Application states it."""
    traits = tuple(
        Trait(trait.type, (Layer(trait.properties, place / "traits" / index / "properties"),))
        for index, trait in enumerate(part.traits)
    )
    layers = (Layer(part.properties, place / "properties"),)
    return Component(part.name, part.type, layers, traits, tuple(part.depends_on), place)


def overridden(components: Sequence[Component], policy: Override, place: Place, problems: Problems) -> tuple[Component, ...]:
    """Return components after an override policy; ``place`` leads to the policy's properties."""
    result = list(components)
    for index, patch in enumerate(policy.components):
        at = place / "components" / index
        with problems.noted():
            result = _patched(result, patch, at, problems)
    if policy.selector is None:
        return tuple(result)
    names = {component.name for component in result}
    for index, name in enumerate(policy.selector):
        if name not in names:
            problems.add((place / "selector" / index).problem(name, one_of(names, name)))
    return tuple(component for component in result if component.name in policy.selector)


def _patched(components: list[Component], patch: OverrideComponent, place: Place, problems: Problems) -> list[Component]:
    matched = [component for component in components if _matches(component, patch)]
    if matched:
        _note_idle_disables(matched, patch, place, problems)
        return [_changed(component, patch, place) if component in matched else component for component in components]
    if patch.name and patch.type and DNS_LABEL.fullmatch(patch.name):
        return [*components, _added(patch, place)]
    if patch.name:
        allowed = (
            one_of((c.name for c in components), patch.name) + "; a new component needs a type and a DNS label as its name"
        )
        raise InvalidInput([(place / "name").problem(patch.name, allowed)])
    raise InvalidInput([(place / "type").problem(patch.type, one_of((c.type for c in components), patch.type))])


def _matches(component: Component, patch: OverrideComponent) -> bool:
    """Tell whether an override is about a component: by name, where ``*`` stands for anything, or else by type."""
    if patch.name:
        pattern = ".*".join(re.escape(piece) for piece in patch.name.split("*"))
        return re.fullmatch(pattern, component.name) is not None
    return patch.type in ("", component.type)


def _changed(component: Component, patch: OverrideComponent, place: Place) -> Component:
    if patch.name and patch.type and patch.type != component.type:  # KubeVela: another type replaces the whole component
        return replace(_added(patch, place), name=component.name)
    layers = (*component.layers, Layer(patch.properties, place / "properties")) if patch.properties else component.layers
    return replace(component, layers=layers, traits=_traits(component.traits, patch.traits, place / "traits"))


def _traits(traits: tuple[Trait, ...], patches: Sequence[OverrideTrait], place: Place) -> tuple[Trait, ...]:
    result = list(traits)
    for index, patch in enumerate(patches):
        layer = Layer(patch.properties, place / index / "properties")
        same = [i for i, trait in enumerate(result) if trait.type == patch.type]
        if len(same) > 1:
            found = phrase(f"{patch.type} stands {len(same)} times on the component")
            raise InvalidInput(
                [(place / index / "type").problem(found, "a trait that stands once: which is meant can't be told")]
            )
        if patch.disable:
            result = [trait for trait in result if trait.type != patch.type]
        elif same:
            result[same[0]] = replace(result[same[0]], layers=(*result[same[0]].layers, layer))
        else:
            result.append(Trait(patch.type, (layer,)))
    return tuple(result)


def _note_idle_disables(matched: Sequence[Component], patch: OverrideComponent, place: Place, problems: Problems) -> None:
    there = {trait.type for component in matched for trait in component.traits}
    for index, trait in enumerate(patch.traits):
        if trait.disable and trait.type not in there:
            at = place / "traits" / index / "type"
            problems.add(at.problem(trait.type, "a trait that the component has: there is nothing to disable"))


def _added(patch: OverrideComponent, place: Place) -> Component:
    traits = _traits((), patch.traits, place / "traits")
    return Component(patch.name, patch.type, (Layer(patch.properties, place / "properties"),), traits, (), place)


def replicated(
    components: Sequence[Component], policies: Sequence[tuple[Replication, Place]], problems: Problems
) -> tuple[Component, ...]:
    """Return components with the selected ones replaced by one replica for each key, as KubeVela does after all overrides."""
    chosen: set[str] = set()
    copies: list[Component] = []
    for policy, place in policies:
        names = {component.name for component in components}
        for index, name in enumerate(policy.selector):
            if name not in names:
                problems.add((place / "selector" / index).problem(name, one_of(names, name)))
        picked = [component for component in components if component.name in policy.selector]
        copies += [replace(component, replica=key) for component in picked for key in dict.fromkeys(policy.keys)]
        chosen |= {component.name for component in picked}
    return (*(component for component in components if component.name not in chosen), *copies)
