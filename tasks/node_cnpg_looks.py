"""What a site's Cluster of CloudNativePG shows, looked at in a thread of its own: whoever asks the agent waits for nobody."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from flotilla.errors import FlotillaError
from flotilla.node.cnpg import LACKS, MARK, ClusterSeen, Served, parse_token, process
from flotilla.node.config import AgentConfig
from flotilla.recovery import lsn
from flotilla.recovery.facts import Control
from tasks.node_cnpg import Cnpg
from tasks.node_files import Recollection
from tasks.node_looks import or_unseen, rungs

EVERY = 1.0  # seconds between looks
ANSWER = 1.0  # seconds that PostgreSQL is given for one
LASTING = 5.0  # seconds for which a look is told as what is so now
log = logging.getLogger("flotilla.agent")


@dataclass(frozen=True)
class Sight:
    """A look: the Cluster, None if there is none; what its database told, None if it did not answer, and why not."""

    at: float
    cluster: ClusterSeen | None
    served: Served | None
    why: str = ""

    @property
    def in_recovery(self) -> bool | None:
        """Whether the database says that it is a standby; None where it says nothing."""
        return None if self.served is None else self.served.in_recovery


class Eyes:
    """Looks at one Cluster, over connections of its own: no act holds up a look."""

    def __init__(self, config: AgentConfig, memory: Recollection) -> None:
        self._cnpg, self._memory = Cnpg(config, memory), memory
        self._last: Sight | None = None
        self._why = "nobody has looked yet"
        self._looking, self._ending = threading.Lock(), threading.Event()

    def begin(self) -> None:
        """Look, and go on looking."""
        self.look()
        threading.Thread(target=self._look_for_ever, name="eyes", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ending.set()
        self._cnpg.close()

    @property
    def last(self) -> Sight | None:
        """What was seen last, however long ago: None if nothing ever was."""
        return self._last

    def look(self) -> Sight | None:
        """Look now; return what was seen last, which may be older where the API server does not answer."""
        with self._looking:
            at = time.monotonic()
            try:
                found = self._cnpg.look()
            except FlotillaError as error:
                self._why = str(error)
                return self._last
            served, why = None, "there is no Cluster"
            if found is not None:
                served, why = self._served()
            self._last = Sight(at, found, served, why)
            return self._last

    def _served(self) -> tuple[Served | None, str]:
        try:
            return self._cnpg.served(ANSWER), ""
        except FlotillaError as error:
            return None, str(error)

    def _look_for_ever(self) -> None:
        while not self._ending.wait(EVERY):
            try:
                self.look()
            except Exception:  # eyes that shut for a defect would show for ever what was so once
                log.exception("the Cluster could not be looked at")

    def process(self) -> str:
        """Return how PostgreSQL runs; what was never seen may be about to."""
        sight, memory = self._last, self._memory.now
        if sight is None:
            return "starting"
        if memory.unfinished and sight.cluster is not None:
            return "stopped"  # whatever runs there is half a copy, and no database
        mark, autostart = memory.like, memory.autostart
        return process(sight.cluster, autostart=autostart, mark=mark, in_recovery=sight.in_recovery)

    def database(self) -> dict[str, Any]:
        """Return what the API tells of the database; a part that can't be looked at says why."""
        sight, memory, state = self._last, self._memory.now, self.process()
        found = sight.cluster if sight else None
        return {
            "process": state,
            "standby_signal": found is not None and found.is_standby,
            "autostart": memory.autostart,
            "fenced": memory.fenced,
            "fence": rungs(state, autostart=memory.autostart, fenced=memory.fenced),
            "primary_epoch": memory.primary_epoch,
            "unfinished": memory.unfinished,
            "control": self._control(state),
            "forks": self._forks(),
            "disk_free": None,
            "data_bytes": None,
            "lacks": list(LACKS),
            "demotion_token": found.token if found and found.is_standby and not found.moves else "",
            "phase": found.phase if found else "",
        }

    def _control(self, state: str) -> Any:
        """Return what pg_control shows; of a demoted primary, for as long as it stands still, what its token does."""
        sight, token = self._fresh(), self._memory.now.like.removeprefix(MARK)
        if state == "stopped" and self._memory.now.like != token != "":
            return or_unseen(lambda: _shown(parse_token(token)))
        if sight is None:
            return {"unseen": self._why}
        return _shown(sight.served.control) if sight.served else {"unseen": sight.why}

    def _forks(self) -> Any:
        sight = self._fresh()
        if sight is None or sight.served is None:
            return {"unseen": sight.why if sight else self._why}
        return [{"timeline": timeline, "at": lsn.show(at)} for timeline, at in sight.served.forks]

    def _fresh(self) -> Sight | None:
        sight = self._last
        return sight if sight and time.monotonic() - sight.at <= LASTING else None


def _shown(control: Control) -> dict[str, Any]:
    return {
        "state": control.state,
        "system_identifier": control.system,
        "timeline": control.timeline,
        "checkpoint": lsn.show(control.checkpoint),
        "min_recovery_end": lsn.show(control.end),
    }
