"""What a client notices when a whole exporter is lost: its node's link cut, while another one goes on."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import lab
from tests.bench.calls import CONSUMER, Attempt, Calls, client_in
from tests.bench.stand import Stand, until

EXPORTERS = ("production", "remote")
LOST = "production"
BEFORE = 5.0  # seconds of load before the cut, in which nothing may fail
CLEAN = 20.0  # seconds without a failure that count as clean
PATIENCE = 90.0  # seconds until it counts as never clean


@dataclass(frozen=True)
class Loss:
    """One loss: seconds after the cut when the last failing request was begun and ended, and how many there were.

    ``back`` is the seconds from healing to the first answer of what was lost.
    """

    last_begun: float
    last_ended: float
    failed: int
    requests: int
    failed_before: int
    back: float


def losses(stand: Stand, count: int) -> list[Loss]:
    """Lose production ``count`` times while a client in same-city asks 50 times a second over a new connection each."""
    found: list[Loss] = []
    with stand.room("loss") as members, client_in(stand, members) as calls:
        for name in EXPORTERS:
            members[name].deploy("web", replicas=2)
            members[name].export("web")
        until(lambda: len(members[CONSUMER].addresses("web")) == 4, 60)
        pods = {pod["metadata"]["name"] for pod in members[LOST].pods("web")}
        host = f"web.{members[LOST].namespace}.svc.clusterset.local"
        for number in range(count):
            found.append(_lost(calls, host, pods))
            print(f"loss {number + 1} of {count}: {found[-1]}", file=sys.stderr, flush=True)
    return found


def _lost(calls: Calls, host: str, pods: set[str]) -> Loss:
    calls.begin(host)
    _until_both_answer(calls, host, pods, time.monotonic())
    began = time.monotonic()
    time.sleep(BEFORE)
    cut = time.monotonic()
    lab.cut(LOST)
    try:
        _until_clean(calls, host, cut)
        seen = calls.of(host, began)
    finally:
        healed = time.monotonic()
        lab.heal(LOST)
    back = _until_both_answer(calls, host, pods, healed) - healed
    calls.pause()
    return _judged(seen, cut, back)


def _judged(seen: list[Attempt], cut: float, back: float) -> Loss:
    """Return what became of the requests; one that was under way at the cut counts as one after it."""
    failed = [one for one in seen if not one.answered]
    after = [one for one in failed if one.ended >= cut]
    return Loss(
        last_begun=max((one.begun - cut for one in after), default=0.0),
        last_ended=max((one.ended - cut for one in after), default=0.0),
        failed=len(after),
        requests=sum(one.ended >= cut for one in seen),
        failed_before=len(failed) - len(after),
        back=back,
    )


def _until_clean(calls: Calls, host: str, cut: float) -> None:
    """Wait until nothing has failed for a while."""
    while True:
        last = max((one.ended for one in calls.of(host, cut - 2) if not one.answered), default=cut)
        if time.monotonic() - last > CLEAN:
            return
        assert time.monotonic() - cut < PATIENCE, f"{host} still fails {PATIENCE} s after the cut"
        time.sleep(0.5)


def _until_both_answer(calls: Calls, host: str, pods: set[str], since: float) -> float:
    """Wait until both exporters answer and nothing has failed for two seconds; return when the lost one first did."""
    ours = calls.first(host, since, lambda one: one.said in pods, PATIENCE)
    calls.first(host, since, lambda one: one.answered and one.said not in pods, PATIENCE)
    until(lambda: all(one.answered for one in calls.of(host, time.monotonic() - 3)[:-1] or [ours]), PATIENCE)
    return ours.ended
