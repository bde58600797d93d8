"""Where something stands in the files given, and the problems found there, gathered to be reported all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from flotilla.errors import InvalidInput, Problem
from flotilla.validation import Strict, checked, field_path

Model = TypeVar("Model", bound=BaseModel)


class Part(Strict):
    """A part of an OAM document. An explicit null is an absent field, as the API server reads it."""

    model_config = ConfigDict(populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


@dataclass(frozen=True)
class Place:
    """A field of a file: ``deployments/apps/podinfo.yaml``, ``spec.policies[2].properties.clusters[1]``."""

    file: str
    field: str = ""

    def __truediv__(self, part: str | int) -> Place:
        return Place(self.file, field_path((part,), self.field))

    def problem(self, value: object, allowed: str) -> Problem:
        """Return a problem that stands here."""
        return Problem(self.file, self.field, value, allowed)

    def read(self, model: type[Model], data: object) -> Model:
        """Return data that stands here as a model; raises InvalidInput with every problem in it."""
        return checked(model, data, self.file, self.field)


class Problems:
    """A list to which the same problem is added once, however often it is met."""

    def __init__(self) -> None:
        self._found: dict[str, Problem] = {}

    def add(self, *problems: Problem) -> None:
        """Note problems."""
        for problem in problems:
            self._found.setdefault(str(problem), problem)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the problems of an InvalidInput raised inside and go on after the block."""
        try:
            yield
        except InvalidInput as error:
            self.add(*error.problems)

    def raise_any(self) -> None:
        """Raise InvalidInput with everything noted, if anything was."""
        if self._found:
            raise InvalidInput(self._found.values())


def one_of(names: Iterable[str], meant: str = "") -> str:
    """Return "one of a, b" for an error, with the nearest name first if ``meant`` looks like a slip of the pen."""
    known = sorted(set(names))
    near = difflib.get_close_matches(meant, known, n=1) if meant else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ("one of " + ", ".join(known) if known else "none: there are none") + hint


def holds_path(data: Any, path: tuple[str | int, ...]) -> bool:
    """Tell whether a JSON value has something at a path."""
    for part in path:
        if isinstance(data, list):
            data = dict(enumerate(data))
        if not isinstance(data, Mapping) or part not in data:
            return False
        data = data[part]
    return True
