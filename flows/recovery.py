"""The business moved between sites, as Prefect has it: switchover, failover, failback, and whether all that would work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flotilla.markdown import table
from flotilla.recovery.readiness import Severity
from flotilla.recovery.refusals import Asked, Forced, Trigger, under_way
from flotilla.recovery.reporting import Report
from flotilla.recovery.steps import Kind, Mode, Plan
from flotilla.recovery.walking import Ended, Outcome
from flows.asking import Form
from flows.check import read_fleet
from flows.journey import run_id, say, show, told, told_in_the_run
from flows.logs import log_to_stderr
from flows.recovering import Ground, begun, is_begun, opened, planned, taken_up, walked
from flows.rehearsing import past_ways
from flows.telling import ended_text, journal_rows, loss_lines, plan_text, sites_rows
from flows.witnessing import reasons_for_people

FLEET = "deployments/fleet.yaml"
ALERT: Literal["alert"] = "alert"


@flow(name="recovery", flow_run_name="switchover-{to}", persist_result=False)
@told
def switchover(
    to: str,
    origin: str = "",
    fleet: str = FLEET,
    initiator: str = "prefect",
    reason: str = "",
    risk: str = "",
    dry_run: bool = False,
) -> State[Any]:
    """Move the primary to another site while all is well; nothing is lost.

    Args:
        to: the site that is to be primary.
        origin: the site that it is to go away from; refused where another one is primary. Empty: whoever is.
        fleet: file of the fleet.
        initiator: who starts this.
        reason: why; kept in the journal.
        risk: go on though redundancy is not back since the last recovery; names the risk that the initiator takes.
        dry_run: show the plan and do nothing.

    """
    return _recovered(fleet, _asked(Kind.SWITCHOVER, (origin, to), initiator, reason, risk=risk), dry_run)


@flow(name="recovery", flow_run_name="failover-{to}", persist_result=False)
@told
def failover(
    to: str,
    origin: str = "",
    fleet: str = FLEET,
    initiator: str = "prefect",
    reason: str = "",
    risk: str = "",
    break_glass: bool = False,
    trigger: Literal["person", "alert"] = "person",
    dry_run: bool = False,
) -> State[Any]:
    """Go on at another site without the primary; what is lost is shown before anybody agrees.

    Args:
        to: the site that is to be primary.
        origin: the site that it is to go away from; refused where another one is primary. Empty: whoever is.
        fleet: file of the fleet.
        initiator: who starts this.
        reason: why; kept in the journal.
        risk: go on though redundancy is not back since the last recovery; names the risk that the initiator takes.
        break_glass: without a majority of the sites; two different people have to agree.
        trigger: alert: nobody is asked if it is to the same city, loses nothing, and witnesses agree that the primary is down.
        dry_run: show the plan and what it would lose, and do nothing.

    """
    asked = _asked(Kind.FAILOVER, (origin, to), initiator, reason, risk=risk, glass=break_glass)
    if trigger == ALERT:  # in whosever name: it counts as automatic from then on
        asked = replace(asked, trigger=Trigger.ALERT, initiator=ALERT)
    return _recovered(fleet, asked, dry_run)


@flow(name="recovery", flow_run_name="failback-{to}", persist_result=False)
@told
def failback(
    to: str, origin: str = "", fleet: str = FLEET, initiator: str = "prefect", reason: str = "", dry_run: bool = False
) -> State[Any]:
    """Bring a site that was lost back as a follower, wait until it is stable, and make it the primary again.

    Args:
        to: the site that is to be primary again.
        origin: the site that it is to go away from; refused where another one is primary. Empty: whoever is.
        fleet: file of the fleet.
        initiator: who starts this.
        reason: why; kept in the journal.
        dry_run: show the plan and do nothing.

    """
    return _recovered(fleet, _asked(Kind.FAILBACK, (origin, to), initiator, reason), dry_run)


@flow(name="recovery", flow_run_name="reprotect-{to}", persist_result=False)
@told
def reprotect(to: str, fleet: str = FLEET, initiator: str = "prefect", reason: str = "", dry_run: bool = False) -> State[Any]:
    """Have a site follow the primary again, whatever became of it; what it has and the primary has not is kept as evidence.

    Args:
        to: the site.
        fleet: file of the fleet.
        initiator: who starts this.
        reason: why; kept in the journal.
        dry_run: show the plan and do nothing.

    """
    return _recovered(fleet, _asked(Kind.REPROTECT, ("", to), initiator, reason), dry_run)


@flow(name="recovery", flow_run_name="degrade-{to}", persist_result=False)
@told
def degrade(to: str, fleet: str = FLEET, initiator: str = "prefect", reason: str = "", dry_run: bool = False) -> State[Any]:
    """Have the primary's commits wait for nobody, as its synchronous standby is lost: from then on a failover may lose some.

    Args:
        to: the site that is primary.
        fleet: file of the fleet.
        initiator: who starts this.
        reason: why; kept in the journal.
        dry_run: show the plan and do nothing.

    """
    return _recovered(fleet, _asked(Kind.DEGRADE, ("", to), initiator, reason), dry_run)


@flow(name="recovery", flow_run_name="check", persist_result=False)
@told
def check(fleet: str = FLEET) -> State[Any]:
    """Tell whether each runbook would work now, and what a failover would lose; a red line names the step it would break.

    Args:
        fleet: file of the fleet.

    """
    read = read_fleet(fleet)
    if read.recovery is None:
        return Completed(name="NoRecovery", message=f"{fleet} has no section recovery: there is nothing to be ready for")
    with opened(read) as ground:
        world = ground.eyes.world()
        if _is_scheduled() and (busy := under_way(world)):
            return Cancelled(name="Busy", message=f"run {', '.join(busy)} is under way: what is so changes meanwhile")
        found = ground.wrong()
        rows, lines = sites_rows(world, ground.layout), list(loss_lines(world, ground.layout))
    red = [one for one in found if one.severity is Severity.RED]
    sentence = f"{len(red)} red, {len(found) - len(red)} other findings" if found else "every runbook would work now"
    told_rows = [{"": str(one.severity), "site": one.site, "what": one.what, "would break": one.step} for one in found]
    body = f"## {sentence}\n\n{table(told_rows)}\n\n### Sites\n\n{table(rows)}\n\n" + "\n".join(f"- {line}" for line in lines)
    show("recovery-check", sentence, body)
    for one in found:
        say("%s", one)
    return Failed(name="WouldBreak", message=sentence) if red else Completed(message=sentence)


def _asked(kind: Kind, way: tuple[str, str], initiator: str, reason: str, *, risk: str = "", glass: bool = False) -> Asked:
    trigger = Trigger.SCHEDULE if _is_scheduled() else Trigger.PERSON
    mode = Mode.UNGRACEFUL if kind is Kind.FAILOVER else Mode.GRACEFUL
    forced = Forced(initiator, risk) if risk else None
    origin, to = way
    return Asked(
        kind,
        to,
        origin,
        mode=mode,
        run=run_id(),
        trigger=trigger,
        initiator=initiator,
        reason=reason,
        forced=forced,
        glass=glass,
    )


def _is_scheduled() -> bool:
    return "auto-scheduled" in (runtime.flow_run.tags or ())


def _recovered(fleet: str, asked: Asked, dry_run: bool) -> State[Any]:
    """Do what is asked, or go on with it: a run that was suspended or died begins here again, and looks first."""
    log_to_stderr()
    with opened(read_fleet(fleet)) as ground:
        if is_begun(ground, asked.run):
            run = taken_up(ground, asked.run, asked.initiator)
        else:
            plan = _plan(ground, asked)
            _show(plan, asked, past_ways(ground.connections))
            if dry_run:
                return Completed(
                    name="DryRun", message=f"{plan.title}: {len(plan.steps)} steps, plan {plan.hash[:12]}; nothing was done"
                )
            run = begun(ground, asked, plan)
        with told_in_the_run("flotilla.recovery"):
            ended = walked(ground, run, Form(ground))
        show("recovery-journal", ended.told, f"## {ended.told}\n\n{table(journal_rows(run.kept.journal))}")
        return _state(ended)


def _plan(ground: Ground, asked: Asked) -> Plan:
    """Return the plan; one that an alert asks for asks nobody only where the policy, witnesses heard, lets it go by itself."""
    if asked.trigger is not Trigger.ALERT:
        return planned(ground, asked)
    planned(ground, asked)  # what is refused anyway is refused at once
    against = reasons_for_people(ground, asked.target, Trigger.ALERT)
    say("started by an alert: %s", f"people are asked: {'; '.join(against)}" if against else "goes by itself")
    return planned(ground, asked, automatic=not against)


def _show(plan: Plan, asked: Asked, past: tuple[Report, ...]) -> None:
    say("%s: plan %s, epoch %d; loss: %s", plan.title, plan.hash[:12], plan.epoch, plan.loss)
    show("recovery-plan", plan.title, f"run `{asked.run}`\n\n{plan_text(plan, past)}")


def _state(ended: Ended) -> State[Any]:
    say("%s", ended_text(ended))
    if ended.outcome is Outcome.VERIFIED:
        return Completed(message=ended.told)
    return Failed(name=str(ended.outcome).title().replace(" ", ""), message=ended_text(ended))
