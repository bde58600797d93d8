"""What the stories share of a run under way: the fleet, the intent, what is told to people, and who this run is."""

from __future__ import annotations

import datetime
import functools
import inspect
import logging
import os
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from prefect import runtime
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flotilla.errors import FlotillaError, InvalidInput, Permanent, Refused, Transient
from flotilla.fleet import Fleet
from flotilla.intent import Intent
from flotilla.markdown import table
from flotilla.rollout import Plan
from tasks.alone import only_one
from tasks.clusters import Connection, connect
from tasks.planning import plan_rollout
from tasks.scene import Scene, scene_of

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Told = TypeVar("Told")

SHOWN = 300  # rows of a plan that an artifact shows; the rest is counted
WAITING = 100  # things that are kept to be told while Prefect does not answer
log = logging.getLogger("flotilla.journey")


class Journey:
    """One run over one application. A plain object, so that Prefect passes it on to tasks without looking into it."""

    def __init__(self, fleet: Fleet, intent: Intent, *, force: bool = False) -> None:
        self.fleet = fleet
        self.intent = intent
        self.force = force
        self.run = run_id()

    def connection(self, cluster: str) -> Connection:
        """Return the connection to a cluster of the fleet."""
        return connect(self.fleet.cluster(cluster))

    def scene(self, cluster: str, intent: Intent | None = None) -> Scene:
        """Return the application as a cluster is to have it and as it has it; of another intent where one is given."""
        return scene_of(self.connection(cluster), intent or self.intent, force=self.force)

    def plan(self) -> Plan:
        """Return what rolling the intent out would do now, all clusters looked at side by side."""
        return plan_rollout(self.fleet, self.intent, force=self.force)


def run_id() -> str:
    """Return who this run is: Prefect's flow run id, or the process outside of Prefect."""
    return str(runtime.flow_run.id or f"process-{os.getpid()}")


def now() -> str:
    """Return the time, UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str, *args: object) -> None:
    """Log a line where the operator looks: in the run."""
    get_run_logger().info(text, *args)


class _ToRun(logging.Handler):
    """Tells the run what is logged, from whichever thread."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._run = get_run_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record in the run."""
        self._run.log(record.levelno, "%s", record.getMessage())


@contextmanager
def told_in_the_run(name: str) -> Iterator[None]:
    """Have what a logger of ours is told stand among the run's logs meanwhile."""
    handler, logger = _ToRun(), logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def once(name: str, work: Callable[[], None], ended: str) -> State[Any]:
    """Do what is done for good, unless another process of this machine does it; return how the run ends."""
    with only_one(name) as first:
        if not first:
            return Completed(name="RunsAlready", message=f"{name} runs already, in another process of this machine")
        work()
    return Completed(message=ended)


def aside(tell: Callable[[Told], None]) -> Callable[[Told], None]:
    """Return the same, done in a thread of its own: who tells goes on at once, also while Prefect does not answer.

    It is told in order; where Prefect is away for long the oldest are left out. What fails is logged.
    """
    waiting, there = deque[Told](maxlen=WAITING), threading.Event()

    def tell_all() -> None:
        while there.wait():
            there.clear()
            while waiting:
                try:
                    tell(waiting.popleft())
                except Exception as error:  # noqa: BLE001 - whatever it is, who does the work must not end with it
                    log.warning("Prefect was not told: %s", error)

    def later(what: Told) -> None:
        waiting.append(what)
        there.set()

    threading.Thread(target=copy_context().run, args=(tell_all,), name="aside", daemon=True).start()
    return later


def warn(text: str, *args: object) -> None:
    """Log a line that the operator should not overlook."""
    get_run_logger().warning(text, *args)


def show(key: str, title: str, body: str) -> None:
    """Publish markdown as an artifact of the run; later ones of the same key take its place."""
    create_markdown_artifact(key=key.replace(".", "-").lower(), markdown=body, description=title)


def show_picture(key: str, title: str, svg: str) -> None:
    """Publish a picture as an artifact of the run; it stands in its own address, as it is kept nowhere else."""
    address = f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
    create_image_artifact(image_url=address, key=key.replace(".", "-").lower(), description=title)


def show_plan(plan: Plan, title: str = "Plan") -> None:
    """Publish a plan as a table and log it in one line."""
    say("%s: %s (hash %s)", title, plan.summary(), plan.hash[:12])
    show(f"plan-{plan.application}", f"{title} of {plan.application}", plan_text(plan))


def plan_text(plan: Plan) -> str:
    """Return a plan as markdown: its hash, a line for each cluster, a row for each object that would change."""
    rows = plan.rows()
    told = f"**{plan.summary()}**\n\nhash `{plan.hash[:12]}`\n\n" + table(rows[:SHOWN])
    return told + (f"\n\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")


def refuse_blocked(plan: Plan) -> None:
    """Stop before anything is changed where a cluster would not take what is planned."""
    if plan.blocked:
        told = "\n".join(f"{one.cluster}: {one.key}: {one.action}: {one.message}" for one in plan.blocked)
        raise Permanent(f"{plan.application}: nothing was changed, {len(plan.blocked)} objects would not be taken:\n{told}")


def told(story: Callable[Parameters, Result]) -> Callable[Parameters, Result | State[Any]]:
    """Have a story that ends with an error of ours end in words, without a trace of where in the code it was noticed.

    What a person refused is Cancelled, everything else Failed. An error that is not ours is a defect and keeps its trace.
    """

    @functools.wraps(story)
    def telling(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | State[Any]:
        try:
            return story(*args, **kwargs)
        except Refused as error:
            warn("%s", error)
            return Cancelled(name="Rejected", message=str(error))
        except FlotillaError as error:
            get_run_logger().error("%s", error)
            name = "BadInput" if isinstance(error, InvalidInput) else "Failed"
            return Failed(name=name, message=str(error))

    # types resolved where the story stands: Prefect makes the form and the checks of parameters from them
    telling.__signature__ = inspect.signature(story, eval_str=True)  # type: ignore[attr-defined]
    telling.__annotations__ = {name: one.annotation for name, one in telling.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return telling


def is_transient(_task: Any, _task_run: Any, state: Any) -> bool:
    """Tell Prefect whether a failed task may be tried again: by the kind of its error, never by hope."""
    try:
        state.result()
    except Transient:
        return True
    except BaseException:  # noqa: BLE001 - whatever else it was, it is not retried
        return False
    return False
