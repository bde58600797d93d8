"""How many exporters may be withdrawn at once without a person's word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from flotilla.services.health import Link
from flotilla.services.names import ServiceKey


class Cause(StrEnum):
    """Why a source's endpoints leave a consumer."""

    UNEXPORTED = "unexported"
    INVALID = "invalid"
    DEAD = "dead"
    LEFT = "left"  # its cluster is no longer in the fleet
    NOT_IMPORTED = "not-imported"  # the consumer gave up its import or its namespace


@dataclass(frozen=True, order=True)
class Withdrawal:
    """A source's endpoints that are about to leave a consumer; ``source`` is a cluster's name, or its id where it left."""

    key: ServiceKey
    link: Link
    cause: Cause
    why: str


@dataclass(frozen=True)
class Ration:
    """Which withdrawals go ahead, and which wait for a person."""

    allowed: tuple[Withdrawal, ...]
    held: tuple[Withdrawal, ...]

    def held_links(self, key: ServiceKey) -> frozenset[Link]:
        """Return what ``Health.held`` is to be for one service."""
        return frozenset(withdrawal.link for withdrawal in self.held if withdrawal.key == key)


def ration(
    asked: Iterable[Withdrawal], *, cap: int, already: int = 0, approved: frozenset[tuple[ServiceKey, str]] = frozenset()
) -> Ration:
    """Return which of a pass's withdrawals go ahead.

    Exporters are counted, service and source, not consumers. If those not ``approved`` (service, source) and the
    ``already`` withdrawn ones of this pass come to more than ``cap``, all that are not approved wait: which part of a mass
    withdrawal is right is not ours to guess. A consumer that gave up its import is obeyed and not counted.
    """
    listed = tuple(sorted(asked))
    free = {w for w in listed if w.cause is Cause.NOT_IMPORTED or (w.key, w.link.source) in approved}
    counted = {(w.key, w.link.source) for w in listed if w not in free}
    if already + len(counted) <= cap:
        return Ration(listed, ())
    return Ration(tuple(w for w in listed if w in free), tuple(w for w in listed if w not in free))
