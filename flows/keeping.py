"""`flotilla keep`: the keeper as a plain process: signals, log lines, and a file that tells how it is."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

from flotilla.errors import InvalidInput, Problem, Transient
from flotilla.fleet import Fleet
from flows.keeper import Keeper
from flows.logs import log_to_stderr

STATE_EVERY = 2.0  # seconds
CONNECT_AGAIN = 5.0  # seconds; only a kubeconfig kept in a Secret needs anybody to answer
log = logging.getLogger("flotilla.keeper")


def keep_wired(fleet: Fleet, state_file: str, on_state: Callable[[Keeper], None] | None = None) -> None:
    """Keep services wired until SIGTERM or SIGINT; ``on_state`` is called every ``STATE_EVERY`` seconds.

    Raises InvalidInput where the kubeconfigs are not as the fleet says, or others wire the services.
    """
    if fleet.services.is_delegated:
        allowed = (
            "flotilla: a keeper would write what the other implementation owns; flotilla explain and services/audit report"
        )
        raise InvalidInput([Problem("the fleet file", "services.wiredBy", "others", allowed)])
    log_to_stderr()
    keeper = _made(fleet)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: keeper.stop())
    tellers = [on_state] if on_state else []
    if state_file:
        tellers.append(partial(_write_state, file=Path(state_file)))
    if tellers:
        threading.Thread(target=copy_context().run, args=(_tell, keeper, tellers), name="state", daemon=True).start()
    keeper.run()
    log.info("ended")


def state_of(keeper: Keeper) -> dict[str, Any]:
    """Return how a keeper is, as JSON. Lags are milliseconds from an event to the last write that it led to."""
    lags = sorted(keeper.lags)
    held = [
        {"service": str(one.key), "consumer": one.link.consumer, "source": one.link.source, "cause": one.cause, "why": one.why}
        for one in keeper.held
    ]
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "identity": keeper.leadership.identity,
        "leads": keeper.leadership.leads,
        "obstacle": keeper.obstacle,
        "waiting": keeper.waiting,
        "counts": dict(keeper.counts),
        "lag_ms": {"p50": _share(lags, 0.5), "p99": _share(lags, 0.99), "of": len(lags)},
        "held": held,
        "clusters": {name: _cluster(keeper, name) for name in keeper.mirrors},
    }


def _cluster(keeper: Keeper, name: str) -> dict[str, Any]:
    mirror, prober = keeper.mirrors[name], keeper.probers.get(name)
    return {
        "id": mirror.id,
        "away": mirror.unknown.reason if mirror.unknown else "",
        "lease": keeper.leadership.holders.get(name, ""),
        "writing": len(keeper.lanes[name]),
        "probed": len(prober) if prober is not None else 0,
        "probes": prober.made if prober is not None else 0,
        "no_probes": prober.reason if prober is not None else "probes are not enabled",
    }


def _share(ordered: list[float], share: float) -> float | None:
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None


def _made(fleet: Fleet) -> Keeper:
    while True:
        try:
            return Keeper(fleet)
        except Transient as error:
            log.warning("cannot start yet: %s", error)
            time.sleep(CONNECT_AGAIN)


def _tell(keeper: Keeper, tellers: Sequence[Callable[[Keeper], None]]) -> None:
    while True:
        for tell in tellers:
            try:
                tell(keeper)
            except Exception:  # what tells the state must not end with one failure to
                log.exception("state not told")
        time.sleep(STATE_EVERY)


def _write_state(keeper: Keeper, file: Path) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(json.dumps(state_of(keeper)) + "\n", encoding="utf-8")
    beside.replace(file)
