"""Orchestrators that stand still at a step: begun, waited for, killed or let go on."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

import psutil

from tests.recovery.field import Field, Going, until


@dataclass
class Standing:
    """An orchestrator that was begun to stand still at a moment of a step."""

    going: Going

    def stands(self) -> bool:
        """Wait until it stands still; False if it ended instead, as there was nothing to do at that step."""
        process = psutil.Process(self.going.process.pid)
        until(lambda: self.going.is_over or process.status() == psutil.STATUS_STOPPED, lambda: self.going.text)
        return not self.going.is_over

    def go_on(self) -> Going:
        """Let it go on."""
        self.going.process.send_signal(signal.SIGCONT)
        return self.going


def begin_to_stand(of: Field, step: str, moment: str, *words: str) -> Standing:
    """Begin a run that stands still at a moment of a step."""
    program = (sys.executable, "-m", "tests.recovery.chaos.runner", step, moment)
    return Standing(of.begin(*words, program=program))
