"""Services across clusters, as Prefect has them: kept wired for good, wired once, audited on a schedule."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flotilla.errors import Permanent
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.markdown import table
from flotilla.services import delegated
from flotilla.services.audit import Difference, Wiring, keeper_problem, lasting, wiring_of
from flows.check import read_fleet
from flows.journey import aside, once, say, show, told, warn
from flows.keeper import Keeper
from flows.keeping import keep_wired, state_of
from tasks.notify import tell_webhook
from tasks.snapshot import Snapshot, looking_at

SETTLED = 1.0  # seconds without a difference after which a pass has done all there was to do
LOOK_EVERY = 0.25
SHOWN = 300  # rows of the table in the artifact


@dataclass(frozen=True)
class ServicesReport:
    """How services are wired: all of them, what still differs, the clusters that nobody could look at."""

    services: int
    differences: tuple[Difference, ...]
    held_back: tuple[Difference, ...]
    away: tuple[str, ...]


@flow(name="services", flow_run_name="keep-wired", persist_result=False)
@told
def keep(fleet: str = "deployments/fleet.yaml", state_file: str = "") -> State[Any]:
    """Keep services wired until this run is cancelled: the keeper, in a run that Prefect starts again when it dies.

    Args:
        fleet: file of the fleet.
        state_file: where the keeper tells how it is, as JSON, every two seconds; empty for nowhere.

    """
    clusters = read_fleet(fleet)
    if clusters.services.is_delegated:
        return Completed(message="services.wiredBy is others in the fleet file: there is nothing for a keeper to do")
    say("the keeper watches %s; its own log is the run's standard error", ", ".join(clusters.names))
    return once("keep-wired", lambda: keep_wired(clusters, state_file, on_state=_told_state()), "the keeper was asked to end")


@flow(name="services", flow_run_name="wire", persist_result=False)
@told
def wire(fleet: str = "deployments/fleet.yaml", within: float = 60) -> State[Any]:
    """Do one pass over all services and report: what should be written is, by the keeper that leads or by this run.

    Args:
        fleet: file of the fleet.
        within: seconds until everything has to be as it should.

    """
    clusters = read_fleet(fleet)
    with looking_at(clusters) as seen:
        _refuse_shared_ids(seen)
        before = _wirings(seen, clusters)
        with _somebody_at_work(clusters, seen):
            after = _until_settled(seen, clusters, within)
    done = len(_due(before)) - len(_due(after))
    say("%d services, %d differences before, %d after", len(after), len(_due(before)), len(_due(after)))
    return _published("wire", seen, after, _due(after), f"{max(0, done)} differences put right")


@flow(name="services", flow_run_name="audit", persist_result=False)
@told
def audit(fleet: str = "deployments/fleet.yaml", patience: float = 15) -> State[Any]:
    """Compare what all clusters hold with what they should, and raise what differs for longer than the keeper takes.

    Args:
        fleet: file of the fleet.
        patience: seconds between the two looks in which a difference must be seen.

    """
    clusters = read_fleet(fleet)
    with looking_at(clusters) as seen:
        _refuse_shared_ids(seen)
        first = _due(_wirings(seen, clusters))
        if first:
            time.sleep(patience)
        seen.look_at_leases()
        wirings = _wirings(seen, clusters)
    due = lasting(first, _due(wirings))
    problem = _keeper_problem(seen, clusters) if wirings else ""
    if problem:
        warn("%s", problem)
    state = _published("audit", seen, wirings, due, problem or _who(clusters))
    if (due or problem) and clusters.approvals.webhook_env:
        tell_webhook(f"env:{clusters.approvals.webhook_env}", {"text": f"services: {state.message}"})
    return Failed(name="Differs", message=problem, data=state.data) if problem and not due else state


def _published(story: str, seen: Snapshot, wirings: Sequence[Wiring], due: Sequence[Difference], note: str) -> State[Any]:
    """Publish what was found and return the run's final state: Completed, or Differs."""
    held = tuple(one for wiring in wirings for one in wiring.differences if one.held_back)
    report = ServicesReport(len(wirings), tuple(due), held, tuple(seen.away))
    for name, reason in seen.away.items():
        warn("%s cannot be looked at: %s", name, reason)
    for one in due[:20]:
        warn("%s: %s", one.service, one.text)
    sentence = f"{len(wirings)} services, {len(due)} differ, {len(held)} held back by probes; {note}"
    if seen.away:
        sentence += f"; away: {', '.join(seen.away)}"
    rows = sorted(
        (wiring.row() for wiring in wirings), key=lambda row: (not row["differs"], not row["conflicts"], row["service"])
    )
    more = f"\n\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    show(f"services-{story}", sentence, f"## {sentence}\n\n{table(rows[:SHOWN])}{more}")
    say("%s", sentence)
    if due:
        return Failed(name="Differs", message=sentence, data=report)
    return Completed(message=sentence, data=report)


