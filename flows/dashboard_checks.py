"""`flotilla dashboards lint`: every expression checked, and with a store also asked, with what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from flotilla.dashboards.answers import Question, Unanswered
from flotilla.dashboards.catalogue import CATALOGUE
from flotilla.dashboards.checks import Ground
from flotilla.dashboards.findings import Finding, Place, Rule
from flotilla.dashboards.frames import Frame, questions
from flotilla.dashboards.lint import costs, lint_dashboard, lint_rules, metrics_of
from flotilla.dashboards.model import Dashboard
from flotilla.dashboards.parsing import parse_dashboards
from flotilla.dashboards.picks import Picks
from flotilla.dashboards.promql import NotPromql
from flotilla.dashboards.rules import Rules, parse_rules
from flotilla.errors import InvalidInput, Problem
from flotilla.validation import read_documents
from tasks.manifests import read_texts
from tasks.promql import Engine

FILES = ("deployments/dashboards", "deployments/rules")


@dataclass(frozen=True)
class Sheets:
    """Dashboards and rules, by file."""

    dashboards: Mapping[str, Dashboard]
    rules: Mapping[str, Rules]

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that they read from the members: what a collector has to bring."""
        return metrics_of(self.dashboards.values(), self.rules.values())


@dataclass(frozen=True)
class Cost:
    """What a panel costs a store: the series that it reads at most, and the seconds that its questions took."""

    place: Place
    series: int
    seconds: float


def read_sheets(paths: list[str]) -> Sheets:
    """Return the dashboards and rules of some files and directories; raises InvalidInput with every problem of all of them."""
    texts = read_texts(paths or FILES)
    rules, pages, problems = dict[str, Rules](), dict[str, str](), list[Problem]()
    for file, text in texts.items():
        try:
            if _holds_rules(text, file):
                rules[file] = parse_rules(text, file)
            else:
                pages[file] = text
        except InvalidInput as error:
            problems += error.problems
    try:
        dashboards = parse_dashboards(pages)
    except InvalidInput as error:
        raise InvalidInput([*problems, *error.problems]) from None
    if problems:
        raise InvalidInput(problems)
    return Sheets(dashboards, rules)


def lint_sheets(sheets: Sheets, ground: Ground) -> tuple[Finding, ...]:
    """Return what is wrong with the expressions of dashboards and rules."""
    pages = (finding for file, page in sheets.dashboards.items() for finding in lint_dashboard(page, file, ground))
    return (*pages, *lint_rules(sheets.rules, ground))


def ground_of(store: Engine, sheets: Sheets, ground: Ground) -> Ground:
    """Return what the checks know, with what a store tells: labels of metrics that we do not know, how many series each has."""
    series = store.cardinality(sheets.metrics, time.time())
    told = {name: store.labels(name) for name in sorted(series) if name not in CATALOGUE}
    return replace(ground, known={**CATALOGUE, **told}, series=series)


def ask_all(store: Engine, sheets: Sheets) -> tuple[tuple[Finding, ...], tuple[Cost, ...]]:
    """Ask a store every question of every panel and rule; return those that it refuses, and what each panel costs."""
    read = costs(sheets.dashboards, store.cardinality(sheets.metrics, time.time()))
    findings, found = list[Finding](), list[Cost]()
    for place, asked in _asked(sheets, time.time()):
        began = time.monotonic()
        findings += [Finding(Rule.FAILS, place, one.expr, 0, told) for one in asked if (told := _refusal(store, one))]
        found.append(Cost(place, read.get(place, 0), time.monotonic() - began))
    return tuple(findings), tuple(sorted(found, key=lambda one: -one.seconds))


def _asked(sheets: Sheets, now: float) -> Iterator[tuple[Place, tuple[Question, ...]]]:
    for file, page in sheets.dashboards.items():
        for panel in page.panels:
            try:
                yield Place(file, panel.title), questions(Frame(page, panel, Picks(now - page.range, now)))
            except NotPromql:
                continue  # a finding of the lint already
    for file, held in sheets.rules.items():
        for rule in held.rules:
            yield Place(file, rule.name), (Question(rule.expr, now),)


def _refusal(store: Engine, question: Question) -> str:
    reply = store.ask(question)
    return reply.reason if isinstance(reply, Unanswered) else ""


def _holds_rules(text: str, file: str) -> bool:
    documents = read_documents(text, file)
    return bool(documents) and isinstance(documents[0], dict) and "groups" in documents[0]
