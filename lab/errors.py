"""What can go wrong with the lab, each as a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST_OUTPUT = 2000  # characters; what went wrong stands at the end


class LabError(Exception):
    """The lab cannot do what was asked; the message says what was expected, what was seen, and what to do."""


class CommandFailed(LabError):
    """A program that the lab ran ended with an error, or did not end in time."""

    def __init__(self, command: Sequence[str], outcome: str, output: str) -> None:
        self.command, self.outcome, self.output = tuple(command), outcome, output
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"`{' '.join(self.command)}` {self.outcome}: {self.output.strip()[-_LONGEST_OUTPUT:] or 'it printed nothing'}"


class TookTooLong(LabError):
    """Something that should have become true did not; the message ends with the last thing seen."""
