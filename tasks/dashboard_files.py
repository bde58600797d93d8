"""Write what other programs are to draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flotilla.errors import Permanent


def write_texts(folder: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Have files of some names with some texts in a folder, made where it is not there; returns their paths."""
    home = Path(folder)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (home / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Permanent(f"{home}: cannot be written: {error.strerror or error}") from None
    return tuple(str(home / name) for name in texts)
