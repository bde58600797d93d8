"""The watcher: one long-lived process in each of two sites, of which the one that leads acts.

It hears the witnesses, keeps connections open, and walks a failover in its own process where the policy lets it go by itself.
What it may not do by itself it tells people, once.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from flotilla.errors import FlotillaError, Transient
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.recovery.facts import Sample, World
from flotilla.recovery.journal import Journal
from flotilla.recovery.loss import statement
from flotilla.recovery.policy import Occasion, WhenSyncIsLost, about_lost_sync, reasons_to_ask, waited_for_in_vain
from flotilla.recovery.publication import published
from flotilla.recovery.refusals import Asked, Trigger, next_epoch, primary_of
from flotilla.recovery.steps import Kind, Mode
from flotilla.recovery.walking import Ask, Ended, Outcome, Stuck
from flotilla.recovery.witnesses import State, Verdict
from flows.consent import SignedAnswers
from flows.logs import log_to_stderr
from flows.recovering import Ground, begun, new_run, opened, planned, taken_up, walked
from flows.telling import ended_text
from flows.walker import People, Run
from flows.witnessing import EVERY, Hearing, last_automatic, left_by_watchers
from tasks import prefect_api, replication_samples
from tasks.clusters import Connection
from tasks.fanout import side_by_side
from tasks.leadership import Leadership, own_identity
from tasks.notify import tell_webhook

KEEP = 10.0  # seconds between two copies of the samples of replication
READ = 20.0  # seconds between two looks at the runs that journals tell of
LEFT = 5.0  # seconds without a word in its journal, and no lease held, after which nobody walks a run any more
_FIGURE = re.compile(r"-?\d+(\.\d+)?")
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
            watch = Watch(ground, leadership, tell, stop)
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


class Asking:
    """People who answer a watcher's run; raises Transient once the watcher is told to end: the run is gone on with later."""

    def __init__(self, people: People, stop: threading.Event) -> None:
        self._people, self._stop = people, stop

    def answer(self, move: Ask | Stuck, journal: Journal) -> Journal:
        """Return the journal with what people answered."""
        if self._stop.is_set():
            raise Transient(f"run {journal.run} waits for people, and its watcher ends: flotilla recover resume {journal.run}")
        return self._people.answer(move, journal)


