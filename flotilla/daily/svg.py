"""Elements of an SVG, as text: what a picture is put together from. Lengths are pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]

INK, FAINT, PAPER = "#24292f", "#8c959f", "#ffffff"
GOOD, BAD, DOUBTFUL = "#1a7f37", "#cf222e", "#9a6700"
LINES = ("#0969da", "#bf3989", "#1b7c83", "#8250df", "#bc4c00", "#57606a", "#9a6700")
DASHES = ("", "7 3", "2 3", "10 3 2 3", "4 4")


@dataclass(frozen=True)
class Box:
    """A part of the picture: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


def text(at: Point, words: str, *, size: int = 12, colour: str = INK, anchor: str = "start") -> str:
    """Return a line of text."""
    place = f'x="{at[0]:.0f}" y="{at[1]:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(words)}</text>"


def rectangle(box: Box, colour: str, opacity: float = 1.0) -> str:
    """Return a filled rectangle."""
    size = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{max(0.0, box.width):.1f}" height="{box.height:.1f}"'
    return f'<rect {size} fill="{colour}" fill-opacity="{opacity:g}"/>'


def line(points: Iterable[Point], number: int) -> str:
    """Return a line through some points; a single one is a dot. Its number chooses a colour and a dash."""
    colour, every = LINES[number % len(LINES)], list(points)
    if len(every) == 1:
        return f'<circle cx="{every[0][0]:.1f}" cy="{every[0][1]:.1f}" r="1.5" fill="{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in every)
    dash = DASHES[number % len(DASHES)]
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash or "none"}"/>'


def document(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Return a whole SVG, on paper of its own, so that it is seen on dark pages and light ones."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    body = "".join([rectangle(Box(0, 0, width, height), PAPER), *parts])
    about = f'role="img" aria-label={quoteattr(title)} font-family="system-ui, sans-serif"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {about}>{body}</svg>'
