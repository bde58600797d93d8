"""The fleet's report: the store is asked once, and what it says is put together. Needs no Prefect."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from flotilla.daily.asked import Period, Replies, questions
from flotilla.daily.report import Ground, Report, report
from flotilla.errors import InvalidInput, Problem
from flotilla.fleet import Fleet
from tasks.asking import Asker
from tasks.dashboard_files import write_texts
from tasks.store import store_of


def fleet_report(fleet: Fleet, period: Period) -> Report:
    """Return the report of a period; what the store does not answer is unknown in it."""
    asked = questions(period)
    with closing(Asker(store_of(fleet.metrics.store).engine.ask)) as asker:
        answered = asker.replies(asked.values())
    settings = fleet.metrics
    ground = Ground(fleet.names, fleet.production.name, settings.beat, settings.clock_tolerance)
    return report(ground, period, Replies({ask: answered[question] for ask, question in asked.items()}))


def check_picture(file: str) -> None:
    """Raise InvalidInput where a picture cannot have such a name."""
    if file and Path(file).suffix != ".svg":
        raise InvalidInput([Problem("command line", "--picture", file, "a name that ends in .svg: that is what is drawn")])


def write_file(file: str, text: str) -> None:
    """Have a text in a file; raises Permanent where it cannot be written."""
    path = Path(file)
    write_texts(str(path.parent), {path.name: text})
