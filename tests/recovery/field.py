"""The lab as a business that is recovered: command lines as people give them, and what is so, seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lab
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.recovery.facts import AgentSeen, ApplicationSeen, DatabaseSeen, LeaseSeen, TrafficSeen, World
from flotilla.recovery.journal import Entry, Journal, Wrote, from_lines
from flotilla.recovery.publication import published
from flotilla.recovery.readiness import Severity
from flotilla.recovery.refusals import primary_of
from flows.check import read_fleet
from flows.recovering import Ground, opened
from lab.status import LabStatus
from tasks import replication_samples
from tasks.clusters import connect, forget_connections
from tasks.manifests import load_application
from tasks.scene import GROUND, scene_of
from tasks.workloads import apply_step, save_parent
from tests.conftest import ROOT

CITY, REMOTE = ("production", "same-city"), "remote"
SITES = (*CITY, REMOTE)
FLEET = str(ROOT / "deployments" / "fleet.yaml")
FLOTILLA = str(Path(sys.executable).with_name("flotilla"))
PATIENCE = 180.0  # seconds; a recovery takes 3 to 30


def until(holds: Callable[[], object], what: Callable[[], object] | str = "so", within: float = PATIENCE) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what() if callable(what) else what}"
        time.sleep(0.2)  # what is asked looks at three sites


@dataclass(frozen=True)
class Done:
    """How a command line ended, and all that it said."""

    code: int
    text: str

    def well(self) -> Done:
        """Return it if it ended well."""
        assert self.code == 0, self.text
        return self


@dataclass
class Going:
    """An orchestrator: a process that walks a run, whose journal tells how far it is."""

    process: subprocess.Popen[str]
    folder: Path
    log: Path
    before: frozenset[str]
    known: str = ""

    @property
    def run(self) -> str:
        """The name of its run; waits until there is one."""
        if not self.known:
            until(lambda: self._new() or self.process.poll() is not None, "a run has begun")
            assert self._new(), self.text
            (self.known,) = self._new()
        return self.known

    def _new(self) -> set[str]:
        return {file.stem for file in self.folder.glob("*.jsonl")} - self.before

    @property
    def journal(self) -> Journal:
        """What it has written down so far."""
        return from_lines((self.folder / f"{self.run}.jsonl").read_text())

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def wait_entry(self, wanted: Callable[[Entry], bool], what: str) -> None:
        """Wait until its journal has such an entry."""
        run = self.run
        until(lambda: any(map(wanted, self.journal.entries)) or self.is_over, lambda: f"{what} of {run}: {self.text}")
        assert any(map(wanted, self.journal.entries)), f"it ended before {what}: {self.text}"

    @property
    def is_over(self) -> bool:
        """Whether its process has ended."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """End the process as a power failure does; a run that stands still is ended too."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def ended(self, within: float = PATIENCE) -> Done:
        """Wait for its end."""
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not end: {self.text}") from None
        return Done(self.process.returncode, self.text)


