"""Pod ranges: what is known of the addresses that a cluster gives to its pods, and whether the clusters' are disjoint.

Without that no address says which cluster it is in, and nothing can be wired over a flat network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import combinations

from flotilla.facts import Unknown

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Source:
    """One place that tells a cluster's pod ranges: ``where`` as an operator finds it, ``ranges`` in CIDR notation."""

    where: str
    ranges: tuple[str, ...]


@dataclass(frozen=True)
class PodRanges:
    """A cluster's pod ranges, and where they were found."""

    cluster: str
    ranges: tuple[str, ...]
    where: str

    @property
    def networks(self) -> tuple[Network, ...]:
        """The ranges as networks; raises ValueError for what is none."""
        return tuple(_network(text) for text in self.ranges)


def pod_ranges(cluster: str, sources: Sequence[Source], addresses: Iterable[str]) -> PodRanges | Unknown:
    """Return a cluster's pod ranges by the first source that holds every pod address that was seen.

    A source that does not is not what the pods' network goes by: kubeadm writes a range that some networks ignore.
    """
    seen = sorted(set(addresses), key=_as_number)
    told = [source for source in sources if source.ranges]
    for source in told:
        found = PodRanges(cluster, _collapsed(source.ranges), source.where)
        if all(_holds(found.networks, address) for address in seen):
            return found
    if not told:
        return Unknown(cluster, "pod ranges stand nowhere: no spec.podCIDRs, no range of Cilium, Calico or kubeadm")
    outside = [f"{source.where} has {', '.join(source.ranges)}" for source in told]
    stray = next(address for address in seen if not _holds(PodRanges(cluster, told[0].ranges, "").networks, address))
    return Unknown(cluster, f"a pod has {stray}, outside of every range that is told: {'; '.join(outside)}")


def overlaps(clusters: Sequence[PodRanges | Unknown]) -> Iterator[tuple[str, str, str]]:
    """Yield two clusters' names and a sentence for each pair of ranges that share addresses."""
    known = [one for one in clusters if isinstance(one, PodRanges)]
    for one, other in combinations(known, 2):
        for left in one.networks:
            for right in other.networks:
                if left.version == right.version and left.overlaps(right):
                    text = f"pods have {left} ({one.where}), pods of {other.cluster} have {right} ({other.where})"
                    yield one.cluster, other.cluster, f"{text}: give one of the clusters another range"


def _holds(networks: Iterable[Network], address: str) -> bool:
    """Tell whether an address lies in one of the networks; of a family that none of them is of, nothing is known."""
    parsed = ip_address(address)
    same = [network for network in networks if network.version == parsed.version]
    return not same or any(parsed in network for network in same)


def _collapsed(ranges: Iterable[str]) -> tuple[str, ...]:
    """Return ranges with neighbours put together: a cluster of 100 nodes has 100 ranges, and one when put together."""
    networks = [_network(text) for text in ranges]
    four = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return tuple(str(network) for network in [*four, *six])


def _network(text: str) -> Network:
    return ip_network(text.strip(), strict=False)


def _as_number(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)
