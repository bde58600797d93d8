"""What past drills were: kept in the clusters, read beside every plan that is shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from flotilla.errors import FlotillaError, Permanent
from flotilla.recovery.drilling import Drill, drill_text, from_json, rehearsals, to_json
from flotilla.recovery.picture import picture
from flotilla.recovery.reporting import Report
from tasks import drill_reports
from tasks.clusters import Connection
from tasks.fanout import side_by_side

log = logging.getLogger("flotilla.recovery")


def past_ways(ways: Mapping[str, Connection]) -> tuple[Report, ...]:
    """Return the verified ways of the drills that any cluster tells of, oldest first.

    A cluster that does not answer, or a report that another version wrote, is passed over: no recovery waits for either.
    """
    found: dict[str, Drill] = {}
    for name, texts in side_by_side(ways, lambda name: drill_reports.kept(ways[name])).items():
        if isinstance(texts, FlotillaError):
            log.debug("drills that %s knows of are not read: %s", name, texts)
            continue
        for text in texts:
            try:
                drill = from_json(text)
                found[drill.name] = drill
            except Permanent as error:
                log.debug("%s: %s", name, error)
    return rehearsals(found.values())


def keep(ways: Mapping[str, Connection], drill: Drill) -> tuple[str, ...]:
    """Keep a drill's report where the next one finds it; return the clusters that took it."""
    text = to_json(drill)
    found = side_by_side(ways, lambda name: drill_reports.put(ways[name], drill.name, text))
    for name, answer in found.items():
        if isinstance(answer, FlotillaError):
            log.warning("the report of %s is not kept in %s: %s", drill.name, name, answer)
    return tuple(name for name, answer in found.items() if not isinstance(answer, FlotillaError))


def write_files(folder: Path, drill: Drill, past: tuple[Report, ...]) -> Path:
    """Write a drill's report as markdown, JSON and a picture of each way; return the folder."""
    home = folder / "drills" / drill.name
    home.mkdir(parents=True, exist_ok=True)
    (home / "report.md").write_text(drill_text(drill, past), encoding="utf-8")
    (home / "report.json").write_text(to_json(drill), encoding="utf-8")
    for number, leg in enumerate(drill.legs, 1):
        (home / f"way-{number}.svg").write_text(picture(leg), encoding="utf-8")
    return home
