"""Is a source alive, seen from a consumer: two signals, with damping, and never the last one that answers withdrawn.

The control plane's signal is a Lease in the source cluster that the keeper renews (KEP-1645, Endpoint TTL); the data
path's are probes from the consumer to the endpoints. Neither decides alone against the other: an API server that is away
while the endpoints answer changes nothing, and a dead path is damped before it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from flotilla.facts import Unknown
from flotilla.services.facts import Endpoint, LeaseFact, ProbeFact, SliceFact, World
from flotilla.services.policy import Damping


class Link(NamedTuple):
    """The way from a consumer cluster to a source cluster, by cluster names."""

    consumer: str
    source: str


class Verdict(StrEnum):
    """What a consumer does with a source's endpoints."""

    KEEP = "keep"
    NOT_READY = "not-ready"
    WITHDRAW = "withdraw"


@dataclass(frozen=True)
class Pulse:
    """What the probes of one endpoint say, damped. ``run`` counts equal results in a row, the first of them at ``since``.

    ``alive`` is the damped judgement; ``died`` when the failures began that ended it; ``flaps`` how often it died again
    soon after it had recovered.
    """

    alive: bool = True
    answering: bool = True
    run: int = 0
    since: datetime | None = None
    last: datetime | None = None
    last_answer: datetime | None = None
    died: datetime | None = None
    revived: datetime | None = None
    flaps: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Health:
    """What is remembered of one service's probes: a value that ``observe`` turns into the next one.

    ``pulses`` by link and address. ``held`` are the withdrawals, whatever their cause, that wait for a person. ``cut`` are
    the links along which nothing of any service answers, with the time since when.
    """

    pulses: Mapping[Link, Mapping[str, Pulse]] = field(default_factory=dict)
    held: frozenset[Link] = frozenset()
    cut: Mapping[Link, datetime] = field(default_factory=dict)


class Judgement(NamedTuple):
    """The verdict on one link, the addresses that must take no traffic, and the evidence as a sentence ("" if all is well).

    ``answers`` is False where probes say that the source is dead, also if it is kept for want of another.
    """

    verdict: Verdict = Verdict.KEEP
    dead: frozenset[str] = frozenset()
    evidence: str = ""
    answers: bool = True


class Candidate(NamedTuple):
    """A source as a consumer has it: cluster name, addresses that its own cluster calls ready, and whether it drains.

    ``ports`` are the names of the import's ports that those addresses serve.
    """

    cluster: str
    ready: frozenset[str]
    ports: frozenset[str]
    draining: bool = False


class Target(NamedTuple):
    """An endpoint to probe; ``port`` is the pod's."""

    address: str
    port: int
    protocol: str


def targets_in(slices: Iterable[SliceFact]) -> tuple[Target, ...]:
    """Return an endpoint each to probe, at its slice's first TCP port: UDP and SCTP give no answer to go by."""
    found = []
    for piece in slices:
        port = next((port.port for port in piece.ports if port.protocol == "TCP" and port.port), None)
        ends = [end for end in piece.endpoints if end.takes_traffic or is_marked(end)] if port else []
        found += [Target(address, port or 0, "TCP") for end in ends for address in end.addresses]
    return tuple(sorted(set(found)))


def is_marked(end: Endpoint) -> bool:
    """Return whether an imported endpoint is not ready because of probes: its own cluster would have said serving: false."""
    return end.ready is False and bool(end.serving) and not end.terminating


def observe(health: Health, probes: Iterable[ProbeFact], damping: Damping) -> Health:
    """Return the health after these probes. Their order does not matter; one not newer than the last seen is ignored."""
    pulses = {link: dict(of_link) for link, of_link in health.pulses.items()}
    for probe in sorted(probes, key=lambda probe: (probe.at, not probe.answered)):
        of_link = pulses.setdefault(Link(probe.consumer, probe.source), {})
        of_link[probe.address] = beat(of_link.get(probe.address, Pulse()), probe, damping)
    return replace(health, pulses=pulses)


def forget_gone(health: Health, world: World) -> Health:
    """Return the health without the pulses of addresses that no cluster has any more: a pod that left is not dead."""
    views = [*world.seen.values(), *world.last.values()]
    here = {address for view in views for piece in view.slices for end in piece.endpoints for address in end.addresses}
    pulses = {
        link: {address: pulse for address, pulse in of_link.items() if address in here}
        for link, of_link in health.pulses.items()
    }
    return replace(health, pulses={link: of_link for link, of_link in pulses.items() if of_link})


def healed(health: Health, link: Link, cut: datetime) -> Health:
    """Return the health once a link is whole again: what died since it was cut died of that."""
    of_link = health.pulses.get(link, {})
    alive = {address: pulse for address, pulse in of_link.items() if not (pulse.died and pulse.died >= cut)}
    return replace(health, pulses={**health.pulses, link: alive})


def next_look(health: Health, damping: Damping, now: datetime) -> float | None:
    """Return the seconds until patience with something dead ends, which no event tells; None where nothing is dead."""
    deaths = [pulse.died for of_link in health.pulses.values() for pulse in of_link.values() if pulse.died]
    patience = (damping.withdraw_when_away_after, damping.withdraw_after)
    ends = [died + timedelta(seconds=seconds) - now for died in {*deaths, *health.cut.values()} for seconds in patience]
    return min((end.total_seconds() for end in ends if end > timedelta()), default=None)


