"""Exports, services and slices of all clusters in; what every cluster should hold out, and why.

One service at a time: all that is decided about a namespace and name depends on what the clusters hold of that namespace
and name. The decision takes as many rounds as the API servers need to answer (a ServiceImport's uid comes before its
slices, the derived Service's address before the import's ``ips``): write, look, decide again, until there is nothing to
write. Deciding on what was written writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flotilla.facts import Unknown
from flotilla.services.cap import Cause, Withdrawal
from flotilla.services.consumer import import_side, judgements_in
from flotilla.services.explain import Explanation, chain
from flotilla.services.facts import ClusterView, DnsFact, World
from flotilla.services.health import Health, Link, Target, Verdict, targets_in
from flotilla.services.memory import Memory, ids_of, memory_of
from flotilla.services.merge import Invalid, Merged, Source, merge, sources_of
from flotilla.services.policy import Policy
from flotilla.services.scene import Scene, Wanted
from flotilla.services.status import with_export_status
from flotilla.services.writes import Write, writes_to


@dataclass(frozen=True)
class Decision:
    """What is wanted of every cluster that could be looked at, by cluster name, and what it follows from.

    ``withdrawals`` are the exporters whose endpoints leave a consumer if this decision is carried out. Where a person
    has to agree first, put their links into ``Health.held`` and decide again.
    """

    wanted: Mapping[str, Wanted]
    merged: Merged | None
    sources: tuple[Source, ...]
    invalid: tuple[Invalid, ...]
    withdrawals: tuple[Withdrawal, ...]
    memory: Memory


def decide(world: World, health: Health, policy: Policy, now: datetime) -> Decision:
    """Return what every cluster should hold of one service.

    ``now`` stamps conditions whose status changes and says which leases hold; it has a time zone. An Unknown cluster is
    asked for nothing, and what it contributed stays: as last seen, or as the others hold it.
    """
    sources, invalid = sources_of(world, policy)
    memory = memory_of(world, health, frozenset(source.cluster for source in sources))
    scene = Scene(
        world=world,
        health=health,
        policy=policy,
        now=now,
        sources=sources,
        invalid={problem.cluster: problem for problem in invalid},
        memory=memory,
        merged=merge(sources, memory.pinned),
    )
    wanted = {name: import_side(scene, name, view) for name, view in world.seen.items()}
    wanted = {name: with_export_status(scene, name, wanted) for name in wanted}
    withdrawals = [w for name, view in world.seen.items() for w in _withdrawals(scene, name, view, wanted[name])]
    return Decision(wanted, scene.merged, sources, invalid, tuple(sorted(withdrawals)), memory)


def writes(world: World, decision: Decision) -> dict[str, tuple[Write, ...]]:
    """Return the writes that a decision asks for, in order, by cluster name; clusters without any are left out."""
    found = {name: tuple(writes_to(world.key, world.seen[name], wanted)) for name, wanted in decision.wanted.items()}
    return {name: listed for name, listed in found.items() if listed}


def explain(world: World, decision: Decision, *, consumer: str, dns: DnsFact | Unknown | None = None) -> Explanation:
    """Return why the service answers as it does in one cluster: every link of the chain, and the first broken one.

    ``dns`` is what that cluster's DNS answered for the clusterset name, None where nobody asked. Raises KeyError for a
    cluster that is not in the fleet.
    """
    refused = {problem.cluster: problem.message for problem in decision.invalid}
    steps = chain(consumer, world, decision.wanted, decision.sources, decision.merged, refused, dns)
    return Explanation(consumer, tuple(steps))


def probe_targets(world: World, decision: Decision) -> dict[Link, tuple[Target, ...]]:
    """Return what is worth probing, by link: each endpoint that its source calls ready, and that the consumer is to reach.

    Withdrawn sources are in it too: their recovery is seen by probes alone. A source that nobody can see goes by its
    cluster id, and its endpoints are those that the consumer holds.
    """
    found: dict[Link, tuple[Target, ...]] = {}
    for name, wanted in decision.wanted.items():
        sources = [source for source in decision.sources if source.cluster in wanted.judgements]
        found |= {Link(name, source.cluster): targets_in(source.slices) for source in sources}
        kept = decision.memory.kept(name, world.seen[name])
        found |= {Link(name, source): targets_in(of) for source, of in kept.items() if source in wanted.judgements}
    return {link: targets for link, targets in found.items() if targets}


def _withdrawals(scene: Scene, name: str, view: ClusterView, wanted: Wanted) -> list[Withdrawal]:
    """Return the sources whose endpoints this cluster holds and would no longer hold."""
    held = {piece.source for piece in view.slices if piece.ours and piece.endpoints}
    gone = held - {piece.source for piece in wanted.slices}
    by_id = {id_: cluster for cluster, id_ in ids_of(scene.world).items()}
    found = [_withdrawal(scene, name, view, by_id.get(source, source)) for source in sorted(gone)]
    return [withdrawal for withdrawal in found if withdrawal]


def _withdrawal(scene: Scene, name: str, view: ClusterView, source: str) -> Withdrawal | None:
    """Return why a source leaves a consumer; None if it still exports and merely has no endpoints."""
    key, link = scene.world.key, Link(name, source)
    if scene.merged is not None and not scene.imports(view):
        return Withdrawal(key, link, Cause.NOT_IMPORTED, f"{name} no longer imports {key}")
    if source in scene.invalid:
        return Withdrawal(key, link, Cause.INVALID, scene.invalid[source].message)
    if source not in scene.world.clusters:
        return Withdrawal(key, link, Cause.LEFT, f"{source} is no longer in the fleet")
    if source not in {exporter.cluster for exporter in scene.sources}:
        return Withdrawal(key, link, Cause.UNEXPORTED, f"{source} no longer exports {key}")
    judgement = judgements_in(scene, name, view)[source]
    if judgement.verdict is Verdict.WITHDRAW:
        return Withdrawal(key, link, Cause.DEAD, judgement.evidence)
    return None
