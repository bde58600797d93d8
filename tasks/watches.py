"""One kind of one cluster, listed once and followed for good; and whether the cluster's API server answers at all."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.objects import Manifest
from tasks.clusters import Answer, Connection, refused
from tasks.objects import PAGE, Kind
from tasks.streams import Stream

LIST_TIMEOUT = 15.0  # seconds a page of a list may take
LONGEST = (300, 600)  # seconds a watch is asked to last; spread, so that not all of them begin anew at once
SILENCE = 30.0  # seconds that a watch may outlast what was asked for, before its link counts as cut
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between tries to look again; doubled each time
FROM_THE_FUTURE = {500, 504}  # how a server answers that was set back and does not know the resourceVersion yet
CATCH_UP = 10.0  # seconds without a watch until all is listed anew: only a list tells when one is up to date
PATIENCE = 3.0  # seconds without a watch until the cluster counts as one that nobody can look at
log = logging.getLogger("flotilla.keeper")


class Expired(Transient):
    """The API server no longer knows what happened since the last event that was seen (410 Gone)."""


class NotServed(Permanent):
    """The cluster does not serve the kind."""


class Sink(Protocol):
    """Who is told what a watch sees; called from the watch's own thread only."""

    def listed(self, items: Iterator[Manifest], began: int, version: Callable[[], int]) -> None:
        """Take all there is in place of what was known. ``version`` may be asked once ``items`` has ended.

        ``began`` is the highest resourceVersion that was known before the list was asked for.
        """

    def changed(self, body: Manifest, version: int) -> None:
        """Take an object that is new or has changed."""

    def gone(self, body: Manifest, version: int) -> None:
        """Take note that an object was deleted; ``body`` is how it was last."""

    def reached(self, version: int) -> None:
        """Take note that every event up to this resourceVersion was told."""

    def sees(self) -> None:
        """Take note that the watch is open: what was told is what is so."""

    def blind(self, reason: str) -> None:
        """Take note that nobody can look, and why."""


class Watch:
    """A list and the watch that follows it, in a thread of its own; looks again whenever it could not.

    ``find`` returns where the kind is served; raises NotServed or another FlotillaError, whose text becomes the reason.
    ``known`` returns the highest resourceVersion that is known of the kind. Of an ``optional`` kind a cluster that does not
    serve it has none.
    """

    def __init__(
        self,
        connection: Connection,
        find: Callable[[], Kind],
        sink: Sink,
        *,
        known: Callable[[], int],
        optional: bool = False,
    ) -> None:
        self._connection, self._find, self._sink = connection, find, sink
        self._known, self._optional = known, optional
        self._version = 0  # 0: has to be listed
        self._seen_at = self._opened_at = time.monotonic()
        self._stream: Stream | None = None
        self._stopping = False
        self._wake = threading.Event()

    def start(self, name: str) -> None:
        """Begin, in a thread of that name."""
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """End; the thread is gone shortly after."""
        self._stopping = True
        self.interrupt()

    def wake(self) -> None:
        """Look again at once, unless the watch is open."""
        self._wake.set()

    def interrupt(self) -> None:
        """Close what is open, and look again at once."""
        self.wake()
        if stream := self._stream:
            stream.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping:
            before = self._seen_at
            try:
                self._look()
                if time.monotonic() - self._opened_at > 1.0:
                    continue  # the server ended the watch, as it was asked to
            except Expired:
                self._version = 0
            except NotServed as error:
                self._version = 0
                self._none_there(error)
            except FlotillaError as error:
                self._missed(error)
            except Exception as error:  # a watch that ended for a defect would be silence: told, and tried again
                log.exception("watch cluster=%s failed", self._connection.name)
                self._version = 0
                self._sink.blind(f"what it answered was not understood: {error!r}")
            pause = FIRST_PAUSE if self._seen_at != before else min(LONGEST_PAUSE, 2 * pause)
            self._wake.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            self._wake.clear()

    def _none_there(self, error: NotServed) -> None:
        if not self._optional:
            self._missed(error)
            return
        self._sink.listed(iter(()), self._known(), lambda: 0)
        self._sink.sees()

    def _missed(self, error: FlotillaError) -> None:
        """Tell that nobody can look: at once where time will not mend it, else after a while."""
        if isinstance(error, Permanent) or not self._version or time.monotonic() - self._seen_at > PATIENCE:
            self._sink.blind(str(error).removeprefix(f"{self._connection.name}: "))

    def _look(self) -> None:
        kind = self._find()
        if not self._version or time.monotonic() - self._seen_at > CATCH_UP:
            self._list(kind)
        self._follow(kind)

    def _list(self, kind: Kind) -> None:
        pages = _Pages(self._connection, kind)
        self._sink.listed(pages.items(), self._known(), lambda: pages.version)
        self._version = pages.version

    def _follow(self, kind: Kind) -> None:
        lasting = random.randint(*LONGEST)  # noqa: S311 - spread, not a secret
        query = {
            "watch": "1",
            "resourceVersion": str(self._version),
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lasting),
        }
        stream = self._connection.stream(kind.path(), query=query, timeout=lasting + SILENCE)
        if isinstance(stream, Answer):
            if stream.status in FROM_THE_FUTURE:
                self._version = 0
            raise _refusal(self._connection, kind, "watch", stream)
        self._stream = stream
        try:
            self._seen_at = self._opened_at = time.monotonic()
            self._sink.sees()
            for line in stream:
                self._take(kind, line)
                self._seen_at = time.monotonic()
        finally:
            self._stream, self._seen_at = None, time.monotonic()

    def _take(self, kind: Kind, line: bytes) -> None:
        event = json.loads(line)
        body = event["object"]
        if event["type"] == "ERROR":
            raise _refusal(self._connection, kind, "go on watching", Answer(int(body.get("code") or 500), body, {}))
        version = int(body["metadata"]["resourceVersion"])
        if event["type"] == "BOOKMARK":
            self._sink.reached(version)
        elif event["type"] == "DELETED":
            self._sink.gone(body, version)
        else:
            self._sink.changed(body, version)
        self._version = version


