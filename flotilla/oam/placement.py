"""Where a deploy step puts things: topology policies resolved against the fleet, and replicas divided by weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Fleet
from flotilla.oam.places import Place, one_of
from flotilla.oam.policies import Topology

LOCAL = "local"
"""KubeVela's name for the hub. Flotilla has no hub: the production cluster is meant, unless a cluster is named so."""


@dataclass(frozen=True)
class Placement:
    """A cluster and the namespace in it; ``weights`` are those of the whole topology, empty without any."""

    cluster: str
    namespace: str
    weights: tuple[tuple[str, int], ...] = ()


def cluster_named(name: str, fleet: Fleet, place: Place) -> str:
    """Return the cluster that a name stands for; raises InvalidInput for a name that the fleet does not have."""
    if name in fleet.names:
        return name
    if name in (LOCAL, ""):
        return fleet.production.name
    raise InvalidInput([place.problem(name, one_of((*fleet.names, LOCAL), name))])


def placements(topology: Topology, fleet: Fleet, namespace: str, place: Place) -> tuple[Placement, ...]:
    """Return where a topology policy sends components; ``place`` leads to the policy's properties."""
    clusters = _selected(topology, fleet, place)
    where = topology.namespace or namespace
    weights = _weights(topology, clusters, fleet, place / "flotilla" / "weights")
    return tuple(Placement(cluster, where, weights) for cluster in clusters)


def hub(fleet: Fleet, namespace: str) -> tuple[Placement, ...]:
    """Return where components go that no topology policy sends anywhere."""
    return (Placement(cluster_named(LOCAL, fleet, Place("")), namespace),)


def _selected(topology: Topology, fleet: Fleet, place: Place) -> tuple[str, ...]:
    selector = topology.cluster_label_selector if topology.cluster_label_selector is not None else topology.cluster_selector
    if topology.clusters is not None:
        if selector is not None:
            raise InvalidInput([place.problem(phrase("has clusters and a label selector"), "one of the two")])
        return _named(topology.clusters, fleet, place / "clusters")
    if selector is None:
        return (cluster_named(LOCAL, fleet, place),)
    found = tuple(cluster.name for cluster in fleet.clusters if selector.items() <= cluster.labels.items())
    if not found and not topology.allow_empty:
        labels = "; ".join(f"{cluster.name} has {_shown(cluster.labels)}" for cluster in fleet.clusters)
        allowed = f"labels that a cluster of the fleet has, or allowEmpty: true ({labels})"
        raise InvalidInput([(place / "clusterLabelSelector").problem(selector, allowed)])
    return found


def _named(names: Sequence[str], fleet: Fleet, place: Place) -> tuple[str, ...]:
    found: list[str] = []
    problems: list[Problem] = []
    for index, name in enumerate(names):
        try:
            found.append(cluster_named(name, fleet, place / index))
        except InvalidInput as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidInput(problems)
    return tuple(dict.fromkeys(found))


def _weights(topology: Topology, clusters: Sequence[str], fleet: Fleet, place: Place) -> tuple[tuple[str, int], ...]:
    if topology.flotilla is None:
        return ()
    given = {cluster_named(name, fleet, place / name): weight for name, weight in topology.flotilla.weights.items()}
    allowed = f"a weight of 0 or more for each of {', '.join(clusters)}, not all 0"
    if set(given) != set(clusters) or min(given.values()) < 0 or not sum(given.values()):
        raise InvalidInput([place.problem(topology.flotilla.weights, allowed)])
    return tuple((cluster, given[cluster]) for cluster in clusters)


def divided(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Return a total divided by weights: nothing is lost, the largest remainders are rounded up, ties go by order."""
    whole = sum(weights.values())
    shares = {name: total * weight // whole for name, weight in weights.items()}
    left = total - sum(shares.values())
    by_remainder = sorted(weights, key=lambda name: -(total * weights[name] % whole))
    for name in by_remainder[:left]:
        shares[name] += 1
    return shares


def _shown(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "none"
