"""`flotilla recover`: how things stand, what would be done, and doing it, with Prefect or without."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flotilla.errors import InvalidInput, Problem
from flows.console import DEFAULT_FLEET, FAILED, AsJson, FleetFile, print_rows

if TYPE_CHECKING:
    from flotilla.recovery.refusals import Asked
    from flotilla.recovery.steps import Kind
    from flotilla.recovery.walking import Ended
    from flows.walker import People

recover = typer.Typer(
    no_args_is_help=True,
    help="Move the business between sites: switchover (planned), failover, failback. Works without Prefect too.",
)

To = Annotated[str, typer.Option("--to", help="The site.", metavar="SITE")]
From = Annotated[
    str, typer.Option("--from", help="The site to go away from; refused where another one is primary.", metavar="SITE")
]
As = Annotated[str, typer.Option("--as", help="Who you are.", metavar="NAME")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="Your private key (flotilla recover key): you agree to the plan as shown, at once.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and what it would lose; do nothing.")]
Glass = Annotated[bool, typer.Option("--break-glass", help="Without a majority of sites: two different people have to agree.")]
Risk = Annotated[str, typer.Option("--accept-risk", help="Go on though redundancy is not back; name the risk you take.")]
RunName = Annotated[str, typer.Argument(help="The run, as `flotilla recover runs` lists it.", metavar="RUN")]


def register(app: typer.Typer) -> None:
    """Add `recover` to the command line."""
    app.add_typer(recover, name="recover")


@recover.command()
def status(fleet: FleetFile = DEFAULT_FLEET, as_json: AsJson = False) -> None:
    """Show all sites, who is primary, and what a failover to each other site would lose now."""
    from flows.check import read_fleet
    from flows.recovering import opened
    from flows.telling import loss_lines, sites_rows

    with opened(read_fleet(fleet)) as ground:
        world = ground.eyes.world()
        rows, lines = sites_rows(world, ground.layout), list(loss_lines(world, ground.layout))
    print_rows(rows, {"sites": rows, "loss": lines} if as_json else None)
    for line in () if as_json else lines:
        typer.echo(line)


@recover.command()
def check(fleet: FleetFile = DEFAULT_FLEET, as_json: AsJson = False) -> None:
    """Tell whether each runbook would work now; exit code 1 where one would not."""
    from flotilla.recovery.readiness import Severity
    from flows.check import read_fleet
    from flows.recovering import opened

    with opened(read_fleet(fleet)) as ground:
        found = ground.wrong()
    rows = [{"": str(one.severity), "site": one.site, "what": one.what, "would break": one.step} for one in found]
    if rows or as_json:
        print_rows(rows, rows if as_json else None)
    else:
        typer.echo("every runbook would work now")
    if any(one.severity is Severity.RED for one in found):
        raise typer.Exit(FAILED)


@recover.command()
def watch(fleet: FleetFile = DEFAULT_FLEET) -> None:
    """Watch over the primary until told to end; fail over to the same city where the policy lets that go by itself."""
    from flows.check import read_fleet
    from flows.watch import watch_for_good

    watch_for_good(read_fleet(fleet))


@recover.command()
def switchover(
    to: To,
    origin: From = "",
    fleet: FleetFile = DEFAULT_FLEET,
    name: As = "",
    reason: Reason = "",
    key: KeyFile = None,
    risk: Risk = "",
    dry_run: DryRun = False,
) -> None:
    """Move the primary to another site while all is well; nothing is lost."""
    from flotilla.recovery.steps import Kind

    _walk(_Wish(Kind.SWITCHOVER, (origin, to), fleet, name, reason, key, risk, False, dry_run))


@recover.command()
def failover(
    to: To,
    origin: From = "",
    fleet: FleetFile = DEFAULT_FLEET,
    name: As = "",
    reason: Reason = "",
    key: KeyFile = None,
    risk: Risk = "",
    glass: Glass = False,
    dry_run: DryRun = False,
) -> None:
    """Go on at another site without the primary; what is lost is shown before anybody agrees."""
    from flotilla.recovery.steps import Kind

    _walk(_Wish(Kind.FAILOVER, (origin, to), fleet, name, reason, key, risk, glass, dry_run))


@recover.command()
def failback(
    to: To,
    origin: From = "",
    fleet: FleetFile = DEFAULT_FLEET,
    name: As = "",
    reason: Reason = "",
    key: KeyFile = None,
    dry_run: DryRun = False,
) -> None:
    """Bring a site that was lost back as a follower, wait until it is stable, and make it the primary again."""
    from flotilla.recovery.steps import Kind

    _walk(_Wish(Kind.FAILBACK, (origin, to), fleet, name, reason, key, "", False, dry_run))


@recover.command()
def reprotect(
    to: To, fleet: FleetFile = DEFAULT_FLEET, name: As = "", reason: Reason = "", key: KeyFile = None, dry_run: DryRun = False
) -> None:
    """Have a site follow the primary again, whatever became of it; what it has and the primary has not is kept as evidence."""
    from flotilla.recovery.steps import Kind

    _walk(_Wish(Kind.REPROTECT, ("", to), fleet, name, reason, key, "", False, dry_run))


@recover.command()
def degrade(
    to: To, fleet: FleetFile = DEFAULT_FLEET, name: As = "", reason: Reason = "", key: KeyFile = None, dry_run: DryRun = False
) -> None:
    """Have the primary's commits wait for nobody, as its synchronous standby is lost: from then on a failover may lose some."""
    from flotilla.recovery.steps import Kind

    _walk(_Wish(Kind.DEGRADE, ("", to), fleet, name, reason, key, "", False, dry_run))


