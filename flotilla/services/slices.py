"""Imported EndpointSlices (KEP-1645, Using EndpointSlice objects): one source's endpoints for one consumer's Service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flotilla.services.facts import Endpoint, Port, SliceFact, SlicePort
from flotilla.services.health import Candidate, is_marked
from flotilla.services.merge import Source
from flotilla.services.names import KEEPER, MAX_ENDPOINTS, ServiceKey, slice_name

_BY_ZONE = frozenset({"PreferClose", "PreferSameZone", "PreferSameNode"})
"""Values of trafficDistribution for which kube-proxy reads zone hints; nobody else sets them on slices that are ours."""


@dataclass(frozen=True)
class Attachment:
    """The Service in a consumer that imported slices hang on.

    ``service`` and ``imported`` are what the slices' labels kubernetes.io/service-name and
    multicluster.kubernetes.io/service-name say, "" for none. ``ports`` are that Service's; ``owner`` is the uid of the
    ServiceImport, ``distribution`` its trafficDistribution.
    """

    key: ServiceKey
    consumer: str
    prefix: str
    service: str
    imported: str
    owner: str
    ports: tuple[Port, ...]
    distribution: str | None = None


def imported_slices(source: Source, to: Attachment, dead: frozenset[str] = frozenset()) -> Iterator[SliceFact]:
    """Yield the slices that bring a source's endpoints to a Service; ``dead`` addresses are brought as not ready.

    A slice whose ports all lost a conflict is not brought: traffic to a contested port goes only to clusters that expose
    it. Neither is one without endpoints.
    """
    for origin in source.slices:
        ports = carried_ports(origin.ports, source.properties.ports, to.ports)
        if ports is None or not origin.endpoints or origin.address_type == "FQDN":
            continue
        at_home = source.cluster == to.consumer
        ends = [imported_endpoint(end, dead, at_home, to.distribution) for end in sorted(origin.endpoints, key=_address)]
        for part, start in enumerate(range(0, len(ends), MAX_ENDPOINTS)):
            yield SliceFact(
                name=slice_name(to.prefix, to.key, source.id, origin.name, part),
                service=to.service,
                imported=to.imported,
                source=source.id,
                managed_by=KEEPER,
                owner=to.owner,
                address_type=origin.address_type,
                ports=ports,
                endpoints=tuple(ends[start : start + MAX_ENDPOINTS]),
            )


def carried_ports(ports: Sequence[SlicePort], exposed: Sequence[Port], wanted: Sequence[Port]) -> tuple[SlicePort, ...] | None:
    """Return a slice's ports under the names they have at the consumer; None if none of them is reachable there.

    kube-proxy joins Service and slice by the port's *name*, while it is protocol and number that say which port a client
    means: name in the slice -> Service port of the source -> the consumer's port of that protocol and number -> its name.
    """
    if not exposed:
        return ()  # a headless Service without ports: its endpoints are there for their addresses only
    number = {port.name: port.number for port in exposed}
    name = {port.number: port.name for port in wanted}
    kept = [port._replace(name=name[number[port.name]]) for port in ports if number.get(port.name) in name]
    return tuple(kept) or None


def port_names(ports: Sequence[SlicePort]) -> tuple[str, ...]:
    """Return the names of a slice's ports; one without ports serves its addresses alone, which counts as a port."""
    return tuple(port.name for port in ports) or ("",)


def candidate_in(source: Source, wanted: Sequence[Port]) -> Candidate:
    """Return a source for health to judge: its ready addresses, and the wanted ports that they serve.

    What is not brought, as all its ports lost a conflict, serves nobody.
    """
    ready: set[str] = set()
    names: set[str] = set()
    for origin in source.slices:
        ports = carried_ports(origin.ports, source.properties.ports, wanted)
        ends = [end for end in origin.endpoints if end.takes_traffic]
        if ports is not None and ends:
            ready.update(address for end in ends for address in end.addresses)
            names.update(port_names(ports))
    return Candidate(source.cluster, frozenset(ready), frozenset(names), source.export.draining)


def imported_endpoint(end: Endpoint, dead: frozenset[str], at_home: bool, distribution: str | None) -> Endpoint:
    """Return an endpoint as a consumer gets it: host name, zone and conditions kept, hints set anew.

    The node's name stays in its own cluster only: elsewhere a node of that name would be taken for the endpoint's. A dead
    endpoint is not ready but keeps ``serving``, which is how ``revived`` knows that its pod was ready.
    """
    ready = False if not dead.isdisjoint(end.addresses) else end.ready
    hints = (end.zone,) if end.zone and distribution in _BY_ZONE else ()
    node = end.node if at_home else ""
    return Endpoint(end.addresses, ready, end.serving, end.terminating, end.hostname, end.zone, node, hints)


def remembered_slice(held: SliceFact, dead: frozenset[str], owner: str) -> SliceFact:
    """Return an imported slice of a source that nobody can see: as it is, but for what the probes say."""
    return replace(held, endpoints=tuple(_judged(end, dead) for end in held.endpoints), owner=owner)


def _judged(end: Endpoint, dead: frozenset[str]) -> Endpoint:
    if not dead.isdisjoint(end.addresses):
        return end._replace(ready=False)
    return end._replace(ready=True) if is_marked(end) else end


def _address(end: Endpoint) -> tuple[str, ...]:
    return end.addresses
