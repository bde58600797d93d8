"""The ground that services across clusters stand on: what was found in each cluster, and what is to be told about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.ground import Right, rights
from flotilla.services import definitions
from flotilla.services.definitions import Choice, Decision, Definition, decide
from flotilla.services.dnsground import DnsGround, judge_dns
from flotilla.services.findings import Item, State, Topic
from flotilla.services.names import CLUSTER_ID_PROPERTY, CLUSTERSET_PROPERTY
from flotilla.services.parse import cluster_id, shared_ids
from flotilla.services.ranges import PodRanges, overlaps
from flotilla.services.reach import Reach

_MCS = "multicluster.x-k8s.io"
NEEDED: tuple[Right, ...] = (
    *rights("list watch create", "namespaces"),
    *rights("get create patch", "configmaps"),
    *rights("list", "nodes"),
    *rights("get list watch create patch delete", "services"),
    *rights("get list watch create patch delete", "endpointslices", "discovery.k8s.io"),
    *rights("get list watch create patch delete", "serviceexports", _MCS),
    *rights("patch", "serviceexports/status", _MCS),
    *rights("get list watch create patch delete", "serviceimports", _MCS),
    *rights("patch", "serviceimports/status", _MCS),
    *rights("list watch", "clusterproperties", "about.k8s.io"),
    *rights("get list", "customresourcedefinitions", "apiextensions.k8s.io"),
    *rights("get create update", "leases", "coordination.k8s.io"),
    *rights("get create patch", "deployments", "apps"),
    *rights("list", "pods"),
    *rights("get create", "pods/exec"),
)
"""What the keeper of services and its probes do in every cluster, and a rollout that brings exports and imports along.

An exec over a WebSocket is a GET; from 1.35 on it needs the right to create as well
(feature AuthorizePodWebsocketUpgradeCreatePermission).
"""


@dataclass(frozen=True)
class Delegate:
    """A controller of another house that implements the API in a cluster, and what gave it away."""

    name: str
    evidence: str


@dataclass(frozen=True)
class ServicesGround:
    """What a look at one cluster found. ``definitions`` holds None for a name that is not installed.

    ``properties`` are the cluster's ClusterProperties by name, {} where their definition is missing.
    """

    cluster: str
    definitions: Mapping[str, Definition | None] | Unknown
    properties: Mapping[str, str] | Unknown
    pods: PodRanges | Unknown
    dns: DnsGround | Unknown
    delegates: tuple[Delegate, ...] | Unknown
    missing: tuple[Right, ...] | Unknown


def judge(
    grounds: Sequence[ServicesGround],
    ours: Mapping[str, Definition],
    reaches: Sequence[Reach] = (),
    failed: Mapping[tuple[str, str], FlotillaError] | None = None,
    *,
    delegated: bool = False,
) -> tuple[Item, ...]:
    """Return every finding of every cluster, in the order of ``grounds`` and of the topics.

    ``failed`` are the definitions, by cluster and name, that were asked for and could not be installed. Where services are
    ``delegated``, ranges, DNS and rights are the other implementation's: all that is judged is whether there is one.
    """
    if delegated:
        return tuple(item for ground in grounds for item in _of_others(ground))
    items = [item for ground in grounds for item in _one(ground, ours, failed or {})]
    items += [*_pods(grounds), *_shared(grounds), *_reaches(reaches)]
    order = {ground.cluster: number for number, ground in enumerate(grounds)}
    topics = {topic: number for number, topic in enumerate(Topic)}
    return tuple(sorted(items, key=lambda item: (order[item.cluster], topics[item.topic])))


@dataclass(frozen=True)
class Plan:
    """What is going to be done about one definition in one cluster; ``installed`` is what is there."""

    cluster: str
    definition: str
    installed: str
    choice: Choice

    @property
    def row(self) -> dict[str, str]:
        """A table's row."""
        decision, reason = str(self.choice.decision), self.choice.reason
        return {
            "cluster": self.cluster,
            "definition": self.definition,
            "installed": self.installed,
            "plan": decision,
            "why": reason,
        }


def plan(grounds: Sequence[ServicesGround], ours: Mapping[str, Definition]) -> tuple[Plan, ...]:
    """Return what installing would do in each cluster that can be looked at."""
    return tuple(
        Plan(
            ground.cluster, name, str(seen) if (seen := ground.definitions.get(name)) else "", decide(wanted, seen, asked=True)
        )
        for ground in grounds
        if not isinstance(ground.definitions, Unknown)
        for name, wanted in ours.items()
    )


def in_use(grounds: Sequence[ServicesGround]) -> bool:
    """Tell whether services across clusters are set up anywhere that can be seen: else their ground is nobody's problem yet."""
    known = [one.definitions for one in grounds if not isinstance(one.definitions, Unknown)]
    return any(installed.get(definitions.EXPORTS) for installed in known)


