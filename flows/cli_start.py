"""`flotilla recover start`: a recovery as a run of Prefect, started once however often that is asked for."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from flotilla.errors import InvalidInput, Problem, Refused
from flows.cli_recovery import As, DryRun, From, Glass, Reason, Risk, To

KINDS = ("switchover", "failover", "failback", "reprotect", "degrade", "drill")
WITH_ORIGIN = ("switchover", "failover", "failback")
WITH_RISK = ("switchover", "failover")

KindArgument = Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.", metavar="KIND")]
Key = Annotated[str, typer.Option("--idempotency-key", help="A repeat with the same key is answered with the same run.")]


def register(recover: typer.Typer) -> None:
    """Add `start` to `flotilla recover`."""
    recover.command()(start)


def start(
    kind: KindArgument,
    to: To,
    key: Key = "",
    origin: From = "",
    name: As = "",
    reason: Reason = "",
    risk: Risk = "",
    glass: Glass = False,
    dry_run: DryRun = False,
) -> None:
    """Start a recovery as a run of Prefect, and return at once; its gates wait in the UI, or for `flotilla recover approve`."""
    from tasks import prefect_api

    asked = _parameters(kind, {"to": to, "initiator": name or getpass.getuser(), "reason": reason, "dry_run": dry_run})
    asked |= _given("origin", origin, kind, WITH_ORIGIN) | _given("risk", risk, kind, WITH_RISK)
    asked |= _given("break_glass", glass, kind, ("failover",))
    run, is_new = prefect_api.submitted(f"recovery/{kind}", asked, key)
    typer.echo(told(run, is_new, key, asked))
    typer.echo(f"run {run['id']}: {prefect_api.ui_link(run['id'])}")


def told(run: dict[str, Any], is_new: bool, key: str, asked: dict[str, Any]) -> str:
    """Return what came of it; raises Refused where the key stands for something else: nothing was started."""
    if is_new:
        return f"{run['name']} is started"
    other = {one: run["parameters"].get(one) for one, value in asked.items() if run["parameters"].get(one) != value}
    if other:
        was = ", ".join(f"{one}={value!r}" for one, value in other.items())
        before = f"key {key!r} has started {run['name']} ({run['id']}) before, with {was}"
        raise Refused(f"{before}: nothing was started; for something else take another key")
    return f"{run['name']} was started with key {key!r} before, and is {str(run['state']['name']).lower()}: no other is started"


def _parameters(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    if kind not in KINDS:
        raise InvalidInput([Problem("command line", "KIND", kind, ", ".join(KINDS))])
    return given


def _given(name: str, value: str | bool, kind: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return a parameter that was given; raises InvalidInput where the kind of recovery does not take it."""
    if not value:
        return {}
    if kind not in kinds:
        raise InvalidInput([Problem("command line", name, str(value), f"nothing: only {', '.join(kinds)} takes it")])
    return {name: value}
