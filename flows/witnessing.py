"""What witnesses say of the primary: heard for a while, judged, and set against the policy. For the watcher and for alerts."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.recovery.facts import AgentSeen, World
from flotilla.recovery.journal import Journal, Wrote
from flotilla.recovery.loss import statement
from flotilla.recovery.policy import Occasion, reasons_to_ask
from flotilla.recovery.refusals import Trigger, primary_of
from flotilla.recovery.steps import Kind
from flotilla.recovery.witnesses import OURSELVES, Patience, Testimony, Verdict, verdict
from flows.recovering import Ground
from flows.recovery_runs import known_runs

EVERY = 0.5  # seconds between two looks
HEARD = 1.5  # seconds within which an agent must have heard of another to bear witness that it is there
AUTOMATIC = ("watcher", "alert")  # initiators of recoveries that nobody may have been asked about
log = logging.getLogger("flotilla.recovery")


class Hearing:
    """What witnesses said lately, by witness and site."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._heard: dict[tuple[str, str], deque[Testimony]] = {}

    def hear(self, world: World, sites: tuple[str, ...]) -> None:
        """Hear every witness once."""
        for one in testimonies(world, sites):
            self._heard.setdefault((one.witness, one.site), deque(maxlen=3 * self._patience.of)).append(one)

    def verdict(self, site: str, now: float, sites: int) -> Verdict:
        """Return what is held of a site."""
        return verdict(site, [one for of_pair in self._heard.values() for one in of_pair], now, self._patience, sites)


def heard(ground: Ground) -> Hearing:
    """Hear the witnesses for as long as it takes them to find a site down; blocks for some seconds."""
    patience = ground.recovery.patience()
    hearing = Hearing(patience)
    end = time.monotonic() + max(patience.silent, patience.of * EVERY) + 2 * EVERY
    while time.monotonic() < end:
        hearing.hear(ground.eyes.world(), ground.layout.sites)
        time.sleep(EVERY)
    return hearing


def reasons_for_people(ground: Ground, target: str, trigger: Trigger) -> tuple[str, ...]:
    """Return why a failover that was triggered so stops at its gate, the witnesses heard; none if it may go by itself."""
    hearing, world = heard(ground), ground.eyes.world()
    primary = primary_of(world, ground.layout)
    if isinstance(primary, Unknown) or target not in ground.layout.sites:
        return (f"who is primary is not known, or there is no site {target}",)
    found = hearing.verdict(primary, world.at, len(ground.layout.places))
    loss = statement(target, primary, world, ground.layout)
    occasion = Occasion(primary, target, loss, found, trigger, last_automatic(ground.fleet))
    return reasons_to_ask(occasion, ground.recovery.rules(), world, ground.layout)


def testimonies(world: World, sites: tuple[str, ...]) -> Iterator[Testimony]:
    """Yield what we and the sites' agents say of each site just now.

    A site is there for us if its agent or its database answers; for an agent if the other agent answered it lately.
    """
    for site in sites:
        agent, database = world.agent(site), world.database(site)
        silent = isinstance(agent, Unknown) and isinstance(database, Unknown)
        yield Testimony(OURSELVES, site, world.at, not silent, agent.reason if isinstance(agent, Unknown) else "")
    for agent in world.seen_agents():
        yield from _of_peers(agent, world.at)


def _of_peers(agent: AgentSeen, at: float) -> Iterator[Testimony]:
    for peer in agent.peers:
        yield Testimony(agent.site, peer.site, at, peer.ago is not None and peer.ago <= HEARD, peer.error)


def last_automatic(fleet: Fleet) -> float | None:
    """Return when a failover that may have gone by itself began last, as journals tell; None where none did.

    Where nobody can say it is taken to be now: no other one goes by itself then.
    """
    try:
        begun_at = [began for journal in known_runs(fleet) if (began := _began(journal)) is not None]
    except FlotillaError as error:
        log.warning("when the last automatic failover was is not known: %s", error)
        return time.time()
    return max(begun_at, default=None)


def left_by_watchers(fleet: Fleet, before: float) -> dict[str, int]:
    """Return the runs of watchers that are not over, with their epochs; no journal has a word of them since ``before``."""
    try:
        left = [one for one in known_runs(fleet) if _is_left(one, before)]
    except FlotillaError as error:
        log.debug("what watchers left is not known: %s", error)
        return {}
    return {one.run: max(entry.epoch for entry in one.entries) for one in left}


def _is_left(journal: Journal, before: float) -> bool:
    first, last = journal.entries[0], journal.entries[-1]
    by_watcher = first.kind is Wrote.PLANNED and first.said.get("initiator") == AUTOMATIC[0]
    over = any(entry.kind is Wrote.ENDED for entry in journal.entries)
    return by_watcher and not over and last.at < before


def _began(journal: Journal) -> float | None:
    first = next((entry for entry in journal.entries if entry.kind is Wrote.PLANNED), None)
    if first is None or first.said.get("initiator") not in AUTOMATIC:
        return None
    return first.at if first.said.get("plan", {}).get("kind") == Kind.FAILOVER else None
