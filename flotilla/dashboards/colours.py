"""Colours that a series keeps: in every panel, over every range, whoever else is in the picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from flotilla.dashboards.answers import Series

TONES = 3
DASHES = 4


@dataclass(frozen=True)
class Colour:
    """A hue of 0 to 359 degrees, one of three tones, and a dash by which lines of one cluster are told without colour.

    The page turns a tone into a lightness that its own background, dark or light, can bear.
    """

    hue: int
    tone: int
    dash: int = 0


def colour_of(one: Series, clusters: Sequence[str]) -> Colour:
    """Return the colour of a series: by all its labels, and its dash by its cluster's place in the fleet."""
    digest = hashlib.sha256(repr(one.labels).encode()).digest()
    cluster = one.get("cluster")
    dash = clusters.index(cluster) % DASHES if cluster in clusters else 0
    return Colour(int.from_bytes(digest[:4], "big") % 360, digest[4] % TONES, dash)
