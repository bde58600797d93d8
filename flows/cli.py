"""`flotilla` on the command line: the same stories without the UI; each command imports only what it needs."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from flotilla.errors import FlotillaError, InvalidInput, Refused
from flows import (
    cli_agent,
    cli_alerts,
    cli_answers,
    cli_dashboards,
    cli_drill,
    cli_metrics,
    cli_quarantine,
    cli_recovery,
    cli_services,
    cli_start,
)
from flows.console import BAD_INPUT, DEFAULT_FLEET, FAILED, REFUSED, AsJson, FleetFile, print_rows

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
server = typer.Typer(no_args_is_help=True, help="The local Prefect server and its worker.")
app.add_typer(server, name="server")

Images = Annotated[
    list[str] | None, typer.Option("--image", help="COMPONENT=IMAGE instead of the one in the file; repeatable.")
]
Also = Annotated[list[str] | None, typer.Option("--also", help="One more file, with Policies or Workflows; repeatable.")]
Follow = Annotated[bool, typer.Option("--follow/--detach", help="Stay until the run ends, and ask at its gates.")]
Yes = Annotated[bool, typer.Option("--yes", help="Agree at every gate (approve=auto), where the fleet file allows it.")]
Force = Annotated[bool, typer.Option("--force", help="Take over fields that others own; else they are conflicts.")]
KEEPER = "services/keep-wired"
COLLECTOR = "metrics/collect"
RECEIVER = "metrics/receive-alerts"
WATCHERS = ("recovery/watch", "recovery/watch-too")


@app.callback()
def flotilla() -> None:
    """Run three Kubernetes clusters as one. Exit codes: 1 failed, 2 bad input, 3 refused."""


@app.command()
def check(
    fleet: FleetFile = DEFAULT_FLEET,
    services: Annotated[
        bool,
        typer.Option("--services", help="Also try whether pods reach pods of other clusters; makes pods and removes them."),
    ] = False,
    install_crds: Annotated[
        bool, typer.Option("--install-crds", help="Install or upgrade the definitions of services; never an older one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate the fleet file, reach every cluster, check versions, permissions and the ground for services."""
    from dataclasses import asdict

    from flows.check import check_fleet, read_fleet
    from flows.ground import check_ground

    parsed = read_fleet(fleet)
    findings = check_fleet(parsed)
    image = parsed.services.probes.image if services else None
    ground = check_ground(parsed, install=install_crds, image=image, show=lambda rows: None if as_json else print_rows(rows))
    rows = [
        {
            "cluster": f.cluster,
            "ok": "yes" if f.ok else "NO",
            **{k: v for k, v in asdict(f).items() if k not in ("cluster", "ok")},
        }
        for f in findings
    ]
    print_rows(rows, [{**asdict(one), "services": ground.told(one.cluster)} for one in findings] if as_json else None)
    if not as_json:
        if ground.rows:
            print_rows(ground.rows)
        if str(ground):
            typer.echo(str(ground))
    if not (all(one.ok for one in findings) and ground.ok):
        raise typer.Exit(FAILED)


@app.command()
def plan(
    application: str, fleet: FleetFile = DEFAULT_FLEET, image: Images = None, also: Also = None, as_json: AsJson = False
) -> None:
    """Show what rolling APPLICATION (a file) out would do in every cluster; nothing is changed."""
    from flows.check import read_fleet
    from tasks.manifests import load_application
    from tasks.planning import plan_rollout

    clusters = read_fleet(fleet)
    intent = load_application([application, *(also or [])], clusters, _images(image))
    found = plan_rollout(clusters, intent)
    told = {"hash": found.hash, "summary": found.summary(), "changes": found.rows(), "warnings": list(intent.warnings)}
    print_rows(found.rows(), told if as_json else None)
    if not as_json:
        for warning in intent.warnings:
            typer.echo(f"warning: {warning}", err=True)
        typer.echo(f"{found.summary()}  (hash {found.hash[:12]})")
    if found.blocked or found.unreachable:
        raise typer.Exit(FAILED)


@app.command()
def rollout(
    application: str,
    fleet: FleetFile = DEFAULT_FLEET,
    image: Images = None,
    also: Also = None,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
    yes: Yes = False,
    force: Force = False,
    follow: Follow = True,
) -> None:
    """Roll APPLICATION (a file) out over the fleet, through the Prefect server."""
    parameters = {
        "application": application,
        "fleet": fleet,
        "images": _images(image),
        "also": also,
        "dry_run": dry_run,
        "approve": "auto" if yes else "ask",
        "force": force,
    }
    _run("rollout/rollout", parameters, follow)


@app.command()
def rollback(
    application: str,
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    to: Annotated[int | None, typer.Option(help="Number of a kept revision; else the last good one before the newest.")] = None,
    fleet: FleetFile = DEFAULT_FLEET,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
    yes: Yes = False,
    force: Force = False,
    follow: Follow = True,
) -> None:
    """Take APPLICATION (its name) back to a kept revision in every cluster."""
    parameters: dict[str, Any] = {"application": application, "namespace": namespace, "to": to, "fleet": fleet}
    _run("rollback/rollback", {**parameters, "dry_run": dry_run, "approve": "auto" if yes else "ask", "force": force}, follow)


@app.command()
def drift(
    fleet: FleetFile = DEFAULT_FLEET,
    correct: Annotated[bool, typer.Option("--correct", help="Put right what differs.")] = False,
    follow: Follow = True,
) -> None:
    """Compare what was rolled out with what is; bring along clusters that were away."""
    _run("drift/drift", {"fleet": fleet, **({"correct": "correct"} if correct else {})}, follow)


