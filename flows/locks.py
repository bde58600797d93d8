"""One rollout of an application at a time: a lease in each of its clusters; who comes second waits in line."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect import get_client
from prefect.exceptions import ObjectNotFound, PrefectSignal

from flotilla.errors import FlotillaError
from flows.journey import Journey, say
from tasks.fanout import side_by_side
from tasks.leases import Holder, LeaseRef, give_back, take_lease
from tasks.workloads import ensure_namespace

SECONDS = 60.0  # a lease that its holder has not renewed for so long is free: its process is gone
RENEW = 20.0
LOOK_AGAIN = 3.0


@contextmanager
def only_one(journey: Journey, while_waiting: float) -> Iterator[bool]:
    """Hold the application's lease in every cluster that answers; yields whether somebody else was waited for.

    ``while_waiting`` seconds are how long it stays ours while the run is suspended at a gate and no process renews it.
    """
    waited = _wait_in_line(journey)
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(journey, stop), daemon=True)
    renewing.start()
    try:
        yield waited
    except PrefectSignal:  # suspended: the lease is kept for the person's answer
        stop.set()
        renewing.join()
        _take(journey, while_waiting)
        raise
    except BaseException:
        _let_go(journey, stop, renewing)
        raise
    else:
        _let_go(journey, stop, renewing)


def _wait_in_line(journey: Journey) -> bool:
    over, told = "", ""
    while True:
        holder = _take(journey, SECONDS, over)
        if holder is None:
            return bool(told)
        if is_over(holder.identity):
            over = holder.identity
            continue
        if told != holder.identity:
            say("waits in line: run %s rolls %s out since %s", holder.identity, journey.intent.name, holder.since)
            told = holder.identity
        time.sleep(LOOK_AGAIN)


def _take(journey: Journey, seconds: float, over: str = "") -> Holder | None:
    """Take or renew the lease in the clusters in their order, until one is held by somebody else; return who.

    The same order for everybody: of two that come at once, one gets the first cluster and the other waits there.
    """
    ref = LeaseRef(journey.intent.name, journey.intent.namespace)
    for name in [name for name in journey.fleet.names if name in journey.intent.clusters]:
        try:
            ensure_namespace(journey.connection(name), ref.namespace)
            holder = take_lease(journey.connection(name), ref, journey.run, seconds, over=over)
        except FlotillaError:
            continue  # a cluster that is away holds nobody up; the waves say what becomes of it
        if holder is not None:
            return holder
    return None


def _renew(journey: Journey, stop: threading.Event) -> None:
    while not stop.wait(RENEW):
        _take(journey, SECONDS)


def _let_go(journey: Journey, stop: threading.Event, renewing: threading.Thread) -> None:
    stop.set()
    renewing.join()
    ref = LeaseRef(journey.intent.name, journey.intent.namespace)
    side_by_side(journey.intent.clusters, lambda name: give_back(journey.connection(name), ref, journey.run))


def is_over(identity: str) -> bool:
    """Tell whether the run that holds a lease is known to have ended."""
    if identity.startswith("process-"):
        return False
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(identity)).state
    except ObjectNotFound:
        return True
    except httpx.HTTPError:
        return False
    return state is not None and state.is_final()
