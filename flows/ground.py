"""`flotilla check`, the part about services: the ground looked at, the definitions installed where asked, pods reached."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from flotilla.errors import FlotillaError
from flotilla.fleet import Fleet
from flotilla.services import findings, ground
from flotilla.services.findings import Item, State, Topic
from flotilla.services.ground import Plan, ServicesGround
from flotilla.services.reach import Reach, every_pair
from tasks.definitions import install_definition, our_definitions
from tasks.fanout import side_by_side
from tasks.mcs_ground import look_at_services
from tasks.reachability import dial, open_target, remove_target

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class GroundReport:
    """What there is to tell about the ground for services.

    ``counts`` tells whether what is wrong is anybody's problem: services are set up somewhere, or were asked about.
    ``left`` are the clusters in which something could not be removed, with the reason.
    """

    items: tuple[Item, ...]
    counts: bool
    left: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether nothing keeps services from working, or nobody wants them to."""
        return not self.counts or (findings.is_sound(self.items) and not self.left)

    @property
    def rows(self) -> Rows:
        """The table: a row per cluster; none where services are not set up."""
        return findings.rows(self.items) if self.counts else []

    def told(self, cluster: str) -> Rows:
        """Return a cluster's findings, for other programs."""
        return [{key: str(value) for key, value in asdict(item).items()} for item in self.items if item.cluster == cluster]

    def __str__(self) -> str:
        """Return in full what is not fine, with what is to be run."""
        if not self.counts:
            blind = [
                f"{one.cluster}: {one.text}" for one in self.items if one.topic is Topic.API and one.state is State.UNKNOWN
            ]
            hint = "services across clusters are not set up: flotilla check --install-crds is the first step"
            return "; ".join(["services across clusters are set up in no cluster that can be seen", *blind]) if blind else hint
        lines = [f"{one.cluster}: {one.state}: {one.text}\n{one.change}" for one in self.items if one.state is not State.FINE]
        lines += [f"{cluster}: left behind: {reason}\n" for cluster, reason in self.left.items()]
        return "".join(lines).rstrip()


def check_ground(fleet: Fleet, *, install: bool, image: str | None, show: Callable[[Rows], None]) -> GroundReport:
    """Return what there is to tell about the ground; install definitions if asked, and with an image try to reach pods.

    What is going to be installed is shown first.
    """
    ours, grounds = our_definitions(), look_at_all(fleet)
    failed: Mapping[tuple[str, str], FlotillaError] = {}
    if install:
        planned = ground.plan(grounds, ours)
        show([one.row for one in planned])
        failed = install_planned(fleet, planned)
        grounds = look_at_all(fleet)
    reaches, left = try_reach(fleet, image) if image else ((), {})
    counts = install or bool(image) or ground.in_use(grounds)
    return GroundReport(ground.judge(grounds, ours, reaches, failed, delegated=fleet.services.is_delegated), counts, left)


def look_at_all(fleet: Fleet) -> tuple[ServicesGround, ...]:
    """Return the ground of every cluster, in the order of the file; all are looked at side by side."""
    with ThreadPoolExecutor(len(fleet.clusters)) as pool:
        return tuple(pool.map(look_at_services, fleet.clusters))


def install_planned(fleet: Fleet, planned: tuple[Plan, ...]) -> dict[tuple[str, str], FlotillaError]:
    """Have the planned definitions served; return what could not be installed, by cluster and definition."""
    chosen = [(one.cluster, one.definition) for one in planned if one.choice.decision.writes]
    done = side_by_side(chosen, lambda one: install_definition(fleet.cluster(one[0]), one[1]))
    return {one: found for one, found in done.items() if isinstance(found, FlotillaError)}


def try_reach(fleet: Fleet, image: str) -> tuple[tuple[Reach, ...], dict[str, str]]:
    """Return whether pods of each cluster reach pods of each other one, and where the pods could not be removed again."""
    namespace = f"flotilla-reach-{secrets.token_hex(3)}"
    targets: dict[str, str | FlotillaError] = {}
    try:
        targets = side_by_side(fleet.names, lambda name: open_target(fleet.cluster(name), namespace, image))
        addresses = {name: found for name, found in targets.items() if isinstance(found, str)}

        def others(name: str) -> tuple[Reach, ...]:
            return dial(fleet.cluster(name), namespace, image, {to: at for to, at in addresses.items() if to != name})

        tried = side_by_side(addresses, others)
    finally:
        removed = side_by_side(fleet.names, lambda name: remove_target(fleet.cluster(name), namespace))
    left = {name: str(found) for name, found in removed.items() if isinstance(found, FlotillaError)}
    return every_pair(fleet.names, targets, tried), {name: why for name, why in left.items() if name in addresses}
