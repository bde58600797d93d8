"""What one service's decision works on, and what it says of one cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flotilla.services.facts import ClusterView, Condition, ImportFact, ImportModel, ServiceFact, SliceFact, World
from flotilla.services.health import Health, Judgement
from flotilla.services.memory import Memory
from flotilla.services.merge import Invalid, Merged, Source
from flotilla.services.policy import Policy


@dataclass(frozen=True)
class Wanted:
    """What one cluster should hold of the service; None where it should hold none of a kind.

    An empty tuple of conditions means that there is no object whose status could be written. ``why`` says in sentences
    what is not as one might expect.
    """

    imported: ImportFact | None = None
    derived: ServiceFact | None = None
    native: ServiceFact | None = None
    slices: tuple[SliceFact, ...] = ()
    clusters: tuple[str, ...] = ()
    import_conditions: tuple[Condition, ...] = ()
    export_conditions: tuple[Condition, ...] = ()
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What all clusters' decisions have in common."""

    world: World
    health: Health
    policy: Policy
    now: datetime
    sources: tuple[Source, ...]
    invalid: Mapping[str, Invalid]
    memory: Memory
    merged: Merged | None

    @property
    def consumers(self) -> dict[str, ClusterView]:
        """The clusters that import: as they are, or as they were last seen."""
        away = {name: self.world.last[name] for name in self.world.away if name in self.world.last}
        return {name: view for name, view in {**away, **self.world.seen}.items() if self.imports(view)}

    def imports(self, view: ClusterView) -> bool:
        """Whether a cluster is to import: by the model of the oldest export, or that of the policy."""
        if self.merged is None or not view.takes_objects or (view.imported and view.imported.deleting):
            return False
        own = self.sources[0].export.import_model if self.sources else None
        declared = view.imported is not None and not view.imported.automatic
        return declared or (own or self.policy.imports) is ImportModel.AUTOMATIC
