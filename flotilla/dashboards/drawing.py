"""From answers to what is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set

from flotilla.dashboards import topn
from flotilla.dashboards.answers import Answer, Question, Reply, Series, Unanswered
from flotilla.dashboards.colours import colour_of
from flotilla.dashboards.coverage import Coverage
from flotilla.dashboards.frames import Frame, RankingQuestions, questions, ranking_questions
from flotilla.dashboards.grids import grid
from flotilla.dashboards.levels import level_of
from flotilla.dashboards.model import CLUSTER, Others, Stat, Table, Timeseries, TopN
from flotilla.dashboards.views import Bar, Bars, Chart, Grid, Line, Number, Numbers, View

Replies = Mapping[Question, Reply]
MOST_LINES = 60  # in one picture; more can be told apart by nobody
_FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_STAMPS = frozenset({"site", "role"})


def view(frame: Frame, replies: Replies) -> View:
    """Return what is to be drawn; Unanswered with the store's reason where a question was not answered."""
    for question in questions(frame):
        reply = replies.get(question, Unanswered("the store was not asked"))
        if isinstance(reply, Unanswered):
            return reply
    match frame.panel:
        case Timeseries():
            return _chart(frame, frame.panel, replies)
        case Stat():
            return _numbers(frame, frame.panel, replies)
        case Table():
            return grid(frame, frame.panel, [_series(replies, frame.picks.now(text)) for text in frame.texts])
        case TopN():
            return _bars(frame, frame.panel, replies)


def believable(seen: View, covered: Coverage) -> View:
    """Return a view, unless it tells of now and no cluster can be seen: no number then means anything, a zero least of all."""
    if isinstance(seen, Numbers | Grid) and covered.lacks and not covered.covers:
        return Unanswered(
            f"of the clusters that were picked none can be seen ({', '.join(one.cluster for one in covered.lacks)})"
        )
    return seen


def name_of(one: Series, legend: str, instead: str = "") -> str:
    """Return how a series is called: its legend filled in, else its labels' values, else ``instead``."""
    if legend:
        return _FIELD.sub(lambda found: one.get(found[1]), legend).strip()
    return " / ".join(value for label, value in one.labels if label not in _STAMPS) or instead


def _series(replies: Replies, question: Question) -> tuple[Series, ...]:
    reply = replies[question]
    return reply.series if isinstance(reply, Answer) else ()


def _chart(frame: Frame, panel: Timeseries, replies: Replies) -> Chart:
    lines = [
        Line(name_of(one, query.legend, panel.title), dict(one.labels), one.points, colour_of(one, frame.clusters))
        for query, text in zip(panel.queries, frame.texts, strict=True)
        for one in _series(replies, frame.picks.over(text))
    ]
    largest = sorted(lines, key=lambda line: -max((abs(value) for _, value in line.points), default=0.0))[:MOST_LINES]
    return Chart(tuple(sorted(largest, key=lambda line: line.name)), panel.stack, len(lines) - len(largest))


def _numbers(frame: Frame, panel: Stat, replies: Replies) -> Numbers:
    values, *wholes = (_series(replies, frame.picks.now(text)) for text in frame.texts)
    whole = {one.labels: one.last for found in wholes for one in found}
    only = next(iter(whole.values())) if len(whole) == 1 else None
    numbers = [
        Number(name_of(one, panel.legend), one.last, whole.get(one.labels, only), level_of(one.last, panel.thresholds))
        for one in sorted(values, key=lambda one: _place(one, frame.clusters))
    ]
    return Numbers(tuple(numbers) or (Number("", None, only),))


def _place(one: Series, clusters: Sequence[str]) -> tuple[int, tuple[tuple[str, str], ...]]:
    cluster = one.get(CLUSTER)
    return (clusters.index(cluster) if cluster in clusters else len(clusters)), one.labels


def _bars(frame: Frame, panel: TopN, replies: Replies) -> Bars:
    asked = ranking_questions(frame, panel)
    found = topn.rank(panel, _series(replies, asked.ranking))
    bars = tuple(_bar(frame, panel, one, value, found.total) for one, value in found.top)
    averaged = panel.others is Others.AVERAGE
    chart = _lines(frame, panel, asked, replies, {one.key(panel.by) for one, _ in found.top}) if panel.lines else None
    return Bars(bars, found.others, found.others_count, found.total, averaged, chart)


def _bar(frame: Frame, panel: TopN, one: Series, value: float, total: float | None) -> Bar:
    share = value / total if total and total > 0 else None
    level = level_of(value, panel.thresholds)
    return Bar(_named(one, panel.by), dict(one.labels), value, share, colour_of(one, frame.clusters), level)


def _named(one: Series, by: Iterable[str]) -> str:
    return " / ".join(value for value in one.key(by) if value)


def _lines(frame: Frame, panel: TopN, asked: RankingQuestions, replies: Replies, top: Set[tuple[str, ...]]) -> Chart:
    found = _series(replies, asked.lines) if asked.lines else ()
    shown = sorted((one for one in found if one.key(panel.by) in top), key=lambda one: _named(one, panel.by))
    lines = [Line(_named(one, panel.by), dict(one.labels), one.points, colour_of(one, frame.clusters)) for one in shown]
    totals = _series(replies, asked.sum) if asked.sum else ()
    if totals:
        rest = topn.remainder(dict(totals[0].points), shown)
        lines.append(Line("others", {}, tuple(sorted(rest.items())), remainder=True))
    return Chart(tuple(lines), stack=bool(totals))
