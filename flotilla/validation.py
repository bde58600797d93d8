"""From YAML text to checked models: every problem named by file, field, value and what is allowed, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from flotilla.errors import InvalidInput, Problem, phrase

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A part of one of our own files: camelCase in YAML, frozen, and no field that we do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _UniqueKeyLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """YAML's safe types, and a mapping with one key twice is an error, as the YAML specification (3.2.1.3) says."""


def _unique_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, yaml.Node] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                "in a mapping", node.start_mark, f"key {key!r} stands twice", key_node.start_mark
            )
        seen[key] = key_node
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def read_documents(text: str, file: str) -> tuple[Any, ...]:
    """Return the YAML documents of a text, empty ones left out; raises InvalidInput naming line and column."""
    try:
        return tuple(document for document in yaml.load_all(text, Loader=_UniqueKeyLoader) if document is not None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise InvalidInput([Problem(place, "", phrase(error.problem or "is not YAML"), "well-formed YAML")]) from None
    except yaml.YAMLError as error:
        raise InvalidInput([Problem(file, "", phrase(str(error)), "well-formed YAML")]) from None


def checked(model: type[Model], data: object, file: str, at: str = "") -> Model:
    """Return data as a model; raises InvalidInput with one Problem for each thing pydantic found wrong.

    ``at`` is the field path that leads to ``data`` in the file.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(_problem(details, model, file, at) for details in error.errors()) from None


def field_path(location: Sequence[str | int], at: str = "") -> str:
    """Return a path as operators write it: ``clusters[1].kubeconfig.file``."""
    path = at
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _problem(details: ErrorDetails, model: type[BaseModel], file: str, at: str) -> Problem:
    value = phrase("is missing") if details["type"] == "missing" else details["input"]
    return Problem(file, field_path(details["loc"], at), value, _allowed(details, model))


def _allowed(details: ErrorDetails, model: type[BaseModel]) -> str:
    if details["type"] == "extra_forbidden":
        return "one of the fields " + ", ".join(_fields_at(model, details["loc"][:-1]))
    if details["type"] in ("enum", "literal_error"):
        return str(details.get("ctx", {}).get("expected", details["msg"]))
    return details["msg"].removeprefix("Value error, ")


def _fields_at(model: Any, location: Sequence[str | int]) -> list[str]:
    """Return the names of the fields that the model at a location has."""
    for part in location:
        if isinstance(part, int):
            continue
        found = [info.annotation for name, info in model.model_fields.items() if part in (name, info.alias)]
        inner = _model_in(found[0]) if found else None
        if inner is None:
            return ["documented for it"]
        model = inner
    return sorted(info.alias or name for name, info in model.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for argument in getattr(annotation, "__args__", ()) if (model := _model_in(argument))), None)
