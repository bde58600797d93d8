"""Where this checkout's lab lives, and what it was asked to be."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError
from lab.layout import Layout, path_complaint


@dataclass(frozen=True)
class Settings:
    """What a lab is asked to be; kept in its folder from its first `up` to its `down`."""

    slot: int
    real_nodes: bool
    simulated_nodes: int
    round_trip: float = 0.0  # ms between the cities

    def layout(self, directory: Path) -> Layout:
        """Return the lab's names, addresses and paths."""
        return Layout(directory, self.slot, self.real_nodes)


def directory() -> Path:
    """Return the lab's folder: FLOTILLA_LAB_DIR, else .lab in this checkout."""
    chosen = os.environ.get("FLOTILLA_LAB_DIR")
    return (Path(chosen) if chosen else Path(__file__).parent.parent / ".lab").resolve()


def read(folder: Path) -> Settings | None:
    """Read what the lab in a folder was asked to be; nothing where there is no lab."""
    try:
        return Settings(**json.loads(_file(folder).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise LabError(f"{_file(folder)} is not what a lab writes ({error}): restore it, or run `python -m lab down`") from None


def write(folder: Path, settings: Settings) -> None:
    """Keep what the lab is asked to be."""
    unfinished = _file(folder).with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(settings)))
    unfinished.rename(_file(folder))


def check_path(folder: Path) -> None:
    """Refuse a folder that cannot hold a lab."""
    if complaint := path_complaint(folder):
        raise LabError(complaint)


def _file(folder: Path) -> Path:
    return folder / "lab.json"
