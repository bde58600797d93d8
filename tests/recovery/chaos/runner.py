"""`flotilla recover` in a process that stands still at a step of its run, until it is told to go on or killed.

    python -m tests.recovery.chaos.runner STEP MOMENT recover switchover --to same-city ...

Before: what will be done is written down, and nothing of it is sent. During: the first request is on its way. After: what
came of it is written down. A step that needs nothing done never comes by, and the run goes on to its end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from enum import StrEnum

from flotilla.recovery.journal import Journal, Wrote
from flows import cli
from flows.doing import Doer, Whose
from tasks.step_journal import StepJournal

SENT = 0.004  # seconds until a request has left and its answer, mostly, has not come


class Moment(StrEnum):
    """When, relative to a step."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class Stop:
    """Stands still once, at a moment of a step."""

    def __init__(self, step: str, moment: Moment) -> None:
        self._step, self._moment, self._armed, self._stood = step, moment, False, threading.Lock()

    def written(self, before: Journal, journal: Journal) -> None:
        """Take what was just written down into account."""
        for entry in journal.entries[len(before.entries) :]:
            if entry.step != self._step:
                continue
            begins = entry.kind in (Wrote.INTENDED, Wrote.WAITED)
            self._armed |= entry.kind is Wrote.INTENDED
            if (begins and self._moment is Moment.BEFORE) or (
                entry.kind in (Wrote.TOLD, Wrote.FAILED) and self._moment is Moment.AFTER
            ):
                self.stand()

    def sending(self) -> None:
        """Take into account that a request is about to leave."""
        if self._armed and self._moment is Moment.DURING:
            threading.Timer(SENT, self.stand).start()

    def stand(self) -> None:
        """Stand still, all threads of the process, if it has not yet."""
        if self._stood.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGSTOP)


def main(step: str, moment: str, *words: str) -> None:
    """Run a command line that stands still at a step."""
    stop = Stop(step, Moment(moment))
    keep, do = StepJournal.keep, Doer.do

    def keeping(self: StepJournal, journal: Journal) -> None:
        before = self.journal
        keep(self, journal)
        stop.written(before, journal)

    def doing(self: Doer, act: object, whose: Whose) -> str:
        stop.sending()
        return do(self, act, whose)  # type: ignore[arg-type]

    StepJournal.keep, Doer.do = keeping, doing  # type: ignore[method-assign]
    sys.argv = ["flotilla", *words]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
