"""Where the step journal is kept: a file here, written through to the disk, and a ConfigMap in every cluster that answers.

The file is first, always. The copies follow a moment later, so that no outage waits for an API server; ``settled`` waits for
them where it matters.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flotilla.errors import FlotillaError, Permanent, Transient
from flotilla.recovery.journal import Forked, Journal, broken, from_lines, lacking, merged, to_lines
from tasks.clusters import Connection, refused
from tasks.fanout import side_by_side
from tasks.leadership import NAMESPACE, make_namespace
from tasks.objects import Kind

KIND = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
LABEL = "flotilla.dev/recovery"
FIELD = "journal"
LOOK = 2.0  # seconds that an API server may take to answer
AGAIN = 1.0  # seconds until a copy that failed is tried again
log = logging.getLogger("flotilla.recovery")


class AnotherWalks(Permanent):
    """Another process has written entries of this run that this one does not know: it is that one's now."""


class StepJournal:
    """The kept journal of one run; ``keep`` it after each entry, ``close`` it at the end."""

    def __init__(self, folder: Path, run: str, connections: Mapping[str, Connection]) -> None:
        self.run, self._file, self._connections = run, folder / f"{run}.jsonl", connections
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(run)
        self._written = 0
        self._copied: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._lost = ""  # why this process walks the run no more
        self._turn = threading.Condition()
        self._closing = False
        self._copiers = [
            threading.Thread(target=self._copy, args=(one,), name=f"journal-{name}", daemon=True)
            for name, one in connections.items()
        ]

    def open(self) -> Journal:
        """Read what there is of it, and go on with it from now on; raises what ``read`` raises."""
        self.journal = self.read()
        self._rewrite()
        for copier in self._copiers:
            copier.start()
        return self.journal

    def read(self) -> Journal:
        """Return the longest that is whole, of what is here and in the clusters; nothing is written: another may walk it.

        Raises Permanent where copies contradict each other, as two processes wrote them, and where none is whole.
        """
        texts = {"this machine": self._file.read_text(encoding="utf-8")} if self._file.exists() else {}
        copies = side_by_side(self._connections, lambda name: _read(self._connections[name], self.run))
        texts |= {name: _text(live) for name, live in copies.items() if isinstance(live, dict)}
        longest = Journal(self.run)
        for one in self._whole(texts):
            longest = merged(longest, one) if longest.entries else one
        if why := broken(longest):
            raise Permanent(f"the journal of {self.run} was tampered with: {why}")
        return longest

    def _whole(self, texts: Mapping[str, str]) -> list[Journal]:
        """Return the copies that can be read; raises Permanent where there are some and none can."""
        found, unread = list[Journal](), list[str]()
        for name, text in texts.items():
            try:
                found.append(from_lines(text))
            except Permanent as error:
                unread.append(f"{name}: {error}")
        if unread and not found:
            raise Permanent(f"no copy of the journal of {self.run} can be read: {'; '.join(unread)}")
        for one in unread:
            log.warning("a copy of the journal of %s does not count: %s", self.run, one)
        return found

    def keep(self, journal: Journal) -> None:
        """Write the entries that are new; when it returns they are on this machine's disk.

        Raises Permanent once a cluster has told that another process walks this run.
        """
        if self._lost:
            raise Permanent(self._lost)
        fresh = lacking(self.journal, journal)
        if not fresh and journal.entries:
            return
        lines = to_lines(journal).splitlines(keepends=True)[1 + self._written :]
        with self._file.open("a", encoding="utf-8") as opened:
            opened.writelines(lines)
            opened.flush()
            os.fsync(opened.fileno())
        with self._turn:
            self.journal, self._written = journal, len(journal.entries)
            self._turn.notify_all()

    def settled(self, copies: int, within: float) -> bool:
        """Wait until so many clusters have all of it; tell whether that came to be."""
        with self._turn:
            return self._turn.wait_for(lambda: len(self.up_to_date) >= copies, within)

    @property
    def up_to_date(self) -> tuple[str, ...]:
        """The clusters whose copy is whole."""
        return tuple(name for name, count in self._copied.items() if count >= len(self.journal.entries))

    @property
    def answering(self) -> int:
        """How many clusters took the last copy that was tried there, or were not tried yet; at least one is hoped for."""
        return max(1, len(self._connections) - len(self._errors))

    @property
    def errors(self) -> Mapping[str, str]:
        """Why copies are not up to date, by cluster."""
        return dict(self._errors)

    def close(self, within: float = 5.0) -> None:
        """Have the copies brought up to date where that can be done in time, and end."""
        self.settled(len(self._connections), within)
        with self._turn:
            self._closing = True
            self._turn.notify_all()

    def _rewrite(self) -> None:
        """Have the file hold what was found, whole: a crash may have cut its last line off."""
        beside = self._file.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as opened:
            opened.write(to_lines(self.journal))
            opened.flush()
            os.fsync(opened.fileno())
        self._keep_evidence(beside)
        beside.replace(self._file)
        self._written = len(self.journal.entries)

    def _keep_evidence(self, beside: Path) -> None:
        """Have what a dead process wrote last, and nobody who took the run up had heard of, stay beside the journal."""
        before = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        whole = before[: before.rfind("\n") + 1]
        if not beside.read_text(encoding="utf-8").startswith(whole):
            self._file.with_suffix(".forked").write_text(before, encoding="utf-8")

    def _copy(self, connection: Connection) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closing or self._is_behind(connection.name))
                if self._closing:
                    return
                journal = self.journal
            try:
                _write(connection, journal)
            except FlotillaError as error:
                self._note(connection.name, str(error))
                self._lost = str(error) if isinstance(error, AnotherWalks) else self._lost
                time.sleep(AGAIN)
                continue
            with self._turn:
                self._copied[connection.name] = len(journal.entries)
                self._errors.pop(connection.name, None)
                self._turn.notify_all()

    def _is_behind(self, name: str) -> bool:
        return self._copied.get(name, 0) < len(self.journal.entries)

    def _note(self, name: str, error: str) -> None:
        if self._errors.get(name) != error:
            log.warning("journal of %s: %s", self.run, error)
        self._errors[name] = error


