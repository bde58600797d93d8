"""A recovery as a picture: its steps along time, in the colours of their phases, and where nobody could write."""

from __future__ import annotations

from collections.abc import Iterator

from flotilla.daily.svg import BAD, FAINT, INK, LINES, Box, document, rectangle, text
from flotilla.recovery.reporting import Report, Took, title

WIDTH, MARGIN, ROW, TOP = 960.0, 24.0, 20.0, 76.0
NAMES = 330.0  # width of the steps' titles
PEOPLE = "people"


def picture(report: Report) -> str:
    """Return a report as an SVG."""
    height = TOP + ROW * max(1, len(report.steps)) + 40
    parts = [text((MARGIN, 28), title(report), size=16), *_legend(report), *_outage(report, height), *_steps(report)]
    return document(WIDTH, height, title(report), parts)


def _legend(report: Report) -> Iterator[str]:
    x = MARGIN
    for phase, seconds in report.phases.items():
        words = f"{phase} {seconds:.2f} s"
        yield rectangle(Box(x, 40, 10, 10), _colour(phase, report))
        yield text((x + 14, 50), words)
        x += 28 + 6.6 * len(words)


def _steps(report: Report) -> Iterator[str]:
    for number, step in enumerate(report.steps):
        y = TOP + ROW * number
        yield text((MARGIN, y + 13), step.title[:52], size=11, colour=FAINT if step.phase == PEOPLE else INK)
        begin, end = _at(report, step.begin), _at(report, step.end)
        yield rectangle(Box(begin, y + 3, max(1.5, end - begin), ROW - 8), _colour(step.phase, report))
        yield text((end + 4, y + 13), _took(step), size=10, colour=FAINT)


def _outage(report: Report, height: float) -> Iterator[str]:
    ledger = report.ledger
    if ledger is None or ledger.outage is None or ledger.last_before is None or ledger.first_after is None:
        return
    begin, end = _at(report, ledger.last_before), _at(report, ledger.first_after)
    yield rectangle(Box(begin, TOP - 6, max(1.5, end - begin), height - TOP - 20), BAD, 0.15)
    yield text((begin, height - 14), f"no writes acknowledged: {ledger.outage:.2f} s", size=11, colour=BAD)


def _took(step: Took) -> str:
    return f"{step.seconds * 1000:.0f} ms" if step.seconds < 1 else f"{step.seconds:.2f} s"


def _at(report: Report, time: float) -> float:
    room = WIDTH - 2 * MARGIN - NAMES - 60
    share = (time - report.begun) / report.seconds if report.seconds > 0 else 0.0
    return MARGIN + NAMES + room * min(1.0, max(0.0, share))


def _colour(phase: str, report: Report) -> str:
    return FAINT if phase == PEOPLE else LINES[list(report.phases).index(phase) % len(LINES)]
