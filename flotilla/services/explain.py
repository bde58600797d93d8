"""Why a service's name resolves as it does in one cluster: the chain from export to answer, and its first broken link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from flotilla.facts import Unknown
from flotilla.services.facts import ClusterView, DnsFact, World
from flotilla.services.health import Verdict
from flotilla.services.merge import Merged, Source
from flotilla.services.names import derived_name
from flotilla.services.scene import Wanted


class Blame(StrEnum):
    """Where to look for what broke a link."""

    USER = "user"  # what was asked for, or not asked for
    SOURCE = "source"  # the exporting cluster's pods
    NETWORK = "network"  # between the clusters
    CONTROLLER = "controller"  # the keeper has not done, or cannot do, its part
    DNS = "dns"


@dataclass(frozen=True)
class Step:
    """One link of the chain: its name, the cluster it is in, what is so there; ``blame`` None where it holds."""

    link: str
    cluster: str
    text: str
    blame: Blame | None = None


@dataclass(frozen=True)
class Explanation:
    """The chain to one consumer, in order; ``broken`` is its first broken link, None if the name should answer."""

    consumer: str
    steps: tuple[Step, ...]

    @property
    def broken(self) -> Step | None:
        """The first link that does not hold. A source's own link counts only if no other source's holds."""
        whole = {step.link for step in self.steps if step.blame is None}
        return next((step for step in self.steps if step.blame and (step.link not in whole or step.link in _SINGLE)), None)


_SINGLE = frozenset({"import", "derived service", "dns"})
"""Links of which a consumer has one only; of the others one per source, and one that holds is enough."""


def chain(
    consumer: str,
    world: World,
    wanted: Mapping[str, Wanted],
    sources: tuple[Source, ...],
    merged: Merged | None,
    refused: Mapping[str, str],
    dns: DnsFact | Unknown | None = None,
) -> Iterator[Step]:
    """Yield the links from the exports to the answer in one consumer. ``refused`` are the messages of invalid exports."""
    yield from _exports(world, sources, refused)
    if merged is None:
        return
    yield _winner(sources, merged)
    view = world.clusters[consumer]
    if isinstance(view, Unknown):
        yield Step("import", consumer, f"this cluster cannot be looked at: {view.reason}", Blame.CONTROLLER)
        return
    yield _import(consumer, view, merged)
    for source in sources:
        yield from _source(consumer, view, source, wanted[consumer])
    yield from _service(consumer, view, world, merged)
    yield from _dns(consumer, view, merged, dns)


def _exports(world: World, sources: tuple[Source, ...], refused: Mapping[str, str]) -> Iterator[Step]:
    for source in sources:
        how = f"as last seen; now {source.away.reason}" if source.away else f"since {source.export.created:%Y-%m-%dT%H:%M:%SZ}"
        yield Step("export", source.cluster, f"exports {world.key}, {how}")
    for cluster, message in sorted(refused.items()):
        yield Step("export", cluster, message, Blame.USER)
    for cluster, away in world.away.items():
        if cluster not in world.last:
            yield Step("export", cluster, f"cannot be looked at: {away.reason}", Blame.CONTROLLER)
    if not sources and not refused:
        yield Step("export", "", f"no cluster that can be seen has a ServiceExport {world.key}", Blame.USER)


def _winner(sources: tuple[Source, ...], merged: Merged) -> Step:
    oldest = f"{merged.winner} has the oldest export" if merged.winner else "what consumers hold already stands"
    texts = [oldest, *(f"{conflict.reason}: {conflict.message}" for conflict in merged.conflicts)]
    return Step("conflict", merged.winner, "; ".join(texts) if len(sources) > 1 else oldest)


def _import(consumer: str, view: ClusterView, merged: Merged) -> Step:
    kind = "Headless" if merged.properties.headless else "ClusterSetIP"
    if not view.takes_objects:
        return no_namespace(consumer, view)
    if view.imported is None:
        return Step("import", consumer, "there is no ServiceImport: not made yet, or none declared here", Blame.CONTROLLER)
    if view.imported.deleting:
        return Step("import", consumer, "the ServiceImport is being deleted", Blame.USER)
    return Step("import", consumer, f"ServiceImport of type {kind}, ports {', '.join(map(str, merged.properties.ports))}")


def no_namespace(consumer: str, view: ClusterView) -> Step:
    """Return the link of a consumer whose namespace takes no objects."""
    state = "is being deleted" if view.namespace else "does not exist here"
    return Step("import", consumer, f"the namespace {state}, so nothing is imported", Blame.USER)


def _source(consumer: str, view: ClusterView, source: Source, wanted: Wanted) -> Iterator[Step]:
    """Yield a source's own slices, what its lease and probes say, and its slices in the consumer."""
    ends = [end for piece in source.slices for end in piece.endpoints]
    ready = sum(end.takes_traffic for end in ends)
    text = f"{ready} of {len(ends)} endpoints ready"
    yield Step("endpoints", source.cluster, text, None if ready else Blame.SOURCE)
    judgement = wanted.judgements.get(source.cluster)
    if judgement:
        text = judgement.evidence or "nothing speaks against its endpoints"
        drained = Blame.USER if judgement.verdict is not Verdict.KEEP else None
        yield Step("lease and probes", source.cluster, text, drained if judgement.answers else Blame.NETWORK)
    here = [end for piece in view.slices if piece.ours and piece.source == source.id for end in piece.endpoints]
    taking = sum(end.takes_traffic for end in here)
    expected = any(piece.source == source.id for piece in wanted.slices)
    blame = None if taking else Blame.CONTROLLER if expected else Blame.SOURCE
    yield Step("slices", consumer, f"{taking} of {len(here)} endpoints of {source.cluster} take traffic", blame)


def _service(consumer: str, view: ClusterView, world: World, merged: Merged) -> Iterator[Step]:
    if merged.properties.headless:
        return
    if view.derived is None:
        text = f"there is no derived Service {derived_name(world.key)}"
        yield Step("derived service", consumer, text, Blame.CONTROLLER)
    elif not view.derived.cluster_ips or not view.imported or view.imported.ips != view.derived.cluster_ips:
        text = f"the import does not have the addresses of {view.derived.name} yet"
        yield Step("derived service", consumer, text, Blame.CONTROLLER)
    else:
        yield Step("derived service", consumer, f"{view.derived.name} at {', '.join(view.derived.cluster_ips)}")


def _dns(consumer: str, view: ClusterView, merged: Merged, dns: DnsFact | Unknown | None) -> Iterator[Step]:
    if dns is not None:
        headless = merged.properties.headless
        yield dns_step(consumer, dns, set(view.imported.ips) if view.imported and not headless else _headless(view))


def dns_step(consumer: str, dns: DnsFact | Unknown, expected: Set[str]) -> Step:
    """Return the link of a name: whether a consumer's DNS answers with some of what is expected and nothing else."""
    if isinstance(dns, Unknown):
        return Step("dns", consumer, f"could not be asked: {dns.reason}", Blame.DNS)
    answer = ", ".join(dns.addresses) or dns.detail or "no such name"
    right = bool(dns.addresses) and set(dns.addresses) <= expected
    return Step("dns", consumer, f"answers {answer}", None if right else Blame.DNS)


def _headless(view: ClusterView) -> set[str]:
    ends = [end for piece in view.slices if piece.ours for end in piece.endpoints if end.takes_traffic]
    return {address for end in ends for address in end.addresses}