def _one(
    ground: ServicesGround, ours: Mapping[str, Definition], failed: Mapping[tuple[str, str], FlotillaError]
) -> Iterator[Item]:
    if reason := _away(ground):
        yield Item(ground.cluster, Topic.API, State.UNKNOWN, "unknown", f"cannot be looked at: {reason}")
        return
    yield from _definitions(ground, ours, failed)
    yield from _delegates(ground)
    yield _cluster_id(ground)
    defined = not isinstance(ground.definitions, Unknown) and ground.definitions.get(definitions.IMPORTS) is not None
    yield from (
        Item(ground.cluster, Topic.DNS, State(state), short, text, change)
        for state, short, text, change in judge_dns(ground.dns, defined=defined)
    )
    yield _rights(ground)


def _away(ground: ServicesGround) -> str:
    """Return why nothing at all could be looked at, or nothing."""
    parts = (ground.definitions, ground.properties, ground.pods, ground.dns, ground.delegates, ground.missing)
    reasons = {part.reason for part in parts if isinstance(part, Unknown)}
    return reasons.pop() if len(reasons) == 1 and all(isinstance(part, Unknown) for part in parts) else ""


def _definitions(
    ground: ServicesGround, ours: Mapping[str, Definition], failed: Mapping[tuple[str, str], FlotillaError]
) -> Iterator[Item]:
    """Yield a finding per definition; that of ServiceExport stands for all of them in the table where all is well."""
    if isinstance(ground.definitions, Unknown):
        yield Item(ground.cluster, Topic.API, State.UNKNOWN, "unknown", f"definitions: {ground.definitions.reason}")
        return
    for name, wanted in ours.items():
        seen = ground.definitions.get(name)
        choice = decide(wanted, seen, asked=False)
        short = str(seen) if seen else "missing"
        if error := failed.get((ground.cluster, name)):
            yield Item(ground.cluster, Topic.API, State.PROBLEM, short, f"{name}: {error}")
        elif seen is None:
            state = State.NOTE if name == definitions.PROPERTIES else State.PROBLEM
            yield Item(ground.cluster, Topic.API, state, short, f"{name} is not installed: flotilla check --install-crds")
        elif lack := _unserved(name, seen):
            yield Item(ground.cluster, Topic.API, State.PROBLEM, short, lack)
        elif choice.decision is Decision.FINE:
            yield Item(ground.cluster, Topic.API, State.FINE, short)
        elif choice.decision is Decision.OLDER:
            text = f"{name} is older than ours ({choice.reason}): flotilla check --install-crds"
            yield Item(ground.cluster, Topic.API, State.NOTE, f"{short}, older", text)
        else:
            yield Item(ground.cluster, Topic.API, State.NOTE, short, f"{name} is left as it is: {choice.reason}")


def _unserved(name: str, seen: Definition) -> str:
    """Return what keeps those from working who read a definition's objects, or nothing."""
    if not {"v1alpha1", "v1beta1"} & set(seen.served):
        return f"{name} serves {', '.join(seen.served) or 'nothing'}, expected v1beta1 or v1alpha1"
    if name == definitions.IMPORTS and "v1alpha1" not in seen.served:
        return f"{name} does not serve v1alpha1, by which CoreDNS reads ServiceImports: no name of clusterset.local resolves"
    return ""


def _delegates(ground: ServicesGround) -> Iterator[Item]:
    if isinstance(ground.delegates, Unknown):
        yield _unknown_delegates(ground, ground.delegates)
        return
    for found in ground.delegates:
        text = (
            f"{found.name} implements the API here ({found.evidence}) and so would the keeper: say services.wiredBy: others in "
            f"the fleet file, or remove {found.name}"
        )
        yield Item(ground.cluster, Topic.API, State.PROBLEM, f"wired by {found.name} too", text)


def _of_others(ground: ServicesGround) -> Iterator[Item]:
    """Yield who implements the API where the keeper does not."""
    if reason := _away(ground):
        yield Item(ground.cluster, Topic.API, State.UNKNOWN, "unknown", f"cannot be looked at: {reason}")
    elif isinstance(ground.delegates, Unknown):
        yield _unknown_delegates(ground, ground.delegates)
    elif not isinstance(ground.definitions, Unknown) and ground.definitions.get(definitions.EXPORTS) is None:
        text = f"{definitions.EXPORTS} is not installed: the implementation that services.wiredBy: others means brings it"
        yield Item(ground.cluster, Topic.API, State.PROBLEM, "missing", text)
    elif ground.delegates:
        names = ", ".join(found.name for found in ground.delegates)
        yield Item(ground.cluster, Topic.API, State.FINE, f"wired by {names}")
    else:
        text = "services.wiredBy is others, and neither Submariner Lighthouse, Cilium cluster mesh nor GKE was found here"
        yield Item(ground.cluster, Topic.API, State.NOTE, "wired by somebody unknown", text)


