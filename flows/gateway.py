"""Where clusters write whose Prometheus cannot be read: agents, and what is no Prometheus.

Who writes is known by the token. What is written is stamped, given to the store, and only then acknowledged, so that the
sender's own log of writes keeps what the store does not take now. Of an HA pair one replica is listened to at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Cluster, Fleet
from flotilla.metrics import quarantine, wire
from flotilla.metrics.batches import batches
from flotilla.metrics.beats import leader
from flotilla.metrics.quarantine import Quarantined
from flotilla.metrics.series import named
from flotilla.metrics.stamping import Seen, Stamper
from flotilla.metrics.words import spoken
from flows.receiving import listening_at, token_of
from tasks.doors import now
from tasks.intake import Intake, open_intake
from tasks.store import Store, Written

PATH = "/api/v1/write"
log = logging.getLogger("flotilla.collector")


class Pushed:
    """What one cluster has pushed; ``newest`` is the time of its last sample, ``heard`` when it last wrote, in ms."""

    def __init__(self, cluster: Cluster, stamp: dict[str, str], ahead: int) -> None:
        settings = cluster.metrics
        self._name, self._replica_label, self._ahead = cluster.name, settings.replica_label, ahead
        self._stamper = Stamper(stamp, strip=settings.strip, external=settings.external_labels or {})
        self._lock = threading.Lock()
        self._leader: str | None = None
        self.newest = self.heard = self.samples = self.series = self.left = 0
        self.refusals: list[Quarantined] = []

    def take(self, series: list[bytes], store: Store, batch: int) -> int:
        """Have the store take some series, and return how many samples those hold; raises Transient or Permanent."""
        with self._lock:
            if not self._is_leader(series):
                self.left += 1
                return 0
            seen, written, here = Seen(), Written(), now()
            for one in batches(self._stamper.stamped(series, seen, here + self._ahead), batch):
                store.write(one, written)
            self.newest, self.heard = max(self.newest, seen.newest), here
            self.samples += seen.count.samples
            self.series = max(self.series, seen.count.series)
            self.refusals += quarantine.quarantined(self._name, written.refusals, here)
            return seen.count.samples

    def refused(self) -> list[Quarantined]:
        """Return what the store has refused and nobody has set aside yet."""
        with self._lock:
            return list(self.refusals)

    def set_aside(self, count: int) -> None:
        """Take so many of those as set aside."""
        with self._lock:
            del self.refusals[:count]

    def taken(self) -> int:
        """Return how many samples were taken since this was asked last."""
        with self._lock:
            found, self.samples = self.samples, 0
            return found

    def silence(self, here: int, stale: int) -> str:
        """Say that nothing is pushed, or nothing."""
        if not self.heard:
            return "nothing was pushed since the collector began"
        return f"nothing was pushed for {spoken(here - self.heard)}" if here - self.heard > stale else ""

    def _is_leader(self, series: list[bytes]) -> bool:
        replica = named(series[0]).get(self._replica_label, "") if series else ""
        self._leader, before = leader(self._leader, self.heard, replica, now()), self._leader
        if before not in (None, self._leader):
            log.warning("cluster=%s replica %r is silent: %r is listened to", self._name, before, self._leader)
        return replica == self._leader


class Gateway:
    """Listens to the clusters of a fleet that push."""

    def __init__(self, fleet: Fleet, store: Store) -> None:
        self._fleet, self._store = fleet, store
        ahead = round(1000 * fleet.metrics.ahead)
        self.clusters = {one.name: Pushed(one, _stamp(one), ahead) for one in fleet.clusters if one.metrics.pushes}

    def intake(self) -> Intake:
        """Return where they write; raises InvalidInput where a token is missing, or two have the same."""
        tokens: dict[str, str] = {}
        for cluster in (self._fleet.cluster(name) for name in self.clusters):
            variable = str(cluster.metrics.push_token_env)
            token = token_of(variable, f"the token that {cluster.name} shows when it writes")
            if token in tokens:
                allowed = f"another token than that of {tokens[token]}: who writes is known by it"
                raise InvalidInput([Problem("environment", variable, phrase("is not its own"), allowed)])
            tokens[token] = cluster.name
        return Intake(PATH, tokens, self._take)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Listen meanwhile, if there is anybody to listen to."""
        if not self.clusters:
            yield
            return
        listen = listening_at(self._fleet.metrics.gateway)
        with open_intake(listen, self.intake()) as server:
            threading.Thread(target=server.serve_forever, name="gateway", daemon=True).start()
            log.info("%s push to http://%s%s", ", ".join(self.clusters), listen, PATH)
            yield
            server.shutdown()

    def _take(self, cluster: str, body: bytes) -> Any:
        try:
            series = wire.pushed(wire.uncompressed(body))
        except (wire.Damaged, wire.NotRemoteRead) as error:
            found = phrase(f"is no WriteRequest: {error}")
            allowed = "remote_write 1.0 (protobuf_message: prometheus.WriteRequest), compressed with snappy"
            raise InvalidInput([Problem(f"remote_write of {cluster}", "body", found, allowed)]) from None
        return {"samples": self.clusters[cluster].take(series, self._store, self._fleet.metrics.store.batch_bytes)}


def _stamp(cluster: Cluster) -> dict[str, str]:
    return {"cluster": cluster.name, "site": cluster.site.name, "role": str(cluster.role)}
