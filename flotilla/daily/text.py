"""The report as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flotilla.daily.report import Moves, Report
from flotilla.daily.seeing import UNKNOWN, Sight
from flotilla.dashboards.headroom import Headroom
from flotilla.markdown import table
from flotilla.metrics.spans import Span
from flotilla.metrics.words import dated, moment

SHOWN = 100  # applications


def title(report: Report) -> str:
    """Return the report's heading: "Fleet report, 2026-11-22 06:00-2026-11-23 06:00 UTC"."""
    return f"Fleet report, {dated(Span(round(1000 * report.period.begin), round(1000 * report.period.end)))} UTC"


def markdown(report: Report) -> str:
    """Return a report as markdown, what matters first."""
    parts = (_head(report), _ran(report), _falls(report), _moved(report), _quality(report))
    return "\n\n".join([f"# {title(report)}", *(one for part in parts for one in part)]) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield "\n".join(f"- {one}" for one in report.findings())
    states = [f"{one.cluster} ({one.sentence()})" for one in report.states]
    yield f"Clusters: {', '.join(states)}. What nobody can know stands as {UNKNOWN}."


def _ran(report: Report) -> Iterator[str]:
    seen, found = report.deployed
    yield "## What ran where"
    yield f"Replicas available of those asked for, and images. {seen.sentence()}"
    yield table([one.row() for one in found[:SHOWN]]) if seen.covers else UNKNOWN
    if len(found) > SHOWN:
        yield f"... and {len(found) - SHOWN} more, none of which comes before these in what to look at."


def _falls(report: Report) -> Iterator[str]:
    yield "## If a cluster falls"
    unknown = {one.cluster: one.reason for fall in report.falls for one in fall.unknown}
    covered = Sight(tuple(name for name in report.ground.clusters if name not in unknown), unknown)
    told = "Whether what its pods request fits into what is allocatable and not requested elsewhere, in sums."
    yield f"{told} {covered.sentence()}"
    yield "\n".join(f"- {one.sentence()}" for one in report.falls)
    rows = [row for fall in report.falls for row in _rows(fall, report.ground.clusters)]
    yield table(rows) if rows else UNKNOWN


def _rows(fall: Headroom, clusters: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield rows with the same columns whoever falls."""
    for row in fall.rows():
        free = {f"free in {name}": row.get(f"free in {name}", UNKNOWN) for name in clusters}
        yield {**{name: row[name] for name in ("if this falls", "resource", "has to move")}, **free} | {
            f"free in {fall.lost}": "falls",
            "left": row["left"],
            "holds": row["holds"],
        }


def _moved(report: Report) -> Iterator[str]:
    yield "## What moved most"
    yield f"At the end of the period against its beginning, {moment(round(1000 * report.period.begin))} UTC."
    for one in report.moves:
        yield f"### {one.what}"
        yield one.seen.sentence()
        rows = _movers(one)
        yield table(rows) if rows else ("nothing moved" if one.seen.covers else UNKNOWN)


def _movers(found: Moves) -> list[dict[str, str]]:
    size = 2**30 if found.unit == "GiB" else 1
    return [
        {
            "cluster": one.cluster,
            "namespace": one.name,
            "before": f"{one.before / size:.3f} {found.unit}",
            "now": f"{one.now / size:.3f} {found.unit}",
            "change": f"{one.change / size:+.3f} {found.unit}",
        }
        for one in found.moves
    ]


def _quality(report: Report) -> Iterator[str]:
    seen, found = report.told
    yield "## How whole the view is"
    yield f"As the collector tells. {seen.sentence()}"
    yield table([one.row() for one in found])
