"""The watcher: one long-lived process in each of two sites, of which the one that leads acts.

It hears the witnesses, keeps connections open, and walks a failover in its own process where the policy lets it go by itself.
What it may not do by itself it tells people, once.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.recovery.facts import Sample, World
from flotilla.recovery.loss import statement
from flotilla.recovery.policy import Occasion, reasons_to_ask
from flotilla.recovery.publication import published
from flotilla.recovery.refusals import Asked, Trigger, primary_of
from flotilla.recovery.steps import Kind, Mode
from flotilla.recovery.walking import Ended, Outcome
from flotilla.recovery.witnesses import State, Verdict
from flows.consent import SignedAnswers
from flows.logs import log_to_stderr
from flows.recovering import Ground, begun, new_run, opened, planned, walked
from flows.telling import ended_text
from flows.witnessing import EVERY, Hearing, last_automatic
from tasks import prefect_api, replication_samples
from tasks.clusters import Connection
from tasks.fanout import side_by_side
from tasks.leadership import Leadership, own_identity
from tasks.notify import tell_webhook

KEEP = 10.0  # seconds between two copies of the samples of replication
LEASE = "flotilla-watcher"
WATCHER = "watcher"
log = logging.getLogger("flotilla.recovery")


def watch_for_good(fleet: Fleet, tell: Callable[[str], None] = lambda _: None) -> None:
    """Watch until SIGTERM or SIGINT; ``tell`` is called with each change of how things stand."""
    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with opened(fleet) as ground:
        leadership = Leadership(list(ground.connections.values()), own_identity(), LEASE)
        leadership.start()
        try:
            watch = Watch(ground, leadership, tell)
            while not stop.wait(EVERY):
                watch.look()
        finally:
            leadership.stop()
    log.info("ended")


@dataclass(frozen=True)
class Alarm:
    """A primary that is held to be down: who could take over, and what speaks against its going by itself."""

    primary: str
    target: str
    verdict: Verdict
    against: tuple[str, ...]

    def __str__(self) -> str:
        told = f"{self.primary} is {self.verdict.state}: {'; '.join(self.verdict.reasons)}"
        return f"{told}. {self.target} waits for a person: {'; '.join(self.against)}" if self.against else told


class Watch:
    """What a watcher has heard so far, and what it makes of it."""

    def __init__(self, ground: Ground, leadership: Leadership, tell: Callable[[str], None] = lambda _: None) -> None:
        self._ground, self._leadership, self._say = ground, leadership, tell
        self._stands = ""
        self._hearing = Hearing(ground.recovery.patience())
        self._told = ""
        self._last_automatic = last_automatic(ground.fleet)
        self._kept_at = 0.0
        self._keeping: threading.Thread | None = None

    def look(self) -> None:
        """Hear the witnesses once, and do or tell what follows."""
        world = self._ground.eyes.world()
        self._hearing.hear(world, self._ground.layout.sites)
        if self._leadership.leads:
            self._keep_samples(world)
        alarm = self._alarm(world)
        self._stand(world, alarm)
        if alarm is None:
            self._told = ""
        elif not alarm.against and self._leadership.leads:
            self._fail_over(alarm)
        elif str(alarm) != self._told and self._leadership.leads:
            self._tell(alarm)

    def _stand(self, world: World, alarm: Alarm | None) -> None:
        """Tell how things stand where that has changed."""
        primary = primary_of(world, self._ground.layout)
        who = "leads" if self._leadership.leads else "stands by"
        told = f"this watcher {who}; {alarm or (primary if isinstance(primary, Unknown) else f'{primary} is primary')}"
        if (key := told if alarm is None else f"{who} {alarm.primary} {alarm.verdict.state}") != self._stands:
            self._stands = key
            self._say(told)

    def _keep_samples(self, world: World) -> None:
        """Have the samples of replication outlive this city; in the background, since a cluster may hang."""
        if world.at - self._kept_at < KEEP or (self._keeping and self._keeping.is_alive()):
            return
        self._kept_at, ways, samples = world.at, self._ground.connections, world.samples
        self._keeping = threading.Thread(target=_put_samples, args=(ways, samples), name="samples", daemon=True)
        self._keeping.start()

    def _alarm(self, world: World) -> Alarm | None:
        """Return what is wrong with the primary, None as long as nobody says that it is down, or somebody recovers already."""
        layout, recovery = self._ground.layout, self._ground.recovery
        primary = primary_of(world, layout)
        if isinstance(primary, Unknown) or any(lease.holder for lease in world.seen_leases()):
            return None
        found = self._hearing.verdict(primary, world.at, len(layout.places))
        if found.state is not State.DOWN:
            return None
        said = published(world, len(layout.places))
        near = [site for site in layout.in_city_of(primary) if site != primary]
        holders = [] if isinstance(said, Unknown) else [site for site in said.promotable if site in near]
        target = next(iter([*holders, *near, *layout.others(primary)]))
        loss = statement(target, primary, world, layout)
        occasion = Occasion(primary, target, loss, found, Trigger.WATCHER, self._last_automatic)
        return Alarm(primary, target, found, reasons_to_ask(occasion, recovery.rules(), world, layout))

    def _fail_over(self, alarm: Alarm) -> None:
        log.warning("%s; %s takes over", alarm, alarm.target)
        asked = Asked(
            Kind.FAILOVER,
            alarm.target,
            mode=Mode.UNGRACEFUL,
            run=new_run(Kind.FAILOVER),
            trigger=Trigger.WATCHER,
            initiator=WATCHER,
            reason="; ".join(alarm.verdict.reasons),
        )
        try:
            plan = planned(self._ground, asked, automatic=True)
            self._last_automatic = time.time()
            people = SignedAnswers(self._ground.recovery, self._ground.connections)
            ended = walked(self._ground, begun(self._ground, asked, plan), people)
        except FlotillaError as error:
            log.error("%s", error)
            return
        log.warning("run %s: %s", asked.run, ended_text(ended))
        threading.Thread(target=_noted, args=(asked, ended), name="noted", daemon=True).start()

    def _tell(self, alarm: Alarm) -> None:
        self._told = str(alarm)
        log.warning("%s", alarm)
        if name := self._ground.fleet.approvals.webhook_env:
            text = f"{alarm}; flotilla recover failover --to {alarm.target}"
            try:
                tell_webhook(f"env:{name}", {"text": text, "primary": alarm.primary, "target": alarm.target})
            except FlotillaError as error:
                log.warning("nobody was told: %s", error)


def _noted(asked: Asked, ended: Ended) -> None:
    """Have the failover among Prefect's runs, if Prefect is there: it was walked without it."""
    parameters = {"to": asked.target, "initiator": asked.initiator, "reason": asked.reason}
    state = "COMPLETED" if ended.outcome is Outcome.VERIFIED else "FAILED"
    try:
        prefect_api.note_run("recovery/failover", asked.run, parameters, (state, ended_text(ended)))
    except FlotillaError as error:
        log.info("run %s is not among Prefect's: %s", asked.run, error)


def _put_samples(ways: Mapping[str, Connection], samples: tuple[Sample, ...]) -> None:
    for name, answer in side_by_side(ways, lambda name: replication_samples.put(ways[name], samples)).items():
        if isinstance(answer, FlotillaError):
            log.debug("samples are not kept in %s: %s", name, answer)
