"""`flotilla explain`: why a service answers as it does in each cluster, and the first broken link."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from flotilla.errors import FlotillaError, InvalidInput, Problem
from flotilla.exports import decide, explain, probe_targets
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.services import delegated
from flotilla.services.explain import Explanation
from flotilla.services.facts import ClusterView, DnsFact, ProbeFact, World
from flotilla.services.health import Health, Link, Target, observe
from flotilla.services.names import ServiceKey
from flotilla.services.policy import Policy
from tasks.clusters import connect
from tasks.dns import ZONE, ask_dns
from tasks.fanout import side_by_side
from tasks.probes import dial, find_prober
from tasks.snapshot import looking_at

TRIES = 3  # dials of an endpoint that does not answer: one may be lost
PAUSE = 0.6  # seconds between them


def explain_service(fleet: Fleet, key: ServiceKey, consumers: Sequence[str]) -> tuple[Explanation, ...]:
    """Return the chain from export to answer in each consumer. Endpoints are probed and DNS is asked now."""
    with looking_at(fleet) as snapshot:
        world, policy = snapshot.world(key), fleet.services.policy()
    seen = [name for name in consumers if isinstance(world.clusters[name], ClusterView)]
    answers = side_by_side(seen, lambda name: ask_dns(connect(fleet.cluster(name)), f"{key.name}.{key.namespace}.{ZONE}"))
    dns: dict[str, DnsFact | Unknown] = {
        name: Unknown(name, str(found)) if isinstance(found, FlotillaError) else found for name, found in answers.items()
    }
    if fleet.services.is_delegated:
        return tuple(delegated.explain(world, name, dns.get(name)) for name in consumers)
    health = _probed(fleet, world, policy, consumers)
    decision = decide(world, health, policy, datetime.now(UTC))
    return tuple(explain(world, decision, consumer=name, dns=dns.get(name)) for name in consumers)


def service_key(text: str, namespace: str) -> ServiceKey:
    """Return the service that is meant by NAME, NAMESPACE/NAME or its clusterset name; raises InvalidInput otherwise."""
    parts = text.removesuffix(".").removesuffix(f".{ZONE}").replace("/", ".").split(".")
    if text.endswith((ZONE, f"{ZONE}.")):
        parts.reverse()
    if len(parts) == 1 and namespace and parts[0]:
        return ServiceKey(namespace, parts[0])
    if len(parts) == 2 and all(parts) and namespace in ("", parts[0]):
        return ServiceKey(*parts)
    allowed = f"NAME with --namespace, NAMESPACE/NAME, or NAME.NAMESPACE.{ZONE}"
    raise InvalidInput([Problem("command line", "SERVICE", text, allowed)])


def _probed(fleet: Fleet, world: World, policy: Policy, consumers: Sequence[str]) -> Health:
    """Return what probes from the consumers' prober pods tell; nothing where there is no such pod."""
    targets = probe_targets(world, decide(world, Health(), policy, datetime.now(UTC)))
    links = {link: of for link, of in targets.items() if link.consumer in consumers and link.consumer != link.source}
    found = side_by_side(links, lambda link: _dialled(fleet, link, links[link][: policy.damping.witnesses]))
    probes = [probe for of in found.values() if not isinstance(of, FlotillaError) for probe in of]
    return observe(Health(), sorted(probes, key=lambda probe: probe.at), policy.damping)


def _dialled(fleet: Fleet, link: Link, targets: Sequence[Target]) -> list[ProbeFact]:
    connection = connect(fleet.cluster(link.consumer))
    pod = find_prober(connection)
    if isinstance(pod, Unknown):
        return []
    made = []
    for target in targets:
        for _ in range(TRIES):
            answered, detail = dial(connection, pod, target.address, target.port)
            made.append(ProbeFact(link.consumer, link.source, target.address, datetime.now(UTC), answered, detail))
            if answered:
                break
            time.sleep(PAUSE)
    return made