class _Pages:
    """A list, page by page: all of it as of one resourceVersion, known once the first page is there."""

    def __init__(self, connection: Connection, kind: Kind) -> None:
        self._connection, self._kind = connection, kind
        self.version = 0

    def items(self) -> Iterator[Manifest]:
        """Yield the objects; raises FlotillaError where a page could not be had."""
        query = {"limit": str(PAGE)}
        while True:
            answer = self._connection.request("GET", self._kind.path(), query=query, timeout=LIST_TIMEOUT)
            if answer.status != 200:
                raise _refusal(self._connection, self._kind, "list", answer)
            metadata = answer.body["metadata"]
            self.version = self.version or int(metadata["resourceVersion"])
            yield from answer.body.get("items") or ()
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]


def _refusal(connection: Connection, kind: Kind, verb: str, answer: Answer) -> FlotillaError:
    if answer.status == 410:
        return Expired(f"{connection.name}: {kind.plural}: {answer.message}")
    if answer.status == 404:
        return NotServed(f"{connection.name}: serves no {kind.kind} in {kind.api_version}: install its definition")
    return refused(connection.name, f"{verb} {kind.plural}", answer)


class Lifeline:
    """Asks an API server each second whether it is well, so that a link that was cut is noticed within seconds.

    A stream over a cut link is silent for minutes. ``heard`` tells of any other sign of life. ``on_turn`` is called, from
    the thread of its own, when ``reason`` becomes "" or stops being it: why the server is away.
    """

    EVERY = 1.0  # seconds between two tries
    TIMEOUT = 2.0  # seconds; a server that takes longer to say "ok" may still be heard from by others
    AWAY_AFTER = 3.5  # seconds without a sign of life; two tries in a row that failed

    def __init__(self, connection: Connection, on_turn: Callable[[], None]) -> None:
        self._connection, self._on_turn = connection, on_turn
        self._heard_at = time.monotonic()
        self._stopped = threading.Event()
        self.reason = ""

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name=f"lifeline-{self._connection.name}", daemon=True).start()

    def stop(self) -> None:
        """End; the thread is gone shortly after."""
        self._stopped.set()

    def heard(self) -> None:
        """Take note of a sign of life."""
        self._heard_at = time.monotonic()

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            problem = self._problem()
            if not problem:
                self._heard_at = max(self._heard_at, began)
            away = problem if time.monotonic() - self._heard_at > self.AWAY_AFTER else ""
            if bool(away) != bool(self.reason):
                self.reason = away
                self._on_turn()
            self._stopped.wait(max(0.0, self.EVERY - (time.monotonic() - began)))

    def _problem(self) -> str:
        """Return why the server is not well, "" if it is; one that does not let us ask is well."""
        try:
            answer = self._connection.request("GET", "/readyz", timeout=self.TIMEOUT)
        except FlotillaError as error:
            return str(error).removeprefix(f"{self._connection.name}: ")
        if answer.status >= 500:
            return f"its API server says that it is not ready (HTTP {answer.status})"
        return ""
