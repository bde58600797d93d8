"""`flotilla check`: the fleet file is right, every cluster is there, and we may do there what we will have to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Fleet, parse_fleet
from flotilla.ground import Finding, judge
from tasks.ground import look_at_ground


def read_fleet(path: str) -> Fleet:
    """Return the fleet of a fleet file; raises InvalidInput where there is no such file or something in it is wrong."""
    try:
        return parse_fleet(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem(path, "", phrase(f"cannot be read: {error}"), "a fleet file")]) from None


def check_fleet(fleet: Fleet) -> tuple[Finding, ...]:
    """Return a finding for every cluster, in the order of the file; all are looked at side by side."""
    with ThreadPoolExecutor(len(fleet.clusters)) as pool:
        return tuple(judge(seen) for seen in pool.map(look_at_ground, fleet.clusters))
