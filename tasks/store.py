"""The store of all samples: written by remote_write 1.0, asked by PromQL. What it refuses is taken apart, not dropped."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from flotilla.errors import Permanent, Transient
from flotilla.metrics import config, wire
from flotilla.metrics.answers import Said, advice, wait_of, write_said
from flotilla.metrics.quarantine import Bisection, Refusal
from tasks.answers import Reply
from tasks.doors import AtUrl, Door, headers_of
from tasks.promql import Engine

WRITE_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
NAME = "store"
PAUSES = (0.2, 0.5, 1.0, 2.0)  # seconds before a write is tried again; the next beat goes on from there


@dataclass
class Written:
    """What became of some series: seconds at the store, requests, what it refused."""

    seconds: float = 0.0
    requests: int = 0
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class Store:
    """A store behind a door."""

    door: Door
    write_path: str
    api: str

    @property
    def engine(self) -> Engine:
        """What answers PromQL there."""
        return Engine(NAME, self.door, self.api)

    def write(self, batch: Sequence[bytes], done: Written) -> None:
        """Have a batch of series written, but for what is refused; ``done`` is told.

        Raises Transient where the store is away or busy for longer than a few seconds, Permanent where it will not take
        anything, not even nothing: in both cases some of the batch may be written, and writing it again does no harm.
        """
        said, reply = self._sent(batch, done)
        if said is Said.TOO_LARGE and len(batch) > 1:
            middle = len(batch) // 2
            self.write(batch[:middle], done)
            self.write(batch[middle:], done)
        elif said is not Said.DONE:
            self._takes_nothing_at_least(done)
            self._taken_apart(Bisection(batch, reply.status, reply.text), done)

    def _takes_nothing_at_least(self, done: Written) -> None:
        """Raise Permanent where an empty request is refused too: no sample is to blame then, and none is to be set aside."""
        said, reply = self._sent([], done)
        if said is not Said.DONE:
            raise Permanent(f"{_words(reply)}, to an empty request too; {advice(reply.status, reply.text)}")

    def _taken_apart(self, bisection: Bisection, done: Written) -> None:
        while (part := bisection.next()) is not None:
            said, reply = self._sent(part, done)
            bisection.took(Said.REFUSED if said is Said.TOO_LARGE else said, reply.status, reply.text)
        done.refusals += bisection.refusals

    def _sent(self, batch: Sequence[bytes], done: Written) -> tuple[Said, Reply]:
        """Return what the store says to a request: DONE, REFUSED or TOO_LARGE."""
        body, why = wire.written(batch), ""
        for pause in (*PAUSES, None):
            try:
                reply = self.door.exchange("POST", self.write_path, content=body, headers=WRITE_HEADERS, timeout=60.0)
            except Transient as error:
                if pause is None:
                    raise
                time.sleep(pause)
                why = str(error)
                continue
            done.seconds += (reply.received - reply.sent) / 1000
            done.requests += 1
            said = write_said(reply.status, reply.text)
            why = _words(reply)
            if said is Said.DONE and reply.headers.get("Content-Type", "").startswith("text/html"):
                raise Permanent(f"{why}: a page, no store; {advice(reply.status)}")
            if said in (Said.DONE, Said.REFUSED, Said.TOO_LARGE):
                return said, reply
            if said is Said.NEVER:
                raise Permanent(f"{why}; {advice(reply.status, reply.text)}")
            if pause is not None:
                time.sleep(min(wait_of(reply.headers.get("Retry-After")) or pause, 5.0))
        raise Transient(why)


def _words(reply: Reply) -> str:
    return f"{NAME}: remote_write: {reply.text or 'no words'} (HTTP {reply.status})"


def store_of(settings: config.Store) -> Store:
    """Return the store that a fleet file names; raises InvalidInput where a variable with a credential is not set."""
    url = os.environ.get(settings.url_env or "") or settings.url
    door = AtUrl(NAME, url, headers_of(settings.headers_env, "metrics.store.headersEnv"))
    return Store(door, settings.write_path, settings.api_path)
