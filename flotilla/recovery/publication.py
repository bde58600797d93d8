"""What stands in the Leases: who is primary and which sites may be promoted without loss, as a majority of them tells.

The list is kept outside PostgreSQL and in strict order (Patroni, docs/replication_modes.rst): shrunk before the setting that
it stands for is relaxed, grown after the standby is synchronous. So it may promise too little, never too much.
"""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.facts import Unknown
from flotilla.recovery.facts import World


@dataclass(frozen=True)
class Published:
    """What was published last: it is said of ``primary`` at ``epoch`` and of no other."""

    epoch: int
    primary: str
    authorised: tuple[str, ...]
    promotable: tuple[str, ...]


def published(world: World, sites: int) -> Published | Unknown:
    """Return what stands in the leases of ``sites`` clusters; Unknown unless more than half can be read.

    Of two that differ the newer counts, and of equally new ones only what both say: a run may have died between them.
    """
    leases = world.seen_leases()
    if len(leases) <= sites // 2:
        return Unknown(
            "leases", f"{len(leases)} of {sites} leases can be read: what was published last may stand in the others"
        )
    newest = max(lease.published for lease in leases)
    said = [lease for lease in leases if lease.published == newest]
    if newest == 0 or len({lease.primary for lease in said}) != 1:
        return Unknown(
            "leases", "no lease says who is primary" if newest == 0 else "leases name several primaries at one epoch"
        )
    both = [site for site in said[0].promotable if all(site in lease.promotable for lease in said)]
    return Published(newest, said[0].primary, said[0].authorised, tuple(both))


def promotable(world: World, primary: str, sites: int) -> tuple[str, ...] | Unknown:
    """Return the sites that hold, between them, every commit that ``primary`` acknowledged; Unknown where nobody can say."""
    said = published(world, sites)
    if isinstance(said, Unknown):
        return said
    if said.primary != primary:
        return Unknown("leases", f"they speak of {said.primary} as primary (epoch {said.epoch}), not of {primary}")
    return said.promotable
