"""Whatever stands in an Application, the answer is an intent or problems with places, never anything else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flotilla.application import read_application
from flotilla.errors import InvalidInput
from tests.flotilla.applications import FLEET

ROOT = Path(__file__).parents[2]
FILES = [
    *sorted((ROOT / "deployments" / "apps").glob("*.yaml")),
    *sorted((Path(__file__).parent / "data" / "kubevela").glob("*.yaml")),
]
LIBRARY = (Path(__file__).parent / "data" / "kubevela" / "make-release-in-hangzhou.yaml").read_text()
SETS = [list(yaml.safe_load_all(file.read_text())) for file in FILES if "release" not in file.name]
JUNK = st.sampled_from(
    ["", "x", "Ünï", 0, -1, 3.5, True, None, [], {}, [None], [[]], {"a": None}, [{}], "local", "a.b", "*", {"name": "x"}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(st.data())
def test_junk_anywhere_is_refused_in_words_or_taken(data: st.DataObject) -> None:
    documents = copy.deepcopy(data.draw(st.sampled_from(SETS)))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in places(documents) if path]))
        target: Any = documents
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = copy.deepcopy(data.draw(JUNK))
    texts = {"app.yaml": yaml.safe_dump_all(documents, allow_unicode=True), "library.yaml": LIBRARY}
    try:
        intent = read_application(texts, FLEET)
    except InvalidInput as refusal:
        nameless: list[Any] = [problem for problem in refusal.problems if not (problem.file and problem.allowed)]
    else:
        nameless = [
            item for delivery in intent.deliveries for item in delivery.objects if not item.manifest["metadata"]["name"]
        ]
    assert nameless == []