@recover.command()
def resume(run: RunName, fleet: FleetFile = DEFAULT_FLEET, name: As = "") -> None:
    """Go on with a run whose process died, from what is so now."""
    from flows.check import read_fleet
    from flows.consent import SignedAnswers
    from flows.logs import log_to_stderr
    from flows.recovering import opened, taken_up, walked

    log_to_stderr()
    with opened(read_fleet(fleet)) as ground:
        people = SignedAnswers(ground.recovery, ground.connections)
        _tell_end(walked(ground, taken_up(ground, run, name or getpass.getuser()), people))


@recover.command()
def runs(fleet: FleetFile = DEFAULT_FLEET, as_json: AsJson = False) -> None:
    """List the runs that the clusters' journals tell of, newest last."""
    from flows.check import read_fleet
    from flows.recovery_runs import known_runs, run_rows

    rows = run_rows(known_runs(read_fleet(fleet)))
    print_rows(rows, rows if as_json else None)


@recover.command()
def journal(run: RunName, fleet: FleetFile = DEFAULT_FLEET, as_json: AsJson = False) -> None:
    """Show what a run intended, saw and was told, step by step; its chain of hashes is checked."""
    from flows.check import read_fleet
    from flows.recovery_runs import known_run
    from flows.telling import journal_rows

    found = known_run(read_fleet(fleet), run)
    print_rows(journal_rows(found), journal_rows(found, None) if as_json else None)


@recover.command()
def runbook(
    what: Annotated[str, typer.Argument(help="switchover, failover, failback, reprotect or degrade.")],
    to: To,
    fleet: FleetFile = DEFAULT_FLEET,
) -> None:
    """Print a plan as a document for people: exact commands and what to expect, for the day Flotilla is gone."""
    from flotilla.recovery.document import runbook as document
    from flotilla.recovery.preamble import preamble
    from flotilla.recovery.refusals import Asked
    from flotilla.recovery.steps import Kind
    from flows.check import read_fleet
    from flows.recovering import opened, planned

    if what not in set(Kind) - {Kind.ABORT}:
        raise InvalidInput([Problem("command line", "WHAT", what, "switchover, failover, failback, reprotect or degrade")])
    with opened(read_fleet(fleet)) as ground:
        head = preamble(ground.recovery, ground.eyes.world(), ground.layout)
        typer.echo(document(planned(ground, Asked(Kind(what), to)), head))


class _Wish:
    """What was asked on the command line."""

    def __init__(
        self, kind: Kind, way: tuple[str, str], fleet: str, name: str, reason: str, key: Path | None, *rest: object
    ) -> None:
        self.kind, self.way, self.fleet, self.key = kind, way, fleet, key
        self.name, self.reason = name or getpass.getuser(), reason
        self.risk, self.glass, self.dry_run = str(rest[0] or ""), bool(rest[1]), bool(rest[2])

    def asked(self) -> Asked:
        """Return it as planning takes it."""
        from flotilla.recovery.refusals import Asked, Forced
        from flows.recovering import new_run

        forced = Forced(self.name, self.risk) if self.risk else None
        origin, to = self.way
        return Asked(
            self.kind,
            to,
            origin,
            run=new_run(self.kind),
            initiator=self.name,
            reason=self.reason,
            forced=forced,
            glass=self.glass,
        )


def _walk(wish: _Wish) -> None:
    from flows.agreeing import Agreeing
    from flows.answering import Person
    from flows.check import read_fleet
    from flows.consent import SignedAnswers
    from flows.logs import log_to_stderr
    from flows.recovering import begun, opened, planned, walked
    from flows.rehearsing import past_ways
    from flows.telling import plan_text

    log_to_stderr()
    with opened(read_fleet(wish.fleet)) as ground:
        asked = wish.asked()
        plan = planned(ground, asked)
        typer.echo(plan_text(plan, past_ways(ground.connections)))
        if wish.dry_run:
            return
        typer.echo(f"\nrun {asked.run}\n")
        people = SignedAnswers(ground.recovery, ground.connections)
        agreeing: People = people
        if wish.key:
            agreeing = Agreeing(people, ground, Person(wish.name, wish.key, wish.reason))
            agreeing.was_shown(plan)
        _tell_end(walked(ground, begun(ground, asked, plan), agreeing))


def _tell_end(ended: Ended) -> None:
    from flotilla.recovery.walking import Outcome
    from flows.telling import ended_text

    typer.echo(ended_text(ended))
    if ended.outcome is not Outcome.VERIFIED:
        raise typer.Exit(FAILED)