@dataclass
class Field:
    """A lab with databases, the orders application and people who may approve; recoveries are command lines."""

    status: LabStatus
    folder: Path
    fleet: Fleet
    ground: Ground
    keys: Path
    going: list[Going] = field(default_factory=list)

    # -- command lines ------------------------------------------------------------------------------------------------

    def recover(self, *words: str, env: Mapping[str, str] | None = None) -> Done:
        """Give `flotilla recover` some words, and wait for its end."""
        return self.begin(*words, env=env).ended()

    def begin(self, *words: str, env: Mapping[str, str] | None = None, program: tuple[str, ...] = (FLOTILLA,)) -> Going:
        """Give `flotilla recover` some words."""
        journals = self.folder / ".flotilla" / "recovery"
        log = self.folder / f"orchestrator-{len(self.going)}.log"
        before = frozenset(file.stem for file in journals.glob("*.jsonl"))
        with log.open("w") as out:
            process = subprocess.Popen(
                [
                    *program,
                    "recover",
                    *words,
                    *(() if words[0] in ("key", "start") or "--fleet" in words else ("--fleet", FLEET)),
                ],
                cwd=self.folder,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            )
        known = words[1] if words[0] == "resume" else ""
        self.going.append(Going(process, journals, log, before, known))
        return self.going[-1]

    def by(self, name: str, reason: str = "test") -> tuple[str, ...]:
        """Say who somebody is, with their key."""
        return ("--as", name, "--key", str(self.keys / f"{name}.pem"), "--reason", reason)

    def move(self, kind: str, to: str, *words: str) -> Done:
        """Have a recovery done by alice, who agrees to what it asks."""
        for _ in range(3):
            done = self.recover(kind, "--to", to, *self.by("alice"), *words)
            if "nothing was touched" not in done.text or "in time" not in done.text:
                break  # on a machine that has too much to do a look may come too late; nothing was touched then
        return done

    def approve(self, run: str, name: str) -> Done:
        """Have somebody agree to what a run asks."""
        return self.recover("approve", run, *self.by(name), "--yes")

    def on(self, going: Going) -> Ground:
        """Return the ground as an orchestrator has it, with the folder of its journals."""
        return replace(self.ground, folder=going.folder)

    # -- what is so ---------------------------------------------------------------------------------------------------

    def world(self) -> World:
        """Look at everything anew."""
        return self.ground.look().eyes.world()

    def sampled(self) -> None:
        """Have the samples of replication kept, as a watcher does every few seconds."""
        for connection in self.ground.connections.values():
            replication_samples.put(connection, self.ground.look().eyes.samples)

    @property
    def primary(self) -> str:
        """The primary."""
        found = primary_of(self.world(), self.ground.layout)
        assert not isinstance(found, Unknown), found
        return found

    def database(self, site: str) -> DatabaseSeen:
        """Return what is seen of a site's database; waits until it is seen."""
        until(lambda: isinstance(self.world().database(site), DatabaseSeen), lambda: self.world().database(site))
        found = self.world().database(site)
        assert isinstance(found, DatabaseSeen)
        return found

    def agent_log(self, site: str) -> str:
        """Return what a site's agent has written so far."""
        return next(Path(one.log) for one in self.status.databases if one.site == site).read_text()

    def wrong(self) -> str:
        """Say what would keep a recovery from working now, and what is not adopted, or nothing."""
        world, layout = self.world(), self.ground.layout
        said, primary = published(world, len(layout.sites)), primary_of(world, layout)
        red = [str(one) for one in self.ground.wrong() if one.severity is Severity.RED]
        if isinstance(said, Unknown) or isinstance(primary, Unknown):
            red.append(f"{said}; {primary}")
        elif said.primary != primary or set(said.promotable) != set(layout.sync_names(primary)):
            red.append(f"published: {said}, and {primary} is primary")
        astray = [one.site for one in world.seen_databases() if one.site != primary and one.upstream != primary]
        return "; ".join([*red, *(f"{site} does not follow {primary}" for site in astray)])

    def snapshot(self) -> dict[str, Any]:
        """Return everything that a recovery could have touched."""
        world, found = self.world(), dict[str, Any]()
        for site in SITES:
            agent, database, lease = world.agent(site), world.database(site), world.lease(site)
            application, traffic = world.application(site), world.traffic(site)
            assert isinstance(agent, AgentSeen), agent
            assert isinstance(database, DatabaseSeen), database
            assert isinstance(lease, LeaseSeen), lease
            assert isinstance(application, ApplicationSeen), application
            assert isinstance(traffic, TrafficSeen), traffic
            found[site] = {
                "agent": (agent.epoch, agent.run, agent.process, agent.autostart, agent.standby_signal, agent.fence),
                "database": (database.in_recovery, database.timeline, database.upstream, database.read_only),
                "settings": (database.synchronous, sorted(slot.name for slot in database.slots)),
                "lease": lease,
                "application": application.wanted,
                "traffic": (traffic.epoch, traffic.primary, traffic.authorised),
            }
        return found

    # -- the way home -------------------------------------------------------------------------------------------------

    def home(self) -> None:
        """Have production the primary, protected by same-city, followed by remote, all adopted: by recoveries."""
        self.settle()
        if self.primary != CITY[0]:
            self.move("switchover", CITY[0]).well()
            self.settle()

    def settle(self) -> None:
        """Have a primary in the city, protected and followed, and nothing broken: as people would, by recoveries."""
        self.end_all()
        if not lab.look().is_up:
            for site in SITES:
                lab.heal(site)
            lab.up()
        until(lambda: not any(one.holder for one in self.world().seen_leases()), "leases of those who died have run out", 90)
        if not any(not one.in_recovery for one in self.world().seen_databases()):
            target = CITY[1] if self.primary == CITY[0] else CITY[0]
            self.move("failover", target, "--accept-risk", "whatever was asked of it before has ended").well()
        self._protect()
        if self.primary == REMOTE:
            self.move("switchover", CITY[0]).well()
            self._protect()
        until(lambda: not self.wrong(), self.wrong, 60)

    def _protect(self) -> None:
        """Have every other site follow the primary, the one in the same city first; alice signs where somebody must."""
        primary = self.primary
        for site in sorted(set(SITES) - {primary}, key=lambda one: one == REMOTE):
            if self.wrong():
                self.move("reprotect", site).well()

    def end_all(self) -> None:
        """End the orchestrators that still run."""
        for one in self.going:
            if not one.is_over:
                one.kill()


def is_step(step: str, *kinds: Wrote) -> Callable[[Entry], bool]:
    """Return what tells an entry of a step, of some kinds."""
    return lambda entry: entry.step == step and (not kinds or entry.kind in kinds)


@contextmanager
def opened_field(status: LabStatus, folder: Path) -> Iterator[Field]:
    """Yield a lab as a field, with the orders application rolled out and everything adopted."""
    before = dict(os.environ)
    os.environ.update(status.variables)
    forget_connections()
    try:
        fleet = read_fleet(FLEET)
        _roll_out(fleet)
        with opened(fleet, folder / "looks") as ground:
            made = Field(status, folder, fleet, ground, status.lab / "people")
            made.home()
            try:
                yield made
            finally:
                made.end_all()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _roll_out(fleet: Fleet) -> None:
    """Have the orders application in all clusters where it is not yet; where it is, a recovery may have scaled it."""
    intent = load_application([ROOT / "deployments" / "apps" / "orders.yaml"], fleet)
    for cluster in fleet.clusters:
        way = connect(cluster)
        if way.request("GET", "/apis/apps/v1/namespaces/orders/deployments/orders").status == 200:
            continue
        scene = scene_of(way, intent)
        apply = {one.step: one.stage for one in scene.wanted if one.stage != GROUND}
        for step in dict.fromkeys(one.step for one in scene.wanted):
            apply_step(scene, step, GROUND)
        save_parent(scene)
        for step, last in apply.items():
            for stage in range(last + 1):
                apply_step(scene, step, stage)


__all__ = ["CITY", "FLEET", "REMOTE", "SITES", "Done", "Field", "Going", "is_step", "opened_field", "until"]
