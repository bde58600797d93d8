"""The long acts of an agent: begun, looked at, ended; only one at a time, and known until the agent begins anew."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flotilla.errors import FlotillaError
from flotilla.node.database import Told
from flotilla.node.requests import Request
from flows.agent_answers import status_of

KEPT = 100  # ended jobs that are still told of
log = logging.getLogger("flotilla.agent")


@dataclass
class Job:
    """A long act: ``state`` is running, done or failed; ``progress`` what it does now, ``told`` what came of it."""

    id: str
    request: Request
    state: str = "running"
    progress: str = ""
    told: str = ""
    changed: bool = False
    status: int = 200

    @property
    def kind(self) -> str:
        """The kind of the act."""
        return self.request.act.kind

    def shown(self) -> dict[str, Any]:
        """Return it as the API tells it; ``status`` is what a short act that failed alike would be answered with."""
        return {
            "job": self.id,
            "kind": self.kind,
            "epoch": self.request.epoch,
            "state": self.state,
            "progress": self.progress,
            "told": self.told,
            "changed": self.changed,
            "status": self.status,
        }


class Jobs:
    """The jobs of one agent."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def running(self) -> Job | None:
        """Return the job that is under way."""
        return next((job for job in list(self._jobs.values()) if job.state == "running"), None)

    def same(self, request: Request) -> Job | None:
        """Return the job that is under way if it does just what is asked for."""
        job = self.running()
        return job if job and job.request == request else None

    def get(self, job: str) -> Job | None:
        """Return a job by its id."""
        return self._jobs.get(job)

    def begin(self, request: Request, work: Callable[[Callable[[str], None]], Told], ended: Callable[[], None]) -> Job:
        """Have work done in a thread of its own; ``ended`` is called after it, however it ended."""
        job = Job(secrets.token_hex(8), request)
        self._jobs[job.id] = job
        for old in list(self._jobs)[:-KEPT]:
            del self._jobs[old]
        threading.Thread(target=_work, args=(job, work, ended), name=f"job-{job.kind}", daemon=True).start()
        return job


def _work(job: Job, work: Callable[[Callable[[str], None]], Told], ended: Callable[[], None]) -> None:
    def go(stage: str) -> None:
        job.progress = stage

    try:
        done = work(go)
        job.told, job.changed, state = done.text, done.changed, "done"
    except FlotillaError as error:
        job.told, job.status, state = str(error), status_of(error), "failed"
    except Exception as error:  # the next act must not wait for ever for this one
        log.exception("job %s %s failed", job.id, job.kind)
        job.told, job.status, state = f"a defect: {error!r}", 500, "failed"
    finally:
        ended()
    job.state = state