def _unknown_delegates(ground: ServicesGround, unknown: Unknown) -> Item:
    text = f"whether somebody else wires services here: {unknown.reason}"
    return Item(ground.cluster, Topic.API, State.UNKNOWN, "unknown", text)


def _cluster_id(ground: ServicesGround) -> Item:
    if isinstance(ground.properties, Unknown):
        return Item(ground.cluster, Topic.CLUSTER_ID, State.UNKNOWN, "unknown", f"cluster id: {ground.properties.reason}")
    declared = ground.properties.get(CLUSTER_ID_PROPERTY)
    used = cluster_id(declared, ground.cluster)
    if declared is None:
        text = f"there is no ClusterProperty {CLUSTER_ID_PROPERTY}: the name {used!r} of the fleet file is its id"
        return Item(ground.cluster, Topic.CLUSTER_ID, State.NOTE, used, text)
    if declared != used:
        text = (
            f"ClusterProperty {CLUSTER_ID_PROPERTY} is {declared!r}, expected a DNS label of at most 63 characters: "
            f"the name {used!r} of the fleet file is used instead"
        )
        return Item(ground.cluster, Topic.CLUSTER_ID, State.PROBLEM, declared, text)
    return Item(ground.cluster, Topic.CLUSTER_ID, State.FINE, declared)


def _shared(grounds: Sequence[ServicesGround]) -> Iterator[Item]:
    """Yield the ids that are not unique, and memberships that differ."""
    known = {one.cluster: one.properties for one in grounds if not isinstance(one.properties, Unknown)}
    ids = {cluster: cluster_id(held.get(CLUSTER_ID_PROPERTY), cluster) for cluster, held in known.items()}
    for claim, clusters in shared_ids(ids).items():
        for cluster in clusters:
            others = ", ".join(other for other in clusters if other != cluster)
            text = f"the cluster id {claim!r} is that of {others} too: nothing is wired until each has its own"
            yield Item(cluster, Topic.CLUSTER_ID, State.PROBLEM, claim, text)
    sets = {cluster: held[CLUSTERSET_PROPERTY] for cluster, held in known.items() if CLUSTERSET_PROPERTY in held}
    if len(set(sets.values())) > 1:
        told = ", ".join(f"{cluster} {name!r}" for cluster, name in sets.items())
        for cluster in sets:
            text = f"the clusters are members of different sets ({told}), expected one ClusterProperty {CLUSTERSET_PROPERTY}"
            yield Item(cluster, Topic.CLUSTER_ID, State.PROBLEM, ids[cluster], text)


def _pods(grounds: Sequence[ServicesGround]) -> Iterator[Item]:
    for ground in grounds:
        if _away(ground):
            continue
        if isinstance(ground.pods, Unknown):
            yield Item(ground.cluster, Topic.PODS, State.UNKNOWN, "unknown", ground.pods.reason)
        else:
            yield Item(ground.cluster, Topic.PODS, State.FINE, ", ".join(ground.pods.ranges))
    for one, other, text in overlaps([ground.pods for ground in grounds]):
        yield Item(one, Topic.PODS, State.PROBLEM, f"overlaps {other}", text)


def _rights(ground: ServicesGround) -> Item:
    if isinstance(ground.missing, Unknown):
        return Item(ground.cluster, Topic.RIGHTS, State.UNKNOWN, "unknown", f"rights: {ground.missing.reason}")
    short = f"{len(NEEDED) - len(ground.missing)} of {len(NEEDED)}"
    if not ground.missing:
        return Item(ground.cluster, Topic.RIGHTS, State.FINE, short)
    text = "the account may not: " + ", ".join(str(right) for right in ground.missing)
    return Item(ground.cluster, Topic.RIGHTS, State.PROBLEM, short, text)


def _reaches(reaches: Sequence[Reach]) -> Iterator[Item]:
    for source in dict.fromkeys(one.source for one in reaches):
        tried = [one for one in reaches if one.source == source]
        got = [one.target for one in tried if one.reached]
        short = ", ".join(got) or "none"
        if len(got) == len(tried):
            yield Item(source, Topic.REACH, State.FINE, short)
        for one in tried:
            if one.reached is None:
                text = f"whether its pods reach those of {one.target} is not known: {one.detail}"
                yield Item(source, Topic.REACH, State.UNKNOWN, short, text)
            elif not one.reached:
                text = (
                    f"its pods do not reach those of {one.target}: {one.address} answers {one.detail}; expected a route "
                    "between the pod ranges, unmasqueraded, and no policy or firewall against it"
                )
                yield Item(source, Topic.REACH, State.PROBLEM, short, text)
