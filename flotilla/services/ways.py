"""Is the way from one cluster to another cut, told by the probes of all services there together. Pure.

A cut is found out by a few endpoints, of whatever services: it must not take as long as it takes to probe all behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from flotilla.services.facts import ProbeFact
from flotilla.services.policy import Damping


@dataclass(frozen=True)
class Way:
    """What the probes from one consumer to one source tell, damped.

    ``failed`` counts the failures by address since anything there answered, the first of them at ``first``. ``cut`` is when
    the failures began for which nothing there counts as answering, None while the way is whole. ``answers`` in a row since
    then, the first at ``answering``; ``flaps`` as in a Pulse.
    """

    failed: Mapping[str, int] = field(default_factory=dict)
    first: datetime | None = None
    cut: datetime | None = None
    answers: int = 0
    answering: datetime | None = None
    healed: datetime | None = None
    flaps: int = 0


def walked(way: Way, probe: ProbeFact, known: int, damping: Damping) -> Way:
    """Return the way after one more probe along it; ``known`` endpoints are probed there in all."""
    return _answered(way, probe, damping) if probe.answered else _failed(way, probe, known, damping)


def _failed(way: Way, probe: ProbeFact, known: int, damping: Damping) -> Way:
    failed = {**way.failed, probe.address: way.failed.get(probe.address, 0) + 1}
    first = way.first or probe.at
    now = replace(way, failed=failed, first=first, answers=0, answering=None)
    witnessed = len(failed) >= min(damping.witnesses, known) and sum(failed.values()) >= damping.failures
    if way.cut or not witnessed or probe.at - first < timedelta(seconds=damping.not_ready_after):
        return now
    soon = way.healed is not None and first - way.healed < timedelta(seconds=damping.flap_window)
    return replace(now, cut=first, flaps=min(way.flaps + 1, 16) if soon else 0)


def _answered(way: Way, probe: ProbeFact, damping: Damping) -> Way:
    since = way.answering or probe.at
    now = replace(way, failed={}, first=None, answers=way.answers + 1, answering=since)
    patience = min(damping.recover_after * 2**way.flaps, damping.recover_at_most)
    if way.cut is None or now.answers < damping.answers or probe.at - since < timedelta(seconds=patience):
        return now
    return replace(now, cut=None, healed=probe.at)
