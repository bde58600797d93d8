"""A drill, as Prefect has it: the business moved there and back as planned, and what that was like."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flotilla.recovery.drilling import Drill, drill_sentence, drill_text
from flotilla.recovery.picture import picture
from flotilla.recovery.refusals import Trigger, under_way
from flotilla.recovery.steps import Plan
from flows.asking import Form
from flows.check import read_fleet
from flows.drilling import Wish, drilled, has_begun, plans
from flows.journey import run_id, say, show, show_picture, told, told_in_the_run
from flows.logs import log_to_stderr
from flows.recovering import Ground, opened
from flows.rehearsing import past_ways, write_files
from flows.telling import plan_text

FLEET = "deployments/fleet.yaml"


@flow(name="recovery", flow_run_name="drill-{to}", persist_result=False)
@told
def drill(
    to: str, fleet: str = FLEET, initiator: str = "prefect", reason: str = "", ledger: str = "", dry_run: bool = False
) -> State[Any]:
    """Move the primary to another site as planned, verify and protect it there, and move it back; then report.

    Args:
        to: the site that is to be primary for a while.
        fleet: file of the fleet.
        initiator: who starts this.
        reason: why; kept in the journals.
        ledger: file or address of what a client outside of all sites notes while it writes; empty: nobody does.
        dry_run: show the plans of both ways and do nothing.

    """
    log_to_stderr()
    scheduled = "auto-scheduled" in (runtime.flow_run.tags or ())
    wish = Wish(run_id(), to, initiator, reason, ledger, Trigger.SCHEDULE if scheduled else Trigger.PERSON)
    with opened(read_fleet(fleet)) as ground:
        if not has_begun(ground, wish):
            if scheduled and (busy := under_way(ground.eyes.world())):
                return Cancelled(name="Busy", message=f"run {', '.join(busy)} is under way: no drill now, nothing was touched")
            both = plans(ground, wish)
            if dry_run:
                return _dry(ground, both)
        return _drilled(ground, wish)


def _dry(ground: Ground, both: tuple[Plan, Plan]) -> State[Any]:
    past = past_ways(ground.connections)
    show("recovery-plan", f"drill: {both[0].title} and back", "\n\n".join(plan_text(plan, past) for plan in both))
    ways = ", ".join(f"{plan.title}: {len(plan.steps)} steps, plan {plan.hash[:12]}" for plan in both)
    return Completed(name="DryRun", message=f"{ways}; nothing was done")


def _drilled(ground: Ground, wish: Wish) -> State[Any]:
    past = past_ways(ground.connections)

    def announce(plan: Plan) -> None:
        say("%s: plan %s, epoch %d", plan.title, plan.hash[:12], plan.epoch)
        show("recovery-plan", plan.title, plan_text(plan, past))

    with told_in_the_run("flotilla.recovery"):
        found = drilled(ground, wish, Form(ground), announce)
    _publish(found, drill_text(found, past))
    say("report: %s", write_files(ground.folder, found, past))
    sentence = drill_sentence(found)
    return Completed(message=sentence) if found.is_well else Failed(name="NotAsPromised", message=sentence)


def _publish(found: Drill, text: str) -> None:
    show("recovery-drill", found.title, text)
    for leg in found.legs:
        show_picture(f"recovery-drill-to-{leg.target}", f"{leg.kind} {leg.origin} -> {leg.target}", picture(leg))
