"""`make soak`: sites half ill for a long time, under load and watched: nobody may fail over, and nothing is lost.

python -m tests.recovery.chaos.soak [--seconds 3600] [--ill half-dead-api] [--rate 30]
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

import lab
from flotilla.recovery.facts import AgentSeen
from tests.recovery.chaos.faults import pause_api, unpause_api
from tests.recovery.field import SITES, Field, Going, opened_field
from tests.recovery.users import Users, users

REST = 3.0  # seconds between two illnesses


@dataclass(frozen=True)
class Grey:
    """A site that is half ill for ``held`` seconds: less than a site may be cut off, which would be no half illness."""

    strike: Callable[[Watched], None]
    mend: Callable[[Watched], None]
    held: float = 6.0


@dataclass
class Watched:
    """A field that watchers look after: one of them has a clock that may jump."""

    field: Field
    watchers: list[Going]

    def jump(self) -> None:
        """Have the clock of the second watcher jump."""
        self.watchers[1].process.send_signal(signal.SIGUSR1)

    def stall(self) -> None:
        """Have the primary's processes stand still again and again, as on a disk that takes a second for each write."""
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            family = _family()
            _tell(family, signal.SIGSTOP)
            time.sleep(0.8)
            _tell(family, signal.SIGCONT)
            time.sleep(0.4)

    def epochs(self) -> set[int]:
        """Return the epochs that the agents keep to."""
        world = self.field.world()
        return {one.epoch for one in map(world.agent, SITES) if isinstance(one, AgentSeen)}

    def wrong(self) -> list[str]:
        """Return what watchers did that they may not have, and which of them has died."""
        dead = [one.text[-500:] for one in self.watchers if one.is_over]
        return dead + [line for one in self.watchers for line in one.text.splitlines() if "takes over" in line]


def _family() -> list[psutil.Process]:
    """Return the processes of production's PostgreSQL."""
    database = next(one for one in lab.look().databases if one.site == SITES[0])
    server = psutil.Process(int((Path(database.data) / "postmaster.pid").read_text().split()[0]))
    return [server, *server.children()]


def _tell(family: list[psutil.Process], what: signal.Signals) -> None:
    for one in family:
        try:
            one.send_signal(what)
        except psutil.NoSuchProcess:
            continue


def _cut(site: str, part: str | None, way: str) -> Grey:
    return Grey(lambda _: lab.cut(site, part, way=way), lambda _: lab.heal(site, part))


def _slow(site: str, milliseconds: float) -> Grey:
    return Grey(lambda _: lab.slow(site, milliseconds), lambda _: lab.slow(site, 0), held=10)


def _half_dead(site: str) -> Grey:
    return Grey(lambda _: pause_api(site), lambda _: unpause_api(site), held=15)


ILLNESSES: dict[str, Grey] = {
    "half-dead-api-of-production": _half_dead("production"),
    "deaf-agent-of-production": _cut("production", "agent", "in"),
    "slow-disk-of-production": Grey(Watched.stall, lambda _: None, held=0),
    "clock-of-a-watcher-jumps": Grey(Watched.jump, Watched.jump),
    "half-dead-api-of-same-city": _half_dead("same-city"),
    "nobody-hears-remote": _cut("remote", None, "out"),
    "slow-same-city": _slow("same-city", 30),
    "slow-production": _slow("production", 150),
    "dns-of-production-hears-nothing": _cut("production", "dns", "in"),
    "nobody-hears-the-agent-of-same-city": _cut("same-city", "agent", "out"),
}


@contextmanager
def watched(field: Field) -> Iterator[Watched]:
    """Have two watchers look after the field."""
    jumping = (sys.executable, "-m", "tests.recovery.chaos.jumping")
    made = Watched(field, [field.begin("watch"), field.begin("watch", program=jumping)])
    try:
        yield made
    finally:
        for one in made.watchers:
            one.kill()


def soaked(made: Watched, load: Users, seconds: float, names: Sequence[str]) -> list[str]:
    """Have one illness after the other for so long; return what went wrong."""
    epochs, wrong, deadline = made.epochs(), list[str](), time.monotonic() + seconds
    for name in itertools.cycle(names):
        _ill(made, ILLNESSES[name])
        load.wait(10)
        found = [f"{name}: {one}" for one in made.wrong()]
        found += [f"{name}: epoch {made.epochs()} after {epochs}"] if made.epochs() != epochs else []
        print(f"{name}: {'; '.join(found) or 'nobody failed over'}", flush=True)
        wrong += found
        if found or time.monotonic() > deadline:
            return wrong
    return wrong


def _ill(made: Watched, grey: Grey) -> None:
    try:
        grey.strike(made)
        time.sleep(grey.held)
    finally:
        grey.mend(made)
    time.sleep(REST)


def main(words: Sequence[str]) -> int:
    """Soak; 1 if somebody failed over, or something promised was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.chaos.soak", description="Sites half ill, and no failover.")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--rate", type=float, default=30.0, help="orders a second meanwhile")
    parser.add_argument("--ill", action="append", default=[], help=f"repeatable: {', '.join(ILLNESSES)}; without it all")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder, opened_field(lab.ensure(), Path(folder)) as field:
        with watched(field) as made, users(field, asked.rate, ignore_ttl=True) as load:
            began = time.monotonic()
            wrong = soaked(made, load, asked.seconds, asked.ill or list(ILLNESSES))
            verdict = load.stop()
        said = {"seconds": round(time.monotonic() - began), "false_failovers": len(wrong)}
        said |= {"acknowledged": verdict.acknowledged, "acknowledged_lost": len(verdict.lost)}
        print(json.dumps(said | {"duplicated": len(verdict.duplicated)}))
    return 0 if not wrong and verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