def _wirings(seen: Snapshot, fleet: Fleet) -> tuple[Wiring, ...]:
    now, policy = datetime.now(UTC), fleet.services.policy()
    if fleet.services.is_delegated:
        return tuple(delegated.wiring_of(seen.world(key), policy) for key in seen.keys)
    return tuple(wiring_of(seen.world(key), policy, now) for key in seen.keys)


def _keeper_problem(seen: Snapshot, fleet: Fleet) -> str:
    """Return why nobody keeps services wired; "" where somebody does, or where others are to."""
    return "" if fleet.services.is_delegated else keeper_problem(seen.leases, datetime.now(UTC))


def _who(fleet: Fleet) -> str:
    return "wired by others" if fleet.services.is_delegated else "a keeper is at work"


def _due(wirings: Sequence[Wiring]) -> tuple[Difference, ...]:
    return tuple(one for wiring in wirings for one in wiring.differences if not one.held_back)


def _refuse_shared_ids(seen: Snapshot) -> None:
    for claim, names in seen.shared.items():
        raise Permanent(
            f"{', '.join(names)} all say that they are {claim!r}: give each its own ClusterProperty cluster.clusterset.k8s.io"
        )


@contextmanager
def _somebody_at_work(fleet: Fleet, seen: Snapshot) -> Iterator[None]:
    """Have a keeper at work: the one that leads, else one of our own for as long as this lasts."""
    if fleet.services.is_delegated:
        say("others wire the services of this fleet: waited for, not written")
        yield
        return
    if not _keeper_problem(seen, fleet):
        holders = {lease.holder for lease in seen.leases.values() if not isinstance(lease, Unknown)}
        say("a keeper leads already: %s", ", ".join(sorted(holders)))
        yield
        return
    keeper = Keeper(fleet)
    thread = threading.Thread(target=keeper.run, name="keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.stop()
        thread.join(10)


def _until_settled(seen: Snapshot, fleet: Fleet, within: float) -> tuple[Wiring, ...]:
    """Return how services are wired once nothing has differed for a moment, or the time is over."""
    deadline, quiet_since = time.monotonic() + within, float("inf")
    while True:
        seen.look_at_leases()
        wirings = _wirings(seen, fleet)
        now = time.monotonic()
        quiet_since = min(quiet_since, now) if not _due(wirings) else float("inf")
        if now - quiet_since >= SETTLED or now > deadline:
            return wirings
        time.sleep(LOOK_EVERY)


def _told_state() -> Any:
    """Return what publishes a keeper's state as an artifact, whenever something has changed that people care for."""
    before: list[Any] = [None]

    @aside  # a state file is written also while Prefect is away
    def publish(said: tuple[str, str]) -> None:
        show("services-keeper", *said)

    def tell(keeper: Keeper) -> None:
        state = state_of(keeper)
        matters = {
            "leads": state["leads"],
            "obstacle": state["obstacle"],
            "held": state["held"],
            "away": {name: of["away"] for name, of in state["clusters"].items() if of["away"]},
        }
        if matters == before[0]:
            return
        before[0] = matters
        sentence = state["obstacle"] or ("wires" if state["leads"] else "stands by")
        rows = [{"cluster": name, **{key: str(value) for key, value in of.items()}} for name, of in state["clusters"].items()]
        held = table(state["held"]) if state["held"] else "no withdrawal waits for a person"
        publish((f"keeper: {sentence}", f"## {sentence}\n\n{table(rows)}\n\n{held}"))

    return tell
