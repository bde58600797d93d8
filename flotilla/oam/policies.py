"""The policies: their properties, and how objects are treated under those whose rules select them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from flotilla.fleet import DnsLabel
from flotilla.intent import Handling, Recycle
from flotilla.oam.documents import Properties
from flotilla.oam.places import Part

COMPONENT, TRAIT = "WORKLOAD", "TRAIT"


class TopologyExtension(Part):
    """Ours: replicas are divided over the clusters by weight, ``weights: {production: 2, same-city: 1}``."""

    weights: dict[str, StrictInt] = Field(min_length=1)


class Topology(Part):
    """Where components go. KubeVela: topology.cue; ``flotilla`` is an extension of ours."""

    clusters: list[str] | None = Field(default=None, min_length=1)
    cluster_label_selector: dict[str, str] | None = None
    cluster_selector: dict[str, str] | None = None
    allow_empty: StrictBool = False
    namespace: DnsLabel | None = None
    flotilla: TopologyExtension | None = None


class OverrideTrait(Part):
    """A trait that an override changes, adds or takes away."""

    type: str
    properties: Properties = Field(default_factory=dict)
    disable: StrictBool = False


class OverrideComponent(Part):
    """What an override changes; without a name every component (of that type) is meant."""

    name: str = ""
    type: str = ""
    properties: Properties = Field(default_factory=dict)
    traits: list[OverrideTrait] = Field(default_factory=list)


class Override(Part):
    """Changes to components, and which of them to use. KubeVela: override.cue."""

    components: list[OverrideComponent] = Field(default_factory=list)
    selector: list[str] | None = None


class Replication(Part):
    """Several copies of a component in one place, one for each key. KubeVela: replication.cue."""

    keys: list[DnsLabel] = Field(min_length=1)
    selector: list[str] = Field(min_length=1)


class Selector(Part):
    """Which objects a rule is about: every list that is given must match. KubeVela: resource_policy_types.go."""

    component_names: list[str] = Field(default_factory=list)
    component_types: list[str] = Field(default_factory=list)
    oam_types: list[Literal["COMPONENT", "WORKLOAD", "TRAIT"]] = Field(default_factory=list)
    trait_types: list[str] = Field(default_factory=list)
    resource_types: list[str] = Field(default_factory=list)
    resource_names: list[str] = Field(default_factory=list)

    def matches(self, origin: Origin) -> bool:
        """Tell whether an object is meant; a selector without any list means none."""
        pairs = (
            (self.component_names, origin.component),
            (self.component_types, origin.component_type),
            ([COMPONENT if name == "COMPONENT" else name for name in self.oam_types], origin.oam_type),
            (self.trait_types, origin.trait_type),
            (self.resource_types, origin.kind),
            (self.resource_names, origin.name),
        )
        given = [(wanted, value) for wanted, value in pairs if wanted]
        return bool(given) and all(value in wanted for wanted, value in given)


class Rule(Part):
    """A rule that holds for what its selector matches."""

    selector: Selector


class RecycleRule(Rule):
    """When an object may be deleted and what becomes of what it owns."""

    strategy: Recycle = Recycle.ON_APP_UPDATE
    propagation: Literal["orphan", "cascading"] | None = None


class GarbageCollect(Part):
    """What happens to objects that the application no longer names. KubeVela: garbage-collect.cue."""

    application_revision_limit: StrictInt | None = Field(default=None, ge=1)
    keep_legacy_resource: StrictBool = False
    continue_on_failure: StrictBool = False
    order: Literal["dependency"] | None = None
    rules: list[RecycleRule] = Field(default_factory=list)


class Drift(Part):
    """Which fields may drift, and when that is tolerated."""

    path: list[str] = Field(min_length=1)
    affect: Literal["onUpdate", "onStateKeep", "always"] = "always"


class DriftRule(Part):
    """Tolerated drift of what the selector matches."""

    selector: Selector
    strategy: Drift


class ApplyOnce(Part):
    """Drift that is not corrected. KubeVela: apply-once.cue; without rules everything may drift between rollouts."""

    enable: StrictBool = False
    rules: list[DriftRule] = Field(default_factory=list)


class Rules(Part):
    """shared-resource, read-only and take-over: the objects that the rules' selectors match."""

    rules: list[Rule] = Field(default_factory=list)


class Update(Part):
    """How an object is changed: patched, or deleted and created again."""

    op: Literal["patch", "replace"] = "patch"
    recreate_fields: list[str] = Field(default_factory=list)


class UpdateRule(Rule):
    """How the objects that the selector matches are changed."""

    strategy: Update


class ResourceUpdate(Part):
    """KubeVela: resource-update.cue."""

    rules: list[UpdateRule] = Field(default_factory=list)


MODELS: dict[str, type[Part]] = {
    "topology": Topology,
    "override": Override,
    "replication": Replication,
    "garbage-collect": GarbageCollect,
    "apply-once": ApplyOnce,
    "shared-resource": Rules,
    "read-only": Rules,
    "take-over": Rules,
    "resource-update": ResourceUpdate,
}
"""The properties of each type of policy."""

OF_DEPLOY = frozenset({"topology", "override", "replication"})
"""Policies that take effect where a deploy step names them; the others hold for the whole application."""


@dataclass(frozen=True)
class Origin:
    """What a rule's selector looks at: which object it is and who asked for it."""

    component: str
    component_type: str
    oam_type: str
    trait_type: str
    kind: str
    name: str


_FILLED_IN = {"ServiceImport": ("spec",)}
"""What a controller writes by the API's rules, whoever declared it: a ServiceImport's spec follows the exports (KEP-1645)."""


def handling_of(origin: Origin, policies: Sequence[tuple[str, Any]]) -> Handling:
    """Return how an object is treated under (type, model) policies."""
    handling = Handling(apply_once=_FILLED_IN.get(origin.kind, ()))
    for kind, policy in policies:
        handling = _with(handling, kind, policy, origin)
    return handling


def _with(handling: Handling, kind: str, policy: Any, origin: Origin) -> Handling:
    if kind == "apply-once":
        return _with_drift(handling, policy, origin)
    rule = next((rule for rule in getattr(policy, "rules", ()) if rule.selector.matches(origin)), None)
    if rule is None:
        return handling
    match kind:
        case "garbage-collect":
            return replace(handling, recycle=rule.strategy, orphan=rule.propagation == "orphan")
        case "shared-resource":
            return replace(handling, shared=True)
        case "read-only":
            return replace(handling, read_only=True)
        case "take-over":
            return replace(handling, take_over=True)
        case "resource-update":
            fields = tuple(rule.strategy.recreate_fields)
            return replace(handling, replace=rule.strategy.op == "replace" or bool(fields), recreate_fields=fields)
    return handling


def _with_drift(handling: Handling, policy: ApplyOnce, origin: Origin) -> Handling:
    if not policy.enable:
        return handling
    if not policy.rules:  # KubeVela: resourcekeeper StateKeep returns at once, an update is applied in full
        return replace(handling, apply_once=("*",), apply_once_affects="onStateKeep")
    rule = next((rule for rule in policy.rules if rule.selector.matches(origin)), None)
    if rule is None:
        return handling
    return replace(handling, apply_once=tuple(rule.strategy.path), apply_once_affects=rule.strategy.affect)
