"""What goes wrong at a site while a recovery stands at a step, and how it is mended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import lab
from lab import cgroups, processes
from lab.layout import AGENT, ClusterLayout
from lab.verbs import _layout

ORCHESTRATOR = "orchestrator"
RETURNS = "origin-returns"
LOST = "origin-lost"
API = "kube-apiserver"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a site and is mended."""

    strike: Callable[[str], None]
    mend: Callable[[str], None]


def _nothing(site: str) -> None:
    """Let the site's agent see to it."""


def layout_of(site: str) -> ClusterLayout:
    """Return where a site's processes are."""
    return _layout().cluster(site)


def freeze(site: str) -> None:
    """Have every process of a site stand still, its pods too."""
    _signal_all(site, signal.SIGSTOP)


def thaw(site: str) -> None:
    """Let every process of a site go on."""
    _signal_all(site, signal.SIGCONT)


def _signal_all(site: str, what: signal.Signals) -> None:
    done, group = set[int](), layout_of(site).cgroup
    while new := cgroups.members(group) - done:  # who forks while it is stopped has children that go on
        for pid in new:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        done |= new


def lose(site: str) -> None:
    """Have a site's database and agent gone at once, as far as a recovery can tell the site."""
    lab.kill(site, AGENT)
    with suppress(lab.LabError):  # it may be stopped already, by the run
        lab.kill(site, "postgres")


def pause_api(site: str) -> None:
    """Have the API server silent: its connections stay open and nothing is answered."""
    processes.pause(layout_of(site), API)


def unpause_api(site: str) -> None:
    """Let the API server go on."""
    processes.unpause(layout_of(site), API)


_AT_A_SITE: Mapping[str, Fault] = {
    "postgres": Fault(lambda site: lab.kill(site, "postgres"), _nothing),
    "agent": Fault(lambda site: lab.kill(site, AGENT), lambda site: lab.start(site, AGENT)),
    "frozen": Fault(freeze, thaw),
    "killed": Fault(lab.kill, lab.start),
    "cut": Fault(lab.cut, lab.heal),
    "api": Fault(lambda site: lab.kill(site, API), lambda site: lab.start(site, API)),
}

FAULTS: Mapping[str, tuple[str, Fault]] = {
    f"{role}-{name}": (role, fault) for role in ("origin", "target") for name, fault in _AT_A_SITE.items()
}
"""Each fault with whose site it is at, mended while the run goes on.

Beside them the orchestrator itself, an origin that comes back too early, and one that is lost until the run has ended.
"""
