"""How one set of properties is laid over another, as KubeVela does it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` laid over it: mappings are merged, everything else is replaced, lists too.

    KubeVela: pkg/policy/envbinding/patch.go, MergeRawExtension (mergo with override).
    """
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        inherited = result.get(key)
        if isinstance(inherited, Mapping) and isinstance(value, Mapping):
            result[key] = merged(inherited, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def merge_patched(value: Any, patch: Any) -> Any:
    """Return a value after a JSON merge patch (RFC 7396): mappings are merged, null removes, all else replaces."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = copy.deepcopy(dict(value)) if isinstance(value, Mapping) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), change)
    return result