class Watch:
    """What a watcher has heard so far, and what it makes of it; ``stop`` is set once it is to end."""

    def __init__(
        self,
        ground: Ground,
        leadership: Leadership,
        tell: Callable[[str], None] = lambda _: None,
        stop: threading.Event | None = None,
    ) -> None:
        self._ground, self._leadership, self._say, self._stop = ground, leadership, tell, stop or threading.Event()
        self._stands = ""
        self._hearing = Hearing(ground.recovery.patience())
        self._told = ""
        self._journals = _Reading(ground.fleet)
        self._hanging: tuple[str, float] | None = None
        self._left: dict[str, int] = {}
        self._taken_up = set[str]()
        self._kept_at, self._read_at = 0.0, 0.0
        self._keeping: threading.Thread | None = None
        self._reading: threading.Thread | None = None

    def look(self) -> None:
        """Hear the witnesses once, and do or tell what follows."""
        world = self._ground.eyes.world()
        self._hearing.hear(world, self._ground.layout.sites)
        self._read_runs(world.at)
        if self._leadership.leads:
            self._keep_samples(world)
        alarm = self._alarm(world)
        self._stand(world, alarm)
        if alarm is None:
            self._told = self._told if self._about_sync(world) else ""
            self._take_up(world)
        elif not alarm.against and self._leadership.leads:
            self._fail_over(alarm)
        else:
            self._tell(str(alarm), f"failover --to {alarm.target}")

    def _about_sync(self, world: World) -> bool:
        """Do what the fleet file says where commits wait for a standby that is gone; tell whether they do."""
        primary = primary_of(world, self._ground.layout)
        names = () if isinstance(primary, Unknown) else waited_for_in_vain(primary, world)
        if isinstance(primary, Unknown) or not names:
            self._hanging = None
            return False
        if self._hanging is None or self._hanging[0] != primary:
            self._hanging = primary, time.monotonic()
        wanted = about_lost_sync(self._ground.recovery.rules(), time.monotonic() - self._hanging[1])
        told = f"commits at {primary} wait for {', '.join(names)}, and none of them streams"
        if wanted is WhenSyncIsLost.DEGRADE and self._leadership.leads:
            self._hanging = primary, time.monotonic()  # one that did not come about is tried again after the same patience
            self._begin(Asked(Kind.DEGRADE, primary, reason=told))
        elif wanted is WhenSyncIsLost.ASK:
            self._tell(told, f"degrade --to {primary}")
        return True

    def _read_runs(self, now: float) -> None:
        """Know what other watchers left; in the background, since a cluster may hang."""
        if now - self._read_at < READ or (self._reading and self._reading.is_alive()):
            return
        self._read_at = now
        self._reading = threading.Thread(target=self._read, args=(now,), name="runs", daemon=True)
        self._reading.start()

    def _read(self, now: float) -> None:
        self._left = left_by_watchers(self._ground.fleet, now - LEFT)

    def _take_up(self, world: World) -> None:
        """Go on with a failover whose watcher died: what it did not get to is owed, and nobody else would know."""
        if not self._leadership.leads or any(lease.holder for lease in world.seen_leases()):
            return
        newest = next_epoch(world) - 1
        for run in [run for run, epoch in self._left.items() if epoch == newest and run not in self._taken_up]:
            self._taken_up.add(run)
            self._inform(f"run {run} of a watcher that is gone is not over: it is taken up")
            self._walk(run, lambda run=run: taken_up(self._ground, run, WATCHER))  # type: ignore[misc]

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
        self._journals.ahead(wanted=found.state is not State.UP and self._leadership.leads)
        if found.state is not State.DOWN:
            return None
        said = published(world, len(layout.places))
        near = [site for site in layout.in_city_of(primary) if site != primary]
        holders = [] if isinstance(said, Unknown) else [site for site in said.promotable if site in near]
        target = next(iter([*holders, *near, *layout.others(primary)]))
        loss = statement(target, primary, world, layout)
        occasion = Occasion(primary, target, loss, found, Trigger.WATCHER)
        against = reasons_to_ask(occasion, recovery.rules(), world, layout)
        if not against and self._leadership.leads:  # another watcher may have failed over since this one began
            occasion = replace(occasion, last_automatic=self._journals.last_automatic())
            against = reasons_to_ask(occasion, recovery.rules(), world, layout)
        return Alarm(primary, target, found, against)

    def _fail_over(self, alarm: Alarm) -> None:
        self._inform(f"{alarm}; {alarm.target} takes over")
        self._begin(Asked(Kind.FAILOVER, alarm.target, mode=Mode.UNGRACEFUL, reason="; ".join(alarm.verdict.reasons)))

    def _begin(self, wish: Asked) -> None:
        """Have done what is wished for, nobody asked."""
        asked = replace(wish, run=new_run(wish.kind), trigger=Trigger.WATCHER, initiator=WATCHER)

        def start() -> Run:
            plan = planned(self._ground, asked, automatic=True)
            self._journals.forget()
            return begun(self._ground, asked, plan)

        ended = self._walk(asked.run, start)
        if ended:
            threading.Thread(target=_noted, args=(asked, ended), name="noted", daemon=True).start()

    def _walk(self, run: str, start: Callable[[], Run]) -> Ended | None:
        """Walk a run to its end; None where it cannot begin, or ends otherwise: that is told."""
        people = Asking(SignedAnswers(self._ground.recovery, self._ground.connections), self._stop)
        try:
            ended = walked(self._ground, start(), people)
        except FlotillaError as error:
            self._inform(f"run {run}: {error}")
            return None
        self._inform(f"run {run}: {ended_text(ended)}")
        return ended

    def _tell(self, what: str, command: str) -> None:
        """Tell people what waits for them, once, however its figures change; by the watcher that leads."""
        key = _FIGURE.sub("", what)
        if key != self._told and self._leadership.leads:
            self._told = key
            self._inform(f"{what}; flotilla recover {command}")

    def _inform(self, text: str) -> None:
        """Tell people, without waiting for the webhook."""
        log.warning("%s", text)
        if name := self._ground.fleet.approvals.webhook_env:
            threading.Thread(target=_told, args=(name, text), name="told", daemon=True).start()


def _told(name: str, text: str) -> None:
    try:
        tell_webhook(f"env:{name}", {"text": text})
    except FlotillaError as error:
        log.warning("nobody was told: %s", error)


class _Reading:
    """When the last automatic failover was, read from the journals: begun at the first doubt, since a lost site takes long."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._pool = ThreadPoolExecutor(1, "journals")
        self._began = 0.0
        self._answer: Future[float | None] | None = None

    def ahead(self, *, wanted: bool) -> None:
        """Have the journals read while there is doubt, anew after a while; what was read in an earlier one is forgotten."""
        if not wanted:
            self.forget()
        elif self._answer is None or (self._answer.done() and time.monotonic() - self._began > KEEP):
            self._began, self._answer = time.monotonic(), self._pool.submit(last_automatic, self._fleet)

    def last_automatic(self) -> float | None:
        """Return what ``witnessing.last_automatic`` does."""
        self.ahead(wanted=True)
        assert self._answer is not None
        return self._answer.result()

    def forget(self) -> None:
        """Have the journals read anew when they are asked next."""
        self._answer = None


def _noted(asked: Asked, ended: Ended) -> None:
    """Have it among Prefect's runs, if Prefect is there: it was walked without it."""
    parameters = {"to": asked.target, "initiator": asked.initiator, "reason": asked.reason}
    state = "COMPLETED" if ended.outcome is Outcome.VERIFIED else "FAILED"
    try:
        prefect_api.note_run(f"recovery/{asked.kind}", asked.run, parameters, (state, ended_text(ended)))
    except FlotillaError as error:
        log.info("run %s is not among Prefect's: %s", asked.run, error)


def _put_samples(ways: Mapping[str, Connection], samples: tuple[Sample, ...]) -> None:
    for name, answer in side_by_side(ways, lambda name: replication_samples.put(ways[name], samples)).items():
        if isinstance(answer, FlotillaError):
            log.debug("samples are not kept in %s: %s", name, answer)