def beat(pulse: Pulse, probe: ProbeFact, damping: Damping) -> Pulse:
    """Return the pulse of an endpoint after one more probe of it."""
    if pulse.last is not None and probe.at <= pulse.last:
        return pulse
    same = pulse.run > 0 and pulse.answering == probe.answered
    since = pulse.since if same and pulse.since else probe.at
    now = replace(pulse, answering=probe.answered, run=pulse.run + 1 if same else 1, since=since, last=probe.at)
    if probe.answered:
        now = replace(now, last_answer=probe.at)
        return _revived(now) if _has_recovered(now, since, damping) else now
    now = replace(now, detail=probe.detail)
    return _died(now, since, damping) if _has_failed(now, since, damping) else now


def lease_is_current(lease: LeaseFact, now: datetime) -> bool:
    """Return whether a lease still holds: renewed, and less than its duration ago."""
    return lease.renewed is not None and now < lease.renewed + timedelta(seconds=lease.duration)


def judge(
    consumer: str, candidates: Iterable[Candidate], health: Health, world: World, *, damping: Damping, now: datetime
) -> dict[str, Judgement]:
    """Return the judgement on each source as one consumer sees it, by cluster name.

    If of those that serve a port none would be kept, the one that answers, or answered last, is kept whole: a consumer
    with probes that are wrong is better off than one with nothing.
    """
    listed = sorted(candidates, key=lambda candidate: candidate.cluster)
    judged = {
        candidate.cluster: _judge_link(Link(consumer, candidate.cluster), candidate, health, world, damping=damping, now=now)
        for candidate in listed
    }
    for port in sorted({port for candidate in listed for port in candidate.ports}):
        serving = [candidate for candidate in listed if port in candidate.ports]
        if not any(judged[candidate.cluster].verdict is Verdict.KEEP for candidate in serving):
            last = max(serving, key=lambda candidate: _nearest_to_life(consumer, candidate, health))
            before = judged[last.cluster]
            why = f"{before.evidence}; kept, as no other exporter answers"
            judged[last.cluster] = Judgement(Verdict.KEEP, frozenset(), why, before.answers)
    return judged


def _has_recovered(pulse: Pulse, since: datetime, damping: Damping) -> bool:
    patience = min(damping.recover_after * 2**pulse.flaps, damping.recover_at_most)
    long_enough = pulse.last is not None and pulse.last - since >= timedelta(seconds=patience)
    return not pulse.alive and pulse.run >= damping.answers and long_enough


def _has_failed(pulse: Pulse, since: datetime, damping: Damping) -> bool:
    long_enough = pulse.last is not None and pulse.last - since >= timedelta(seconds=damping.not_ready_after)
    return pulse.alive and pulse.run >= damping.failures and long_enough


def _revived(pulse: Pulse) -> Pulse:
    return replace(pulse, alive=True, died=None, revived=pulse.last)


def _died(pulse: Pulse, since: datetime, damping: Damping) -> Pulse:
    soon = pulse.revived is not None and since - pulse.revived < timedelta(seconds=damping.flap_window)
    return replace(pulse, alive=False, died=since, flaps=min(pulse.flaps + 1, 16) if soon else 0)


def _judge_link(
    link: Link, candidate: Candidate, health: Health, world: World, *, damping: Damping, now: datetime
) -> Judgement:
    of_link = health.pulses.get(link, {})
    probed = {address: of_link[address] for address in sorted(candidate.ready) if address in of_link}
    cut = health.cut.get(link)
    dead = candidate.ready if cut else frozenset(address for address, pulse in probed.items() if not pulse.alive)
    if candidate.draining:
        return Judgement(Verdict.NOT_READY, candidate.ready, f"{candidate.cluster} drains")
    if not dead:
        return Judgement()
    if not cut and (len(dead) < len(probed) or len(probed) < min(len(candidate.ready), damping.witnesses)):
        return Judgement(Verdict.KEEP, dead, f"no answer from {candidate.cluster} at {', '.join(sorted(dead))}")
    well, signal = _control_plane(candidate.cluster, world, now)
    since = cut or max(pulse.died for pulse in probed.values() if pulse.died)
    patience = damping.withdraw_after if well else damping.withdraw_when_away_after
    verdict = Verdict.WITHDRAW if now - since >= timedelta(seconds=patience) else Verdict.NOT_READY
    detail = next((f" ({pulse.detail})" for pulse in probed.values() if pulse.detail), "")
    when = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    evidence = f"no endpoint of {candidate.cluster} answers {link.consumer} since {when}{detail}; {signal}"
    return Judgement(verdict, candidate.ready, evidence, answers=False)


def _control_plane(cluster: str, world: World, now: datetime) -> tuple[bool, str]:
    """Return whether a source's control plane is well, and the words for it: no ages, as those change without a cause."""
    lease, view = world.leases.get(cluster), world.clusters.get(cluster)
    if isinstance(view, Unknown):
        return False, f"its API server is away: {view.reason}"
    if isinstance(lease, Unknown):
        return False, f"its lease cannot be read: {lease.reason}"
    if lease is not None and not lease_is_current(lease, now):
        return False, "its lease has expired"
    return True, "its control plane is well"


def _nearest_to_life(consumer: str, candidate: Candidate, health: Health) -> tuple[bool, bool, float, str]:
    """Return the order in which a consumer's last source is chosen: one that answers, not draining, that answered last."""
    link = Link(consumer, candidate.cluster)
    of_link = health.pulses.get(link, {})
    pulses = [of_link[address] for address in candidate.ready if address in of_link]
    answers = link not in health.cut and (not pulses or any(pulse.alive or pulse.answering for pulse in pulses))
    latest = max((pulse.last_answer.timestamp() for pulse in pulses if pulse.last_answer), default=0.0)
    return (answers, not candidate.draining, latest, candidate.cluster)
