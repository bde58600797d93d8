"""What a reader picked (a time range, clusters, namespaces) put into an expression."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flotilla.dashboards.answers import Question
from flotilla.dashboards.model import CLUSTER, Dashboard
from flotilla.dashboards.promql import INTERVAL, RANGE, RATE_INTERVAL, with_durations, with_matcher
from flotilla.dashboards.units import duration_of

POINTS = 240  # of a line: more than a phone shows, less than makes a store sweat
INNER_POINTS = 60  # of a subquery over the range, which is done for every series
_STEPS = (15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_VARIABLE = re.compile(r"\$(?:([a-zA-Z]\w*)|\{([a-zA-Z]\w*)\})")
_REGEX_SIGNS = re.compile(r"([\\.+*?()|\[\]{}^$])")


@dataclass(frozen=True)
class Picks:
    """A time range in Unix seconds, the values picked of each variable (none: all), the members' scrape interval."""

    start: float
    end: float
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scrape: float = 30.0

    @property
    def step(self) -> float:
        """Seconds between two points of a line."""
        wanted = max(self.scrape, (self.end - self.start) / POINTS)
        return float(next((step for step in _STEPS if step >= wanted), _STEPS[-1]))

    @property
    def durations(self) -> dict[str, str]:
        """What the duration variables stand for; a rate sees at least four scrapes, and every one between two points."""
        rate, span = max(4 * self.scrape, self.step + self.scrape), self.end - self.start
        values = {RANGE: span, RATE_INTERVAL: rate, INTERVAL: max(self.scrape, span // INNER_POINTS)}
        return {name: duration_of(seconds) for name, seconds in values.items()}

    def now(self, expr: str) -> Question:
        """Return an expression as a question about the end of the range."""
        return Question(expr, self.end)

    def over(self, expr: str) -> Question:
        """Return an expression as a question about the range."""
        steps = int((self.end - self.start) // self.step)
        return Question(expr, self.end, self.end - steps * self.step, self.step)


def open_text(dashboard: Dashboard, expr: str) -> str:
    """Return an expression as Grafana takes it: parts put in, clusters asked for, variables and durations still open."""
    text = dashboard.expanded(expr)
    picks_clusters = any(variable.name == CLUSTER for variable in dashboard.variables)
    return with_matcher(text, CLUSTER, f'{CLUSTER}=~"${CLUSTER}"') if picks_clusters else text


def filled(dashboard: Dashboard, text: str, picks: Picks) -> str:
    """Return an open text with everything put in: a PromQL text that any store takes."""
    patterns = {variable.name: pattern(picks.values.get(variable.name, ())) for variable in dashboard.variables}

    def value(found: re.Match[str]) -> str:
        return patterns.get(found[1] or found[2], found[0])

    return _VARIABLE.sub(value, with_durations(text, picks.durations))


def pattern(values: Sequence[str]) -> str:
    """Return a regular expression, fit for a PromQL string, that matches some values and no others; of none, all."""
    return "|".join(_quoted(_REGEX_SIGNS.sub(r"\\\1", value)) for value in values) or ".*"


def _quoted(text: str) -> str:
    """Return a text as it stands within a PromQL string, whichever quotation marks that has."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', "\\x22").replace("'", "\\x27").replace("`", "\\x60")
