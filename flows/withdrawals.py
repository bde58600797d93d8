"""Withdrawals over the cap: the keeper tells what waits and follows a person's word; the command line shows and takes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from flotilla.errors import Refused, Transient
from flotilla.fleet import Fleet
from flotilla.keeping import Pair
from flotilla.services.cap import Withdrawal
from flotilla.services.holding import Held, agreed, held_since, word_on
from tasks.clusters import Connection, connect
from tasks.holding import publish_held, read_all, say

EVERY = 2.0  # seconds between looks for a person's word, as long as anything waits
log = logging.getLogger("flotilla.keeper")


class Waiting:
    """Tells in the clusters what waits for a person, and has done what a person agreed to.

    ``held`` returns what waits; ``approve`` is called with what may go ahead; ``may_tell`` is asked before anything is told:
    of two keepers only the one that leads knows.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        held: Callable[[], Sequence[Withdrawal]],
        approve: Callable[[frozenset[Pair]], None],
        may_tell: Callable[[], bool],
    ) -> None:
        self._connections, self._held, self._approve, self._may_tell = list(connections), held, approve, may_tell
        self.known: tuple[Held, ...] = ()
        self._told: tuple[Held, ...] | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="withdrawals", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            try:
                if self._may_tell():
                    self._look()
            except Exception:  # a thread that ended would leave a person's word unheard
                log.exception("withdrawals that wait could not be told")

    def _look(self) -> None:
        self.known = held_since(self._held(), self.known, _now())
        if self.known != self._told and (self.known or self._told):
            missed = publish_held(self._connections, self.known)
            for name, error in missed.items():
                log.warning("withdrawals that wait could not be told in %s: %s", name, error)
            self._told = None if missed else self.known
        if not self.known:
            self._told = self._told or ()
            return
        _, words, _ = read_all(self._connections)
        allowed = agreed(words.values(), self.known)
        if allowed:
            by = "; ".join(sorted({f"{word.by}: {word.reason}" for word in words.values()}))
            log.warning("withdrawals approved: %d of %d by %s", len(allowed), len(self.known), by)
            self._approve(frozenset((one.key, one.source) for one in allowed))


def waiting_withdrawals(fleet: Fleet) -> tuple[Held, ...]:
    """Return the withdrawals that wait for a person; raises Transient where no cluster could be asked."""
    held, _, errors = read_all([connect(cluster) for cluster in fleet.clusters])
    if len(errors) == len(fleet.clusters):
        raise Transient("; ".join(map(str, errors.values())))
    return tuple(sorted({one for of in held.values() for one in of}))


def approve_withdrawals(fleet: Fleet, by: str, reason: str) -> tuple[Held, ...]:
    """Agree to the withdrawals that wait now, and to no later ones; return them.

    Raises Refused where nothing waits, Transient where no cluster took the word.
    """
    held = waiting_withdrawals(fleet)
    if not held:
        raise Refused("no withdrawal waits for a person")
    errors = say([connect(cluster) for cluster in fleet.clusters], word_on(held, by, reason, _now()))
    if len(errors) == len(fleet.clusters):
        raise Transient("; ".join(map(str, errors.values())))
    return held


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