def journals(connection: Connection) -> tuple[Journal, ...]:
    """Return the journals whose copies a cluster keeps; raises what a request raises."""
    query = {"labelSelector": f"{LABEL}=journal"}
    answer = connection.request("GET", KIND.path(NAMESPACE), query=query, timeout=LOOK)
    if answer.status not in (200, 404):
        raise refused(connection.name, f"list the journals in {NAMESPACE}", answer)
    items = answer.body.get("items") or () if answer.status == 200 else ()
    return tuple(one for item in items if (one := _journal_of(connection.name, item)))


def _journal_of(cluster: str, item: Mapping[str, Any]) -> Journal | None:
    try:
        return from_lines(_text(item))
    except Permanent as error:  # one copy that is broken hides no other run
        log.warning("%s: %s: %s", cluster, item["metadata"]["name"], error)
        return None


def _text(live: Mapping[str, Any]) -> str:
    return str((live.get("data") or {}).get(FIELD, ""))


def _name(run: str) -> str:
    return f"flotilla-recovery-{run}"


def _read(connection: Connection, run: str) -> dict[str, Any] | None:
    answer = connection.request("GET", KIND.path(NAMESPACE, _name(run)), timeout=LOOK)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise refused(connection.name, f"read the journal of {run}", answer)
    found: dict[str, Any] = answer.body
    return found


def _refuse_anothers(cluster: str, live: Mapping[str, Any], journal: Journal) -> None:
    """Raise AnotherWalks where a cluster's copy is ahead of ours, or went another way that may count; a broken one may not."""
    try:
        counts = merged(from_lines(_text(live)), journal)
    except Forked as error:
        raise AnotherWalks(f"{cluster}: {error}") from None
    except Permanent as error:
        log.warning("%s: the copy of the journal of %s is written anew: %s", cluster, journal.run, error)
        return
    if counts.entries and counts.entries[-1].hash != journal.entries[-1].hash:
        raise AnotherWalks(f"{cluster}: the journal of {journal.run} there goes on by itself: another process walks it")


def _write(connection: Connection, journal: Journal) -> None:
    """Write a copy, unless the one there is longer or another's: then somebody else walks this run."""
    live = _read(connection, journal.run)
    if live is not None:
        _refuse_anothers(connection.name, live, journal)
    metadata = live["metadata"] if live else {"name": _name(journal.run), "namespace": NAMESPACE, "labels": {LABEL: "journal"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FIELD: to_lines(journal)}}
    method, path = ("PUT", KIND.path(NAMESPACE, _name(journal.run))) if live else ("POST", KIND.path(NAMESPACE))
    answer = connection.request(method, path, body=body, timeout=LOOK)
    if answer.status == 404 and not live:
        make_namespace(connection)
        answer = connection.request(method, path, body=body, timeout=LOOK)
    if answer.status == 409:
        raise Transient(f"{connection.name}: the journal of {journal.run} changed while it was written")
    if answer.status not in (200, 201):
        raise refused(connection.name, f"write the journal of {journal.run}", answer)
