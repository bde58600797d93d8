"""How two objects differ, field by field, and who owns what: the server's bookkeeping left out."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flotilla.applyset import DIGEST
from flotilla.objects import Manifest

_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_KEYS_OF_LISTS = ("name", "containerPort", "port", "ip", "key", "type", "mountPath", "devicePath", "topologyKey")
"""What tells the entries of a list apart: merge keys of the Kubernetes API, in the order in which they are tried."""
_STEP = re.compile(r"\[([^\]]+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class FieldChange:
    """A field, what it is and what it would be; None where it is absent. ``path`` as operators write it."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {_text(self.old)} -> {_text(self.new)}"


def differences(old: Manifest, new: Manifest) -> tuple[FieldChange, ...]:
    """Return the fields in which two objects differ, without status and the server's bookkeeping; values of Secrets hidden."""
    hide = new.get("kind") == "Secret" and not new.get("apiVersion", "").count("/")
    found = _walk("", comparable(old), comparable(new))
    return tuple(_hidden(change) if hide else change for change in found)


def comparable(manifest: Manifest) -> dict[str, Any]:
    """Return an object as it was asked for: no status, no bookkeeping, no digest of ours."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _BOOKKEEPING}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != DIGEST}
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    return {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}


def holds(live: Any, wanted: Any) -> bool:
    """Tell whether every field that is wanted is there with the same value; lists are compared whole.

    Entries of lists may carry fields that the server defaulted; their number and order must be the wanted one.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(key in live and holds(live[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(holds, live, wanted))
    return type(live) is type(wanted) and bool(live == wanted)


def tolerated(manifest: Manifest, live: Manifest, paths: Iterable[str]) -> Manifest:
    """Return a manifest that has the live values at some paths (``spec.replicas``): what differs there is left alone.

    The live value is applied rather than none: a field that is applied no longer would be taken away.
    """
    result: dict[str, Any] = copy.deepcopy(dict(manifest))
    for path in paths:
        with contextlib.suppress(KeyError, IndexError, TypeError):  # one of the two has no such field
            _copy_value(result, live, steps_of(path))
    return result


def steps_of(path: str) -> tuple[str, ...]:
    """Return the steps of a path: ``spec.containers[web].image``, ``metadata.labels[app.io/name]``, ``a["b.c"]``."""
    return tuple(inner.strip("\"'") if inner else name for inner, name in _STEP.findall(path))


def changes_at(live: Any, wanted: Any, path: str) -> bool:
    """Tell whether a field is wanted otherwise than it is."""
    try:
        for step in steps_of(path):
            wanted = wanted[_place(wanted, step)]
    except (KeyError, IndexError, TypeError):
        return False
    try:
        for step in steps_of(path):
            live = live[_place(live, step)]
    except (KeyError, IndexError, TypeError):
        return True
    return not holds(live, wanted)


def _copy_value(target: Any, source: Any, steps: Sequence[str]) -> None:
    for step in steps[:-1]:
        target, source = target[_place(target, step)], source[_place(source, step)]
    value = source[_place(source, steps[-1])]
    target[_place(target, steps[-1])] = copy.deepcopy(value)


def _place(value: Any, step: str) -> str | int:
    """Return where a step leads in a list: to the entry that its keys name, else by number."""
    if not isinstance(value, list):
        return step
    for number, entry in enumerate(value):
        if isinstance(entry, Mapping) and step in [str(entry[key]) for key in _KEYS_OF_LISTS if key in entry]:
            return number
    return int(step) if step.isdigit() else step


def owners(live: Manifest, path: str) -> tuple[str, ...]:
    """Return the managers that own a field, or the next thing above it that is owned, from managedFields."""
    steps = steps_of(path)
    found = [
        (depth, entry["manager"])
        for entry in live["metadata"].get("managedFields") or []
        if (depth := _owned_depth(entry.get("fieldsV1") or {}, steps)) > 0
    ]
    deepest = max((depth for depth, _ in found), default=0)
    return tuple(sorted({manager for depth, manager in found if depth == deepest}))


def _owned_depth(fields: Mapping[str, Any], steps: Sequence[str]) -> int:
    """Return how many steps of a path are owned by these fields (fieldsV1: f: a field, k: an entry by its keys)."""
    if not steps:
        return 0
    inside = (inner for key, inner in fields.items() if _leads_to(key, steps[0]))
    return max((1 + _owned_depth(inner, steps[1:]) for inner in inside), default=0)


def _leads_to(key: str, step: str) -> bool:
    if key.startswith("k:"):
        return step in [str(value) for value in json.loads(key[2:]).values()]
    return key == f"f:{step}"


def _walk(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _walk(_joined(path, key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and (name := _list_key(old, new)):
        yield from _walk_entries(path, name, old, new)
    elif not (holds(old, new) and holds(new, old)):  # not "!=": True is no 1
        yield FieldChange(path, old, new)


def _walk_entries(path: str, name: str, old: list[Any], new: list[Any]) -> Iterator[FieldChange]:
    before, after = ({entry[name]: entry for entry in entries} for entries in (old, new))
    for key in dict.fromkeys([*before, *after]):
        yield from _walk(f"{path}[{key}]", before.get(key), after.get(key))


def _list_key(old: list[Any], new: list[Any]) -> str:
    """Return the field that tells all entries of both lists apart, "" where none does."""
    entries = [*old, *new]
    if not entries or not all(isinstance(entry, Mapping) for entry in entries):
        return ""
    for key in _KEYS_OF_LISTS:
        if all(isinstance(entry.get(key), str | int) for entry in entries):
            names = [[entry[key] for entry in one] for one in (old, new)]
            if all(len(set(one)) == len(one) for one in names):
                return key
    return ""


def _joined(path: str, key: str) -> str:
    name = f"[{key}]" if "." in key or "/" in key else key
    return f"{path}{name}" if not path or name.startswith("[") else f"{path}.{name}"


def _hidden(change: FieldChange) -> FieldChange:
    """Return a change of a Secret with its values told apart but not told."""
    if not change.path.startswith(("data", "stringData")):
        return change
    return FieldChange(change.path, _mask(change.old, "old"), _mask(change.new, "new"))


def _mask(value: Any, which: str) -> Any:
    return None if value is None else f"*** ({which})"


def _text(value: Any) -> str:
    text = "(absent)" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
