"""The report as a picture: lines of the period, and what a loss would leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flotilla.daily.report import Lines, Report
from flotilla.daily.seeing import UNKNOWN
from flotilla.daily.svg import BAD, DOUBTFUL, FAINT, GOOD, LINES, Box, Point, document, line, rectangle, text
from flotilla.daily.text import title
from flotilla.dashboards.headroom import Headroom, Holds, Strain
from flotilla.metrics.words import moment

WIDTH, MARGIN = 960.0, 40.0
CHART, FALL = 190.0, 84.0  # heights
TOP = 56.0
BAR = 190.0  # length of all that is free
COLUMN = 290.0
COLOURS = {Holds.YES: GOOD, Holds.NO: BAD, Holds.UNKNOWN: DOUBTFUL}


def picture(report: Report) -> str:
    """Return a report as an SVG."""
    parts, y = [text((MARGIN, 30), title(report), size=18)], TOP
    for lines in report.lines:
        parts += _chart(report, lines, Box(MARGIN, y, WIDTH - 2 * MARGIN, CHART))
        y += CHART
    parts.append(text((MARGIN, y + 14), "If a cluster falls: what has to move (filled), of what the others have free", size=14))
    for fall in report.falls:
        parts += _fall(fall, y + 28)
        y += FALL
    return document(WIDTH, y + 44, title(report), parts)


def _chart(report: Report, lines: Lines, box: Box) -> Iterator[str]:
    """Yield lines over time; a line ends where nothing is known."""
    area = Box(box.x, box.y + 40, box.width, box.height - 75)
    values = [value for one in lines.series for _, value in one.points]
    top = max([*values, 0.0]) or 1.0
    yield text((box.x, box.y + 14), lines.title, size=14)
    yield from _legend(report, lines, (box.x, box.y + 31))
    yield rectangle(area, FAINT, 0.08)
    yield text((box.x + box.width, box.y + 31), f"top of the scale: {top:,.4g} {lines.unit}", colour=FAINT, anchor="end")
    names = _names(report)
    for one in lines.series:
        for points in _pieces(one.points, report.period.step):
            yield line([_place(report, area, top, point) for point in points], names.index(one.get("cluster")))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        time = moment(round(1000 * (report.period.begin + share * report.period.length)))[:16]
        yield text((area.x + share * area.width, area.y + area.height + 16), time, colour=FAINT, anchor=anchor)


def _legend(report: Report, lines: Lines, at: Point) -> Iterator[str]:
    x, y = at
    for number, name in enumerate(_names(report)):
        words = f"{name}: {UNKNOWN} now" if name in lines.seen.unknown else name
        yield line([(x, y - 4), (x + 26, y - 4)], number)
        yield text((x + 32, y), words, colour=LINES[number % len(LINES)])
        x += 56 + 7.0 * len(words)


def _fall(fall: Headroom, y: float) -> Iterator[str]:
    verdict = {Holds.YES: "held", Holds.NO: "not held", Holds.UNKNOWN: UNKNOWN}[fall.holds]
    unseen = f" ({'; '.join(map(str, fall.unknown))})" if fall.unknown else ""
    yield text((MARGIN, y + 16), f"{fall.lost} falls: {verdict}{unseen}", colour=COLOURS[fall.holds], size=13)
    rows = fall.rows()
    for column, (strain, row) in enumerate(zip(fall.strains, rows, strict=True)):
        yield from _bar(strain, row, (MARGIN + column * COLUMN, y + 26))


def _bar(strain: Strain, row: dict[str, str], at: Point) -> Iterator[str]:
    x, y = at
    free = sum(max(0.0, value) for value in strain.free.values())
    share = min(1.2, strain.needed / free) if free else float(strain.needed > 0)
    yield rectangle(Box(x, y, BAR, 14), FAINT, 0.25)
    yield rectangle(Box(x, y, BAR * share, 14), COLOURS[strain.holds], 0.85)
    left = f"{row['left']} left" if strain.spare >= 0 else f"{row['left'].removeprefix('-')} missing"
    yield text((x, y + 30), f"{strain.resource}: {row['has to move']}, {left}", size=11)


def _names(report: Report) -> list[str]:
    return [one.cluster for one in report.states]


def _place(report: Report, area: Box, top: float, point: Point) -> Point:
    at, value = point
    share = (at - report.period.begin) / report.period.length
    return area.x + share * area.width, area.y + area.height * (1 - max(0.0, value) / top)


def _pieces(points: Sequence[Point], step: float) -> Iterator[list[Point]]:
    """Yield points that follow one another without a gap."""
    piece: list[Point] = []
    for point in points:
        if piece and point[0] - piece[-1][0] > 1.5 * step:
            yield piece
            piece = []
        piece.append(point)
    if piece:
        yield piece
