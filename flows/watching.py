"""The watcher over the primary, as Prefect has it: a run that ends when it is told to, and is started again when it dies."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.check import read_fleet
from flows.journey import aside, once, say, show, told
from flows.watch import watch_for_good


@flow(name="recovery", flow_run_name="{name}", persist_result=False)
@told
def watch(fleet: str = "deployments/fleet.yaml", name: str = "watch") -> State[Any]:
    """Watch over the primary until this run is cancelled; fail over to the same city where the policy lets that go by itself.

    Args:
        fleet: file of the fleet.
        name: what this watcher is called: there are two, of which one acts.

    """
    clusters = read_fleet(fleet)
    if clusters.recovery is None:
        return Completed(message="the fleet file has no section recovery: there is nothing to watch over")
    say("watches over %s; its own log is the run's standard error", ", ".join(clusters.names))
    return once(name, lambda: watch_for_good(clusters, aside(partial(_tell, name))), "the watcher was asked to end")


def _tell(name: str, text: str) -> None:
    say("%s", text)
    show(f"recovery-{name}", text[:200], f"## {text}")
