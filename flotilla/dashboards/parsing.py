"""From YAML text to dashboards: every problem named by file, field, value and what is allowed, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flotilla.dashboards.model import KINDS, Dashboard, Rank, Stat, TopN
from flotilla.dashboards.promql import RATE_INTERVAL
from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.validation import checked, read_documents


def parse_dashboard(text: str, file: str) -> Dashboard:
    """Return the dashboard that a file describes; raises InvalidInput with everything that is wrong with it."""
    documents = read_documents(text, file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        found = phrase(f"holds {len(documents)} documents" if len(documents) != 1 else "is not a mapping")
        raise InvalidInput([Problem(file, "", found, "one YAML document with name, title, rows")])
    problems = list[Problem]()
    data = documents[0] | {"rows": _rows(documents[0].get("rows"), file, problems)}
    try:
        dashboard = checked(Dashboard, data, file)
        problems += _contradictions(dashboard, file)
    except InvalidInput as error:
        problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return dashboard


def parse_dashboards(texts: dict[str, str]) -> dict[str, Dashboard]:
    """Return the dashboards of some files by file, in their own order; raises InvalidInput with every problem of all files."""
    parsed, problems, names = dict[str, Dashboard](), list[Problem](), dict[str, str]()
    for file, text in texts.items():
        try:
            parsed[file] = parse_dashboard(text, file)
        except InvalidInput as error:
            problems += error.problems
            continue
        name = parsed[file].name
        if (first := names.setdefault(name, file)) != file:
            problems.append(Problem(file, "name", name, f"a name of its own: {first} has this one"))
    if problems:
        raise InvalidInput(problems)
    return dict(sorted(parsed.items(), key=lambda one: (one[1].order, one[1].name)))


def _rows(rows: Any, file: str, problems: list[Problem]) -> Any:
    """Return rows with their panels parsed, each by its own kind, so that a problem names the field of that kind."""
    if not isinstance(rows, list):
        return rows
    parsed = []
    for at, row in enumerate(rows):
        panels = row.get("panels") if isinstance(row, dict) else None
        if isinstance(panels, list):
            found = [_panel(panel, file, f"rows[{at}].panels[{index}]", problems) for index, panel in enumerate(panels)]
            row = row | {"panels": found}
        parsed.append(row)
    return parsed


def _panel(panel: Any, file: str, at: str, problems: list[Problem]) -> Any:
    """Return a parsed panel; in place of a wrong one, whose problems are added, one that lets the rest be checked."""
    instead = Stat(kind="stat", title=f"\0{at}", expr="0")
    kind = panel.get("kind", phrase("is missing")) if isinstance(panel, dict) else phrase("is not a mapping")
    if not isinstance(kind, str) or kind not in KINDS:
        problems.append(Problem(file, f"{at}.kind", kind, f"one of {', '.join(KINDS)}"))
        return instead
    try:
        return checked(KINDS[kind], panel, file, at)
    except InvalidInput as error:
        problems += error.problems
        return instead


def _contradictions(dashboard: Dashboard, file: str) -> Iterator[Problem]:
    """Yield what no single field shows: names that stand twice, and a window to be widened where there is none."""
    names = [variable.name for variable in dashboard.variables]
    for index, name in enumerate(names):
        if name in names[:index] or name in dashboard.parts:
            yield Problem(file, f"variables[{index}].name", name, "a name that no other variable and no part has")
    for at, row in enumerate(dashboard.rows):
        titles = [panel.title for panel in row.panels]
        for index, title in enumerate(titles):
            if title in titles[:index]:
                yield Problem(file, f"rows[{at}].panels[{index}].title", title, "a title that no other panel of the row has")
        for index, panel in enumerate(row.panels):
            widened = isinstance(panel, TopN) and panel.rank is Rank.WINDOW and dashboard.expanded(panel.expr)
            if widened and RATE_INTERVAL not in widened:
                allowed = f"mean, max or last: there is no {RATE_INTERVAL} in expr that could be widened"
                yield Problem(file, f"rows[{at}].panels[{index}].rank", "window", allowed)
