"""A panel seen with a reader's picks: what a store is to be asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.dashboards import topn
from flotilla.dashboards.answers import Question
from flotilla.dashboards.model import Dashboard, Others, Panel, Stat, Table, Timeseries, TopN
from flotilla.dashboards.picks import Picks, filled, open_text


@dataclass(frozen=True)
class Frame:
    """A panel in its dashboard; ``clusters`` are the fleet's, in its order, ``lacking`` those that cannot be seen."""

    dashboard: Dashboard
    panel: Panel
    picks: Picks
    clusters: tuple[str, ...] = ()
    lacking: frozenset[str] = frozenset()

    def fill(self, text: str) -> str:
        """Return an open text, filled in."""
        return filled(self.dashboard, text, self.picks)

    @property
    def texts(self) -> tuple[str, ...]:
        """The panel's own expressions, filled in: what its numbers come from."""
        return tuple(self.fill(open_text(self.dashboard, expr)) for expr in expressions(self.panel))


@dataclass(frozen=True)
class RankingQuestions:
    """The questions of a Top N: the value of every series, the lines of the first, and the line of their sum."""

    ranking: Question
    lines: Question | None = None
    sum: Question | None = None


def expressions(panel: Panel) -> tuple[str, ...]:
    """Return the expressions that stand in a panel, as they stand there."""
    match panel:
        case Timeseries():
            return tuple(query.expr for query in panel.queries)
        case Stat():
            return (panel.expr, panel.of) if panel.of else (panel.expr,)
        case Table():
            return tuple(column.expr for column in panel.columns)
        case TopN():
            return (panel.expr,)


def questions(frame: Frame) -> tuple[Question, ...]:
    """Return all that a store is to be asked for a panel; raises NotPromql for a Top N that is none."""
    match frame.panel:
        case Timeseries():
            return tuple(frame.picks.over(text) for text in frame.texts)
        case TopN():
            asked = ranking_questions(frame, frame.panel)
            return tuple(one for one in (asked.ranking, asked.lines, asked.sum) if one)
        case _:
            return tuple(frame.picks.now(text) for text in frame.texts)


def ranking_questions(frame: Frame, panel: TopN) -> RankingQuestions:
    """Return the questions of a Top N. Every series is asked for at once: what is shown then adds up to what is not."""
    expr = open_text(frame.dashboard, panel.expr)
    text = topn.ranking_text(panel, expr)
    ranking = frame.picks.now(frame.fill(text))
    if not panel.lines:
        return RankingQuestions(ranking)
    lines = frame.picks.over(frame.fill(topn.lines_text(panel, expr, text)))
    return RankingQuestions(
        ranking, lines, frame.picks.over(frame.fill(f"sum({expr})")) if panel.others is Others.SUM else None
    )