@app.command()
def revisions(
    application: str,
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    fleet: FleetFile = DEFAULT_FLEET,
    as_json: AsJson = False,
) -> None:
    """Show the revisions of APPLICATION (its name) that the clusters keep, and who agreed to them."""
    from flows.check import read_fleet
    from tasks.planning import known_revisions

    known, errors = known_revisions(read_fleet(fleet), application, namespace)
    rows = [
        {
            "revision": str(one.number),
            "cluster": one.cluster,
            "state": str(one.state),
            "started": one.started,
            "agreed by": ", ".join(f"{a.name} ({a.gate}: {a.reason})" for a in one.approvals),
            "note": one.note,
        }
        for one in sorted(known, key=lambda one: (-one.number, one.cluster))
    ]
    print_rows(rows, rows if as_json else None)
    for error in errors:
        typer.echo(f"could not be asked: {error}", err=True)
    if errors:
        raise typer.Exit(FAILED)


@app.command()
def waiting(as_json: AsJson = False) -> None:
    """List the runs that wait for a person."""
    from tasks import prefect_api

    rows = [
        {
            "run": run["id"],
            "name": run["name"],
            "gate": (run["state"]["state_details"].get("pause_key") or "").rpartition("-")[0],
            "since": run["state"]["timestamp"],
            "link": prefect_api.ui_link(run["id"]),
        }
        for run in prefect_api.waiting()
    ]
    print_rows(rows, rows if as_json else None)


@app.command()
def approve(
    run: str,
    name: Annotated[str, typer.Option("--as", help="Who you are; kept with the revision.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the revision.")],
    reject: Annotated[bool, typer.Option("--reject", help="Say no: what is done is rolled back.")] = False,
) -> None:
    """Answer the gate at which RUN waits."""
    from tasks import prefect_api

    refusal = prefect_api.answer_gate(run, "reject" if reject else "approve", name, reason)
    if refusal:
        typer.echo(f"the answer was not taken: {refusal}", err=True)
        raise typer.Exit(BAD_INPUT)
    typer.echo(f"{'rejected' if reject else 'approved'} by {name}; the run goes on: {prefect_api.ui_link(run)}")


cli_agent.register(app)
cli_services.register(app)
cli_metrics.register(app)
cli_quarantine.register(app)
cli_dashboards.register(app)
cli_alerts.register(app)
cli_recovery.register(app)
cli_answers.register(cli_recovery.recover)
cli_drill.register(cli_recovery.recover)
cli_start.register(cli_recovery.recover)


@app.command()
def demo() -> None:
    """Show the main job on the lab: roll podinfo out, upgrade it through a gate, roll a bad version back."""
    from flows.demo import play

    play()


@server.command("up")
def server_up() -> None:
    """Start the Prefect server and its worker where they don't run, and register every deployment."""
    from flows.check import read_fleet
    from tasks import orchestrator, prefect_api

    for name, done in orchestrator.start_all().items():
        typer.echo(f"prefect {name}: {done}")
    if otherwise := orchestrator.handed_otherwise():
        told = f"its runs keep what it was started with: {', '.join(otherwise)} differ here"
        typer.echo(f"prefect worker: {told}; to hand them over: flotilla server down; flotilla server up")
    orchestrator.deploy_all()
    typer.echo(f"keeper of services: {prefect_api.ensure_running(KEEPER)}")
    typer.echo(f"collector of metrics: {prefect_api.ensure_running(COLLECTOR)}")
    typer.echo(f"receiver of alerts: {prefect_api.ensure_running(RECEIVER)}")
    if read_fleet(DEFAULT_FLEET).recovery:
        for watcher in WATCHERS:
            typer.echo(f"watcher over the primary: {prefect_api.ensure_running(watcher)}")
    typer.echo(f"prefect UI: {prefect_api.ui_link()}")


@server.command("down")
def server_down() -> None:
    """End the worker and the server."""
    from tasks import orchestrator

    for name, done in orchestrator.stop_all().items():
        typer.echo(f"prefect {name}: {done}")


@server.command("status")
def server_status() -> None:
    """Say what runs and where; exit code 1 if something does not."""
    from tasks import orchestrator, prefect_api

    found = orchestrator.parts()
    for name, runs in found.items():
        typer.echo(f"prefect {name}: {'runs' if runs else 'does not run'}")
    if not all(found.values()):
        raise typer.Exit(FAILED)
    typer.echo(f"prefect UI: {prefect_api.ui_link()}")


@app.command()
def env() -> None:
    """Print the variables with which `prefect` itself acts on the local server: eval "$(flotilla env)"."""
    import shlex

    from tasks import orchestrator

    for name, value in orchestrator.environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def main() -> None:
    """Run the command line; errors of ours are told in words, with an exit code of their kind."""
    try:
        app(standalone_mode=True)
    except InvalidInput as error:
        sys.exit(_told(error, BAD_INPUT))
    except Refused as error:
        sys.exit(_told(error, REFUSED))
    except FlotillaError as error:
        sys.exit(_told(error, FAILED))


def _told(error: FlotillaError, code: int) -> int:
    typer.echo(f"error: {error}", err=True)
    return code


def _run(deployment: str, parameters: dict[str, Any], follow: bool) -> None:
    from flows.following import follow_run
    from tasks import prefect_api

    run = prefect_api.submit(deployment, parameters)
    typer.echo(f"run {run['name']} {run['id']}: {prefect_api.ui_link(run['id'])}")
    if follow:
        raise typer.Exit(follow_run(run["id"], typer.echo))


def _images(given: list[str] | None) -> dict[str, str]:
    from flotilla.errors import Problem

    images = {}
    for one in given or []:
        name, equals, image = one.partition("=")
        if not (name and equals and image):
            raise InvalidInput([Problem("command line", "--image", one, "COMPONENT=IMAGE")])
        images[name] = image
    return images
