"""What can go wrong, by who can mend it: time (Transient), an operator (Permanent), or the person who said no (Refused)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class FlotillaError(Exception):
    """Everything that Flotilla raises on purpose; its text is the sentence an operator reads."""


class Transient(FlotillaError):
    """May succeed when tried again without anybody changing anything: retried with back-off and jitter."""


class Permanent(FlotillaError):
    """Stays wrong until somebody changes something: never retried."""


class Refused(FlotillaError):
    """A person said no, or nobody said yes in time: never retried."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where it stands, what was found there and what would be accepted."""

    file: str
    field: str
    value: object
    allowed: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{where}: {_shown(self.value)}; allowed: {self.allowed}"


class InvalidInput(Permanent):
    """An input was refused before anything was changed; carries every problem found, not just the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _shown(value: object) -> str:
    """Return a value as an operator would recognise it, cut to one short line."""
    text = value if isinstance(value, _Phrase) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


class _Phrase(str):
    """A description of what was found, printed without quotation marks."""


def phrase(text: str) -> str:
    """Return text that a Problem prints as it is, for what has no value to quote: ``phrase("is missing")``."""
    return _Phrase(text)
